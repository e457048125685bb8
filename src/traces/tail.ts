// Traces that were not sampled and turn out to be worth it: a failed, slow or resent request keeps its trace, as far as this
// host has it. In: finished exchanges, in order of their end. Those of a trace that is not sampled wait until the request which
// all of them came from has ended, and then a while for the rest of the trace. Bounded: MAX_UNDECIDED wait, the oldest is decided
// early; kept traces are remembered for two to four waits, and as long as something of them is here.
import type { Exchange } from '../exchanges/exchange.js';
import type { TraceContext } from './context.js';

const MAX_UNDECIDED = 65536;
/** A request that lasts longer (a subscription, a tunnel) is not waited for. */
const MAX_REQUEST_NS = 60e9;
/** Those that wait for a request are looked at so many times in one wait. */
const LOOKS = 8;
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
  #undecided: Undecided[] = [];
  #decided = 0;
  /** Waited long enough, but for the request that they came from. */
  #ofRequests: Undecided[] = [];
  /** Of these, from the front, are out already. */
  #ofRequestsOut = 0;
  #nextLookNs = 0;

  constructor(options: TailOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#undecided.length - this.#decided + this.#ofRequests.length - this.#ofRequestsOut;
  }

  /** An exchange of a trace that is not sampled has ended: does it keep the trace? */
  note(exchange: Exchange): void {
    const cause = this.#causeOf(exchange);
    if (cause === null) return;
    this.found[cause]++;
    exchange.trace.isKept = true;
    if (this.#kept.size < MAX_KEPT) this.#kept.add(keyOf(exchange.trace));
  }

  isKept({ trace }: Exchange): boolean {
    if (trace.isKept) return true;
    if (this.#kept.size + this.#keptBefore.size === 0) return false;
    const key = keyOf(trace);
    return this.#kept.has(key) || this.#keptBefore.has(key);
  }

  /** Waits for the rest of its trace; what has no room any more comes out. `first`: first-request.ts. */
  hold(exchange: Exchange, first: Exchange, out: (exchange: Exchange) => void): void {
    this.#undecided.push(new Undecided(exchange, first));
    if (this.size > MAX_UNDECIDED) this.#next(out);
  }

  /** Hands out what has waited long enough: to be kept or not. */
  release(nowNs: number, out: (exchange: Exchange) => void): void {
    const { waitNs } = this.#options;
    while (this.#decided < this.#undecided.length) {
      const next = this.#undecided[this.#decided] as Undecided;
      if (next.exchange.endNs >= nowNs - waitNs) break;
      this.#decided++;
      if (next.isDue(nowNs, waitNs)) out(next.exchange);
      else this.#ofRequests.push(next);
    }
    if (nowNs >= this.#nextLookNs) this.#look(nowNs, out);
    if (nowNs >= this.#nextTurnNs) {
      this.#nextTurnNs = nowNs + 2 * waitNs;
      this.#keptBefore = this.#kept;
      this.#kept = new Set();
    }
    if (this.#decided < 1024 && this.#decided < this.#undecided.length) return;
    this.#undecided = this.#undecided.slice(this.#decided);
    this.#decided = 0;
  }

  releaseAll(out: (exchange: Exchange) => void): void {
    while (this.size > 0) this.#next(out);
  }

  #look(nowNs: number, out: (exchange: Exchange) => void): void {
    const { waitNs } = this.#options;
    this.#nextLookNs = nowNs + waitNs / LOOKS;
    const waiting = this.#ofRequests;
    let kept = 0;
    for (let at = this.#ofRequestsOut; at < waiting.length; at++) {
      const undecided = waiting[at] as Undecided;
      if (undecided.isDue(nowNs, waitNs)) out(undecided.exchange);
      else waiting[kept++] = undecided;
    }
    waiting.length = kept;
    this.#ofRequestsOut = 0;
  }

  /** The oldest one. */
  #next(out: (exchange: Exchange) => void): void {
    const isOfRequest = this.#ofRequestsOut < this.#ofRequests.length;
    const next = isOfRequest ? this.#ofRequests[this.#ofRequestsOut++] : this.#undecided[this.#decided++];
    out((next as Undecided).exchange);
  }

  #causeOf(exchange: Exchange): TailCause | null {
    const { isError, slowNs, keepsResent } = this.#options;
    if (isError?.(exchange) === true) return 'error';
    if (slowNs > 0 && exchange.endNs - exchange.startNs >= slowNs) return 'slow';
    return keepsResent && exchange.retransmits > 0 ? 'resent' : null;
  }
}

class Undecided {
  readonly exchange: Exchange;
  /** The first request of its trace on this host, as far as that is known; itself if it is that. */
  readonly #first: Exchange;

  constructor(exchange: Exchange, first: Exchange) {
    this.exchange = exchange;
    this.#first = first;
  }

  isDue(nowNs: number, waitNs: number): boolean {
    const { endNs } = this.exchange;
    if (nowNs - endNs > Math.max(MAX_REQUEST_NS, waitNs)) return true;
    return !this.#first.isUnderWay && nowNs - Math.max(endNs, this.#first.endNs) > waitNs;
  }
}

function keyOf({ id0, id1, id2, id3 }: TraceContext): string {
  return `${id0} ${id1} ${id2} ${id3}`;
}
