// Calls of an event loop of which the moment at which they were sent tells no more than whose they may be: another request, too, might
// have waited for that moment in a queue of the program. In: such a call, with the request that the loop was at; and what the loop
// was at when it gave the response to a request. Out: the call is the request's once the response is given because the call's own
// has been read, directly or by way of further calls; where others were served meanwhile, only if the program is not known to
// go on with one request when it has taken what another one has asked for, as those do that have queues.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';
import type { ProcessWork } from './process-work.js';

/** What a call may be for. */
export interface Supposition {
  readonly request: Exchange;
  /** It takes more to believe it than the response: nothing of the program's may have been put off. */
  readonly needsTrust: boolean;
}

interface SupposedCall extends OnProbation {
  readonly work: ProcessWork;
  readonly needsTrust: boolean;
}

/** So long after the response it shows, with those that are given meanwhile, whether the program has queues. */
const PROBATION_NS = 100e6;

export class Answers {
  readonly #calls: Probation<SupposedCall>;

  constructor(adopt: Adopt) {
    const isIts = ({ client, work, needsTrust }: SupposedCall): boolean =>
      client.isAnswered && (!needsTrust || work.keepsApart);
    this.#calls = new Probation({ adopt, afterNs: PROBATION_NS, isIts, nameOf: ({ pid }) => pid });
  }

  add(client: Exchange, { request, needsTrust }: Supposition, work: ProcessWork): void {
    client.causeGrade = 'slice';
    this.#calls.add({ client, server: request, work, needsTrust });
  }

  /** The response to `request` is given when the one to `call` has been read. */
  onAnswer(request: Exchange, call: Exchange, work: ProcessWork): void {
    let isNew = false;
    for (let one: Exchange | null = call; one !== null; one = one.after) {
      if (one.supposed?.request !== request || one.isAnswered) continue;
      one.isAnswered = true;
      isNew = true;
    }
    if (isNew && work.serving > 1) work.noteApart();
  }

  /** A response is given when what was taken was another request's. */
  onStray({ pid }: Exchange, work: ProcessWork): void {
    work.noteStray();
    this.#calls.refuse(pid, pid);
  }

  settle(nowNs: number): void {
    this.#calls.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
  }
}
