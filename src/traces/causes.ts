// Inside a process: which request was being served when another one was sent? In: exchanges as they begin, are responded to
// and end, and with each write what its thread had taken last (bpf/cause.h). Out: the parent of a client exchange, with the
// grade of its evidence, or none: where two parents are possible, no parent is set. ARCHITECTURE.md, "Parents inside a
// process", says what each grade rests on and what counts against it.
import type { Connection } from '../connections/connection.js';
import { type CauseGrade, type Exchange, KIND_CLIENT, KIND_SERVER } from '../exchanges/exchange.js';
import {
  CAUSE_CAME,
  CAUSE_DIRECT,
  CAUSE_ENDED,
  CAUSE_GUARDED,
  CAUSE_INHERITED,
  CAUSE_ITEM,
  CAUSE_LOOPS,
  CAUSE_QUIET,
  CAUSE_RESUMED,
  CAUSE_ROUTINE,
  CAUSE_SHARED,
  CAUSE_SOLE,
  CAUSE_START_SHIFT,
  CAUSE_STRAYED,
  CAUSE_TAKEN,
  CAUSE_TASK,
  CAUSE_TOLD,
  CAUSE_WAITED,
  CAUSE_WOKEN,
  type ConnectionOpenedEventCursor,
  type DataEventCursor,
  DIRECTION_INGRESS,
  type WakeEventCursor,
  WORK_RETURNED,
  type WorkEventCursor,
} from '../records/records.gen.js';
import { Answers, type Supposition } from './answers.js';
import { Claims } from './claims.js';
import { HandOvers } from './hand-overs.js';
import { Lineages } from './lineages.js';
import { type CallCount, ProcessWork } from './process-work.js';
import { Take } from './take.js';
import { TaskAnswers } from './task-answers.js';
import type { TraceLimits } from './trace-limits.js';
import { Wakes } from './wakes.js';

/** From the strongest to the weakest. */
export const CAUSE_GRADES: readonly CauseGrade[] = ['goroutine', 'task', 'fork', 'thread', 'slice', 'loop'];
/** The weakest grade that makes a parent; `none`: none does. */
export type CauseThreshold = CauseGrade | 'none';

export interface CausesOptions {
  readonly threshold: CauseThreshold;
  readonly limits: TraceLimits;
  readonly find: (slot: number, generation: number) => Connection | null;
  /** Does the program run many tasks on few threads? Then a thread tells nothing. */
  readonly isMultiplexed: (exchange: Exchange) => boolean;
  /** Does its loop run a program that may let a request wait for the next one, and go on when that comes (a rendezvous)? */
  readonly mayMeet?: ((exchange: Exchange) => boolean) | undefined;
  /** Is it of a runtime whose calls that are nobody's are made by threads of its own for others? */
  readonly mayHandOver?: ((exchange: Exchange) => boolean) | undefined;
  /**
   * The threads or tasks of a process hand requests to each other in a way that is not seen so far; `isSure`: else that may be,
   * for many of its calls are not known to be for the request that it is at.
   */
  readonly onHandOver?: ((pid: number, isSure: boolean) => void) | undefined;
}

/** Requests that a process of several loops has to take on the thread of the connection's last one, before its slices count. */
const PINNED_MIN = 32;
/** Of a loop's slice: nothing but the take can have set the thread to work. */
const CAUSE_CERTAIN = CAUSE_GUARDED | CAUSE_SOLE;
/** Of those: it is known what set it to work, and not whether other threads have, too. */
const SHARED = CAUSE_SHARED | CAUSE_GUARDED;
/** Of a thread that another one has set to work. */
const HANDED = CAUSE_CAME | CAUSE_INHERITED;
/** Of one that runs tasks of tokio. */
const TOKIO = CAUSE_TASK | CAUSE_CAME;
const LOOP_AT = CAUSE_LOOPS | CAUSE_TAKEN | CAUSE_GUARDED;
/** What is sent was made when the loop was at that: it cannot have been put off before. */
const MADE = CAUSE_RESUMED | CAUSE_SOLE;
/** A response was taken when the loop had turned to nothing else since it had asked for it. */
const DIRECT = CAUSE_DIRECT | CAUSE_GUARDED;
/** Calls of one request that become its children: a request that lasts for ever (a subscription) makes no endless trace. */
const MAX_CALLS = 1024;
const MAX_CLOSED = 1024;
/** Of one request that brought about calls. */
const MAX_WAKINGS = 256;
/** Calls of a connection that are kept. */
const MAX_RESPONDED = 64;
/** A call waits for its request's response this long at most to become its child. */
const CLAIM_NS = 60e9;

export class Causes {
  /** Client exchanges by the grade of what was found. */
  readonly found: Record<CauseGrade | 'none', number> = {
    goroutine: 0,
    task: 0,
    fork: 0,
    thread: 0,
    slice: 0,
    loop: 0,
    none: 0,
  };
  readonly #options: CausesOptions;
  readonly #works = new Map<number, ProcessWork>();
  /** The last one that was asked for; null once that process has ended. */
  #lastPid = 0;
  #lastWork: ProcessWork | null = null;
  readonly #claims: Claims;
  readonly #lineages: Lineages;
  readonly #handOvers: HandOvers;
  readonly #taskAnswers: TaskAnswers;
  readonly #answers: Answers;
  readonly #wakes: Wakes;
  /** Connections of calls by slot that ended lately: work that was given away when the response was read may still go on. */
  readonly #closed = new Map<number, Connection>();
  /** Of the record at hand: the thread's last take, and its last from a connection that it has not opened itself. */
  readonly #take = new Take();
  readonly #request = new Take();
  /** Of what #ofSlice found last: Exchange.isStraight, .isClear, .amid, .supposed and .after; is it known what set the loop to work, and
   *  may other threads have done so? */
  #isCertain = false;
  #isShared = false;
  #isStraight = false;
  #isClear = false;
  #supposed: Supposition | null = null;
  #after: Exchange | null = null;
  #amid: Exchange | null = null;

  constructor(options: CausesOptions) {
    this.#options = options;
    const adopt = (client: Exchange, server: Exchange | null, grade: CauseGrade | 'none'): void =>
      this.#adopt(client, server, grade);
    this.#taskAnswers = new TaskAnswers(adopt);
    this.#claims = new Claims((client, server, grade) => {
      if (server !== null && grade === 'task') this.#taskAnswers.add(client, server);
      else this.#adopt(client, server, grade);
    });
    this.#lineages = new Lineages(adopt);
    this.#handOvers = new HandOvers(adopt);
    this.#answers = new Answers((client, server, grade) => {
      adopt(client, server, grade);
      if (server === null && !client.isShared && this.#workOf(client.pid).doubted())
        options.onHandOver?.(client.pid, false);
    });
    this.#wakes = new Wakes(adopt);
  }

  /** A write is at hand. */
  onWrite(event: DataEventCursor): void {
    this.#take.set(event.causeSlot, event.causeGeneration, event.causeSeq, event.causeFlags);
    this.#request.set(event.requestSlot, event.requestGeneration, event.requestSeq, event.requestFlags);
    if ((event.causeFlags & CAUSE_CAME) !== 0) this.#noteReturn(event.tid);
  }

  /** A process has connected: what it did so for will be what it sends first. */
  onConnected(connection: Connection, event: ConnectionOpenedEventCursor): void {
    const take = new Take();
    take.set(event.causeSlot, event.causeGeneration, event.causeSeq, event.causeFlags);
    if ((take.flags & (HANDED | CAUSE_TASK)) === HANDED) {
      connection.askedFor = this.#requestOf(take);
      return;
    }
    const work = this.#workOf(connection.pid);
    const isTold = (take.flags & CAUSE_TOLD) !== 0;
    const request = isTold ? this.#requestOf(take) : this.#ofSlice(take, connection, work);
    connection.connectSupposed = isTold ? null : this.#supposed;
    connection.connectAfter = isTold ? null : this.#after;
    connection.connectAmid = isTold ? null : this.#amid;
    const { connectSupposed } = connection;
    connection.connectCaller = request ?? (connectSupposed?.isStraight === true ? connectSupposed.request : null);
    if (connection.connectCaller !== null) work.engage(connection.connectCaller);
    if (request === null) return;
    connection.connectFor = request;
    connection.isConnectCertain = isTold || this.#isCertain;
    connection.isConnectShared = !isTold && this.#isShared;
    connection.isConnectStraight = !isTold && this.#isStraight;
    connection.isConnectClear = !isTold && this.#isClear;
  }

  /** What is known of the work on an item. */
  onWork({ pid, slot, generation, name, outcome }: WorkEventCursor): void {
    if (outcome !== WORK_RETURNED) {
      this.#handOvers.onStrayed(pid, name);
      return;
    }
    const request = this.#options.find(slot, generation)?.matcher?.soleRequest ?? null;
    if (request !== null) this.#handOvers.onReturned(request, name);
  }

  /** Who serves a request has waited, and was woken because a call's response had been taken. */
  onWake(event: WakeEventCursor): void {
    this.#take.set(event.causeSlot, event.causeGeneration, event.causeSeq, event.causeFlags);
    const call = this.#callOf(this.#take);
    if (call === null) return;
    this.#request.set(event.requestSlot, event.requestGeneration, event.requestSeq, event.requestFlags);
    const request = this.#requestOf(this.#request);
    if (call.isHanded || call.isAsked) this.#wakes.onWoken(call, request, event.parkedNs, event.wokenNs);
    else if (call.cause !== null) {
      call.askers?.noteWoken(call.cause === request);
      if (call.cause === request) call.returnedTid = event.tid;
    }
  }

  onClosed(connection: Connection): void {
    this.#disengage(connection);
    const call = connection.matcher?.lastResponded ?? null;
    if (call === null || (call.cause === null && call.supposed === null)) return;
    this.#closed.delete(connection.slot);
    this.#closed.set(connection.slot, connection);
    if (this.#closed.size > MAX_CLOSED) this.#closed.delete(this.#closed.keys().next().value as number);
  }

  /** The process has ended, or runs another program. */
  forgetProcess(pid: number): void {
    this.#works.delete(pid);
    this.#lastWork = null;
  }

  /** The first byte of a request was taken, or given. */
  begin(connection: Connection, exchange: Exchange): void {
    const work = this.#workOf(exchange.pid);
    exchange.work = work;
    if (exchange.kind === KIND_SERVER) {
      this.#noteTaker(connection, exchange, work);
      work.mayMeet ??= this.#options.mayMeet?.(exchange) !== false;
      work.serve(exchange);
      return;
    }
    exchange.peerCalls = connection.peerCalls ??= work.peer(peerKey(connection));
    exchange.askers = exchange.peerCalls.askers;
    this.#findCause(connection, exchange, work);
    work.callBegins(exchange.peerCalls);
    // First, else the connection that was opened for this very call would look like a second call beside it.
    this.#disengage(connection);
    const { supposed } = exchange;
    if (exchange.cause === null && supposed !== null) supposed.request.callCount++;
    const caller = callerOf(exchange);
    if (caller !== null) work.engage(caller);
  }

  /** The request's head was seen, and no header of it says where it belongs. */
  settle(exchange: Exchange): void {
    const { cause, causeGrade } = exchange;
    if (exchange.kind !== KIND_CLIENT) return;
    if ((exchange.isHanded || exchange.isAsked) && exchange.askers !== null) this.#wakes.add(exchange, exchange.askers);
    else if ((cause === null || exchange.isShared) && exchange.supposed !== null && exchange.work !== null)
      this.#answers.add(exchange, exchange.supposed, exchange.work);
    else if (cause === null || causeGrade === '') this.#adopt(exchange, null, 'none');
    else if (exchange.item > 0) this.#handOvers.add(exchange, cause);
    else if (causeGrade === 'goroutine' && exchange.start > 0 && exchange.work !== null)
      this.#lineages.add(exchange, cause, exchange.work, exchange.start);
    else if ((causeGrade === 'thread' || causeGrade === 'task') && !exchange.isTold) this.#claims.add(exchange, cause);
    else this.#adopt(exchange, cause, causeGrade);
  }

  /** A header that the process has handed on names the request that the call is for. */
  settleForwarded(call: Exchange, request: Exchange): void {
    this.#makeChild(call, request, 'header', true);
  }

  /**
   * A header that the process's SDK wrote names the call's parent, and shows which trace it began for the request; which
   * waits until it is known that the call is for it.
   */
  settleTold(exchange: Exchange): void {
    const request = exchange.cause ?? exchange.supposed?.request ?? null;
    if (request === null || (exchange.trace.flags & 1) === 0) return;
    exchange.begunFor = request;
    request.trace.waiting++;
    this.settle(exchange);
  }

  /** The first byte of a response was given, or taken. */
  respond(connection: Connection, exchange: Exchange): void {
    const { work } = exchange;
    if (work === null) return;
    if (exchange.kind === KIND_SERVER) {
      if (exchange.isServing && !exchange.isAnswering) {
        this.#judgeThread(connection, exchange, work);
        this.#judgeLoop(exchange, work);
      }
      work.answer(exchange);
      return;
    }
    exchange.responseTid = connection.tid;
    if (connection.tid !== exchange.tid) work.isMigrating = true;
    if (work.isWatched) noteResponded(connection, exchange);
    this.#release(exchange, work);
  }

  /** Nothing more comes of it. */
  end(exchange: Exchange): void {
    const { work } = exchange;
    if (work === null) return;
    exchange.work = null;
    if (exchange.kind === KIND_SERVER) {
      this.#claims.refuse(exchange);
      work.served(exchange);
      return;
    }
    this.#release(exchange, work);
    if (exchange.peerCalls !== null) work.callEnds(exchange.peerCalls);
    exchange.peerCalls = null;
  }

  /** Settles what has waited long enough. */
  tick(nowNs: number): void {
    this.#claims.expire(nowNs - CLAIM_NS);
    this.#lineages.settle(nowNs);
    this.#handOvers.settle(nowNs);
    this.#taskAnswers.settle(nowNs);
    this.#answers.settle(nowNs);
    this.#wakes.settle(nowNs);
  }

  /** The end of the input. */
  finish(): void {
    this.#lineages.settleAll();
    this.#handOvers.settleAll();
    this.#taskAnswers.settleAll();
    this.#answers.settleAll();
    this.#wakes.settleAll();
  }

  #workOf(pid: number): ProcessWork {
    if (pid === this.#lastPid && this.#lastWork !== null) return this.#lastWork;
    let work = this.#works.get(pid);
    if (work === undefined) {
      work = new ProcessWork();
      this.#works.set(pid, work);
    }
    this.#lastPid = pid;
    this.#lastWork = work;
    return work;
  }

  #release(exchange: Exchange, work: ProcessWork): void {
    if (exchange.isReleased || exchange.peerCalls === null) return;
    exchange.isReleased = true;
    work.callResponds(exchange.peerCalls);
    const caller = callerOf(exchange);
    if (caller !== null) work.release(caller);
  }

  #disengage(connection: Connection): void {
    connection.connectFor = null;
    if (connection.connectCaller === null) return;
    this.#works.get(connection.pid)?.release(connection.connectCaller);
    connection.connectCaller = null;
  }

  /** Do connections stay with the thread that took from them first? */
  #noteTaker(connection: Connection, exchange: Exchange, work: ProcessWork): void {
    if (work.firstTid === 0) work.firstTid = exchange.tid;
    else if (work.firstTid !== exchange.tid) work.hasManyTakers = true;
    if (connection.takerTid === exchange.tid) work.pinned++;
    else if (connection.takerTid !== 0) work.isMigrating = true;
    connection.takerTid = exchange.tid;
  }

  #findCause(connection: Connection, exchange: Exchange, work: ProcessWork): void {
    const { flags } = this.#request;
    if ((flags & CAUSE_ROUTINE) !== 0) {
      this.#findOfRoutine(exchange, work);
      return;
    }
    if ((flags & CAUSE_TOLD) !== 0) {
      const isFirst = connection.exchangeCount === 1 && connection.connectNs > 0;
      exchange.isTold = true;
      this.#setCause(exchange, this.#requestOf(this.#request) ?? (isFirst ? connection.connectFor : null), 'task');
      return;
    }
    if ((flags & TOKIO) === TOKIO) {
      this.#findOfTokio(exchange, work);
      return;
    }
    if ((flags & (CAUSE_TASK | CAUSE_TAKEN)) === CAUSE_TASK) {
      // A task that is at nobody's request, or at several: what the loop's thread is at, is not what the task is at.
      work.hasOrphans = true;
      return;
    }
    if ((flags & (HANDED | CAUSE_TASK)) === HANDED) {
      this.#findOfJob(connection, exchange, work);
      return;
    }
    if ((flags & CAUSE_TASK) !== 0) {
      this.#findOfTask(exchange);
      if (exchange.cause === null && (flags & CAUSE_INHERITED) !== 0) {
        // It was started for a request that is over: what the loop has taken since is another one's.
        work.hasOrphans = true;
        return;
      }
    } else if ((flags & CAUSE_INHERITED) !== 0) this.#setCause(exchange, this.#ofFork(), 'fork');
    if (exchange.causeGrade !== 'fork') this.#findOfLoop(connection, exchange, work);
    const { loopCause, loopGrade } = exchange;
    // What the loop is at for certain goes before the thread; that it is at nothing does not speak against it (Jetty), unless
    // it was woken.
    const isOthers =
      (loopGrade === 'slice' || exchange.isShared) && (loopCause !== null || (this.#request.flags & CAUSE_WOKEN) !== 0);
    // A loop that is watched tells all that its thread can.
    const isWatched = (this.#take.flags & CAUSE_GUARDED) !== 0;
    if (exchange.cause === null && !isOthers && !isWatched)
      this.#setCause(exchange, this.#ofThread(exchange, work), 'thread');
    if (exchange.cause === null) this.#setCause(exchange, loopCause, loopGrade);
    exchange.isShared &&= exchange.cause !== null && exchange.causeGrade === 'loop';
    if (exchange.isShared) this.#supposeShared(exchange, work);
    work.noteCall(exchange.peerCalls as CallCount, exchange.cause !== null);
    const isNobodys = exchange.cause === null && exchange.supposed === null;
    if (!isNobodys) return;
    work.mayHandOver ??= this.#options.mayHandOver?.(exchange) === true;
    if ((isWatched || work.mayHandOver) && work.orphaned()) this.#options.onHandOver?.(exchange.pid, true);
  }

  /** What another thread has set this one to work for shows when the response has been taken. */
  #findOfJob(connection: Connection, exchange: Exchange, work: ProcessWork): void {
    const isAsked = (this.#request.flags & CAUSE_DIRECT) !== 0;
    const isTelling = !work.isInterleaved && !this.#isMultiplexed(exchange, work);
    if (isAsked && isTelling) this.#setCause(exchange, this.#requestOf(this.#request), 'thread');
    work.noteCall(exchange.peerCalls as CallCount, exchange.cause !== null);
    exchange.isAsked = exchange.cause !== null;
    exchange.isAwaited = (this.#request.flags & CAUSE_SOLE) !== 0;
    exchange.isPassed = (this.#request.flags & CAUSE_RESUMED) !== 0;
    if (isAsked || !isTelling) return;
    exchange.isHanded = true;
    exchange.isAlone = work.serving === 1;
    const isFirst = connection.exchangeCount === 1 && connection.connectNs > 0;
    const asker = isFirst ? connection.askedFor : this.#requestOf(this.#request);
    if (asker !== null) this.#setCause(exchange, asker, 'thread');
    else if ((this.#request.flags & CAUSE_TAKEN) === 0) exchange.askedFromUs = this.#request.generation;
  }

  /** Whom the task that sends was set to work for; whether that is true shows when the response has been taken. */
  #findOfTokio(exchange: Exchange, work: ProcessWork): void {
    const request = this.#requestOf(this.#request);
    work.noteCall(exchange.peerCalls as CallCount, false);
    if (request === null || !mayCallFor(request, this.#request.flags >>> CAUSE_START_SHIFT)) return;
    this.#setCause(exchange, request, 'task');
    exchange.isHanded = exchange.cause !== null;
  }

  /** The request that the task was set to work by, or that it was started for. */
  #findOfTask(exchange: Exchange): void {
    const { flags } = this.#request;
    this.#setCause(exchange, this.#requestOf(this.#request), 'task');
    if (exchange.cause === null) return;
    exchange.start = flags >>> CAUSE_START_SHIFT;
    if ((flags & CAUSE_ITEM) !== 0) exchange.item = exchange.start;
    exchange.isStarted = (flags & CAUSE_INHERITED) !== 0;
    exchange.caller = this.#take.flags >>> CAUSE_START_SHIFT;
  }

  /** What the loop is at, which must not contradict what is known already. */
  #findOfLoop(connection: Connection, exchange: Exchange, work: ProcessWork): void {
    const take = this.#take;
    if ((take.flags & CAUSE_LOOPS) === 0) return;
    if ((take.flags & CAUSE_GUARDED) !== 0) work.watch();
    const isFirst = connection.exchangeCount === 1 && connection.connectNs > 0;
    const request = isFirst ? connection.connectFor : this.#ofSlice(take, connection, work);
    const isCertain = isFirst ? connection.isConnectCertain : this.#isCertain;
    exchange.isShared = isCertain && (isFirst ? connection.isConnectShared : this.#isShared);
    exchange.loopGrade = isCertain && !exchange.isShared ? 'slice' : 'loop';
    if (exchange.cause === null || exchange.cause === request) exchange.loopCause = request;
    exchange.isStraight = isFirst ? connection.isConnectStraight : this.#isStraight;
    exchange.isClear = isFirst ? connection.isConnectClear : this.#isClear;
    exchange.supposed = isFirst ? connection.connectSupposed : this.#supposed;
    exchange.after = isFirst ? connection.connectAfter : this.#after;
    exchange.amid = isFirst ? connection.connectAmid : this.#amid;
    connection.connectSupposed = connection.connectAfter = connection.connectAmid = null;
  }

  /** The request that the goroutine took, or that the one took which started it. */
  #findOfRoutine(exchange: Exchange, work: ProcessWork): void {
    const { flags } = this.#request;
    const request = this.#requestOf(this.#request);
    if ((flags & CAUSE_ITEM) !== 0) {
      this.#setCause(exchange, request, 'goroutine');
      if (exchange.cause !== null) exchange.item = flags >>> CAUSE_START_SHIFT;
      return;
    }
    const start = (flags & CAUSE_INHERITED) === 0 ? 0 : flags >>> CAUSE_START_SHIFT;
    if (start > 0 && work.workers.has(start)) {
      if (work.orphaned()) this.#options.onHandOver?.(exchange.pid, true);
      return;
    }
    if (request === null && start > 0 && this.#isOpen(this.#request)) work.addWorker(start);
    this.#setCause(exchange, request, 'goroutine');
    if (exchange.cause !== null) exchange.start = start;
    else if (work.orphaned()) this.#options.onHandOver?.(exchange.pid, true);
  }

  /** Is the connection still there on which the request came? */
  #isOpen({ slot, generation }: Take): boolean {
    return this.#options.find(slot, generation)?.isSynced === true;
  }

  /** The response of a call has set the thread to work, which another one has read: is it at the request that the call is for? */
  #noteReturn(tid: number): void {
    const call = this.#callOf(this.#take);
    if (call !== null && call.cause !== null && call.cause === this.#requestOf(this.#request)) call.returnedTid = tid;
  }

  #setCause(exchange: Exchange, request: Exchange | null, grade: CauseGrade): void {
    if (request === null || !request.isServing || request.callCount >= MAX_CALLS) return;
    request.callCount++;
    exchange.cause = request;
    exchange.causeGrade = grade;
  }

  /** The request that the parent process's thread had taken last when it forked this one. */
  #ofFork(): Exchange | null {
    if ((this.#request.flags & CAUSE_WAITED) !== 0) return null;
    return this.#requestOf(this.#request);
  }

  /** The request that the thread took or came to last, if it has not waited for several descriptors since. */
  #ofThread(exchange: Exchange, work: ProcessWork): Exchange | null {
    if (work.isInterleaved || this.#isMultiplexed(exchange, work) || (this.#request.flags & CAUSE_WAITED) !== 0)
      return null;
    const request = this.#requestOf(this.#request);
    if (request === null || request.pid !== exchange.pid) return null;
    return (request.tid === exchange.tid) === ((this.#request.flags & CAUSE_CAME) === 0) ? request : null;
  }

  #isMultiplexed(exchange: Exchange, work: ProcessWork): boolean {
    work.isMultiplexed ??= this.#options.isMultiplexed(exchange);
    return work.isMultiplexed;
  }

  /** Whatever the loop's thread has taken last, it is still at that. */
  #ofSlice(take: Take, connection: Connection, work: ProcessWork): Exchange | null {
    const { flags } = take;
    this.#isStraight = this.#isClear = false;
    this.#isCertain = (flags & CAUSE_CERTAIN) !== 0;
    this.#isShared = (flags & SHARED) === CAUSE_SHARED;
    this.#supposed = this.#after = this.#amid = null;
    if ((flags & CAUSE_LOOPS) === 0 || (flags & CAUSE_TAKEN) === 0) return null;
    if ((flags & (CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED | CAUSE_CAME)) !== 0) return null;
    if (work.isMigrating || (work.hasManyTakers && work.pinned < PINNED_MIN)) return null;
    const isResumed = (flags & CAUSE_RESUMED) !== 0;
    connection.peerCalls ??= work.peer(peerKey(connection));
    let request = this.#requestOf(take);
    if (request !== null) {
      this.#isStraight = !isResumed;
      this.#isClear = true;
    } else {
      const call = this.#callOf(take);
      // The program's queues were empty when that call was sent, and its timers have not run since.
      const isQuiet = (flags & CAUSE_QUIET) !== 0 || (flags & CAUSE_GUARDED) === 0;
      this.#isClear = (flags & MADE) === MADE || (call?.isClear === true && isQuiet);
      // Else what a loop calls for itself, one after the other, would hang together for ever.
      if (call !== null && isForOpen(call)) this.#after = call;
      if (call !== null && call.cause === null) this.#suppose(call.supposed?.request ?? null, flags, connection, work);
      request = call?.cause ?? null;
      this.#amid = call === null ? null : requestAt(call);
      if (call === null || request === null || !request.isServing || call.causeGrade === 'thread') return null;
      if (call.causeGrade === 'task' && call.loopCause === null) return null;
      // Whose it is, is no better known than whose that one was.
      if (call.isShared) this.#isShared = true;
      else if (call.causeGrade === 'loop') this.#isCertain = false;
      this.#isStraight = !isResumed && call.isStraight && call.loopCause === request && (flags & DIRECT) === DIRECT;
    }
    // What was taken may have set to work who waits in the program for whatever comes (a rendezvous).
    const mayMeet = (flags & CAUSE_GUARDED) !== 0 && work.mayMeet === true;
    if (this.#isStraight && (!mayMeet || work.isAlone(request))) return request;
    // What was made for a request may be for all who come later, too: an interval.
    const isMade = isResumed && (flags & (CAUSE_SOLE | CAUSE_DIRECT)) !== 0;
    if (!this.#isStraight && !isMade && work.isSole(request, connection.peerCalls, isResumed, this.#isClear))
      return request;
    this.#suppose(request, flags, connection, work);
    return null;
  }

  /** The loop is at this request, and may send what another one, or the program itself, has put off. */
  #suppose(request: Exchange | null, flags: number, { peerCalls }: Connection, work: ProcessWork): void {
    if (request === null || !request.isServing || request.isAnswering || (flags & CAUSE_GUARDED) === 0) return;
    if (request.callCount >= MAX_CALLS) return;
    const mayBeOwn = (flags & MADE) !== MADE && (peerCalls?.hasOwnCalls === true || !this.#isClear);
    this.#supposed = {
      request,
      isStraight: this.#isStraight,
      needsAnswer: !this.#isStraight || work.hasIdleBeside(request),
      needsTrust: work.serving > 1,
      isNever: mayBeOwn && work.serving === 1,
    };
  }

  /** One descriptor has set the loop to work, and another thread may have, too: that shows by what is answered then. */
  #supposeShared(exchange: Exchange, work: ProcessWork): void {
    const isNever = work.serving === 1 && exchange.peerCalls?.hasOwnCalls === true;
    const request = exchange.cause as Exchange;
    exchange.supposed = { request, isStraight: false, needsAnswer: true, needsTrust: work.serving > 1, isNever };
    exchange.sharedBefore = request.lastShared;
    request.lastShared = exchange;
  }

  /** A loop gives the response to a request: what was it at? */
  #judgeLoop(request: Exchange, work: ProcessWork): void {
    const take = this.#take;
    const isKnown = (take.flags & LOOP_AT) === LOOP_AT || (take.flags & SHARED) === CAUSE_SHARED;
    if (!isKnown || (take.flags & (CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED)) !== 0) return;
    const taken = this.#requestOf(take);
    const call = taken === null ? this.#callOf(take) : null;
    // Of calls that may be anybody's it shows nothing.
    const isGuessed = (take.flags & CAUSE_GUARDED) === 0 && call !== null && !call.isShared;
    const at = taken ?? (call === null || isGuessed ? null : requestAt(call));
    if (at !== null && at !== request) this.#answers.onStray(request, work);
    else if (at !== null && call !== null) this.#answers.onAnswer(request, call, work);
  }

  /** The one request that was taken there and has not been answered; null if there are several. */
  #requestOf(take: Take): Exchange | null {
    if ((take.flags & CAUSE_TAKEN) === 0) return null;
    const connection = this.#options.find(take.slot, take.generation);
    const matcher = connection?.matcher ?? null;
    if (connection === null || matcher === null || !connection.isSynced) return null;
    if (connection.requestDirection !== DIRECTION_INGRESS) return null;
    const request = matcher.soleRequest;
    return request !== null && isBehind(connection, take.seq, request.requestStart) ? request : null;
  }

  /** The call whose response was taken there. */
  #callOf(take: Take): Exchange | null {
    const connection = this.#options.find(take.slot, take.generation) ?? this.#closedOne(take);
    const matcher = connection?.matcher ?? null;
    if (connection === null || matcher === null || !connection.isSynced) return null;
    if (connection.requestDirection === DIRECTION_INGRESS) return null;
    const call = matcher.lastResponded;
    if (call !== null && isBehind(connection, take.seq, call.responseStart)) return call;
    for (let at = connection.responded.length - 1; at >= 0; at--) {
      const one = connection.responded[at] as Exchange;
      if (isBehind(connection, take.seq, one.responseStart)) return one;
    }
    return null;
  }

  #closedOne({ slot, generation }: Take): Connection | null {
    const connection = this.#closed.get(slot);
    return connection?.generation === generation ? connection : null;
  }

  /** A thread gives the response to a request: was it at that request all the time? */
  #judgeThread(connection: Connection, request: Exchange, work: ProcessWork): void {
    const { flags } = this.#request;
    if ((flags & (CAUSE_ROUTINE | CAUSE_TOLD)) !== 0) return;
    if ((flags & TOKIO) === TOKIO) {
      request.isOneAtATime = request.isOwnAnswer = this.#requestOf(this.#request) === request;
      this.#claims.refuse(request);
      return;
    }
    if ((flags & CAUSE_TASK) !== 0) {
      if (this.#requestOf(this.#request) === request) this.#judgeTask(request, flags);
      else {
        this.#claims.refuse(request);
        if ((flags & CAUSE_TAKEN) !== 0) this.#noteHandOver(request.pid, work);
        else if (flags >>> CAUSE_START_SHIFT > 0) this.#taskAnswers.onStrayed(request.pid, flags >>> CAUSE_START_SHIFT);
      }
      return;
    }
    if (connection.tid !== request.tid && (flags & CAUSE_CAME) === 0) this.#noteHandOver(request.pid, work);
    const last = this.#requestOf(this.#request);
    if (last !== null && last !== request && last.pid === request.pid && last.tid === connection.tid) {
      if ((this.#request.flags & CAUSE_LOOPS) === 0) work.isInterleaved = true;
    }
    const isOneAtATime =
      last === request &&
      (connection.tid === request.tid) === ((this.#request.flags & CAUSE_CAME) === 0) &&
      (this.#request.flags & CAUSE_WAITED) === 0 &&
      !work.isInterleaved;
    if (!isOneAtATime) {
      this.#claims.refuse(request);
      return;
    }
    request.isOwnAnswer = true;
    const { tid } = connection;
    request.isOneAtATime = true;
    this.#answers.onServed(request, tid);
    this.#claims.grant(request, call => {
      if (call.causeGrade !== 'thread') {
        work.hasOrphans = true;
        this.#noteHandOver(request.pid, work);
        return false;
      }
      if (call.tid === tid && (call.responseTid === tid || call.returnedTid === tid)) return true;
      if (call.hasOwnHeader) return false;
      work.hasOrphans = true;
      this.#noteHandOver(request.pid, work);
      return false;
    });
  }

  /** Who gives the response is not known to have come to the request; that matters where calls are made meanwhile. */
  #noteHandOver(pid: number, work: ProcessWork): void {
    if (work.isHandingOver || !work.hasOrphans) return;
    work.isHandingOver = true;
    this.#options.onHandOver?.(pid, true);
  }

  /**
   * A task gives the response. What it called itself is for this request; and so is what those called that were started for the request,
   * if all of them have been waited for.
   */
  #judgeTask(request: Exchange, flags: number): void {
    const name = flags >>> CAUSE_START_SHIFT;
    const isStarted = (flags & CAUSE_INHERITED) !== 0;
    const responder = this.#take.flags >>> CAUSE_START_SHIFT;
    const isStrayed = (flags & CAUSE_STRAYED) !== 0;
    request.isOwnAnswer = !isStrayed;
    this.#claims.grant(request, call => {
      if (call.causeGrade !== 'task' || call.start !== name) return false;
      if (isStarted && responder > 0 && call.caller === responder) return true;
      return call.isStarted ? !isStrayed : !isStarted;
    });
  }

  #isStrong(grade: CauseGrade): boolean {
    const { threshold } = this.#options;
    return threshold !== 'none' && CAUSE_GRADES.indexOf(grade) <= CAUSE_GRADES.indexOf(threshold);
  }

  /** A call whose header began a trace is for this request: as far as nothing of it has left, its trace is that one. */
  #nameAfter(client: Exchange, server: Exchange | null, grade: CauseGrade | 'none'): void {
    if (client.begunFor !== null) client.begunFor.trace.waiting--;
    client.begunFor = null;
    if (server === null || grade === 'none' || !this.#isStrong(grade)) return;
    const { trace, parent0: span0, parent1: span1 } = client;
    server.trace.borrow(trace);
    if (server.parentExchange !== null) server.parentExchange.begun ??= { trace, span0, span1 };
  }

  #adopt(client: Exchange, server: Exchange | null, grade: CauseGrade | 'none'): void {
    if (client.hasOwnHeader) {
      this.#nameAfter(client, server, grade);
      return;
    }
    this.found[grade]++;
    if (server === null || grade === 'none') return;
    this.#makeChild(client, server, grade, this.#isStrong(grade));
  }

  /** A link in place of a parent, where the evidence is too weak or the trace has grown too long. */
  #makeChild(client: Exchange, server: Exchange, evidence: CauseGrade | 'header', isStrong: boolean): void {
    if (!isStrong || !this.#options.limits.admitsCall(client, server)) {
      client.linked = server;
      return;
    }
    if (!client.trace.join(server.trace)) return;
    server.trace.calls++;
    client.parentExchange = server;
    client.parent0 = server.span0;
    client.parent1 = server.span1;
    client.parentEvidence = evidence;
  }
}

/** Is the byte at stream position `start` among those up to sequence number `seq`? */
function isBehind(connection: Connection, seq: number, start: number): boolean {
  const { ingress } = connection;
  return ingress.hasSeq && ingress.position + ((seq - ingress.nextSeq) | 0) > start;
}

/** The request that the loop is at when it has taken the response of this call. */
function requestAt({ cause, supposed, amid }: Exchange): Exchange | null {
  return cause ?? supposed?.request ?? amid;
}

/** Has the waking of that number (0: none was needed) brought about no call so far? */
function mayCallFor(request: Exchange, waking: number): boolean {
  if (waking === 0) return true;
  request.wakings ??= [];
  if (request.wakings.length >= MAX_WAKINGS || request.wakings.includes(waking)) return false;
  request.wakings.push(waking);
  return true;
}

/** The request that is not idle while this call is under way. */
function callerOf({ cause, supposed }: Exchange): Exchange | null {
  return cause ?? (supposed?.isStraight === true ? supposed.request : null);
}

/** Is it for a request that is being served? */
function isForOpen({ cause, supposed }: Exchange): boolean {
  return (cause ?? supposed?.request)?.isServing === true;
}

/** What requests that are being served have put off may be sent when the connection is used for others. */
function noteResponded(connection: Connection, call: Exchange): void {
  connection.responded = connection.responded.filter(isForOpen).slice(1 - MAX_RESPONDED);
  if (isForOpen(call)) connection.responded.push(call);
}

function peerKey({ peer }: Connection): string {
  return `${peer.remoteAddress}:${peer.remotePort}`;
}
