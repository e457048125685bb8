// Spans wait here a moment for the rest of their trace. Comes in: spans in order of completion, so children before
// parents and one process before another. Goes out: whole traces, as soon as no span came for a while, or too many wait.
// Bounded in traces and spans; at a bound the oldest trace goes out early. Nothing is lost; what comes later is marked
// as a continuation as long as the trace is remembered.

export interface HoldOptions {
  /** Milliseconds without a further span after which a trace is complete; default 300. */
  readonly holdMs?: number;
  readonly maxTraces?: number;
  readonly maxSpans?: number;
  readonly maxSpansPerTrace?: number;
}

/** What has to be known of a span to hold it. */
export interface HeldSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly startUnixNs: bigint;
  readonly isConnect: boolean;
  readonly isFailed: boolean;
  /** Spans that this one points at, as `traceId/spanId`: the connect that it used. */
  readonly links: readonly string[];
}

export interface HeldTrace<Span extends HeldSpan> {
  readonly traceId: string;
  readonly spans: Span[];
  readonly isContinuation: boolean;
}

interface Waiting<Span extends HeldSpan> extends HeldTrace<Span> {
  readonly firstMs: number;
  lastMs: number;
}

/** A connect alone waits this long for the request that it was made for. */
const CONNECT_HOLD_MS = 1500;
/** Times holdMs after which a trace that never pauses goes out. */
const AGE_FACTOR = 10;
const REMEMBERED_MAX = 4096;

export class TraceHold<Span extends HeldSpan> {
  readonly #holdMs: number;
  readonly #maxTraces: number;
  readonly #maxSpans: number;
  readonly #maxSpansPerTrace: number;
  readonly #waiting = new Map<string, Waiting<Span>>();
  /** Connects that wait alone, by `traceId/spanId`: the request that used one takes it along. */
  readonly #connects = new Map<string, Waiting<Span>>();
  readonly #remembered = new Set<string>();
  /** The same in the order in which they will be forgotten: the oldest is at `#oldest`. */
  readonly #rememberedInTurn: string[] = [];
  #oldest = 0;
  #spanCount = 0;

  constructor(options: HoldOptions = {}) {
    this.#holdMs = options.holdMs ?? 300;
    this.#maxTraces = options.maxTraces ?? 2000;
    this.#maxSpans = options.maxSpans ?? 20_000;
    this.#maxSpansPerTrace = options.maxSpansPerTrace ?? 500;
  }

  get traceCount(): number {
    return this.#waiting.size;
  }

  get spanCount(): number {
    return this.#spanCount;
  }

  /** Takes a span; returns traces that have to make room. */
  add(span: Span, nowMs: number): HeldTrace<Span>[] {
    const trace = this.#waiting.get(span.traceId) ?? this.#open(span.traceId, nowMs);
    trace.spans.push(span);
    trace.lastMs = nowMs;
    this.#spanCount++;
    if (isLoneConnect(trace)) this.#connects.set(`${span.traceId}/${span.spanId}`, trace);
    for (const link of span.links) this.#adopt(trace, link);
    const out: HeldTrace<Span>[] = [];
    if (trace.spans.length >= this.#maxSpansPerTrace) out.push(this.#release(trace));
    while (this.#waiting.size > this.#maxTraces || this.#spanCount > this.#maxSpans) {
      out.push(this.#release(this.#waiting.values().next().value as Waiting<Span>));
    }
    return out;
  }

  /** Traces that are complete at `nowMs`, by start. */
  takeComplete(nowMs: number): HeldTrace<Span>[] {
    const out: HeldTrace<Span>[] = [];
    for (const trace of this.#waiting.values()) {
      const holdMs = isLoneConnect(trace) ? Math.max(this.#holdMs, CONNECT_HOLD_MS) : this.#holdMs;
      const isComplete = nowMs - trace.lastMs >= holdMs || nowMs - trace.firstMs >= AGE_FACTOR * holdMs;
      if (isComplete) out.push(this.#release(trace));
    }
    return out.sort(byStart);
  }

  /** Everything, by start: the agent ends. */
  takeAll(): HeldTrace<Span>[] {
    return [...this.#waiting.values()].map(trace => this.#release(trace)).sort(byStart);
  }

  #open(traceId: string, nowMs: number): Waiting<Span> {
    const isContinuation = this.#remembered.has(traceId);
    const trace: Waiting<Span> = { traceId, spans: [], isContinuation, firstMs: nowMs, lastMs: nowMs };
    this.#waiting.set(traceId, trace);
    return trace;
  }

  /** Moves a connect that waits alone to the trace whose span used it. */
  #adopt(trace: Waiting<Span>, link: string): void {
    const other = this.#connects.get(link);
    if (other === undefined || other === trace) return;
    trace.spans.push(...other.spans);
    this.#spanCount += other.spans.length;
    this.#release(other);
  }

  #release(trace: Waiting<Span>): HeldTrace<Span> {
    this.#waiting.delete(trace.traceId);
    this.#spanCount -= trace.spans.length;
    for (const span of trace.spans) if (span.isConnect) this.#connects.delete(`${span.traceId}/${span.spanId}`);
    this.#remember(trace.traceId);
    return trace;
  }

  #remember(traceId: string): void {
    if (this.#remembered.has(traceId)) return;
    const forgotten = this.#rememberedInTurn[this.#oldest];
    if (forgotten !== undefined) this.#remembered.delete(forgotten);
    this.#rememberedInTurn[this.#oldest] = traceId;
    this.#remembered.add(traceId);
    this.#oldest = (this.#oldest + 1) % REMEMBERED_MAX;
  }
}

/** A connect that succeeded and is all that is known of its trace: the request that it was made for is under way. */
function isLoneConnect(trace: Waiting<HeldSpan>): boolean {
  const only = trace.spans[0];
  return trace.spans.length === 1 && only !== undefined && only.isConnect && !only.isFailed;
}

function byStart(a: HeldTrace<HeldSpan>, b: HeldTrace<HeldSpan>): number {
  const difference = earliest(a) - earliest(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function earliest(trace: HeldTrace<HeldSpan>): bigint {
  let least = 1n << 64n;
  for (const span of trace.spans) if (span.startUnixNs < least) least = span.startUnixNs;
  return least;
}
