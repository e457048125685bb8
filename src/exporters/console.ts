// The terminal view. Comes in: encoded spans. Goes out: a tree for each trace with the socket timeline of every span as a
// bar, or one JSON object a span. Left out, and told: what a person cannot read (console-limit.ts), what a slow terminal
// does not take (console-printer.ts), and, undecoded, what would cost the agent more time than a view is worth.
import { reasonOf } from '../errors.js';
import { decodeTraces } from '../otlp/decode.js';
import type { DecodedSpan } from '../otlp/decoded.js';
import { type HeldTrace, type HoldOptions, TraceHold } from './console-hold.js';
import { spanToJson, toSafeJson } from './console-json.js';
import { renderLegend } from './console-legend.js';
import { type LeftOut, LineLimit } from './console-limit.js';
import type { LineOutput } from './console-output.js';
import { LinePrinter } from './console-printer.js';
import { type SpanView, toSpanView } from './console-span.js';
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
  /** Spans a second that are decoded at most; default 5000. */
  readonly maxSpansPerSecond?: number;
  /** Milliseconds of a steady clock; for tests. */
  readonly nowMs?: () => number;
}

export interface ConsoleCounts {
  /** Spans that were taken in. */
  received: number;
  /** Not decoded: more came than a view is worth. */
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
export type SpanFilter = (span: SpanView) => boolean;

const TICK_MS = 100;

/** Spans as trees, for people. */
export class ConsoleTraceExporter implements Exporter {
  readonly name = 'console';
  readonly canBeAway = false;
  readonly counts: ConsoleCounts = { received: 0, skipped: 0, filtered: 0, leftOut: 0, dropped: 0, shown: 0 };
  readonly #style: Style;
  readonly #printer: LinePrinter;
  readonly #filter: SpanFilter | null;
  readonly #hold: TraceHold;
  readonly #limit: LineLimit;
  readonly #usual = new UsualDurations();
  readonly #slowness = new WeakMap<SpanView, number>();
  /** Traces of which a span passed the filter while it was held. */
  readonly #passed = new Set<string>();
  readonly #maxSpansPerSecond: number;
  readonly #nowMs: () => number;
  #decodeBudget: number;
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
    this.#maxSpansPerSecond = options.maxSpansPerSecond ?? 5000;
    this.#decodeBudget = this.#maxSpansPerSecond;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  async export(bytes: Uint8Array, itemCount: number): Promise<ExportResult> {
    this.counts.received += itemCount;
    const nowMs = this.#nowMs();
    if (!this.#mayDecode(itemCount, nowMs)) {
      this.counts.skipped += itemCount;
      this.#limit.skip(itemCount, nowMs);
      this.#startTicking();
      return EXPORTED;
    }
    try {
      this.show(decodeTraces(bytes));
      return EXPORTED;
    } catch (error) {
      return { kind: 'refused', code: 'undecodable', message: reasonOf(error) };
    }
  }

  /** Takes decoded spans; they are printed when their traces are complete. */
  show(spans: readonly DecodedSpan[]): void {
    const nowMs = this.#nowMs();
    for (const span of spans) {
      const view = toSpanView(span);
      this.#slowness.set(view, this.#usual.judge(view));
      if (this.#filter?.(view)) this.#passed.add(span.traceId);
      for (const trace of this.#hold.add(view, nowMs)) this.#printTrace(trace, nowMs);
    }
    this.#startTicking();
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

  #mayDecode(spans: number, nowMs: number): boolean {
    const earned = (Math.max(0, nowMs - this.#budgetMs) * this.#maxSpansPerSecond) / 1000;
    this.#decodeBudget = Math.min(this.#maxSpansPerSecond, this.#decodeBudget + earned);
    this.#budgetMs = nowMs;
    if (this.#decodeBudget < 1) return false;
    // May go below zero: a batch larger than the whole budget still shows something, the next ones pay for it.
    this.#decodeBudget -= spans;
    return true;
  }

  #printTrace(trace: HeldTrace, nowMs: number): void {
    const { spans } = trace;
    const hasPassed = this.#filter === null || spans.some(span => this.#passed.has(span.traceId));
    for (const span of spans) this.#passed.delete(span.traceId);
    if (!hasPassed) {
      this.counts.filtered += spans.length;
      return;
    }
    const isFailed = spans.some(span => span.isFailed);
    const isNotable = isFailed || spans.some(span => this.#slownessOf(span) > 0);
    if (!this.#limit.admit(spans.length, spans.length, isFailed, isNotable, nowMs)) {
      this.counts.leftOut += spans.length;
      return;
    }
    const lines = renderTrace(spans, {
      style: this.#style,
      width: this.#printer.columns,
      isContinuation: trace.isContinuation,
      slowness: span => this.#slownessOf(span),
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

  #slownessOf(span: SpanView): number {
    return this.#slowness.get(span) ?? 0;
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
  readonly #filter: SpanFilter;
  readonly #printer: LinePrinter;

  constructor(options: ConsoleJsonOptions) {
    this.#filter = options.filter ?? (() => true);
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
      this.show(decodeTraces(bytes));
      return EXPORTED;
    } catch (error) {
      return { kind: 'refused', code: 'undecodable', message: reasonOf(error) };
    }
  }

  show(spans: readonly DecodedSpan[]): void {
    for (const span of spans) if (this.#filter(toSpanView(span))) this.#printer.print([spanToJson(span)]);
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await this.#printer.flush(timeoutMs);
  }
}
