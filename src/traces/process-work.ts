// The books of one process: which requests it is serving, which of them have called somebody and wait, how many calls are
// under way. They answer one question: may a request that is being served be waiting in a queue of the program (a pool of
// connections, a limit on calls)? If so, a call that is sent when another one's response has been read may be the waiting
// request's, and nothing that can be seen from outside tells whose it is.
//
// A queue that is not empty refills: as many calls as are allowed are under way. So there is none if every other request has
// a call under way, or if more calls have been under way at once than are now. The latter holds where calls are all that it
// limits: not of jobs that also sleep, or read a file, and then calls come of which nobody knows whose they are. The former holds
// where only requests wait: a program that calls for itself (a timer) may have such a call put off, too, and then both have to hold.
import type { Connection } from '../connections/connection.js';
import type { Exchange } from '../exchanges/exchange.js';
import { Askers } from './askers.js';
import type { Take } from './take.js';

/** So many calls in a row that may all have been for requests: to this peer the program makes none of its own any more. */
const OWN_CALLS_PAST = 4096;

/** Calls of a process, to one peer or to all. */
export class CallCount {
  /** Calls whose response has not ended. */
  underWay = 0;
  /** Calls whose response has not begun: of those it is certain that they are under way at once. */
  #unanswered = 0;
  /** The most that there have been of them. */
  peak = 0;
  /** Calls since the last one that was no request's. */
  #sinceOwn = OWN_CALLS_PAST;
  readonly askers: Askers;

  constructor(ofProcess: Askers | null) {
    this.askers = new Askers(ofProcess);
  }

  note(isOwn: boolean): void {
    this.#sinceOwn = isOwn ? 0 : this.#sinceOwn + 1;
  }

  /** The program calls there for itself, too. */
  get hasOwnCalls(): boolean {
    return this.#sinceOwn < OWN_CALLS_PAST;
  }

  begin(): void {
    this.underWay++;
    if (++this.#unanswered > this.peak) this.peak = this.#unanswered;
  }

  respond(): void {
    this.#unanswered--;
  }

  end(): void {
    this.underWay--;
  }

  /** One call more than now would still be fewer than there have been: nothing holds calls back. */
  get isBelowPeak(): boolean {
    return this.underWay + 1 < this.peak;
  }
}

/** Calls that immediates of Node.js send which were made amid one take. */
export class Burst {
  readonly request: Exchange;
  readonly #slot: number;
  readonly #generation: number;
  readonly #seq: number;
  /** When the response to one of them was read, the request's was given. */
  isAnswered = false;

  constructor(request: Exchange, { slot, generation, seq }: Take) {
    this.request = request;
    this.#slot = slot;
    this.#generation = generation;
    this.#seq = seq;
  }

  isOf(request: Exchange, { slot, generation, seq }: Take): boolean {
    return this.request === request && this.#slot === slot && this.#generation === generation && this.#seq === seq;
  }
}

export class ProcessWork {
  /** Requests being served. */
  serving = 0;
  /** Those of them that have no response yet, in the order in which they came; kept where requests may wait for each other (mayMeet). */
  readonly #unanswered = new Set<Exchange>();
  /** Of those: nothing sent yet, nobody called that has not responded. */
  idle = 0;
  /** How long nobody was served since the last call of the program's own, and since when nobody is; 0: not known. */
  #idleNs = 0;
  #idleSinceNs = 0;
  /** Its loops are watched: what is said of calls is certain. */
  isWatched = false;
  /** A request has called several at once: one that waits for a call may still have another one queued. */
  #hasParallelCalls = false;
  readonly #calls = new CallCount(null);
  readonly #peers = new Map<string, CallCount>();
  /** A thread gave the response to one request while it was serving another: its threads tell nothing. */
  isInterleaved = false;
  /** Its runtime runs many tasks on few threads; null: not asked yet. */
  isMultiplexed: boolean | null = null;
  /** It takes the next request only when it has answered the last one; null: not asked yet. */
  isSerial: boolean | null = null;
  /** What its threads call for nobody that is known, they may call for others; null: not asked yet. */
  mayHandOver: boolean | null = null;
  /** Its program may let a request wait for the next one, and go on when that comes; null: not asked yet. */
  mayMeet: boolean | null = null;
  /** Threads take each other's connections over: what one did last says nothing of what it does next. */
  isMigrating = false;
  /** The thread that took a request first, and how many were taken by the thread that its connection was taken by before. */
  firstTid = 0;
  hasManyTakers = false;
  pinned = 0;
  /** A call of it has no parent that is known. */
  hasOrphans = false;
  /** Calls since the last such one. */
  #sinceOrphan = 0;
  /** It was said that its threads or tasks hand requests to each other. */
  isHandingOver = false;
  /** Requests, and calls while some were being served that are known to be for none of them. */
  #served = 0;
  #orphans = 0;
  #doubts = 0;
  #isDoubted = false;
  /** Responses, since the last stray one, that showed whose calls were while others were served. */
  #apart = 0;
  /** Calls under way that are only supposed to be for a request, which may be idle all the same. */
  readonly #supposed = new Map<Exchange, number>();
  #lastBurst: Burst | null = null;
  /** How goroutines were started that have called for one whose request had been answered: they serve several. */
  readonly workers = new Set<number>();
  /** By how they were started: calls since the last one that may have been for another request. */
  readonly #kept = new Map<number, number>();

  /** Calls to the peer of that connection. */
  peerOf(connection: Connection): CallCount {
    connection.peerCalls ??= this.#peerAt(`${connection.peer.remoteAddress}:${connection.peer.remotePort}`);
    return connection.peerCalls;
  }

  #peerAt(key: string): CallCount {
    let count = this.#peers.get(key);
    if (count === undefined) {
      if (this.#peers.size >= MAX_PEERS) return this.#calls;
      count = new CallCount(this.#calls.askers);
      this.#peers.set(key, count);
    }
    return count;
  }

  /** From now on. What was put down to requests before may have been a timer's. */
  watch(): void {
    if (this.isWatched) return;
    this.isWatched = true;
    this.#hasParallelCalls = false;
  }

  /**
   * A goroutine that is at no request has called. True, once, where that cannot be but a few calls of the program's own:
   * requests are handed over.
   */
  orphaned(): boolean {
    if (this.serving === 0 || this.isHandingOver) return false;
    this.#orphans++;
    this.isHandingOver = this.#orphans >= ORPHANS_MIN && this.#orphans * ORPHANS_SHARE >= this.#served;
    return this.isHandingOver;
  }

  /** A call that may have been a request's has no parent. True, once, where that is not rare. */
  doubted(): boolean {
    if (this.#isDoubted) return false;
    this.#doubts++;
    this.#isDoubted = this.#doubts >= ORPHANS_MIN && this.#doubts * ORPHANS_SHARE >= this.#served;
    return this.#isDoubted;
  }

  noteApart(): void {
    this.#apart++;
  }

  noteStray(): void {
    this.#apart = -APART_AGAIN;
  }

  /** It goes on with one request when it has taken what another one has asked for: not that one would know. */
  get keepsApart(): boolean {
    return this.#apart >= APART_MIN;
  }

  /** Nothing speaks against it so far. */
  get mayKeepApart(): boolean {
    return this.#apart >= 0;
  }

  /**
   * It was without a request for so long since it last called for itself that what its timers do is no call: whatever they are
   * for would have shown then.
   */
  get hasTamedTimers(): boolean {
    return this.#idleNs >= TAMED_IDLE_NS;
  }

  addWorker(start: number): void {
    if (this.workers.size < MAX_WORKERS) this.workers.add(start);
  }

  /** A goroutine that was started so for one request has called, and nothing came of that to another one, which would have shown. */
  noteKept(start: number): void {
    this.#countKept(start, (this.#kept.get(start) ?? 0) + 1);
  }

  /** Something came to another one. */
  noteSpread(start: number): void {
    this.#countKept(start, -KEPT_AGAIN);
  }

  /** It took too long to show. */
  noteUnproven(start: number): void {
    if (this.mayKeep(start)) this.#countKept(start, UNPROVEN);
  }

  /** Goroutines that are started so call for the request that they were started for. */
  keepsTo(start: number): boolean {
    return (this.#kept.get(start) ?? 0) >= KEPT_MIN;
  }

  /** Some that were started so did things for others, lately. */
  hasSpread(start: number): boolean {
    return (this.#kept.get(start) ?? 0) < UNPROVEN;
  }

  /** That may still show soon. */
  mayKeep(start: number): boolean {
    return (this.#kept.get(start) ?? 0) >= 0;
  }

  #countKept(start: number, count: number): void {
    if (this.#kept.size < MAX_WORKERS || this.#kept.has(start)) this.#kept.set(start, count);
  }

  /** A request is being served from now on. */
  serve(request: Exchange): void {
    request.isServing = true;
    this.#served++;
    if (this.serving === 0 && this.#idleSinceNs > 0)
      this.#idleNs += Math.max(0, request.requestTakenNs - this.#idleSinceNs);
    this.serving++;
    this.idle++;
    if (this.mayMeet === true) this.#unanswered.add(request);
  }

  /** Its response has begun. */
  answer(request: Exchange): void {
    if (!request.isServing || request.isAnswering) return;
    request.isAnswering = true;
    if (this.mayMeet === true) this.#unanswered.delete(request);
    if (request.calls === 0) this.idle--;
  }

  /** It is over. */
  served(request: Exchange): void {
    if (!request.isServing) return;
    if (this.#lastBurst?.request === request) this.#lastBurst = null;
    this.#supposed.delete(request);
    this.answer(request);
    request.isServing = false;
    if (--this.serving === 0) this.#idleSinceNs = request.responseLastNs;
  }

  /** A request's own call begins, or its connect. */
  engage(request: Exchange): void {
    if (request.calls++ > 0) this.#hasParallelCalls = true;
    else if (request.isServing && !request.isAnswering) this.idle--;
  }

  /** It has been responded to. */
  release(request: Exchange): void {
    if (--request.calls === 0 && request.isServing && !request.isAnswering) this.idle++;
  }

  /** A call begins that is only supposed to be for the request. */
  mayEngage(request: Exchange): void {
    if (request.isServing) this.#supposed.set(request, (this.#supposed.get(request) ?? 0) + 1);
  }

  mayRelease(request: Exchange): void {
    const count = this.#supposed.get(request) ?? 0;
    if (count > 1) this.#supposed.set(request, count - 1);
    else this.#supposed.delete(request);
  }

  /** A call is made: is it known whose, or sent when nothing but a request had set the loop to work? */
  noteCall(peer: CallCount, hasParent: boolean, isStraight = false): void {
    // Who calls after a pause of its own is idle until then.
    const isOwn = !hasParent && !isStraight && (this.serving === 0 || (this.idle === 0 && !this.#hasParallelCalls));
    peer.note(isOwn);
    if (isOwn) this.#idleNs = this.#idleSinceNs = 0;
    this.#sinceOrphan = hasParent ? this.#sinceOrphan + 1 : 0;
    if (!hasParent) this.hasOrphans = true;
  }

  callBegins(peer: CallCount): void {
    this.#calls.begin();
    if (peer !== this.#calls) peer.begin();
  }

  callResponds(peer: CallCount): void {
    this.#calls.respond();
    if (peer !== this.#calls) peer.respond();
  }

  callEnds(peer: CallCount): void {
    this.#calls.end();
    if (peer !== this.#calls) peer.end();
  }

  /** Whoever else is served has a call under way, and only one at a time. */
  isAlone(request: Exchange): boolean {
    return this.serving === 1 || (!this.hasIdleBeside(request) && !this.#hasParallelCalls);
  }

  /** Somebody else is served who has no call under way. */
  hasIdleBeside({ calls, isAnswering }: Exchange): boolean {
    return this.idle > (calls === 0 && !isAnswering ? 1 : 0);
  }

  /** One was served already when `request` came, and has no call under way, not even supposedly; or that would take too long to know. */
  hasIdleBefore(request: Exchange): boolean {
    if (this.mayMeet !== true) return this.serving > 1;
    let left = MAX_LOOKED_AT;
    for (const one of this.#unanswered) {
      if (one === request) return false;
      if ((one.calls === 0 && !this.#supposed.has(one)) || --left === 0) return true;
    }
    return true;
  }

  burstOf(request: Exchange, take: Take): Burst {
    // Immediates run in the order in which they were made.
    if (this.#lastBurst?.isOf(request, take) !== true) this.#lastBurst = new Burst(request, take);
    return this.#lastBurst as Burst;
  }

  /** Is nobody without a response who was served before `request`, and may have made a call at `ns`? */
  hasAnswered(request: Exchange, ns: number): boolean {
    for (const one of this.#unanswered) if (one !== request) return one.requestTakenNs > ns;
    return true;
  }

  /**
   * Nobody but `request` can be the one that calls `peer` now. `isResumed`: other work of the program's may be limited, too.
   * `isClear`: the program has not done anything for itself, by a timer, since its queues were empty.
   */
  isSole(request: Exchange, peer: CallCount, isResumed: boolean, isClear: boolean): boolean {
    const areOthersBusy = this.isAlone(request);
    const isUnlimited = this.#calls.isBelowPeak && peer.isBelowPeak;
    if (areOthersBusy && (isUnlimited || (isClear && !peer.hasOwnCalls))) return true;
    return isUnlimited && !isResumed && this.#sinceOrphan >= ORPHANS_PAST;
  }
}

/** Longer than the interval of most timers that call somebody (health checks, metrics, refreshed caches): five minutes. */
const TAMED_IDLE_NS = 300e9;
/** So many calls in a row that all had parents: there are no others. */
const ORPHANS_PAST = 256;
/** Peers that are counted one by one; more share the count of all. */
const MAX_PEERS = 256;
const MAX_WORKERS = 65536;
const MAX_LOOKED_AT = 256;
/** So many calls of goroutines show that they keep to the request that they were started for, and so many more after one that did not. */
const KEPT_MIN = 32;
const KEPT_AGAIN = 1024;
const UNPROVEN = -1;
/** So many responses show that a program has no queues, and so many more that it has them no longer. */
const APART_MIN = 32;
const APART_AGAIN = 1024;
/** Calls of nobody, one for so many requests at least. */
const ORPHANS_MIN = 4;
const ORPHANS_SHARE = 8;
