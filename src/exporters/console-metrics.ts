// OTEL_METRICS_EXPORTER=console: once an interval a table with rate, errors and duration of each service, as server and
// as client. Comes in: cumulative metric families; the view keeps the values of the last interval to tell what is new.
// Percentiles are bucket bounds (`≤25ms`), because more than that a histogram does not know. Lost: all other metrics.
import type { HistogramValue, MetricFamily, MetricPoint } from '../signals/metric-model.js';
import { ERROR_TYPE } from '../signals/semconv.js';
import type { LineOutput } from './console-output.js';
import { LinePrinter } from './console-printer.js';
import type { Style } from './console-style.js';
import {
  formatCount,
  formatDuration,
  formatTime,
  padEnd,
  padStart,
  toPrintable,
  truncateEnd,
  widthOf,
} from './console-text.js';

/** Services in one table; the busiest are shown. */
const ROWS_MAX = 30;
const NAME_MAX = 32;

interface Row {
  readonly service: string;
  readonly isServer: boolean;
  requests: number;
  failed: number;
  seconds: number;
  bounds: readonly number[];
  counts: number[];
  active: number;
}

export interface ConsoleMetricsOptions {
  readonly output: LineOutput;
  readonly style: Style;
}

export class ConsoleMetrics {
  readonly #style: Style;
  readonly #printer: LinePrinter;
  /** Histogram counts of the last interval by series. */
  #last = new Map<string, HistogramValue>();
  #lastNs = 0;

  constructor(options: ConsoleMetricsOptions) {
    this.#style = options.style;
    this.#printer = new LinePrinter(
      options.output,
      lines => `${formatCount(lines)} lines are missing here: the reader was slow`,
    );
  }

  /** Prints the table of what came since the last call. `nowNs`: boot clock of the snapshot; `unixMs`: wall clock. */
  show(families: readonly MetricFamily[], nowNs: number, unixMs: number): void {
    const rows = new Map<string, Row>();
    const seen = new Map<string, HistogramValue>();
    let startNs = this.#lastNs;
    for (const family of families) {
      for (const point of family.points) {
        this.#take(family, point, rows, seen);
        if (this.#lastNs === 0) startNs = startNs === 0 ? point.startNs : Math.min(startNs, point.startNs);
      }
    }
    this.#last = seen;
    this.#lastNs = nowNs;
    this.#printer.print(renderTable([...rows.values()], Math.max(0.001, (nowNs - startNs) / 1e9), unixMs, this.#style));
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await this.#printer.flush(timeoutMs);
  }

  #take(family: MetricFamily, point: MetricPoint, rows: Map<string, Row>, seen: Map<string, HistogramValue>): void {
    if (point.service === null) return;
    const isDuration = family.name === 'http.server.request.duration' || family.name === 'http.client.request.duration';
    const isServer = family.name.startsWith('http.server.');
    if (isDuration && typeof point.value !== 'number') {
      const key = `${family.name} ${point.service.id} ${JSON.stringify(point.attributes)}`;
      seen.set(key, point.value);
      const isFailed = point.attributes.some(([name]) => name === ERROR_TYPE.name);
      addHistogram(rowOf(rows, point.service.name, isServer), point.value, this.#last.get(key), isFailed);
    } else if (family.name.endsWith('.active_requests') && typeof point.value === 'number') {
      rowOf(rows, point.service.name, isServer).active += point.value;
    }
  }
}

function rowOf(rows: Map<string, Row>, service: string, isServer: boolean): Row {
  const key = `${isServer ? 's' : 'c'}${service}`;
  let row = rows.get(key);
  if (row === undefined) {
    row = { service, isServer, requests: 0, failed: 0, seconds: 0, bounds: [], counts: [], active: 0 };
    rows.set(key, row);
  }
  return row;
}

/** Adds what a series gained since the last interval. A series that went back began anew: then all of it is new. */
function addHistogram(row: Row, now: HistogramValue, before: HistogramValue | undefined, isFailed: boolean): void {
  const last = before !== undefined && before.count <= now.count ? before : undefined;
  const gained = now.count - (last?.count ?? 0);
  row.requests += gained;
  row.seconds += now.sum - (last?.sum ?? 0);
  if (isFailed) row.failed += gained;
  if (row.counts.length === 0) {
    row.bounds = now.bounds;
    row.counts = now.counts.map(() => 0);
  }
  for (const [index, count] of now.counts.entries()) {
    row.counts[index] = (row.counts[index] ?? 0) + count - (last?.counts[index] ?? 0);
  }
}

const COLUMNS = ['rate/s', 'requests', 'failed', 'mean', 'p50', 'p90', 'p99', 'active'] as const;
const COLUMN_WIDTH = 9;

function renderTable(rows: readonly Row[], seconds: number, unixMs: number, style: Style): string[] {
  const busy = rows.filter(row => row.requests > 0 || row.active > 0).sort((a, b) => b.requests - a.requests);
  const shown = busy.slice(0, ROWS_MAX);
  const nameWidth = Math.min(
    NAME_MAX,
    Math.max(8, ...shown.map(row => widthOf(toPrintable(row.service, style.isUnicode)))),
  );
  const time = formatTime(unixMs).slice(0, 8);
  const title = `${time} ${style.glyphs.rule.repeat(2)} requests in ${formatBound(seconds, style.isUnicode)}`;
  if (shown.length === 0) return ['', style.paint(`${title}: none`, 'dim')];
  const heads = COLUMNS.map(name => padStart(name, COLUMN_WIDTH)).join('');
  const lines = ['', style.paint(title, 'dim'), style.paint(`  ${padEnd('service', nameWidth)}${heads}`, 'dim')];
  for (const row of shown) lines.push(renderRow(row, seconds, nameWidth, style));
  if (busy.length > shown.length) {
    lines.push(style.paint(`${style.glyphs.more} ${busy.length - shown.length} quieter rows not shown`, 'dim'));
  }
  return lines;
}

function renderRow(row: Row, seconds: number, nameWidth: number, style: Style): string {
  const { glyphs } = style;
  const arrow = row.isServer ? glyphs.received : glyphs.sent;
  const name = truncateEnd(toPrintable(row.service, style.isUnicode), nameWidth, glyphs.ellipsis);
  const share = row.requests > 0 ? (100 * row.failed) / row.requests : 0;
  const failed = row.failed === 0 ? glyphs.absent : share < 0.1 ? '<0.1%' : `${share.toFixed(share < 10 ? 1 : 0)}%`;
  const mean = row.requests > 0 ? formatDuration((row.seconds / row.requests) * 1e9, style.isUnicode) : glyphs.absent;
  const rate = row.requests / seconds;
  const cells = [
    rate >= 100 ? formatCount(rate) : rate.toFixed(rate < 1 ? 2 : 1),
    formatCount(row.requests),
    failed,
    mean,
    ...[0.5, 0.9, 0.99].map(share => percentile(row, share, style)),
    String(row.active),
  ].map(cell => padStart(cell, COLUMN_WIDTH));
  if (row.failed > 0) cells[2] = style.paint(cells[2] ?? '', 'alarm');
  return `${style.paint(arrow, 'dim')} ${style.paint(padEnd(name, nameWidth), 'cyan')}${cells.join('')}`;
}

/** The bound of the bucket that the percentile lies in. */
function percentile(row: Row, share: number, style: Style): string {
  if (row.requests === 0) return style.glyphs.absent;
  const rank = Math.max(1, Math.ceil(share * row.requests));
  let below = 0;
  for (const [index, count] of row.counts.entries()) {
    below += count;
    if (below < rank) continue;
    const bound = row.bounds[index];
    if (bound !== undefined) return `${style.glyphs.atMost}${formatBound(bound, style.isUnicode)}`;
  }
  return `>${formatBound(row.bounds.at(-1) ?? 0, style.isUnicode)}`;
}

/** A bucket bound is a round number: `25ms`, not `25.0ms`. */
function formatBound(seconds: number, isUnicode: boolean): string {
  return formatDuration(seconds * 1e9, isUnicode).replace(/\.0+(?=\D)|(\.\d*[1-9])0+(?=\D)/, '$1');
}
