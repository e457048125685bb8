// No trace grows for ever, and none bites its own tail: a trace id that comes with requests again and again (a client that made
// its header once and for all, a job that never ends) is taken over only so many times and for so long; requests that cause
// each other without an end (a cycle of services) do so in one trace only as many times and for as long. In: ids from headers
// and other hosts, with the time; calls and the requests that caused them. Out: whether they may still be joined. Bounded: a table of fixed size, in which a trace takes the place of another one at times, and
// is then counted anew.
import type { Exchange } from '../exchanges/exchange.js';
import type { TraceContext } from './context.js';

/** Calls of one request that become its children: a request that lasts for ever (a subscription) makes no endless trace. */
export const MAX_CALLS = 1024;
const SLOTS = 8192;
/** Spans above a span that are on this host and have not left. */
const DEPTH_MAX = 1024;

class Count {
  id0 = 0;
  id1 = 0;
  id2 = 0;
  id3 = 0;
  requests = 0;
  firstNs = 0;
}

export interface TraceLimitOptions {
  /** Requests on this host that one trace id is taken over for. */
  readonly maxRequests: number;
  readonly maxAgeNs: number;
}

export class TraceLimits {
  /** Requests that began a trace of their own because of a limit. */
  refused = 0;
  readonly #options: TraceLimitOptions;
  readonly #counts = Array.from({ length: SLOTS }, () => new Count());

  constructor(options: TraceLimitOptions) {
    this.#options = options;
  }

  /** A request comes with this context. */
  admits({ id0, id1, id2, id3 }: Pick<TraceContext, 'id0' | 'id1' | 'id2' | 'id3'>, nowNs: number): boolean {
    const count = this.#counts[(id2 ^ id3 ^ (id0 << 1)) & (SLOTS - 1)] as Count;
    if (count.id0 !== id0 || count.id1 !== id1 || count.id2 !== id2 || count.id3 !== id3) {
      Object.assign(count, { id0, id1, id2, id3, requests: 0, firstNs: nowNs });
    }
    count.requests++;
    const { maxRequests, maxAgeNs } = this.#options;
    if (count.requests <= maxRequests && nowNs - count.firstNs <= maxAgeNs) return true;
    this.refused++;
    return false;
  }

  /** A call would become the child of a request on this host. */
  admitsCall(call: Exchange, request: Exchange): boolean {
    const { maxRequests, maxAgeNs } = this.#options;
    const { calls, sinceNs } = request.trace;
    const isGrown = calls + call.trace.calls >= maxRequests || call.requestTakenNs - sinceNs > maxAgeNs;
    if (!isGrown && !isBelow(request, call)) return true;
    this.refused++;
    return false;
  }
}

/** Is the call among those that the request came from? */
function isBelow(request: Exchange, call: Exchange): boolean {
  let above: Exchange | null = request;
  for (let steps = 0; above !== null && steps < DEPTH_MAX; steps++) {
    if (above === call) return true;
    above = above.parentExchange;
  }
  return above !== null;
}
