// Inside a process: which request was being served when another one was sent? In: exchanges as they begin, are responded to
// and end, and with each write what its thread had taken last (bpf/cause.h). Out: the parent of a client exchange, with the
// grade of its evidence, or none: where two parents are possible, no parent is set. ARCHITECTURE.md, "Parents inside a
// process", says what each grade rests on and what counts against it.
import type { Connection } from '../connections/connection.js';
import { type CauseGrade, type Exchange, KIND_CLIENT, KIND_SERVER } from '../exchanges/exchange.js';
import {
  CAUSE_CAME,
  CAUSE_DIRECT,
  CAUSE_GUARDED,
  CAUSE_INHERITED,
  CAUSE_ITEM,
  CAUSE_LOOPS,
  CAUSE_RESUMED,
  CAUSE_ROUTINE,
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
  type WakeEventCursor,
  WORK_CROSSED,
  WORK_RETURNED,
  WORK_SPREAD,
  type WorkEventCursor,
} from '../records/records.gen.js';
import { Answers } from './answers.js';
import { Claims } from './claims.js';
import { HandOvers } from './hand-overs.js';
import { Lineages } from './lineages.js';
import { type CallCount, ProcessWork } from './process-work.js';
import type { BroughtTrace } from './received.js';
import { isForOpen, isStillAt, requestAt, Slice } from './slice.js';
import { Take } from './take.js';
import { type FindConnection, Taken } from './taken.js';
import { TaskAnswers } from './task-answers.js';
import { TraceCalls } from './trace-calls.js';
import { MAX_CALLS, type TraceLimits } from './trace-limits.js';
import { Wakes } from './wakes.js';

/** From the strongest to the weakest. */
export const CAUSE_GRADES: readonly CauseGrade[] = ['goroutine', 'task', 'fork', 'thread', 'slice', 'loop'];
/** The weakest grade that makes a parent; `none`: none does. */
export type CauseThreshold = CauseGrade | 'none';

export interface CausesOptions {
  readonly threshold: CauseThreshold;
  readonly limits: TraceLimits;
  readonly find: FindConnection;
  /** Does the program run many tasks on few threads? Then a thread tells nothing. */
  readonly isMultiplexed: (exchange: Exchange) => boolean;
  /** Is it a program that takes the next request only when it has answered the last one (PHP-FPM)? Then what it waits for is that one's. */
  readonly isSerial?: ((exchange: Exchange) => boolean) | undefined;
  /** Does its loop run a program that may let a request wait for the next one, and go on when that comes (a rendezvous)? */
  readonly mayMeet?: ((exchange: Exchange) => boolean) | undefined;
  /** Does its process export its own spans? Then those are the parents that its headers name. */
  readonly tellsItself?: ((exchange: Exchange) => boolean) | undefined;
  /** Is it of a runtime whose calls that are nobody's are made by threads of its own for others? */
  readonly mayHandOver?: ((exchange: Exchange) => boolean) | undefined;
  /**
   * The threads or tasks of a process hand requests to each other in a way that is not seen so far; `isSure`: else that may be,
   * for many of its calls are not known to be for the request that it is at.
   */
  readonly onHandOver?: ((pid: number, isSure: boolean) => void) | undefined;
}

/** Of a thread that another one has set to work. */
const HANDED = CAUSE_CAME | CAUSE_INHERITED;
/** Of a virtual thread. */
const VIRTUAL = CAUSE_ROUTINE | CAUSE_CAME;
/** Of one that runs tasks of tokio. */
const TOKIO = CAUSE_TASK | CAUSE_CAME;
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
  readonly #traceCalls: TraceCalls;
  readonly #taken: Taken;
  /** Of the record at hand: the thread's last take, and its last from a connection that it has not opened itself. */
  readonly #take = new Take();
  readonly #request = new Take();
  /** Of the record at hand, where it is an event loop's. */
  readonly #slice = new Slice();
  /** Of the last read by a virtual thread: on which connection, and what that thread is at. */
  readonly #reader = new Take();
  #readSlot = 0;
  #readGeneration = 0;

  constructor(options: CausesOptions) {
    this.#options = options;
    this.#taken = new Taken(options.find);
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
    this.#traceCalls = new TraceCalls((client, server) => {
      if (server !== null) this.#makeChild(client, server, 'header', true);
      else if (!client.hasOwnHeader) adopt(client, null, 'none');
    });
  }

  /** A write is at hand. */
  onWrite(event: DataEventCursor): void {
    this.#take.set(event.causeSlot, event.causeGeneration, event.causeSeq, event.causeFlags);
    this.#request.set(event.requestSlot, event.requestGeneration, event.requestSeq, event.requestFlags);
    if ((event.causeFlags & CAUSE_CAME) !== 0) this.#noteReturn(event.tid);
  }

  /** A read is at hand. */
  onRead(event: DataEventCursor): void {
    const flags = event.requestFlags;
    if (flags === 0) return;
    this.#reader.set(event.requestSlot, event.requestGeneration, event.requestSeq, flags);
    this.#readSlot = event.slot;
    this.#readGeneration = event.generation;
  }

  /** A process has connected: what it did so for will be what it sends first. */
  onConnected(connection: Connection, event: ConnectionOpenedEventCursor): void {
    const take = new Take();
    take.set(event.causeSlot, event.causeGeneration, event.causeSeq, event.causeFlags);
    if ((take.flags & (HANDED | CAUSE_TASK)) === HANDED) {
      connection.askedFor = this.#taken.requestOf(take);
      return;
    }
    const work = this.#workOf(connection.pid);
    const slice = new Slice();
    if ((take.flags & CAUSE_TOLD) !== 0) slice.told(this.#taken.requestOf(take));
    else slice.readConnect(take, connection, work, this.#taken);
    connection.openedFor = slice;
    connection.connectCaller = slice.caller;
    if (connection.connectCaller !== null) work.engage(connection.connectCaller);
  }

  /** What is known of the work on an item, or for a request. */
  onWork({ pid, slot, generation, name, outcome }: WorkEventCursor): void {
    if (outcome === WORK_SPREAD) {
      this.#lineages.onSpread(pid, name, slot, generation);
      return;
    }
    const request = this.#options.find(slot, generation)?.matcher?.soleRequest ?? null;
    if (outcome === WORK_CROSSED) {
      this.#taskAnswers.onStrayed(pid, name);
      if (request !== null) request.isCrossed = true;
      return;
    }
    if (outcome !== WORK_RETURNED) {
      this.#handOvers.onStrayed(pid, name);
      return;
    }
    if (request !== null) this.#handOvers.onReturned(request, name);
  }

  /** Who serves a request has waited, and was woken because a call's response had been taken. */
  onWake(event: WakeEventCursor): void {
    this.#take.set(event.causeSlot, event.causeGeneration, event.causeSeq, event.causeFlags);
    const call = this.#taken.callOf(this.#take);
    if (call === null) return;
    this.#request.set(event.requestSlot, event.requestGeneration, event.requestSeq, event.requestFlags);
    const request = this.#taken.requestOf(this.#request);
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
    this.#taken.keepClosed(connection);
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
      work.isSerial ??= this.#options.isSerial?.(exchange) === true;
      work.mayMeet ??= this.#options.mayMeet?.(exchange) !== false;
      work.serve(exchange);
      return;
    }
    exchange.peerCalls = work.peerOf(connection);
    exchange.askers = exchange.peerCalls.askers;
    this.#findCause(connection, exchange, work);
    work.callBegins(exchange.peerCalls);
    // First, else the connection that was opened for this very call would look like a second call beside it.
    this.#disengage(connection);
    const { supposed } = exchange;
    if (exchange.cause === null && supposed !== null) supposed.request.callCount++;
    const caller = callerOf(exchange);
    if (caller !== null) work.engage(caller);
    else if (supposed !== null) work.mayEngage(supposed.request);
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
      this.#lineages.add(exchange, cause, exchange.work);
    else if ((causeGrade === 'thread' || causeGrade === 'task') && !exchange.isTold) this.#claims.add(exchange, cause);
    else this.#adopt(exchange, cause, causeGrade);
  }

  /** A header that the process has handed on names the request that the call is for. */
  settleForwarded(call: Exchange, request: Exchange): void {
    this.#makeChild(call, request, 'header', true);
  }

  /** A call with a header in the trace that one request brought. */
  settleBrought(call: Exchange, trace: BroughtTrace): void {
    this.#traceCalls.add(call, trace.requests[0] as Exchange, trace);
  }

  /**
   * A header that something in the process wrote names the call's parent, and shows which trace that began for the request; which
   * waits until it is known that the call is for it. It is the parent itself where the process tells no spans.
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
    if (exchange.isVirtual && this.#isReader(connection, exchange.cause)) exchange.returnedTid = connection.tid;
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
    this.#traceCalls.settle(nowNs);
  }

  /** The end of the input. */
  finish(): void {
    this.#lineages.settleAll();
    this.#handOvers.settleAll();
    this.#taskAnswers.settleAll();
    this.#answers.settleAll();
    this.#wakes.settleAll();
    this.#traceCalls.settleAll();
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
    else if (exchange.supposed !== null) work.mayRelease(exchange.supposed.request);
  }

  #disengage(connection: Connection): void {
    connection.openedFor = null;
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
    if ((flags & VIRTUAL) === VIRTUAL) {
      this.#setCause(exchange, this.#taken.requestOf(this.#request), 'thread');
      exchange.isVirtual = exchange.cause !== null;
      return;
    }
    if ((flags & CAUSE_ROUTINE) !== 0) {
      this.#findOfRoutine(exchange, work);
      return;
    }
    if ((flags & CAUSE_TOLD) !== 0) {
      exchange.isTold = true;
      const opener = connection.isFirstCall ? (connection.openedFor?.request ?? null) : null;
      this.#setCause(exchange, this.#taken.requestOf(this.#request) ?? opener, 'task');
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
    work.noteCall(exchange.peerCalls as CallCount, exchange.cause !== null, exchange.supposed?.isStraight === true);
    const isNobodys = exchange.cause === null && exchange.supposed === null;
    if (!isNobodys) return;
    work.mayHandOver ??= this.#options.mayHandOver?.(exchange) === true;
    if ((isWatched || work.mayHandOver) && work.orphaned()) this.#options.onHandOver?.(exchange.pid, true);
  }

  /** What another thread has set this one to work for shows when the response has been taken. */
  #findOfJob(connection: Connection, exchange: Exchange, work: ProcessWork): void {
    const isAsked = (this.#request.flags & CAUSE_DIRECT) !== 0;
    const isTelling = !work.isInterleaved && !this.#isMultiplexed(exchange, work);
    if (isAsked && isTelling) this.#setCause(exchange, this.#taken.requestOf(this.#request), 'thread');
    work.noteCall(exchange.peerCalls as CallCount, exchange.cause !== null);
    exchange.isAsked = exchange.cause !== null;
    exchange.isAwaited = (this.#request.flags & CAUSE_SOLE) !== 0;
    exchange.isPassed = (this.#request.flags & CAUSE_RESUMED) !== 0;
    if (isAsked || !isTelling) return;
    exchange.isHanded = true;
    exchange.isAlone = work.serving === 1;
    const asker = connection.isFirstCall ? connection.askedFor : this.#taken.requestOf(this.#request);
    if (asker !== null) this.#setCause(exchange, asker, 'thread');
    else if ((this.#request.flags & CAUSE_TAKEN) === 0) exchange.askedFromUs = this.#request.generation;
  }

  /** Whom the task that sends was set to work for; whether that is true shows when the response has been taken. */
  #findOfTokio(exchange: Exchange, work: ProcessWork): void {
    const request = this.#taken.requestOf(this.#request);
    work.noteCall(exchange.peerCalls as CallCount, false);
    if (request === null || !mayCallFor(request, this.#request.flags >>> CAUSE_START_SHIFT)) return;
    this.#setCause(exchange, request, 'task');
    exchange.isHanded = exchange.cause !== null;
  }

  /** The request that the task was set to work by, or that it was started for. */
  #findOfTask(exchange: Exchange): void {
    const { flags } = this.#request;
    this.#setCause(exchange, this.#taken.requestOf(this.#request), 'task');
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
    const isFirst = connection.isFirstCall;
    let slice = isFirst ? connection.openedFor : null;
    if (slice === null) {
      slice = this.#slice;
      if (isFirst) slice.clear();
      else slice.read(take, connection, work, this.#taken);
    }
    const { request } = slice;
    exchange.isShared = slice.isCertain && slice.isShared;
    exchange.loopGrade = slice.isCertain && !exchange.isShared ? 'slice' : 'loop';
    if (exchange.cause === null || exchange.cause === request) exchange.loopCause = request;
    exchange.isStraight = slice.isStraight;
    exchange.isClear = slice.isClear;
    exchange.supposed = slice.supposed;
    exchange.after = slice.after;
    exchange.amid = slice.amid;
  }

  /** The request that the goroutine took, or that the one took which started it. */
  #findOfRoutine(exchange: Exchange, work: ProcessWork): void {
    const { flags } = this.#request;
    const request = this.#taken.requestOf(this.#request);
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
    if (request === null && start > 0 && this.#taken.isOpen(this.#request)) work.addWorker(start);
    this.#setCause(exchange, request, 'goroutine');
    if (exchange.cause === null) {
      if (work.orphaned()) this.#options.onHandOver?.(exchange.pid, true);
      return;
    }
    exchange.start = start;
    if (start === 0) return;
    exchange.startSlot = this.#request.slot;
    exchange.startGeneration = this.#request.generation;
    exchange.isFollowed = (flags & CAUSE_GUARDED) !== 0;
    exchange.isAlone = work.serving === 1;
    if (!exchange.isFollowed && !exchange.isAlone) this.#noteStarted(exchange.pid, work);
  }

  /** Whether goroutines do something for others than whom they were started for, their channels show. */
  #noteStarted(pid: number, work: ProcessWork): void {
    if (work.isHandingOver) return;
    work.isHandingOver = true;
    this.#options.onHandOver?.(pid, true);
  }

  /** Has a virtual thread that is at the request read there last? */
  #isReader({ slot, generation }: Connection, request: Exchange | null): boolean {
    return (
      slot === this.#readSlot && generation === this.#readGeneration && this.#taken.requestOf(this.#reader) === request
    );
  }

  /** The response of a call has set the thread to work, which another one has read: is it at the request that the call is for? */
  #noteReturn(tid: number): void {
    const call = this.#taken.callOf(this.#take);
    if (call !== null && call.cause !== null && call.cause === this.#taken.requestOf(this.#request))
      call.returnedTid = tid;
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
    return this.#taken.requestOf(this.#request);
  }

  /** The request that the thread took or came to last, if it has not waited for several descriptors since. */
  #ofThread(exchange: Exchange, work: ProcessWork): Exchange | null {
    if (work.isInterleaved || this.#isMultiplexed(exchange, work) || this.#hasTurned(work)) return null;
    const request = this.#taken.requestOf(this.#request);
    if (request === null || request.pid !== exchange.pid) return null;
    return (request.tid === exchange.tid) === ((this.#request.flags & CAUSE_CAME) === 0) ? request : null;
  }

  /** It has waited for any of several descriptors: what it does then may be for another request. */
  #hasTurned(work: ProcessWork): boolean {
    return (this.#request.flags & CAUSE_WAITED) !== 0 && work.isSerial !== true;
  }

  #isMultiplexed(exchange: Exchange, work: ProcessWork): boolean {
    work.isMultiplexed ??= this.#options.isMultiplexed(exchange);
    return work.isMultiplexed;
  }

  /** One descriptor has set the loop to work, and another thread may have, too: that shows by what is answered then. */
  #supposeShared(exchange: Exchange, work: ProcessWork): void {
    const isNever = work.serving === 1 && exchange.peerCalls?.hasOwnCalls === true;
    const request = exchange.cause as Exchange;
    exchange.supposed = {
      request,
      isStraight: false,
      needsAnswer: true,
      needsTrust: work.serving > 1,
      isNever,
      ownCallsTell: null,
      burst: null,
    };
    exchange.sharedBefore = request.lastShared;
    request.lastShared = exchange;
  }

  /** A loop gives the response to a request: what was it at? */
  #judgeLoop(request: Exchange, work: ProcessWork): void {
    const take = this.#take;
    if (!isStillAt(take)) return;
    const taken = this.#taken.requestOf(take);
    const call = taken === null ? this.#taken.callOf(take) : null;
    // Of calls that may be anybody's it shows nothing.
    const isGuessed = (take.flags & CAUSE_GUARDED) === 0 && call !== null && !call.isShared;
    const at = taken ?? (call === null || isGuessed ? null : requestAt(call));
    if (at !== null && at !== request) this.#answers.onStray(request, work);
    else if (at !== null && call !== null) this.#answers.onAnswer(request, call, work);
  }

  /** A thread gives the response to a request: was it at that request all the time? */
  #judgeThread(connection: Connection, request: Exchange, work: ProcessWork): void {
    const { flags } = this.#request;
    if ((flags & VIRTUAL) === VIRTUAL) {
      request.isOneAtATime = request.isOwnAnswer = this.#taken.requestOf(this.#request) === request;
      this.#claims.grant(request, call => {
        if (call.isVirtual && call.returnedTid > 0) return request.isOwnAnswer;
        work.hasOrphans = true;
        this.#noteHandOver(request.pid, work);
        return false;
      });
      return;
    }
    if ((flags & (CAUSE_ROUTINE | CAUSE_TOLD)) !== 0) return;
    if ((flags & TOKIO) === TOKIO) {
      request.isOneAtATime = request.isOwnAnswer = this.#taken.requestOf(this.#request) === request;
      this.#claims.refuse(request);
      return;
    }
    if ((flags & CAUSE_TASK) !== 0) {
      if (this.#taken.requestOf(this.#request) === request) this.#judgeTask(request, flags);
      else {
        this.#claims.refuse(request);
        if ((flags & CAUSE_TAKEN) !== 0) this.#noteHandOver(request.pid, work);
        else if (flags >>> CAUSE_START_SHIFT > 0) this.#taskAnswers.onStrayed(request.pid, flags >>> CAUSE_START_SHIFT);
      }
      return;
    }
    if (connection.tid !== request.tid && (flags & CAUSE_CAME) === 0) this.#noteHandOver(request.pid, work);
    const last = this.#taken.requestOf(this.#request);
    if (last !== null && last !== request && last.pid === request.pid && last.tid === connection.tid) {
      if ((this.#request.flags & CAUSE_LOOPS) === 0) work.isInterleaved = true;
    }
    const isOneAtATime =
      last === request &&
      (connection.tid === request.tid) === ((this.#request.flags & CAUSE_CAME) === 0) &&
      !this.#hasTurned(work) &&
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
    request.isOwnAnswer = !isStrayed && !request.isCrossed;
    if (request.isCrossed) this.#claims.refuse(request);
    else
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
      if (server === null || this.#options.tellsItself?.(client) !== false) return;
      // Nobody tells the span that the header names.
      if (!server.trace.root.hasIdsOf(client.trace)) return;
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

/** What requests that are being served have put off may be sent when the connection is used for others. */
function noteResponded(connection: Connection, call: Exchange): void {
  connection.responded = connection.responded.filter(isForOpen).slice(1 - MAX_RESPONDED);
  if (isForOpen(call)) connection.responded.push(call);
}
