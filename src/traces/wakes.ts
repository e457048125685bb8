// Calls of threads of Java that another thread has set to work (bpf/java.h). In: such a call, with the request that this one is at if
// that is known; and which threads that serve requests, and wait, are woken because of its response. Out: the call is the request's if
// the one that serves it was woken, nobody else was, and that one had set the thread to work, or, if that is not known, began to wait
// when that was done; and if the program's calls have shown that responses wake those that have asked for them, or no other
// request is served and nothing speaks against it. Where permits or locks are waited for, or one call is made for several, others are woken.
// A call for which the request's own thread has taken the connection out of a pool is the request's if its response comes before that
// one's and wakes that thread; or, if that thread is known to wait for it, if nobody else is woken. One for which a thread of the client's
// has done so that was set to work is the request's of who had set it to work, if its response wakes that one's thread and nobody else's.
import type { Exchange } from '../exchanges/exchange.js';
import type { Askers } from './askers.js';
import type { Adopt } from './claims.js';

/** So long after the response somebody else may be woken because of it. */
const PROBATION_NS = 100e6;
/** A request that takes longer has no children of this kind. */
const WAIT_NS = 60e9;
const MAX_WAITING = 16384;
/** Calls of one request that become its children. */
const MAX_CALLS = 1024;
const MICROS = 4294967296;

/** What is known of one that waits. */
interface HandedCall {
  /** Who has set its thread to work, null: not known. */
  readonly asker: Exchange | null;
  readonly askers: Askers;
  /** The request whose thread was woken. */
  request: Exchange | null;
  isAskerWoken: boolean;
  isStray: boolean;
  /** That thread was not in its wait before the call was asked for, nor since before that was possible. */
  isInTime: boolean;
  /** When the request was first found to have been answered, or the call to be over; 0: not yet. */
  overNs: number;
}

export class Wakes {
  readonly #adopt: Adopt;
  readonly #calls = new Map<Exchange, HandedCall>();

  constructor(adopt: Adopt) {
    this.#adopt = adopt;
  }

  add(client: Exchange, askers: Askers): void {
    if (this.#calls.size >= MAX_WAITING) {
      this.#adopt(client, null, 'none');
      return;
    }
    client.trace.waiting++;
    this.#calls.set(client, {
      asker: client.cause,
      askers,
      request: null,
      isAskerWoken: false,
      isStray: false,
      isInTime: false,
      overNs: 0,
    });
  }

  /** A thread that serves `request` (null: which one is not known) has waited since `parkedNs`, and was woken because of the call's response. */
  onWoken(client: Exchange, request: Exchange | null, parkedNs: number, wokenNs: number): void {
    const call = this.#calls.get(client);
    if (call === undefined) return;
    if (request !== null && request === call.asker) call.isAskerWoken = true;
    if (request === null || (call.request !== null && call.request !== request)) {
      if (isOfTask(client) && !call.isStray) call.askers.noteWoken(false);
      call.isStray = true;
      return;
    }
    if (call.request !== null) return;
    call.request = request;
    call.overNs = 0;
    if (isOfTask(client) && request !== call.asker) call.askers.noteWoken(false);
    const { requestFirstNs } = client;
    const isAfter = requestFirstNs > request.requestTakenNs && requestFirstNs > wokenNs;
    const waitsSinceUs = (Math.floor(parkedNs / 1000) - client.askedFromUs) % MICROS;
    call.isInTime = isAfter && (call.asker !== null || (waitsSinceUs + MICROS) % MICROS < MICROS / 2);
  }

  settle(nowNs: number): void {
    if (this.#calls.size === 0) return;
    for (const [client, call] of this.#calls) {
      const request = call.request ?? call.asker;
      const isOver = request === null ? !client.isUnderWay : !request.isServing || request.isAnswering;
      if (call.overNs === 0 && isOver) call.overNs = nowNs;
      if (call.overNs > 0 && nowNs - call.overNs >= PROBATION_NS) this.#decide(client, call);
      else if (nowNs - client.requestFirstNs > WAIT_NS) this.#decide(client, call);
    }
  }

  /** The end of the input. */
  settleAll(): void {
    for (const [client, call] of this.#calls) this.#decide(client, call);
  }

  #decide(client: Exchange, call: HandedCall): void {
    this.#calls.delete(client);
    client.trace.waiting--;
    const { asker, askers, request, isStray, isInTime } = call;
    if (isOfTask(client)) {
      this.#decideOfTask(client, call);
      return;
    }
    if (!client.isAsked) askers.noteAwaited(request !== null);
    if (isStray || (asker !== null && request !== null)) askers.noteWoken(!isStray && request === asker && isInTime);
    if (client.isPassed) {
      const isAgreed = request !== null && request === asker && isInTime && !isStray && askers.wakeFirst;
      this.#settle(client, isAgreed && isAnsweredFirst(client, asker) ? asker : null);
      return;
    }
    if (client.isAsked) {
      const isOthers = !client.isAwaited || request !== null || isStray;
      const isIts = (call.isAskerWoken || !isOthers) && isAnsweredFirst(client, asker);
      this.#settle(client, isIts ? asker : null);
      return;
    }
    const isBelieved = client.isAlone ? !askers.areDoubted : askers.areWoken;
    const isKnown = isBelieved && (asker === null || asker === request);
    this.#settle(client, isKnown && isInTime && !isStray ? request : null);
  }

  #settle(client: Exchange, request: Exchange | null): void {
    const isIts = request?.isOneAtATime === true && (client.cause === request || request.callCount < MAX_CALLS);
    if (request === null || !isIts) {
      this.#adopt(client, null, 'none');
      return;
    }
    if (client.cause !== request) request.callCount++;
    client.cause = request;
    client.causeGrade = 'thread';
    this.#adopt(client, request, 'thread');
  }

  /** Both are known of a task. Where requests do each other's jobs, responses wake others than those that have asked, too. */
  #decideOfTask(client: Exchange, { asker, askers, request, isStray, isInTime }: HandedCall): void {
    const isIts = request !== null && request === asker && isInTime && !isStray;
    if (isIts) askers.noteWoken(true);
    const isBelieved = isIts && request.isOneAtATime && !askers.areDoubted;
    this.#adopt(client, isBelieved ? request : null, isBelieved ? 'task' : 'none');
  }
}

/** Of a task of tokio (bpf/tokio.h), not of a thread of Java. */
function isOfTask({ causeGrade }: Exchange): boolean {
  return causeGrade === 'task';
}

/** Whoever waits for a call answers after that. */
function isAnsweredFirst(client: Exchange, request: Exchange | null): boolean {
  return client.responseTakenNs > 0 ? client.responseTakenNs < (request?.responseFirstNs ?? 0) : !client.isUnderWay;
}
