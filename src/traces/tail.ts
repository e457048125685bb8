// Traces that were not sampled and turn out to be worth it: a failed, slow or resent request keeps its trace, as far as this
// host has it. In: finished exchanges, in order of their end. Those of a trace that is not sampled wait a while for the rest
// of it. Bounded: MAX_UNDECIDED wait, the oldest is decided early; kept traces are remembered for two to four waits.
import type { Exchange } from '../exchanges/exchange.js';
import type { TraceContext } from './context.js';

const MAX_UNDECIDED = 65536;
/** Kept traces that are remembered for one wait; beyond, the spans of a kept trace that come later are not. */
const MAX_KEPT = 65536;

export interface TailOptions {
  /** Whether a request failed; null: failures keep nothing. */
  readonly isError: ((exchange: Exchange) => boolean) | null;
  /** 0: no duration keeps anything. */
  readonly slowNs: number;
  readonly keepsResent: boolean;
  /** How long the exchanges of a trace wait for the others. */
  readonly waitNs: number;
}

export const TAIL_CAUSES = ['error', 'slow', 'resent'] as const;
type TailCause = (typeof TAIL_CAUSES)[number];

export class TailSampling {
  /** Exchanges that kept their trace, by the first reason that held. */
  readonly found: Record<TailCause, number> = { error: 0, slow: 0, resent: 0 };
  readonly #options: TailOptions;
  /** Ids of traces that were kept in this wait and in the one before. */
  #kept = new Set<string>();
  #keptBefore = new Set<string>();
  #nextTurnNs = 0;
  #undecided: Exchange[] = [];
  #decided = 0;

  constructor(options: TailOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#undecided.length - this.#decided;
  }

  /** An exchange of a trace that is not sampled has ended: does it keep the trace? */
  note(exchange: Exchange): void {
    const cause = this.#causeOf(exchange);
    if (cause === null) return;
    this.found[cause]++;
    if (this.#kept.size < MAX_KEPT) this.#kept.add(keyOf(exchange.trace));
  }

  isKept({ trace }: Exchange): boolean {
    if (this.#kept.size + this.#keptBefore.size === 0) return false;
    const key = keyOf(trace);
    return this.#kept.has(key) || this.#keptBefore.has(key);
  }

  /** Waits for the rest of its trace; what has no room any more comes out. */
  hold(exchange: Exchange, out: (exchange: Exchange) => void): void {
    this.#undecided.push(exchange);
    if (this.size > MAX_UNDECIDED) this.#next(out);
  }

  /** Hands out what has waited long enough: to be kept or not. */
  release(nowNs: number, out: (exchange: Exchange) => void): void {
    const { waitNs } = this.#options;
    const untilNs = nowNs - waitNs;
    while (this.size > 0 && (this.#undecided[this.#decided] as Exchange).endNs < untilNs) this.#next(out);
    if (nowNs >= this.#nextTurnNs) {
      this.#nextTurnNs = nowNs + 2 * waitNs;
      this.#keptBefore = this.#kept;
      this.#kept = new Set();
    }
    if (this.#decided < 1024 && this.size > 0) return;
    this.#undecided = this.#undecided.slice(this.#decided);
    this.#decided = 0;
  }

  releaseAll(out: (exchange: Exchange) => void): void {
    while (this.size > 0) this.#next(out);
  }

  #next(out: (exchange: Exchange) => void): void {
    out(this.#undecided[this.#decided++] as Exchange);
  }

  #causeOf(exchange: Exchange): TailCause | null {
    const { isError, slowNs, keepsResent } = this.#options;
    if (isError?.(exchange) === true) return 'error';
    if (slowNs > 0 && exchange.endNs - exchange.startNs >= slowNs) return 'slow';
    return keepsResent && exchange.retransmits > 0 ? 'resent' : null;
  }
}

function keyOf({ id0, id1, id2, id3 }: TraceContext): string {
  return `${id0} ${id1} ${id2} ${id3}`;
}
