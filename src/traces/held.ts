// Finished exchanges that may not leave yet: a server's waits for its client's record, which comes later when the client was
// preempted inside its write; all of a trace wait while its ids may still change. In: exchanges in order of their end. Out:
// the same, in that order but for those that wait longer. Bounded: beyond MAX_HELD nothing waits.
import { type Exchange, KIND_SERVER } from '../exchanges/exchange.js';

/** A server's span waits this long for its client's record. */
const CLIENT_NS = 30e6;
const MAX_HELD = 65536;

export class HeldExchanges {
  #held: Exchange[] = [];

  get size(): number {
    return this.#held.length;
  }

  /** True if the exchange is kept here until a tick releases it. */
  hold(exchange: Exchange): boolean {
    if (this.#held.length >= MAX_HELD || !(waitsForClient(exchange) || waitsForIds(exchange))) return false;
    this.#held.push(exchange);
    return true;
  }

  /** Hands out what has waited long enough. `nowNs` is boot-clock time. */
  release(nowNs: number, out: (exchange: Exchange) => void): void {
    const held = this.#held;
    let kept = 0;
    for (const exchange of held) {
      const mayCome = waitsForClient(exchange) && exchange.endNs >= nowNs - CLIENT_NS;
      if (mayCome || waitsForIds(exchange)) held[kept++] = exchange;
      else out(exchange);
    }
    held.length = kept;
  }

  /** Everything, whatever it waits for. */
  releaseAll(out: (exchange: Exchange) => void): void {
    for (const exchange of this.#held.splice(0)) out(exchange);
  }
}

function waitsForClient(exchange: Exchange): boolean {
  return exchange.kind === KIND_SERVER && exchange.parentEvidence !== 'sequence';
}

function waitsForIds(exchange: Exchange): boolean {
  return exchange.trace.waiting > 0;
}
