// Calls of an event loop of which the moment at which they were sent tells no more than whose they may be: another request, too, might
// have waited for that moment in a queue of the program. In: such a call, with the request that the loop was at; and what the loop
// was at when it gave the response to a request. Out: the call is the request's once the response is given because the call's own
// has been read, directly or by way of further calls; where others were served meanwhile, only if the program is not known to
// go on with one request when it has taken what another one has asked for, as those do that have queues.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';
import type { Burst, CallCount, ProcessWork } from './process-work.js';

/** What a call may be for. */
export interface Supposition {
  readonly request: Exchange;
  /** Nothing but the request's bytes had set the loop to work, which may have set others to work; else others may have put it off. */
  readonly isStraight: boolean;
  /** Somebody else may have made the call: not so if whoever is served has a call under way already. */
  readonly needsAnswer: boolean;
  /** It takes more to believe it than the response: nothing of other requests may have been put off. */
  readonly needsTrust: boolean;
  /** It may be the program's own, and as the only request is served, no response can show that. */
  readonly isNever: boolean;
  /** If the program makes calls of its own there later, it may have been the first one; null: that would say nothing. */
  readonly ownCallsTell: CallCount | null;
  /** Those that were sent with it; null: that would say nothing. */
  readonly burst: Burst | null;
}

interface SupposedCall extends OnProbation {
  readonly work: ProcessWork;
  readonly needsAnswer: boolean;
  readonly needsTrust: boolean;
  readonly isNever: boolean;
  readonly ownCallsTell: CallCount | null;
  readonly burst: Burst | null;
}

/** So long after the response it shows, with those that are given meanwhile, whether the program has queues. */
const PROBATION_NS = 100e6;
/** So long the first calls of a process wait until enough answers have shown that it has none. */
const PATIENCE_NS = 5e9;

export class Answers {
  readonly #calls: Probation<SupposedCall>;

  constructor(adopt: Adopt) {
    // Of several calls at once the last one's response leads to the answer: of the others it counts that they lead to no other one.
    const mayLead = ({ needsAnswer, burst }: SupposedCall): boolean => !needsAnswer || burst?.isAnswered === true;
    // While nobody else is served, and the program makes no calls of its own, nothing else can.
    const isKnown = ({ work, needsTrust, burst, ownCallsTell }: SupposedCall): boolean =>
      work.keepsApart || (!needsTrust && ownCallsTell !== null && burst?.isAnswered === true);
    const isAnswered = (call: SupposedCall): boolean =>
      call.client.isAnswered ||
      (mayLead(call) && isKnown(call) && call.work.hasAnswered(call.server, call.client.requestTakenNs));
    const isOwn = ({ isNever, ownCallsTell }: SupposedCall): boolean => isNever || ownCallsTell?.hasOwnCalls === true;
    const isIts = (call: SupposedCall): boolean =>
      !isOwn(call) && isAnswered(call) && (!call.needsTrust || call.client.isBetween || call.work.keepsApart);
    const mayBeYet = (call: SupposedCall): boolean =>
      !isOwn(call) &&
      (call.client.isAnswered || mayLead(call)) &&
      call.work.mayKeepApart &&
      (mayLead(call) || !call.work.keepsApart);
    this.#calls = new Probation({
      adopt,
      afterNs: PROBATION_NS,
      isIts,
      mayBeYet,
      patienceNs: PATIENCE_NS,
      nameOf: ({ pid }) => pid,
    });
  }

  add(client: Exchange, supposition: Supposition, work: ProcessWork): void {
    const { request, needsAnswer, needsTrust, isNever, ownCallsTell, burst } = supposition;
    client.causeGrade = 'slice';
    this.#calls.add({ client, server: request, work, needsAnswer, needsTrust, isNever, ownCallsTell, burst });
  }

  /** The response to `request` is given when the one to `call` has been read. */
  onAnswer(request: Exchange, call: Exchange, work: ProcessWork): void {
    let isNew = false;
    for (let one: Exchange | null = call; one !== null; one = one.after) {
      if (one.supposed?.request !== request || one.isAnswered) continue;
      one.isAnswered = true;
      if (one.supposed.burst !== null) one.supposed.burst.isAnswered = true;
      isNew = true;
    }
    if (isNew && work.serving > 1) work.noteApart();
  }

  /** The thread has done nothing but this between the request and its response: so it has asked for that, too. */
  onServed(request: Exchange, tid: number): void {
    for (let call = request.lastShared; call !== null; call = call.sharedBefore)
      if (call.tid === tid && call.responseTid === tid) call.isAnswered = call.isBetween = true;
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
