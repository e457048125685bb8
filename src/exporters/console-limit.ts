// How much a person can read: a budget of lines a second, with a second one for traces that failed or were slow, so that
// a flood of good requests does not wash the bad ones away. Comes in: traces that want to be printed. Lost: traces
// beyond the budget, whole; their number is told once a second.

export interface LimitOptions {
  /** Lines a second on average; default 40. 0: no limit. */
  readonly maxLinesPerSecond?: number;
}

const BURST_SECONDS = 2;
const REPORT_MS = 1000;

class Bucket {
  readonly #perMs: number;
  readonly #capacity: number;
  #tokens: number;
  #lastMs = 0;

  constructor(perSecond: number) {
    this.#perMs = perSecond / 1000;
    this.#capacity = perSecond * BURST_SECONDS;
    this.#tokens = this.#capacity;
  }

  /** A trace longer than what is left passes as long as anything is: long trees must not starve. */
  take(count: number, nowMs: number): boolean {
    this.#tokens = Math.min(this.#capacity, this.#tokens + Math.max(0, nowMs - this.#lastMs) * this.#perMs);
    this.#lastMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= count;
    return true;
  }
}

/** What was not printed since the last report. */
export interface LeftOut {
  readonly traces: number;
  readonly spans: number;
  readonly failed: number;
  readonly seconds: number;
}

export class LineLimit {
  readonly #isLimited: boolean;
  readonly #all: Bucket;
  readonly #notable: Bucket;
  #traces = 0;
  #spans = 0;
  #failed = 0;
  #sinceMs = 0;

  constructor(options: LimitOptions = {}) {
    const perSecond = options.maxLinesPerSecond ?? 40;
    this.#isLimited = perSecond > 0;
    this.#all = new Bucket(perSecond);
    this.#notable = new Bucket(Math.max(1, perSecond / 2));
  }

  /** May a trace of `lines` lines be printed? If not, it is counted. */
  admit(lines: number, spans: number, isFailed: boolean, isNotable: boolean, nowMs: number): boolean {
    if (!this.#isLimited || this.#all.take(lines, nowMs)) return true;
    if (isNotable && this.#notable.take(lines, nowMs)) return true;
    if (this.#traces === 0 && this.#spans === 0) this.#sinceMs = nowMs;
    this.#traces++;
    this.#spans += spans;
    if (isFailed) this.#failed++;
    return false;
  }

  /** Spans that were not even decoded. */
  skip(spans: number, nowMs: number): void {
    if (this.#traces === 0 && this.#spans === 0) this.#sinceMs = nowMs;
    this.#spans += spans;
  }

  /** Something was left out that no report has told yet. */
  get hasReport(): boolean {
    return this.#spans > 0;
  }

  /** What was left out, once a second or at once if `isLast`; null if there is nothing to say. */
  report(nowMs: number, isLast = false): LeftOut | null {
    if (this.#spans === 0 || (!isLast && nowMs - this.#sinceMs < REPORT_MS)) return null;
    const seconds = Math.max(0.1, (nowMs - this.#sinceMs) / 1000);
    const leftOut = { traces: this.#traces, spans: this.#spans, failed: this.#failed, seconds };
    this.#traces = 0;
    this.#spans = 0;
    this.#failed = 0;
    return leftOut;
  }
}
