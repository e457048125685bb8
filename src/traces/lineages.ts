// Calls of goroutines that were started for a request. Such a goroutine may also be a worker that goes on to serve others: it
// then calls, sooner or later, when the request that it was started for has been answered, and no call of goroutines that
// were started that way is trusted any more.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';
import type { ProcessWork } from './process-work.js';

const PROBATION_NS = 30e6;

interface StartedCall extends OnProbation {
  readonly work: ProcessWork;
  readonly start: number;
}

export class Lineages {
  readonly #calls: Probation<StartedCall>;

  constructor(adopt: Adopt) {
    const isIts = ({ work, start }: StartedCall): boolean => !work.workers.has(start);
    this.#calls = new Probation({ adopt, afterNs: PROBATION_NS, isIts });
  }

  /** @param start names how the goroutine was started */
  add(client: Exchange, server: Exchange, work: ProcessWork, start: number): void {
    this.#calls.add({ client, server, work, start });
  }

  settle(nowNs: number): void {
    this.#calls.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
  }
}
