// Finished exchanges that may not leave yet: a server's waits for its client's record, which comes later when the client was
// preempted inside its write; all of a trace wait while its ids may still change. In: exchanges in order of their end. Out:
// the same, in that order but for those that wait for ids. Bounded: beyond MAX_HELD nothing waits.
import type { Exchange } from '../exchanges/exchange.js';

/** A server's span waits this long for its client's record. */
const CLIENT_NS = 30e6;
const MAX_HELD = 65536;

/** Handed out, and still at the front of the line: so many are cut off at once. */
const CUT_AT = 1024;

export class HeldExchanges {
  /** Those that wait for their client, in the order of their end. Only the front is looked at, by the time alone. */
  readonly #forClient: Exchange[] = [];
  readonly #endsNs: number[] = [];
  #first = 0;
  #forIds: Exchange[] = [];

  get size(): number {
    return this.#forClient.length - this.#first + this.#forIds.length;
  }

  /** True if the exchange is kept here until a tick releases it. */
  hold(exchange: Exchange): boolean {
    if (this.size >= MAX_HELD) return false;
    if (waitsForClient(exchange)) {
      this.#forClient.push(exchange);
      this.#endsNs.push(exchange.endNs);
      return true;
    }
    if (!waitsForIds(exchange)) return false;
    this.#forIds.push(exchange);
    return true;
  }

  /** Hands out what has waited long enough. `nowNs` is boot-clock time. */
  release(nowNs: number, out: (exchange: Exchange) => void): void {
    this.#releaseIds(out);
    const dueNs = nowNs - CLIENT_NS;
    const ends = this.#endsNs;
    let first = this.#first;
    while (first < ends.length && (ends[first] as number) < dueNs) {
      const exchange = this.#forClient[first++] as Exchange;
      if (waitsForIds(exchange)) this.#forIds.push(exchange);
      else out(exchange);
    }
    this.#first = first;
    if (first >= CUT_AT || first === ends.length) this.#cut();
  }

  /** Everything, whatever it waits for. */
  releaseAll(out: (exchange: Exchange) => void): void {
    this.#cut();
    this.#endsNs.length = 0;
    for (const exchange of this.#forClient.splice(0)) out(exchange);
    for (const exchange of this.#forIds.splice(0)) out(exchange);
  }

  #releaseIds(out: (exchange: Exchange) => void): void {
    const held = this.#forIds;
    let kept = 0;
    for (const exchange of held) {
      if (waitsForIds(exchange)) held[kept++] = exchange;
      else out(exchange);
    }
    held.length = kept;
  }

  #cut(): void {
    this.#forClient.splice(0, this.#first);
    this.#endsNs.splice(0, this.#first);
    this.#first = 0;
  }
}

/** Its client was not found so far, and may still be. */
export function waitsForClient(exchange: Exchange): boolean {
  return exchange.clientSight !== null && exchange.parentEvidence !== 'sequence';
}

function waitsForIds(exchange: Exchange): boolean {
  return exchange.trace.waiting > 0;
}
