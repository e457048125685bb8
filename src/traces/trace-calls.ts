// Calls in the trace that one request brought into the process, with a span id that somebody in there made who tells no spans (.NET
// does so by itself, since 5; before, with a Request-Id): such a header goes with the work, from task to task and over threads. So
// the call is for that request; but what a request has started that outlives it, a worker for all, goes on in its trace as well.
// In: such a call, with the trace. Out: the request is its parent, unless calls come in that trace when it is over, until a moment
// after its response.
import type { Exchange } from '../exchanges/exchange.js';
import { type OnProbation, Probation } from './probation.js';
import type { BroughtTrace } from './received.js';

const PROBATION_NS = 100e6;

interface TraceCall extends OnProbation {
  readonly trace: BroughtTrace;
}

export class TraceCalls {
  readonly #calls: Probation<TraceCall>;

  constructor(adopt: (client: Exchange, server: Exchange | null) => void) {
    this.#calls = new Probation({
      adopt: (client, server) => adopt(client, server),
      afterNs: PROBATION_NS,
      isIts: ({ trace }) => !trace.hasLateCalls,
    });
  }

  add(client: Exchange, server: Exchange, trace: BroughtTrace): void {
    this.#calls.add({ client, server, trace });
  }

  settle(nowNs: number): void {
    this.#calls.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
  }
}
