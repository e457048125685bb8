// The terminal view. Comes in: encoded spans. Goes out: a tree for each trace with the socket timeline of every span as a
// bar, or one JSON object a span. Left out, and told: what a person cannot read (console-limit.ts), what a slow terminal
// does not take (console-printer.ts), and, undecoded, what would cost the agent more time than a view is worth.
import { reasonOf } from '../errors.js';
import { decodeScanned, type ScannedSpan, scanTraces } from '../otlp/scan.js';
import { SOCKET_CONNECT_SPAN_NAME } from '../signals/semconv.js';
import { type HeldSpan, type HeldTrace, type HoldOptions, TraceHold } from './console-hold.js';
import { spanToJson, toSafeJson } from './console-json.js';
import { renderLegend } from './console-legend.js';
import { type LeftOut, LineLimit } from './console-limit.js';
import type { LineOutput } from './console-output.js';
import { LinePrinter } from './console-printer.js';
import { type SpanFacts, toSpanFacts, toSpanView } from './console-span.js';
import type { Style } from './console-style.js';
import { formatCount, truncateEnd } from './console-text.js';
import { renderTrace } from './console-tree.js';
import { UsualDurations } from './console-usual.js';
import { EXPORTED, type Exporter, type ExportResult } from './exporter.js';

export interface ConsoleOptions {
  readonly output: LineOutput;
  readonly style: Style;
  /** Shows the traces that have a span which passes. */
  readonly filter?: SpanFilter;
  readonly hold?: HoldOptions;
  /** Lines a second on average, 0 for no limit; default 40. */
  readonly maxLinesPerSecond?: number;
  /** Spans a second that are looked at at most; default 20000. */
  readonly maxSpansPerSecond?: number;
  /** Milliseconds of a steady clock; for tests. */
  readonly nowMs?: () => number;
}

export interface ConsoleCounts {
  /** Spans that were taken in. */
  received: number;
  /** Not looked at: more came than a view is worth. */
  skipped: number;
  /** Did not pass the filter. */
  filtered: number;
  /** Spans of traces beyond the line budget. */
  leftOut: number;
  /** Spans whose lines the output did not take. */
  dropped: number;
  shown: number;
}

/** What the filters of the command line (cli/filters.ts) compile to. */
export type SpanFilter = (span: SpanFacts) => boolean;

/** A span that waits for the rest of its trace: not decoded, since most are never shown. */
interface WaitingSpan extends HeldSpan {
  readonly scanned: ScannedSpan;
  readonly isFailed: boolean;
  /** How many times its usual duration it took; 0: not slow. */
  readonly slowness: number;
}

const TICK_MS = 100;

/** Spans as trees, for people. */
export class ConsoleTraceExporter implements Exporter {
  readonly name = 'console';
  readonly canBeAway = false;
  readonly keepsBytes = true;
  readonly counts: ConsoleCounts = { received: 0, skipped: 0, filtered: 0, leftOut: 0, dropped: 0, shown: 0 };
  readonly #style: Style;
  readonly #printer: LinePrinter;
  readonly #filter: SpanFilter | null;
  readonly #hold: TraceHold<WaitingSpan>;
  readonly #limit: LineLimit;
  readonly #usual = new UsualDurations();
  /** Traces of which a span passed the filter while it was held. */
  readonly #passed = new Set<string>();
  readonly #maxSpansPerSecond: number;
  readonly #nowMs: () => number;
  #lookBudget: number;
  #budgetMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #hasLegend = false;
  #hasHint = false;

  constructor(options: ConsoleOptions) {
    this.#style = options.style;
    this.#printer = new LinePrinter(options.output, lines =>
      this.#dim(`${formatCount(lines)} lines are missing here: the terminal was not taking any`),
    );
    this.#filter = options.filter ?? null;
    this.#hold = new TraceHold(options.hold);
    this.#limit = new LineLimit(options);
    this.#maxSpansPerSecond = options.maxSpansPerSecond ?? 20_000;
    this.#lookBudget = this.#maxSpansPerSecond;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  async export(bytes: Uint8Array, itemCount: number): Promise<ExportResult> {
    this.counts.received += itemCount;
    const nowMs = this.#nowMs();
    if (!this.#mayLook(itemCount, nowMs)) {
      this.counts.skipped += itemCount;
      this.#limit.skip(itemCount, nowMs);
      this.#startTicking();
      return EXPORTED;
    }
    let spans: ScannedSpan[];
    try {
      spans = scanTraces(bytes);
    } catch (error) {
      return { kind: 'refused', code: 'undecodable', message: reasonOf(error) };
    }
    for (const span of spans) this.#take(span, nowMs);
    this.#startTicking();
    return EXPORTED;
  }

  /** Prints the traces that are complete, and once a second what was left out. Called by a timer. */
  tick(): void {
    const nowMs = this.#nowMs();
    for (const trace of this.#hold.takeComplete(nowMs)) this.#printTrace(trace, nowMs);
    this.#printLeftOut(this.#limit.report(nowMs));
    if (this.#hold.traceCount === 0 && !this.#limit.hasReport) this.#stopTicking();
  }

  async shutdown(timeoutMs: number): Promise<void> {
    this.#stopTicking();
    const nowMs = this.#nowMs();
    for (const trace of this.#hold.takeAll()) this.#printTrace(trace, nowMs);
    this.#printLeftOut(this.#limit.report(nowMs, true));
    await this.#printer.flush(timeoutMs);
  }

  #mayLook(spans: number, nowMs: number): boolean {
    const earned = (Math.max(0, nowMs - this.#budgetMs) * this.#maxSpansPerSecond) / 1000;
    this.#lookBudget = Math.min(this.#maxSpansPerSecond, this.#lookBudget + earned);
    this.#budgetMs = nowMs;
    if (this.#lookBudget < 1) return false;
    // May go below zero: a batch larger than the whole budget still shows something, the next ones pay for it.
    this.#lookBudget -= spans;
    return true;
  }

  #take(scanned: ScannedSpan, nowMs: number): void {
    const { traceId, spanId, startUnixNs, isFailed, links } = scanned;
    if (this.#filter?.(toSpanFacts(scanned))) this.#passed.add(traceId);
    const slowness = this.#usual.judge(scanned);
    const isConnect = scanned.name === SOCKET_CONNECT_SPAN_NAME;
    const span = { scanned, traceId, spanId, startUnixNs, isFailed, isConnect, links, slowness };
    for (const trace of this.#hold.add(span, nowMs)) this.#printTrace(trace, nowMs);
  }

  #printTrace(trace: HeldTrace<WaitingSpan>, nowMs: number): void {
    const { spans } = trace;
    const hasPassed = this.#filter === null || spans.some(span => this.#passed.has(span.traceId));
    for (const span of spans) this.#passed.delete(span.traceId);
    if (!hasPassed) {
      this.counts.filtered += spans.length;
      return;
    }
    const isFailed = spans.some(span => span.isFailed);
    const isNotable = isFailed || spans.some(({ slowness }) => slowness > 0);
    if (!this.#limit.admit(spans.length, spans.length, isFailed, isNotable, nowMs)) {
      this.counts.leftOut += spans.length;
      return;
    }
    const slowness = new Map(spans.map(span => [toSpanView(decodeScanned(span.scanned)), span.slowness]));
    const lines = renderTrace([...slowness.keys()], {
      style: this.#style,
      width: this.#printer.columns,
      isContinuation: trace.isContinuation,
      slowness: span => slowness.get(span) ?? 0,
    });
    const legend = this.#hasLegend ? [] : renderLegend(this.#style, this.#printer.columns);
    if (!this.#printer.print([...legend, ...lines])) {
      this.counts.dropped += spans.length;
      return;
    }
    this.#hasLegend = true;
    this.counts.shown += spans.length;
  }

  #printLeftOut(leftOut: LeftOut | null): void {
    if (leftOut === null) return;
    const traces = leftOut.traces > 0 ? `${formatCount(leftOut.traces)} more traces, ` : '';
    const failed = leftOut.failed > 0 ? `, ${formatCount(leftOut.failed)} of the traces failed` : '';
    const hint = this.#hasHint ? '' : '; fewer with --path, --status, --min-duration; all with --json';
    this.#hasHint = true;
    const text = `${traces}${formatCount(leftOut.spans)} spans in ${leftOut.seconds.toFixed(1)}s not shown${failed}${hint}`;
    this.#printer.print([this.#dim(text)]);
  }

  #dim(text: string): string {
    const { glyphs } = this.#style;
    return this.#style.paint(truncateEnd(`${glyphs.more} ${text}`, this.#printer.columns, glyphs.ellipsis), 'dim');
  }

  #startTicking(): void {
    this.#timer ??= setInterval(() => this.tick(), TICK_MS).unref();
  }

  #stopTicking(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

export interface ConsoleJsonOptions {
  readonly output: LineOutput;
  readonly filter?: SpanFilter;
}

/** Spans as lines of JSON, for programs. Nothing is held back or sampled. */
export class ConsoleJsonExporter implements Exporter {
  readonly name = 'console-json';
  readonly canBeAway = false;
  readonly keepsBytes = true;
  readonly #filter: SpanFilter | null;
  readonly #printer: LinePrinter;

  constructor(options: ConsoleJsonOptions) {
    this.#filter = options.filter ?? null;
    this.#printer = new LinePrinter(options.output, spans =>
      toSafeJson({ dropped_spans: spans, reason: 'slow reader' }),
    );
  }

  /** Spans that the reader was too slow for. */
  get dropped(): number {
    return this.#printer.dropped;
  }

  async export(bytes: Uint8Array): Promise<ExportResult> {
    try {
      for (const span of scanTraces(bytes)) {
        if (this.#filter === null || this.#filter(toSpanFacts(span)))
          this.#printer.print([spanToJson(decodeScanned(span))]);
      }
      return EXPORTED;
    } catch (error) {
      return { kind: 'refused', code: 'undecodable', message: reasonOf(error) };
    }
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await this.#printer.flush(timeoutMs);
  }
}
