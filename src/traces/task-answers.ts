// Calls of tasks that have given the response. Such a task may also be one that collects requests, calls for all of them and then
// answers all of them: it then answers, right after, on another request's connection, and nothing that it called is known to be
// for the one or the other. In: calls that have been granted. Out: they are the request's, unless that happens in a moment.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';

const PROBATION_NS = 100e6;

export class TaskAnswers {
  readonly #calls: Probation<OnProbation>;

  constructor(adopt: Adopt) {
    this.#calls = new Probation({ adopt, afterNs: PROBATION_NS, isIts: () => true, nameOf: ({ start }) => start });
  }

  add(client: Exchange, server: Exchange): void {
    this.#calls.add({ client, server });
  }

  /** The task answers somebody else, too. @param start names the first one at its request */
  onStrayed(pid: number, start: number): void {
    this.#calls.refuse(pid, start);
  }

  settle(nowNs: number): void {
    this.#calls.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
  }
}
