// `underspan coverage`: the books of the running agent. In: its /metrics page (Prometheus text 0.0.4). Out: a table, or
// JSON: per service what was seen, exported and dropped by cause; below it what the kernel side and the exporters lost.
// Exit code 3 if no agent answers, 1 if the books do not balance, which is a bug. Series that are not known are left out.
import { get } from 'node:http';
import { loadConfig } from '../config/load.js';
import { EXIT, reasonOf } from '../errors.js';
import { EXPORTED, INTENDED } from '../self/ledger.js';
import { clean } from '../self/log.js';
import { type Arguments, usageError } from './command.js';
import { print, say } from './output.js';

const ANSWER_TIMEOUT_MS = 6_000;
const MAX_PAGE_BYTES = 256 << 20;
const BEGUN = 'underspan_exchanges_begun_total';
const ENDED = 'underspan_exchanges_ended_total';
/** Name of the services beyond the ledger's bound. */
const OTHERS = '(others)';

export interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

export interface ServiceCoverage {
  /** `service.namespace/service.name`. */
  readonly service: string;
  readonly seen: number;
  readonly exported: number;
  /** Dropped by cause; zeros left out. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Of these, dropped against everybody's will. */
  readonly lost: number;
  /** Neither exported nor dropped yet. */
  readonly open: number;
  /** Share of those ended that were not lost; 1 if none has ended. */
  readonly share: number;
}

type Counts = Readonly<Record<string, number>>;

export interface Coverage {
  readonly services: readonly ServiceCoverage[];
  readonly total: ServiceCoverage;
  /** Exchanges that the pipeline has under way, counted apart from the books. */
  readonly open: number;
  /** seen = exported + dropped + open. */
  readonly isBalanced: boolean;
  /** No record, connection or byte was lost that may have held requests: they would be missing among those seen. */
  readonly isComplete: boolean;
  /** Changes of direction on connections: where messages begin. */
  readonly edges: number;
  readonly recordsRead: number;
  /** By cause, zeros left out: losses of the kernel side and of reading its records. */
  readonly recordsDropped: Counts;
  readonly connectionsDropped: Counts;
  /** Requests that are not among those seen, by cause. */
  readonly requestsMissed: Counts;
  /** Bytes that went by unseen, by cause. */
  readonly bytesMissed: Counts;
  /** Socket calls of which not all bytes could be copied. */
  readonly callsUnread: Counts;
  /** Spans that backends accepted, by exporter. */
  readonly spansExported: Counts;
  readonly spansDropped: Counts;
  /** In memory. */
  readonly queueBytes: Counts;
  /** Spans and points on disk, for when the exporter's backend is back. */
  readonly keptItems: Counts;
}

export async function coverageCommand(args: Arguments): Promise<number> {
  const url = pageUrl(args);
  let coverage: Coverage | null;
  try {
    coverage = readCoverage(parseSamples(await fetchPage(url)));
  } catch (error) {
    say(
      `no agent answers at ${url}: ${reasonOf(error)}\n  Start one with \`underspan run\`, or name its listener: --url.`,
    );
    return EXIT.environment;
  }
  if (coverage === null) {
    say(`what answers at ${url} is no agent that keeps these books`);
    return EXIT.environment;
  }
  print(args.has('json') ? renderJson(coverage) : renderText(coverage));
  return coverage.isBalanced ? EXIT.ok : EXIT.failed;
}

/** Where --url points, else where the configuration has the admin listener. */
function pageUrl(args: Arguments): URL {
  const given = args.last('url');
  if (given === undefined) {
    const file = args.last('config');
    const { config } = loadConfig({ environment: process.env, ...(file === undefined ? {} : { file }) });
    const { host, port } = config.admin;
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
    return new URL(`http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}/metrics`);
  }
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url?.protocol !== 'http:') {
    throw usageError({ name: args.command }, `--url ${given}: expected a URL like http://127.0.0.1:9464`);
  }
  if (url.pathname === '/') url.pathname = '/metrics';
  return url;
}

/** The page; rejects if it does not come whole. Not by `fetch`, which refuses some ports. */
function fetchPage(url: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const request = get(url, { agent: false, signal, headers: { accept: 'text/plain' } }, response => {
      const parts: Buffer[] = [];
      let byteCount = 0;
      response.on('error', reject);
      response.on('data', (part: Buffer) => {
        parts.push(part);
        byteCount += part.length;
        if (byteCount > MAX_PAGE_BYTES) request.destroy(new Error(`its answer is longer than ${MAX_PAGE_BYTES} bytes`));
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(parts).toString('utf8'));
        else reject(new Error(`it answers with status ${response.statusCode}`));
      });
    });
    request.on('error', error => reject(signal.aborted ? new Error('it is silent') : error));
  });
}

/** The samples of a page in the Prometheus text format; lines that are none are passed over. */
export function parseSamples(page: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of page.split('\n')) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/.exec(line);
    if (match === null) continue;
    const [, name = '', labelText = '', value = ''] = match;
    const labels = new Map<string, string>();
    for (const [, key = '', text = ''] of labelText.matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      labels.set(key, unescapeLabel(text));
    }
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}

function unescapeLabel(text: string): string {
  return text.replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
}

interface Books {
  seen: number;
  exported: number;
  readonly dropped: Record<string, number>;
}

/** The books on a page; null if there are none on it. */
export function readCoverage(samples: readonly Sample[]): Coverage | null {
  const open = samples.find(({ name }) => name === 'underspan_exchanges_open')?.value;
  if (open === undefined || !samples.some(({ name }) => name === BEGUN)) return null;
  const books = new Map<string, Books>();
  const total: Books = { seen: 0, exported: 0, dropped: {} };
  for (const { name, labels, value } of samples) {
    const isBegun = name === BEGUN;
    if (!isBegun && name !== ENDED) continue;
    const service = labels.get('job') ?? OTHERS;
    const own = books.get(service) ?? { seen: 0, exported: 0, dropped: {} };
    books.set(service, own);
    for (const book of [own, total]) {
      if (isBegun) book.seen += value;
      else enter(book, labels.get('outcome') ?? '', value);
    }
  }
  const all = conclude('all', total);
  const events = countsBy(samples, 'underspan_kernel_events_total', 'kind');
  const recordsDropped = countsBy(samples, 'underspan_records_dropped_total', 'reason');
  const connectionsDropped = countsBy(samples, 'underspan_connections_dropped_total', 'reason');
  const bytesMissed = countsBy(samples, 'underspan_bytes_missed_bytes_total', 'reason');
  return {
    services: [...books]
      .map(([service, book]) => conclude(service, book))
      .filter(({ seen }) => seen > 0)
      .sort((a, b) => b.seen - a.seen),
    total: all,
    open,
    isBalanced: all.open === open,
    isComplete: ![recordsDropped, connectionsDropped, bytesMissed].some(hides),
    edges: events.edges ?? 0,
    recordsRead: countsBy(samples, 'underspan_records_read_total', 'kind').all ?? 0,
    recordsDropped,
    connectionsDropped,
    requestsMissed: countsBy(samples, 'underspan_requests_missed_total', 'reason'),
    bytesMissed,
    callsUnread: Object.fromEntries(
      Object.entries(events).filter(([kind]) => kind === 'read_fault' || kind === 'iov_too_long'),
    ),
    spansExported: countsBy(samples, 'underspan_spans_exported_total', 'exporter'),
    spansDropped: countsBy(samples, 'underspan_spans_dropped_total', 'reason'),
    queueBytes: countsBy(samples, 'underspan_queue_size_bytes', 'exporter'),
    keptItems: countsBy(samples, 'underspan_backlog_items', 'exporter'),
  };
}

/** Strays follow from losses that are counted themselves; of another protocol there is nothing to see. */
function hides(losses: Counts): boolean {
  return Object.keys(losses).some(cause => cause !== 'unknown_connection' && cause !== 'unknown_protocol');
}

function enter(book: Books, outcome: string, value: number): void {
  if (outcome === EXPORTED) book.exported += value;
  else book.dropped[outcome] = (book.dropped[outcome] ?? 0) + value;
}

function conclude(service: string, { seen, exported, dropped }: Books): ServiceCoverage {
  let ended = exported;
  let lost = 0;
  for (const [cause, count] of Object.entries(dropped)) {
    ended += count;
    if (!INTENDED.has(cause)) lost += count;
  }
  return { service, seen, exported, dropped, lost, open: seen - ended, share: ended === 0 ? 1 : 1 - lost / ended };
}

function countsBy(samples: readonly Sample[], name: string, label: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const sample of samples) {
    if (sample.name !== name || sample.value === 0) continue;
    const key = sample.labels.get(label) ?? '';
    counts[key] = (counts[key] ?? 0) + sample.value;
  }
  return counts;
}

export function renderJson(coverage: Coverage): string {
  const { services, total, open, isBalanced, isComplete, edges, recordsRead } = coverage;
  return JSON.stringify(
    {
      balanced: isBalanced,
      complete: isComplete,
      services,
      total: { ...total, service: undefined, under_way: open },
      kernel: {
        edges,
        records_read: recordsRead,
        records_dropped: coverage.recordsDropped,
        connections_dropped: coverage.connectionsDropped,
        requests_missed: coverage.requestsMissed,
        bytes_missed: coverage.bytesMissed,
        calls_unread: coverage.callsUnread,
      },
      exporters: {
        spans_exported: coverage.spansExported,
        spans_dropped: coverage.spansDropped,
        queue_bytes: coverage.queueBytes,
        kept_items: coverage.keptItems,
      },
    },
    null,
    2,
  );
}

const HEADINGS = ['service', 'seen', 'exported', 'lost', 'share', 'open', 'dropped by cause'] as const;

export function renderText(coverage: Coverage): string {
  const { services, total } = coverage;
  const rows = [HEADINGS, ...services.map(toRow)];
  if (services.length > 1) rows.push(toRow(total));
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map(row => (row[column] as string).length)));
  const lines = rows.map(row =>
    row
      .map((cell, column) =>
        column === 0 || column === row.length - 1
          ? cell.padEnd(widths[column] as number)
          : cell.padStart(widths[column] as number),
      )
      .join('  ')
      .trimEnd(),
  );
  if (services.length === 0) lines.push('(no request has been seen yet)');
  lines.push('', 'lost: dropped for another cause than otlp, instrumented, filtered, sampled or no_exporter', '');
  lines.push(...aboutKernel(coverage), ...aboutExporters(coverage));
  if (!coverage.isComplete) {
    lines.push(
      '',
      'Records, connections or bytes were lost or given up: requests that went with them whole are not among those seen.',
    );
  }
  if (!coverage.isBalanced) {
    const gap = `${total.open} exchanges should be open and ${coverage.open} are`;
    lines.push('', `The books do not balance: ${gap}. Please report it.`);
  }
  return `${lines.join('\n')}\n`;
}

function toRow({ service, seen, exported, lost, share, open, dropped }: ServiceCoverage): readonly string[] {
  return [clean(service), String(seen), String(exported), String(lost), percent(share), String(open), list(dropped)];
}

/** Rounded down: 100 % is said only where nothing was lost. */
function percent(share: number): string {
  return `${share === 1 ? '100' : (Math.floor(share * 10_000) / 100).toFixed(2)} %`;
}

function list(counts: Counts): string {
  return Object.entries(counts)
    .map(([cause, count]) => `${clean(cause)} ${count}`)
    .join(', ');
}

function aboutKernel(coverage: Coverage): string[] {
  return [
    `kernel     ${coverage.edges} message edges, ${coverage.recordsRead} records read`,
    `           records lost: ${list(coverage.recordsDropped) || 'none'}`,
    `           connections not followed: ${list(coverage.connectionsDropped) || 'none'}`,
    `           calls not read in full: ${list(coverage.callsUnread) || 'none'}`,
    `           requests not among those seen: ${list(coverage.requestsMissed) || 'none'}`,
    `           bytes not seen: ${list(coverage.bytesMissed) || 'none'}`,
  ];
}

function aboutExporters({ spansExported, spansDropped, queueBytes, keptItems }: Coverage): string[] {
  return [
    `exporters  spans accepted: ${list(spansExported) || 'none'}`,
    `           spans lost: ${list(spansDropped) || 'none'}`,
    `           bytes waiting: ${list(queueBytes) || 'none'}`,
    `           items kept on disk: ${list(keptItems) || 'none'}`,
  ];
}
