// Generates HTTP/1 streams of which every message is known beforehand (fast-check). Out: the bytes of one direction and
// the lines that http1-replay.ts has to write for them.
import fc from 'fast-check';

export interface Conversation {
  readonly isRequest: boolean;
  readonly bytes: Uint8Array;
  readonly methods: readonly string[];
  /** The last message lasts until the stream ends. */
  readonly isFinished: boolean;
  readonly lines: readonly string[];
}

/** A message, positions counted from its first byte. */
interface Message {
  readonly text: string;
  /** Empty lines before it. */
  readonly before: string;
  readonly isInterim: boolean;
  readonly isOpenEnded: boolean;
  readonly method: string;
  readonly describe: (start: number) => string[];
}

const TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const token = fc.string({ unit: fc.constantFrom(...TOKEN), minLength: 1, maxLength: 12 });
const lineEnd = fc.constantFrom('\r\n', '\n');
const blanks = fc.constantFrom('', ' ', '\t ', '  ');
const visible = fc.string({ unit: fc.constantFrom(...'abcXYZ019/:;,."=%?&-_'), minLength: 1, maxLength: 20 });
const content = fc.string({ unit: fc.constantFrom(...'ab\r\n 0:;GETHP/1.'), maxLength: 60 });
const method = fc.oneof(fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'CONNECT', 'PURGE'), token);
const target = fc.oneof(
  fc.constantFrom('*', 'example.com:443', 'http://example.com/a?b=c', '/%E4%B8%96'),
  visible.map(text => `/${text}`),
);
const version = fc.constantFrom('1.0', '1.1');

interface Style {
  readonly eol: string;
  readonly before: string;
  readonly after: string;
  readonly isUpper: boolean;
}

const style: fc.Arbitrary<Style> = fc.record({ eol: lineEnd, before: blanks, after: blanks, isUpper: fc.boolean() });

function headerLine(name: string, value: string, { eol, before, after, isUpper }: Style): string {
  return `${isUpper ? name.toUpperCase() : name}:${before}${value}${after}${eol}`;
}

/** Lines that say nothing of interest, folded ones among them. */
const noise = fc.array(fc.tuple(token, visible, style, fc.option(visible, { nil: '' })), { maxLength: 3 }).map(list =>
  list.map(([name, value, how, fold]) => {
    return headerLine(`x-${name}`, value, how) + (fold === '' ? '' : ` \t${fold}${how.eol}`);
  }),
);

const emptyLines = fc.constantFrom('', '', '', '\r\n', '\n', '\r\n\r\n');

interface Chunked {
  readonly text: string;
  readonly bodyBytes: number;
}

const chunk = fc.record({
  data: content.filter(text => text.length > 0),
  zeros: fc.constantFrom('', '0', '000'),
  isUpper: fc.boolean(),
  extension: fc.constantFrom('', ';a', ';a=b', ' ;a="b;c"', '  '),
  sizeEnd: lineEnd,
  dataEnd: lineEnd,
});

const chunkedBody: fc.Arbitrary<Chunked> = fc
  .tuple(fc.array(chunk, { maxLength: 4 }), fc.constantFrom('0', '00', '0;last'), noise, lineEnd, lineEnd)
  .map(([chunks, last, trailers, lastEnd, end]) => {
    let text = '';
    let bodyBytes = 0;
    for (const { data, zeros, isUpper, extension, sizeEnd, dataEnd } of chunks) {
      const size = data.length.toString(16);
      text += `${zeros}${isUpper ? size.toUpperCase() : size}${extension}${sizeEnd}${data}${dataEnd}`;
      bodyBytes += data.length;
    }
    return { text: `${text}${last}${lastEnd}${trailers.join('')}${end}`, bodyBytes };
  });

interface Head {
  readonly startLine: string;
  /** What the head line says between the positions and the framing. */
  readonly summary: string;
  readonly fields: readonly string[];
  /** ` name="value"` of the fields that are shown. */
  readonly shown: string;
  readonly eol: string;
  readonly before: string;
}

function message(head: Head, framing: string, framingFields: readonly string[], body: Chunked, facts: Facts): Message {
  const text = `${head.startLine}${[...framingFields, ...head.fields].join('')}${head.eol}`;
  return {
    text: text + body.text,
    before: head.before,
    ...facts,
    describe: start => {
      const lines = [`start ${start}`];
      lines.push(`head ${start}..${start + text.length} ${head.summary} ${framing}${head.shown}`);
      if (!facts.isInterim) lines.push(`end ${start + text.length + body.text.length} body=${body.bodyBytes}`);
      return lines;
    },
  };
}

interface Facts {
  readonly isInterim: boolean;
  readonly isOpenEnded: boolean;
  readonly method: string;
}

const NO_BODY: Chunked = { text: '', bodyBytes: 0 };

function plain(text: string): Chunked {
  return { text, bodyBytes: text.length };
}

const requestHead: fc.Arbitrary<Head & { version: string }> = fc
  .record({ method, target, version, host: visible, how: style, noise, eol: lineEnd, before: emptyLines })
  .map(parts => ({
    startLine: `${parts.method} ${parts.target} HTTP/${parts.version}${parts.eol}`,
    summary: `${parts.method} ${JSON.stringify(parts.target)} HTTP/${parts.version}`,
    fields: [headerLine('host', parts.host, parts.how), ...parts.noise],
    shown: ` host=${JSON.stringify(parts.host)}`,
    eol: parts.eol,
    before: parts.before,
    version: parts.version,
  }));

const request: fc.Arbitrary<Message> = fc
  .tuple(requestHead, fc.constantFrom('none', 'length', 'chunked', 'both'), content, chunkedBody, style)
  .map(([head, kind, text, chunked, how]) => {
    const facts = { isInterim: false, isOpenEnded: false, method: '' };
    const length = headerLine('content-length', String(text.length), how);
    const coding = headerLine('transfer-encoding', 'chunked', how);
    if (kind === 'none') return message(head, 'none', [], NO_BODY, facts);
    if (kind === 'length' || head.version === '1.0') {
      return message(head, `length=${text.length}`, [length], plain(text), facts);
    }
    return message(head, 'chunked', kind === 'both' ? [length, coding] : [coding], chunked, facts);
  });

const responseHead = fc
  .record({ status: fc.integer({ min: 200, max: 599 }), version, type: visible, how: style, noise, eol: lineEnd })
  .map(parts => ({ ...parts, reason: ' What a day' }));

const KINDS = ['length', 'length', 'chunked', 'chunked', 'none', 'interim', 'close', 'tunnel', 'upgrade'] as const;

const response: fc.Arbitrary<Message> = fc
  .tuple(responseHead, fc.constantFrom(...KINDS), content, chunkedBody, style, emptyLines, method)
  .map(([parts, kind, text, chunked, how, before, asked]) => {
    const status = statusOf(kind, parts.status, asked);
    const version = kind === 'chunked' ? '1.1' : parts.version;
    const head: Head = {
      startLine: `HTTP/${version} ${status}${parts.reason}${parts.eol}`,
      summary: `${status} HTTP/${version}`,
      fields: [headerLine('content-type', parts.type, parts.how), ...parts.noise],
      shown: ` content-type=${JSON.stringify(parts.type)}`,
      eol: parts.eol,
      before,
    };
    const length = headerLine('content-length', String(text.length), how);
    const coding = headerLine('transfer-encoding', 'chunked', how);
    const isHead = kind === 'none' && status !== 204 && status !== 304;
    const method = isHead
      ? 'HEAD'
      : kind === 'tunnel'
        ? 'CONNECT'
        : asked === 'HEAD' || asked === 'CONNECT'
          ? 'GET'
          : asked;
    const facts = { isInterim: kind === 'interim', isOpenEnded: false, method };
    if (kind === 'length') return message(head, `length=${text.length}`, [length], plain(text), facts);
    if (kind === 'chunked') return message(head, 'chunked', [length, coding], chunked, facts);
    if (kind === 'none' || kind === 'interim') return message(head, 'none', [length], NO_BODY, facts);
    const framing = kind === 'close' ? 'until-close' : 'opaque';
    return message(head, framing, [], plain(text), { ...facts, isOpenEnded: true });
  });

function statusOf(kind: (typeof KINDS)[number], status: number, asked: string): number {
  if (kind === 'interim') return 100 + ((status % 10) + 2);
  if (kind === 'upgrade') return 101;
  if (kind === 'tunnel') return 200 + (status % 100);
  if (kind === 'none') return asked === 'GET' ? 204 : asked === 'POST' ? 304 : status;
  return status === 204 || status === 304 ? 200 : status;
}

function join(messages: readonly Message[], isRequest: boolean): Conversation {
  const lines: string[] = [];
  const methods: string[] = [];
  let text = '';
  let isFinished = false;
  for (const next of messages) {
    text += next.before;
    lines.push(...next.describe(text.length));
    text += next.text;
    isFinished = next.isOpenEnded;
    if (!isRequest && !next.isInterim && !lines.at(-2)?.includes(' 101 ')) methods.push(next.method);
    if (isFinished) break;
  }
  return { isRequest, bytes: Buffer.from(text, 'latin1'), methods, isFinished, lines };
}

/** Pipelined requests. */
export const requests: fc.Arbitrary<Conversation> = fc
  .array(request, { minLength: 1, maxLength: 4 })
  .map(list => join(list, true));

/** Pipelined responses, interim ones among them; the first that lasts until the stream ends is the last. */
export const responses: fc.Arbitrary<Conversation> = fc
  .array(response, { minLength: 1, maxLength: 5 })
  .map(list => join(list, false));
