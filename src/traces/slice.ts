// What an event loop is at when it sends or connects, by what its thread had taken last and what has happened since (the
// run-to-completion rule). ARCHITECTURE.md, "Parents inside a process", grades `slice` and `loop`.
import type { Connection } from '../connections/connection.js';
import type { Exchange } from '../exchanges/exchange.js';
import {
  CAUSE_CAME,
  CAUSE_DIRECT,
  CAUSE_ENDED,
  CAUSE_GUARDED,
  CAUSE_LOOPS,
  CAUSE_NEXT,
  CAUSE_ONCE,
  CAUSE_QUIET,
  CAUSE_RESUMED,
  CAUSE_SHARED,
  CAUSE_SOLE,
  CAUSE_TAKEN,
  CAUSE_WAITED,
  CAUSE_WOKEN,
} from '../records/records.gen.js';
import type { Supposition } from './answers.js';
import type { CallCount, ProcessWork } from './process-work.js';
import type { Take } from './take.js';
import type { Taken } from './taken.js';
import { MAX_CALLS } from './trace-limits.js';

/** Requests that a process of several loops has to take on the thread of the connection's last one, before its slices count. */
const PINNED_MIN = 32;
/** Nothing but the take can have set the thread to work. */
const CERTAIN = CAUSE_GUARDED | CAUSE_SOLE;
/** Of those: it is known what set it to work, and not whether other threads have, too. */
const SHARED = CAUSE_SHARED | CAUSE_GUARDED;
/** It is at something else than what it has taken. */
const TURNED = CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED;
/** What is sent was made when the loop was at that: it cannot have been put off before. */
const MADE = CAUSE_RESUMED | CAUSE_SOLE;
/** The same, by an immediate (Node.js): it runs once, */
const IMMEDIATE = MADE | CAUSE_ONCE | CAUSE_GUARDED;
/** and right after the loop was at that. */
const IMMEDIATE_NEXT = IMMEDIATE | CAUSE_NEXT;
/** A response was taken when the loop had turned to nothing else since it had asked for it. */
const DIRECT = CAUSE_DIRECT | CAUSE_GUARDED;
/** A loop that is watched has taken something. */
const WATCHED = CAUSE_LOOPS | CAUSE_TAKEN | CAUSE_GUARDED;

export class Slice {
  /** The request that it is at; null if that is not certain, or may be another one. */
  request: Exchange | null = null;
  /** The loop was watched, or had nothing else to do; but for what other threads may have given to it. */
  isCertain = false;
  isShared = false;
  /** Exchange.isStraight, .isClear, .supposed, .after and .amid of what is sent. */
  isStraight = false;
  isClear = false;
  supposed: Supposition | null = null;
  after: Exchange | null = null;
  amid: Exchange | null = null;

  /** The request that is not idle while that is under way. */
  get caller(): Exchange | null {
    return this.request ?? (this.supposed?.isStraight === true ? this.supposed.request : null);
  }

  clear(): void {
    this.request = this.supposed = this.after = this.amid = null;
    this.isCertain = this.isShared = this.isStraight = this.isClear = false;
  }

  /** The program says itself which one it is. */
  told(request: Exchange | null): void {
    this.clear();
    this.request = request;
    this.isCertain = request !== null;
  }

  /** For a connection that is being opened: if it is not known for whom, nothing is certain of what is sent on it first. */
  readConnect(take: Take, connection: Connection, work: ProcessWork, taken: Taken): void {
    this.read(take, connection, work, taken);
    if (this.request === null) this.isCertain = this.isShared = this.isStraight = this.isClear = false;
  }

  /** Whatever the loop's thread has taken last, it is still at that: what it writes on `connection` for. */
  read(take: Take, connection: Connection, work: ProcessWork, taken: Taken): void {
    const { flags } = take;
    this.clear();
    this.isCertain = (flags & CERTAIN) !== 0;
    this.isShared = isShared(take);
    if ((flags & CAUSE_LOOPS) === 0 || (flags & CAUSE_TAKEN) === 0) return;
    if ((flags & (TURNED | CAUSE_CAME)) !== 0) return;
    if (work.isMigrating || (work.hasManyTakers && work.pinned < PINNED_MIN)) return;
    const peerCalls = work.peerOf(connection);
    let request = taken.requestOf(take);
    if (request !== null) {
      this.isStraight = isNext(flags);
      this.isClear = true;
    } else {
      request = this.#afterCall(take, taken.callOf(take), peerCalls, work);
      if (request === null) return;
    }
    if (this.#isAt(request, flags, peerCalls, work)) this.request = request;
    else this.#suppose(request, take, peerCalls, work);
  }

  /** The request whose call's response it has taken. */
  #afterCall(take: Take, call: Exchange | null, peerCalls: CallCount, work: ProcessWork): Exchange | null {
    const { flags } = take;
    // The program's queues were empty when that call was sent, and its timers have not run since.
    const isQuiet = (flags & CAUSE_QUIET) !== 0 || (flags & CAUSE_GUARDED) === 0;
    this.isClear = (flags & MADE) === MADE || (call?.isClear === true && isQuiet);
    if (call === null) return null;
    // Else what a loop calls for itself, one after the other, would hang together for ever.
    if (isForOpen(call)) this.after = call;
    if (call.cause === null) this.#suppose(call.supposed?.request ?? null, take, peerCalls, work);
    this.amid = requestAt(call);
    const request = call.cause;
    if (request === null || !request.isServing || call.causeGrade === 'thread') return null;
    if (call.causeGrade === 'task' && call.loopCause === null) return null;
    // Whose it is, is no better known than whose that one was.
    if (call.isShared) this.isShared = true;
    else if (call.causeGrade === 'loop') this.isCertain = false;
    this.isStraight = isNext(flags) && call.isStraight && call.loopCause === request && (flags & DIRECT) === DIRECT;
    return request;
  }

  /** Is what is sent for that request, whatever else may wait in the program? */
  #isAt(request: Exchange, flags: number, peerCalls: CallCount, work: ProcessWork): boolean {
    // What was taken may have set to work who waits in the program for whatever comes (a rendezvous).
    const isResumed = (flags & CAUSE_RESUMED) !== 0;
    if (this.isStraight && !isResumed) return work.mayMeet !== true || work.isAlone(request);
    // An immediate may do what others have put off until then: not those of requests that are not there, nor calls of its own that the
    // program does not make.
    if (this.isStraight)
      return (flags & IMMEDIATE_NEXT) === IMMEDIATE_NEXT && work.serving === 1 && !peerCalls.hasOwnCalls;
    // What was made for a request may be for all who come later, too: an interval.
    const isMade = isResumed && (flags & (CAUSE_SOLE | CAUSE_DIRECT)) !== 0;
    return !isMade && work.isSole(request, peerCalls, isResumed, this.isClear);
  }

  /** The loop is at this request, and may send what another one, or the program itself, has put off. */
  #suppose(request: Exchange | null, take: Take, peerCalls: CallCount, work: ProcessWork): void {
    const { flags } = take;
    if (request === null || !request.isServing || request.isAnswering || (flags & CAUSE_GUARDED) === 0) return;
    if (request.callCount >= MAX_CALLS) return;
    const isMade = (flags & MADE) === MADE;
    const mayBeOwn = !isMade && (peerCalls.hasOwnCalls || (!this.isClear && !work.hasTamedTimers));
    const isImmediate = (flags & IMMEDIATE) === IMMEDIATE;
    this.supposed = {
      request,
      isStraight: this.isStraight,
      needsAnswer: !this.isStraight || work.hasIdleBeside(request),
      needsTrust: work.serving > 1,
      isNever: mayBeOwn && work.serving === 1,
      // What the first request has set going may be an interval, which calls again when that is over.
      ownCallsTell: isMade && work.serving === 1 && !peerCalls.hasOwnCalls ? peerCalls : null,
      burst: isImmediate && !work.hasIdleBefore(request) ? work.burstOf(request, take) : null,
    };
  }
}

/** What is sent, is it sent amid what the loop has taken, or by what was made amid that, and runs but once? */
function isNext(flags: number): boolean {
  return (flags & CAUSE_RESUMED) === 0 || (flags & IMMEDIATE) === IMMEDIATE;
}

/** Is it known what set the loop to work, and not whether other threads have, too? */
export function isShared({ flags }: Take): boolean {
  return (flags & SHARED) === CAUSE_SHARED;
}

/** Is the loop still at what it has taken, as far as that can be known of it? */
export function isStillAt(take: Take): boolean {
  const isKnown = (take.flags & WATCHED) === WATCHED || isShared(take);
  return isKnown && (take.flags & TURNED) === 0;
}

/** The request that the loop is at when it has taken the response of this call. */
export function requestAt({ cause, supposed, amid }: Exchange): Exchange | null {
  return cause ?? supposed?.request ?? amid;
}

/** Is it for a request that is being served? */
export function isForOpen({ cause, supposed }: Exchange): boolean {
  return (cause ?? supposed?.request)?.isServing === true;
}
