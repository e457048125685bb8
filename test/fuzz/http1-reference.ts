// A second reading of HTTP/1, to compare the parser with: the whole stream at once, as a string, with regular expressions,
// slow and plain. In: all bytes of a direction. Out: the lines that http1-replay.ts writes for them, and the state.
// It shares no code with src/protocols and knows no gaps, no caps and no chunks of capture.

export interface Reading {
  readonly lines: readonly string[];
  readonly state: 'idle' | 'open' | 'broken';
}

export interface ReadingOptions {
  readonly isRequest: boolean;
  readonly methods: readonly string[];
  readonly isFinished: boolean;
}

const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) +([^\n]*?[^ \n]) +HTTP\/1\.([0-9]) *$/;
const STATUS_LINE = /^HTTP\/1\.([0-9]) +([1-9][0-9]{2})(?: [^\n]*)?$/;
const OF_REQUESTS = [
  ...['traceparent', 'tracestate', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-sampled', 'x-b3-flags'],
  ...['uber-trace-id', 'x-amzn-trace-id', 'x-request-id'],
];
const LISTS = ['connection', 'upgrade', 'expect', ...OF_REQUESTS];
const LOWER_CASE = ['connection', 'expect'];
const SHOWN = ['host', 'user-agent', 'content-type', ...LISTS];

interface Fields {
  readonly values: Map<string, string>;
  readonly lengths: string[];
  readonly codings: string[];
}

function decode(latin1: string): string {
  const bytes = Buffer.from(latin1, 'latin1');
  const utf8 = bytes.toString('utf8');
  return Buffer.from(utf8, 'utf8').equals(bytes) ? utf8 : latin1;
}

function trim(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, '');
}

/** Header lines, folds joined on to the line that they continue. */
function unfold(lines: readonly string[]): string[][] {
  const fields: string[][] = [];
  for (const line of lines) {
    if (/^[ \t]/.test(line)) fields.at(-1)?.push(trim(line));
    else fields.push([line]);
  }
  return fields;
}

function readFields(lines: readonly string[], isRequest: boolean): Fields {
  const values = new Map<string, string>();
  const lengths: string[] = [];
  const codings: string[] = [];
  const grouped = unfold(/^[ \t]/.test(lines[0] ?? '') ? ['', ...lines] : lines);
  for (const [line, ...folds] of grouped) {
    const match = /^([^: \t]+)[ \t]*:([\s\S]*)$/.exec(line ?? '');
    if (match === null) continue;
    const name = (match[1] ?? '').replace(/[A-Z]/g, letter => letter.toLowerCase());
    const first = trim(match[2] ?? '');
    if (name === 'content-length') {
      lengths.push(folds.every(fold => fold === '') ? first : 'folded');
    } else if (name === 'transfer-encoding') {
      codings.push([first, ...folds].filter(part => part !== '').join(' '));
    } else if (SHOWN.includes(name) && (isRequest || !OF_REQUESTS.includes(name))) {
      join(values, name, decode(first), folds.map(decode));
    }
  }
  return { values, lengths, codings };
}

function join(values: Map<string, string>, name: string, first: string, folds: readonly string[]): void {
  const known = values.get(name) ?? '';
  let value = known;
  if (first !== '' && (known === '' || LISTS.includes(name))) value = known === '' ? first : `${known},${first}`;
  for (const fold of folds) if (fold !== '') value = value === '' ? fold : `${value} ${fold}`;
  values.set(name, value);
}

/** 'none', 'length=N', 'chunked', 'until-close', 'opaque' or 'unknown'. */
function frame(fields: Fields, isRequest: boolean, version: string, status: number, method: string): string {
  if (!isRequest) {
    if (status === 101 || (method === 'CONNECT' && status >= 200 && status < 300)) return 'opaque';
    if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return 'none';
  }
  const coding = fields.codings
    .filter(value => value !== '')
    .join(',')
    .toLowerCase();
  if (coding !== '' && coding !== 'identity') {
    if (version === '1.0') return 'unknown';
    const last = (coding.split(',').at(-1) ?? '').split(';')[0] ?? '';
    if (last.trim() === 'chunked') return 'chunked';
    return isRequest ? 'unknown' : 'until-close';
  }
  if (fields.lengths.length === 0) return isRequest ? 'none' : 'until-close';
  const lengths = new Set(fields.lengths.flatMap(value => value.split(',')).map(value => trim(value)));
  const numbers = new Set([...lengths].map(value => (/^[0-9]+$/.test(value) ? Number(value) : -1)));
  const [length] = numbers;
  if (numbers.size !== 1 || length === undefined || length < 0 || !Number.isSafeInteger(length)) return 'unknown';
  return `length=${length}`;
}

/** Where a chunked body that begins at `from` ends and how much content it has; -1 open, -2 broken. */
function readChunks(text: string, from: number): { end: number; bodyBytes: number } {
  let at = from;
  let bodyBytes = 0;
  for (;;) {
    const line = /([^\n]*)(\n|$)/y;
    line.lastIndex = at;
    const match = line.exec(text);
    const found = match?.[1] ?? '';
    const size = /^([0-9a-fA-F]+)(?:[; \t\r][\s\S]*)?$/.exec(found);
    const isWhole = match?.[2] === '\n';
    if (size === null) return { end: found === '' && !isWhole ? -1 : -2, bodyBytes };
    const count = Number.parseInt(size[1] ?? '', 16);
    if (count > 2 ** 53 - 1) return { end: -2, bodyBytes };
    if (!isWhole) return { end: -1, bodyBytes };
    at = line.lastIndex;
    if (count === 0) break;
    if (at + count >= text.length) return { end: -1, bodyBytes };
    bodyBytes += count;
    at += count;
    if (text[at] === '\n') at += 1;
    else if (text.startsWith('\r\n', at)) at += 2;
    else return { end: text.slice(at) === '\r' ? -1 : -2, bodyBytes };
  }
  const trailers = /(?:(?!\r?\n)[^\n]*\n)*\r?\n/y;
  trailers.lastIndex = at;
  return { end: trailers.test(text) ? trailers.lastIndex : -1, bodyBytes };
}

/** Could the line that begins here, and has not ended, still become a start line? */
function isPossibleStart(text: string, isRequest: boolean): boolean {
  if (isRequest) return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}(?: |$)/.test(text);
  return 'HTTP/1.'.startsWith(text.slice(0, 7)) && (text.length < 8 || /[0-9]/.test(text[7] ?? ''));
}

/** Reads a direction from its first byte to its last. */
export function readAll(bytes: Uint8Array, options: ReadingOptions): Reading {
  const text = Buffer.from(bytes).toString('latin1');
  const lines: string[] = [];
  let at = 0;
  let answered = 0;
  for (;;) {
    while (text[at] === '\r' || text[at] === '\n') at++;
    if (at >= text.length) return { lines, state: 'idle' };
    const start = at;
    lines.push(`start ${start}`);
    const head = /^[^\n]*\n(?:(?!\r?\n)[^\n]*\n)*\r?\n/.exec(text.slice(start));
    const rows = text.slice(start, head === null ? undefined : start + head[0].length).split('\n');
    const isStartWhole = rows.length > 1;
    const first = (rows[0] ?? '').replace(/\r$/, '');
    const match = (options.isRequest ? REQUEST_LINE : STATUS_LINE).exec(first);
    if (isStartWhole ? match === null : !isPossibleStart(rows[0] ?? '', options.isRequest)) {
      return { lines, state: 'broken' };
    }
    if (head === null || match === null) return { lines, state: 'open' };
    const headEnd = start + head[0].length;
    const fields = readFields(
      rows.slice(1, -2).map(row => row.replace(/\r$/, '')),
      options.isRequest,
    );
    const status = options.isRequest ? 0 : Number(match[2]);
    const minor = options.isRequest ? match[3] : match[1];
    const version = minor === '0' ? '1.0' : '1.1';
    const isFinal = !options.isRequest && status >= 200;
    const method = isFinal ? (options.methods[Math.min(answered++, options.methods.length - 1)] ?? '') : '';
    const framing = frame(fields, options.isRequest, version, status, method);
    const name = options.isRequest ? `${match[1]} ${JSON.stringify(decode(match[2] ?? ''))}` : String(status);
    const shown = SHOWN.filter(field => (fields.values.get(field) ?? '') !== '').map(field => {
      const value = fields.values.get(field) ?? '';
      return ` ${field}=${JSON.stringify(LOWER_CASE.includes(field) ? value.toLowerCase() : value)}`;
    });
    lines.push(`head ${start}..${headEnd} ${name} HTTP/${version} ${framing}${shown.join('')}`);
    at = headEnd;
    if (framing === 'none' && status !== 0 && status < 200) continue;
    let end = headEnd;
    let bodyBytes = 0;
    if (framing.startsWith('length=')) {
      bodyBytes = Number(framing.slice('length='.length));
      end = headEnd + bodyBytes;
      if (end > text.length) return { lines, state: 'open' };
    } else if (framing === 'chunked') {
      ({ end, bodyBytes } = readChunks(text, headEnd));
      if (end < 0) return { lines, state: end === -1 ? 'open' : 'broken' };
    } else if (framing !== 'none') {
      if (!options.isFinished) return { lines, state: 'open' };
      end = text.length;
      bodyBytes = framing === 'unknown' ? -1 : end - headEnd;
    }
    lines.push(`end ${end} body=${bodyBytes < 0 ? 'unknown' : bodyBytes}`);
    at = end;
  }
}
