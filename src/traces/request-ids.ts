// `x-request-id` that requests brought into a process. A call of the same process with the very same id is for the request that
// brought it: the program hands it on, whatever queue, pool or thread the call went through. In: server exchanges with
// their id. Out: the one exchange of a process that brought an id; none if it has been brought by another one, too, since then
// any of them may be meant (a caller that asks for several things under one id), or if the request is over. Bounded: MAX_IDS,
// which also remember requests that are over; the oldest of these makes room, and where there is none nothing is noted.
import type { Exchange } from '../exchanges/exchange.js';

const MAX_IDS = 16384;
/** So many of the oldest are looked at for one that is over. */
const LOOKED_AT = 8;
/** Shorter ones are numbers or names, which come again. */
const MIN_LENGTH = 8;

/** Who brought it; null: the request is over, or there were several. */
interface Brought {
  request: Exchange | null;
}

export class RequestIds {
  readonly #byKey = new Map<string, Brought>();

  /** A server exchange came with its `requestId`. */
  add(exchange: Exchange): void {
    if (exchange.requestId.length < MIN_LENGTH) return;
    const key = keyOf(exchange);
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      known.request = null;
      return;
    }
    if (this.#byKey.size < MAX_IDS || this.#makeRoom()) this.#byKey.set(key, { request: exchange });
  }

  /** Requests that are not over become the youngest. */
  #makeRoom(): boolean {
    let looked = 0;
    for (const [key, brought] of this.#byKey) {
      this.#byKey.delete(key);
      if (brought.request === null) return true;
      this.#byKey.set(key, brought);
      if (++looked >= LOOKED_AT) return false;
    }
    return false;
  }

  /** The request that a call is for; null if its id does not tell. */
  find(call: Exchange): Exchange | null {
    if (this.#byKey.size === 0 || call.requestId.length < MIN_LENGTH) return null;
    return this.#byKey.get(keyOf(call))?.request ?? null;
  }

  /** The exchange is over. */
  remove(exchange: Exchange): void {
    if (exchange.requestId.length < MIN_LENGTH) return;
    const known = this.#byKey.get(keyOf(exchange));
    if (known?.request === exchange) known.request = null;
  }
}

function keyOf({ pid, requestId }: Exchange): string {
  return `${pid} ${requestId}`;
}
