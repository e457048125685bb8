// Records as bpf/ would make them, for tests without a kernel. In: the story of a connection, told by one process's side
// (opened, read, wrote, ...). Out: the bytes of records, in the order of the two rings. The rules of bpf/socket.h are
// modelled here: which call begins a run, how much of it is captured, what each record says of the run before.
// Offsets are learnt from the generated readers, by watching which bytes a getter reads: there is no second list.
import type { Pipeline } from '../../src/pipeline.js';
import { Slab } from '../../src/records/dispatch.js';
import * as gen from '../../src/records/records.gen.js';

/** Boot-clock nanoseconds at which stories begin. */
export const T0 = 5_000_000_000_000;
export const MS = 1_000_000;

interface Cursor {
  seek(view: DataView, at: number): void;
}
type NumberFields<C> = {
  [K in keyof C as K extends 'at' | 'view' | 'size' | 'kind' | `${string}Offset`
    ? never
    : C[K] extends number
      ? K
      : never]?: number;
};
type CursorClass<C extends Cursor> = { new (): C; readonly SIZE: number };

/** Stands in for a DataView and notes what is read of it. */
class ReadNotes {
  readonly notes: { readonly at: number; readonly bytes: number }[] = [];
  #note(at: number, bytes: number): number {
    this.notes.push({ at, bytes });
    return 0;
  }
  getUint8(at: number): number {
    return this.#note(at, 1);
  }
  getUint16(at: number): number {
    return this.#note(at, 2);
  }
  getUint32(at: number): number {
    return this.#note(at, 4);
  }
}

const places = new Map<string, readonly { readonly at: number; readonly bytes: number }[]>();

/** Where a reader finds a field: one place, or two halves of a 64-bit number, the lower one first. */
export function placesOf<C extends Cursor>(
  type: CursorClass<C>,
  field: string,
): readonly { at: number; bytes: number }[] {
  const key = `${type.name}.${field}`;
  let known = places.get(key);
  if (known === undefined) {
    const notes = new ReadNotes();
    const cursor = new type();
    cursor.seek(notes as unknown as DataView, 0);
    const value = (cursor as unknown as Record<string, unknown>)[field];
    if (value !== 0 || notes.notes.length === 0) throw new Error(`${type.name} does not read ${field}`);
    known = notes.notes;
    places.set(key, known);
  }
  return known;
}

function put(view: DataView, at: number, bytes: number, value: number): void {
  if (bytes === 1) view.setUint8(at, value);
  else if (bytes === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value >>> 0, true);
}

export function writeField<C extends Cursor>(view: DataView, type: CursorClass<C>, field: string, value: number): void {
  const [low, high] = placesOf(type, field);
  if (low === undefined) return;
  put(view, low.at, low.bytes, high === undefined ? value : value % 4294967296);
  if (high !== undefined) put(view, high.at, high.bytes, Math.floor(value / 4294967296));
}

/** A record: the header, the named fields, and what follows the fixed part. Not padded. */
export function record<C extends Cursor>(
  type: CursorClass<C>,
  kind: number,
  fields: NumberFields<C>,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(type.SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  writeField(view, type, 'size', bytes.length);
  writeField(view, type, 'kind', kind);
  for (const [field, value] of Object.entries(fields)) writeField(view, type, field, value as number);
  bytes.set(payload, type.SIZE);
  return bytes;
}

/** Records one behind the other as they lie in a slab, each padded to 8 bytes. */
export function slabBytes(records: readonly Uint8Array[]): Uint8Array {
  const length = records.reduce((sum, bytes) => sum + ((bytes.length + 7) & ~7), 0);
  const out = new Uint8Array(length);
  let at = 0;
  for (const bytes of records) {
    out.set(bytes, at);
    at += (bytes.length + 7) & ~7;
  }
  return out;
}

export type RingName = 'data' | 'control' | 'progress';

export interface Piece {
  readonly ring: RingName;
  readonly timeNs: number;
  readonly bytes: Uint8Array;
}

/** struct event_cause. */
interface Cause {
  slot: number;
  generation: number;
  seq: number;
  flags: number;
}

/** What a thread has taken last: bpf/cause.h. */
export class Thread {
  cause: Cause = { slot: 0, generation: 0, seq: 0, flags: 0 };
  request: Cause = { slot: 0, generation: 0, seq: 0, flags: 0 };
  /** It is a goroutine. */
  #isRoutine = false;
  #isVirtual = false;
  #isTask = false;
  #isSole = false;
  #hasRunTimers = false;

  /** A goroutine that nobody knows so far. */
  static routine(): Thread {
    const routine = new Thread();
    routine.#isRoutine = true;
    routine.request.flags = gen.CAUSE_ROUTINE;
    return routine;
  }

  /** A virtual thread of Java. */
  static virtual(): Thread {
    const thread = Thread.routine();
    thread.#isVirtual = true;
    thread.request.flags |= gen.CAUSE_CAME;
    return thread;
  }

  /** What a read is told with. */
  get readRequest(): Cause | null {
    return this.#isVirtual ? this.request : null;
  }

  /** An asyncio task, by name, on a loop's thread. */
  static task(name: number): Thread {
    const task = new Thread();
    task.#isTask = true;
    task.waited();
    task.request.flags = gen.CAUSE_TASK | (name << gen.CAUSE_START_SHIFT);
    return task;
  }

  /** It waits for one that it has started no longer, and goes on. */
  strayed(): void {
    this.request.flags |= gen.CAUSE_STRAYED;
  }

  taken(role: number, slot: number, generation: number, seq: number, isEnd = false): void {
    const loops = this.cause.flags & (gen.CAUSE_LOOPS | gen.CAUSE_GUARDED);
    const sole = this.#isSole ? gen.CAUSE_SOLE : 0;
    const quiet = (loops & gen.CAUSE_GUARDED) === 0 || this.#hasRunTimers ? 0 : gen.CAUSE_QUIET;
    this.#hasRunTimers = false;
    const flags = gen.CAUSE_TAKEN | loops | sole | quiet | (isEnd ? gen.CAUSE_ENDED : 0);
    const { flags: known } = this.request;
    this.cause = { slot, generation, seq: seq >>> 0, flags };
    if (role !== gen.ROLE_CLIENT && !isEnd) this.request = { ...this.cause };
    if (this.#isTask) this.request.flags = known | gen.CAUSE_TAKEN;
    if (!this.#isRoutine) return;
    this.cause.flags = 0;
    this.request.flags |= this.#isVirtual ? gen.CAUSE_ROUTINE | gen.CAUSE_CAME : gen.CAUSE_ROUTINE;
  }

  /** The program says that it is at what was taken then; null: at nothing that is known. */
  told(taken: Cause | null): void {
    const nothing = { slot: 0, generation: 0, seq: 0, flags: gen.CAUSE_TOLD };
    this.request = taken === null ? nothing : { ...taken, flags: gen.CAUSE_TOLD | gen.CAUSE_TAKEN };
  }

  /** What a connect may be caused by. */
  get connectCause(): Cause {
    return (this.request.flags & gen.CAUSE_TOLD) === 0 ? this.cause : this.request;
  }

  /** For any of several descriptors: epoll_wait, select. */
  waited(): void {
    this.#isSole = false;
    this.cause.flags |= gen.CAUSE_WAITED | gen.CAUSE_LOOPS;
    if (!this.#isTask) this.request.flags |= gen.CAUSE_WAITED | gen.CAUSE_LOOPS;
  }

  /** It was idle, and has been told of one descriptor, before any timer. */
  toldOfOne(): void {
    this.waited();
    this.#isSole = true;
  }

  /** By an eventfd, a pipe, an accept, a timer that is watched. */
  woken(): void {
    this.cause.flags |= gen.CAUSE_WOKEN;
    this.request.flags |= gen.CAUSE_WOKEN;
  }

  /** Timers of a loop that is watched: what it takes next was asked for before. */
  ranTimers(): void {
    this.woken();
    this.#hasRunTimers = true;
  }

  /** A turn of a loop that is watched. */
  turned(): void {
    this.woken();
    this.cause.flags |= gen.CAUSE_GUARDED;
  }

  /** What it has just taken answers what it asked for last, and it was at nothing else meanwhile. */
  direct(): void {
    this.cause.flags |= gen.CAUSE_DIRECT;
  }

  /** It goes on with what it was at when it gave work away; `isDirect`: it was at nothing else meanwhile. */
  resumed(given: Cause, isDirect: boolean): void {
    const flags = isDirect ? given.flags : (given.flags & ~gen.CAUSE_DIRECT) | gen.CAUSE_RESUMED;
    this.cause = { ...given, flags };
  }

  /** Node.js runs what was made amid that: a timer, or an immediate, with `isNext` right after. */
  made(amid: Cause, what: 'timer' | 'immediate', isNext = false): void {
    const how = what === 'timer' ? 0 : gen.CAUSE_ONCE | (isNext ? gen.CAUSE_NEXT : 0);
    this.cause = { ...amid, flags: amid.flags | gen.CAUSE_RESUMED | gen.CAUSE_SOLE | how };
  }

  /** A goroutine that this one starts; `how` names the function. */
  started(how: number, isFollowed = false): Thread {
    const child = Thread.routine();
    const followed = isFollowed ? gen.CAUSE_GUARDED : 0;
    const flags = gen.CAUSE_ROUTINE | gen.CAUSE_TAKEN | gen.CAUSE_INHERITED | followed | (how << gen.CAUSE_START_SHIFT);
    child.request = { ...this.request, flags };
    return child;
  }

  /** A goroutine that works on what this one has put into a channel. */
  gave(item: number): Thread {
    const worker = Thread.routine();
    const flags = gen.CAUSE_ROUTINE | gen.CAUSE_TAKEN | gen.CAUSE_ITEM | (item << gen.CAUSE_START_SHIFT);
    worker.request = { ...this.request, flags };
    return worker;
  }

  /** A task that this one starts. */
  startedTask(): Thread {
    const child = Thread.task(0);
    child.request = { ...this.request, flags: this.request.flags | gen.CAUSE_INHERITED };
    return child;
  }

  /** It wakes another thread of Java (bpf/java.h), which is at a request of its own with `isServing`. */
  wakes(other: Thread, isServing: boolean): void {
    const isAt = ({ flags }: Cause): boolean =>
      (flags & gen.CAUSE_TAKEN) !== 0 && (flags & (gen.CAUSE_WAITED | gen.CAUSE_WOKEN | gen.CAUSE_ENDED)) === 0;
    const came = (to: Cause, loops: number): Cause => ({
      ...to,
      flags: (loops & gen.CAUSE_LOOPS) | gen.CAUSE_TAKEN | gen.CAUSE_CAME,
    });
    other.cause = isAt(this.cause) ? came(this.cause, other.cause.flags) : { ...other.cause, flags: 0 };
    if (
      isServing ||
      !isAt(this.request) ||
      (this.request.flags & (gen.CAUSE_CAME | gen.CAUSE_LOOPS)) !== gen.CAUSE_LOOPS
    )
      return;
    other.request = came(this.request, other.request.flags);
  }

  /** A process that this thread forks. */
  forked(): Thread {
    const child = new Thread();
    child.request = { ...this.request, flags: this.request.flags | gen.CAUSE_INHERITED };
    return child;
  }
}

/** What one or more stories left on the rings, in order of time. */
export class Tape {
  /** By thread id. */
  readonly threads = new Map<number, Thread>();
  readonly pieces: Piece[] = [];
  /** The clock that all stories of the tape share; each step takes a millisecond unless it says when it happened. */
  nowNs = T0;

  thread(tid: number): Thread {
    let thread = this.threads.get(tid);
    if (thread === undefined) {
      thread = new Thread();
      this.threads.set(tid, thread);
    }
    return thread;
  }

  add(ring: RingName, timeNs: number, bytes: Uint8Array): void {
    this.pieces.push({ ring, timeNs, bytes });
  }

  /** The next millisecond. */
  later(): number {
    this.nowNs += MS;
    return this.nowNs;
  }

  /** Records of one ring. */
  ring(name: RingName): Uint8Array[] {
    return this.pieces.filter(piece => piece.ring === name).map(({ bytes }) => bytes);
  }

  /** Runs the tape through a pipeline, cut into batches of `batchRecords` records. */
  play(pipeline: Pipeline, batchRecords = Number.POSITIVE_INFINITY): void {
    const data: Uint8Array[] = [];
    const control: Uint8Array[] = [];
    const hand = (): void => {
      if (data.length + control.length > 0) {
        pipeline.process(new Slab(slabBytes(data)), new Slab(slabBytes(control)));
      }
      data.length = 0;
      control.length = 0;
    };
    for (const { ring, bytes } of this.pieces) {
      if (ring === 'progress') {
        hand();
        pipeline.dispatcher.runOne(new Slab(slabBytes([bytes])));
        continue;
      }
      (ring === 'data' ? data : control).push(bytes);
      if (data.length + control.length >= batchRecords) hand();
    }
    hand();
    this.pieces.length = 0;
  }

  /** A process record of the control ring. */
  exited(pid: number, at = this.later()): void {
    this.add('control', at, record(gen.ProcessExitEventCursor, gen.EVENT_PROCESS_EXIT, { timeNs: at, pid }));
  }

  /** What is told of the work on an item of the thread's request. */
  worked(pid: number, { request }: Thread, name: number, outcome: number, at = this.later()): void {
    const { slot, generation } = request;
    const fields = { timeNs: at, pid, slot, generation, name, outcome };
    this.add('control', at, record(gen.WorkEventCursor, gen.EVENT_WORK, fields));
  }

  /** A thread of Java at a request, which has waited since then, is woken because of what `waker` has taken. */
  woken(pid: number, tid: number, waker: Thread, parkedNs: number, at = this.later()): void {
    const { cause } = waker;
    const { request } = this.thread(tid);
    const fields = {
      ...{ timeNs: at, pid, tid, parkedNs, wokenNs: 0 },
      ...{ causeSlot: cause.slot, causeGeneration: cause.generation, causeSeq: cause.seq, causeFlags: cause.flags },
      ...{ requestSlot: request.slot, requestGeneration: request.generation, requestSeq: request.seq },
      requestFlags: request.flags,
    };
    this.add('control', at, record(gen.WakeEventCursor, gen.EVENT_WAKE, fields));
  }

  forked(pid: number, parentPid: number, at = this.later()): void {
    const fields = { timeNs: at, pid, parentPid };
    this.add('control', at, record(gen.ProcessForkEventCursor, gen.EVENT_PROCESS_FORK, fields));
  }

  executed(pid: number, parentPid: number, args: readonly string[], at = this.later()): void {
    const text = new TextEncoder().encode(args.map(arg => `${arg}\0`).join(''));
    const fields = { timeNs: at, pid, parentPid, startNs: at, argsBytes: text.length };
    this.add('control', at, record(gen.ProcessExecEventCursor, gen.EVENT_PROCESS_EXEC, fields, text));
  }

  connectFailed(pid: number, remote: Address, errorNumber: number, connectNs: number, at = this.later()): void {
    const fields = { timeNs: at, pid, errorNumber, connectNs };
    const bytes = record(gen.ConnectFailedEventCursor, gen.EVENT_CONNECT_FAILED, fields);
    const { addressLocalOffset } = new gen.ConnectFailedEventCursor();
    writeAddress(bytes, addressLocalOffset, { address: '0.0.0.0', port: 0 }, remote);
    this.add('control', at, bytes);
  }
}

export interface Address {
  readonly address: string;
  readonly port: number;
}

function addressBytes(text: string): number[] {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [left = '', right = ''] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map(group => Number.parseInt(group, 16));
  const middle = new Array<number>(8 - groups(left).length - groups(right).length).fill(0);
  return [...groups(left), ...middle, ...groups(right)].flatMap(group => [group >> 8, group & 255]);
}

/** struct event_address at `at`. */
export function writeAddress(bytes: Uint8Array, at: number, local: Address, remote: Address): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const cursor = new gen.EventAddressCursor();
  bytes.set(addressBytes(local.address), at + cursor.localOffset);
  bytes.set(addressBytes(remote.address), at + cursor.remoteOffset);
  const within = new DataView(view.buffer, view.byteOffset + at);
  writeField(within, gen.EventAddressCursor, 'localPort', local.port);
  writeField(within, gen.EventAddressCursor, 'remotePort', remote.port);
  writeField(within, gen.EventAddressCursor, 'family', local.address.includes(':') ? 10 : 2);
}

function causeFields<N extends 'cause' | 'request'>(
  name: N,
  { slot, generation, seq, flags }: Cause,
): Record<`${N}${'Slot' | 'Generation' | 'Seq' | 'Flags'}`, number> {
  const entries = { Slot: slot, Generation: generation, Seq: seq, Flags: flags };
  return Object.fromEntries(Object.entries(entries).map(([part, value]) => [`${name}${part}`, value])) as Record<
    `${N}${'Slot' | 'Generation' | 'Seq' | 'Flags'}`,
    number
  >;
}

export interface StoryOptions {
  readonly slot?: number;
  readonly generation?: number;
  readonly role?: number;
  readonly pid?: number;
  readonly tid?: number;
  readonly local?: Address;
  readonly remote?: Address;
  /** Path of a unix socket: the story is then one of AF_UNIX. */
  readonly unixPath?: string;
  readonly pairTag?: number;
  /** Sequence numbers of the first bytes; close to 2^32, so that every longer story wraps around. */
  readonly ingressSeq?: number;
  readonly egressSeq?: number;
  readonly headBytes?: number;
  readonly flags?: number;
}

export interface Step {
  /** Return of the call, boot clock. */
  readonly at?: number;
  /** Reads: when the first byte reached the queue; 0 if the kernel cannot tell. */
  readonly arrived?: number;
  /** Writes: entry of the call. */
  readonly enter?: number;
  /** The call's record did not find room in the ring. */
  readonly isLost?: boolean;
  /** The bytes could not be read (sendfile, splice). */
  readonly hasNoContent?: boolean;
}

export interface TcpStory {
  readonly tcpSrttUs?: number;
  readonly tcpTotalRetrans?: number;
  readonly tcpUnsentBytes?: number;
  readonly tcpUnackedBytes?: number;
  readonly tcpRwndLimitedMs?: number;
  readonly tcpSndbufLimitedMs?: number;
}

export interface ClosedStory {
  readonly flags?: number;
  readonly errorNumber?: number;
  readonly finSentNs?: number;
  readonly finReceivedNs?: number;
  readonly resetNs?: number;
  readonly unseenIngress?: number;
  readonly unseenEgress?: number;
  readonly framesIngress?: number;
  readonly framesEgress?: number;
  readonly framesIngressState?: number;
  readonly framesEgressState?: number;
}

interface Run {
  firstNs: number;
  lastNs: number;
  bytes: number;
  calls: number;
  endSeq: number;
}

const CLIENT_ADDRESS: Address = { address: '10.0.0.9', port: 40001 };
const SERVER_ADDRESS: Address = { address: '10.0.0.1', port: 8080 };
const NO_RUN: Run = { firstNs: 0, lastNs: 0, bytes: 0, calls: 0, endSeq: 0 };
const NO_TAIL = new Uint8Array(8);
const CHUNK_MAX = 4096;
const ROUND_BYTES = 4 * CHUNK_MAX;
const PIPELINE_ROUNDS = 4;
const PIPELINE_HEADS = 4;
let nextSlot = 0;

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
}

/** begins_message of bpf/capture.h: a call behind the captured head that looks like a request or a response. */
function beginsMessage(bytes: Uint8Array): boolean {
  const first = Buffer.from(bytes.subarray(0, 8)).toString('latin1');
  return bytes.length >= 14 && (first.startsWith('HTTP/1.') || /^[A-Z-]{3,7} |^[A-Z-]{8}$/.test(first));
}

/** begins_bodyless of bpf/socket.h. */
function beginsBodyless(bytes: Uint8Array): boolean {
  return /^(GET |HEAD)/.test(Buffer.from(bytes.subarray(0, 4)).toString('latin1'));
}

/** One side of a connection: what its process does becomes records on the tape. */
export class Story {
  readonly tape: Tape;
  readonly slot: number;
  generation: number;
  role: number;
  pid: number;
  tid: number;
  local: Address;
  remote: Address;
  ingressSeq: number;
  egressSeq: number;
  flags: number;
  /** What user space told the kernel: enum event_verdict. */
  verdict: number = gen.VERDICT_HEAD;
  run: Run = NO_RUN;
  direction: number = gen.DIRECTION_NONE;
  bytesIn = 0;
  bytesOut = 0;
  /** Last bytes of the open run that were not captured, in wire order. */
  tail: Uint8Array = NO_TAIL;
  /** What tcp_sock says from now on. */
  tcp: TcpStory = {};
  /** struct event_lost. */
  readonly lost = { lostRecords: 0, lostEdgesIngress: 0, lostEdgesEgress: 0 };
  readonly #unixPath: string | null;
  readonly #pairTag: number;
  readonly #headBytes: number;
  #captureLeft = 0;
  #isAmidBody = false;
  #isUpgraded = false;
  #isBodyless = false;
  #firstReadNs = 0;
  #lastReadNs = 0;
  #firstWriteNs = 0;
  #lastWriteNs = 0;
  #callsIn = 0;
  #callsOut = 0;

  constructor(tape: Tape, options: StoryOptions = {}) {
    this.tape = tape;
    this.slot = options.slot ?? nextSlot++;
    this.generation = options.generation ?? 1;
    this.role = options.role ?? gen.ROLE_SERVER;
    const isClient = this.role === gen.ROLE_CLIENT;
    this.pid = options.pid ?? (isClient ? 200 : 100);
    this.tid = options.tid ?? this.pid;
    this.local = options.local ?? (isClient ? CLIENT_ADDRESS : SERVER_ADDRESS);
    this.remote = options.remote ?? (isClient ? SERVER_ADDRESS : CLIENT_ADDRESS);
    this.ingressSeq = (options.ingressSeq ?? 0xffff_fff0) >>> 0;
    this.egressSeq = (options.egressSeq ?? 0xffff_ff00) >>> 0;
    this.#unixPath = options.unixPath ?? null;
    this.#pairTag = options.pairTag ?? 0;
    this.#headBytes = options.headBytes ?? 4096;
    this.flags = (options.flags ?? 0) | (this.#unixPath === null ? 0 : gen.CONNECTION_UNIX);
  }

  #time(at: number | undefined): number {
    this.tape.nowNs = at ?? this.tape.nowNs + MS;
    return this.tape.nowNs;
  }

  /** Accepted, connected, or (without times) found in mid-life. */
  opened(
    times: { connectNs?: number; establishedNs?: number; acceptedNs?: number; at?: number; isLost?: boolean } = {},
  ): this {
    const at = this.#time(times.at);
    const { connectCause } = this.tape.thread(this.tid);
    const isClient = this.role === gen.ROLE_CLIENT;
    if (!isClient) this.tape.thread(this.tid).woken();
    const path = Buffer.from(this.#unixPath ?? '', 'latin1');
    const bytes = record(gen.ConnectionOpenedEventCursor, gen.EVENT_CONNECTION_OPENED, {
      timeNs: at,
      connectNs: times.connectNs ?? 0,
      establishedNs: times.establishedNs ?? 0,
      acceptedNs: times.acceptedNs ?? 0,
      slot: this.slot,
      generation: this.generation,
      pid: this.pid,
      tid: this.tid,
      role: this.role,
      flags: this.flags,
      include: 0xffff_ffff,
      pathBytes: path.length,
      ...this.tcp,
      ...(isClient ? causeFields('cause', connectCause) : {}),
    });
    const cursor = new gen.ConnectionOpenedEventCursor();
    if (this.#unixPath === null) writeAddress(bytes, cursor.addressLocalOffset, this.local, this.remote);
    else {
      bytes[cursor.addressLocalOffset + 36] = 1; // AF_UNIX
      bytes.set(path, cursor.pathOffset);
    }
    if (times.isLost !== true) this.tape.add('control', at, bytes);
    return this;
  }

  /** A call that took bytes off the socket. */
  read(content: string | Uint8Array, step: Step = {}): this {
    const at = this.#time(step.at);
    const bytes = bytesOf(content);
    this.#lastReadNs = at;
    this.#firstReadNs ||= at;
    this.bytesIn += bytes.length;
    this.#callsIn++;
    this.#transferred(gen.DIRECTION_INGRESS, bytes, at, 0, step);
    this.ingressSeq = (this.ingressSeq + bytes.length) >>> 0;
    this.tape.thread(this.tid).taken(this.role, this.slot, this.generation, this.ingressSeq);
    return this;
  }

  /** A call that gave bytes to the socket. */
  wrote(content: string | Uint8Array, step: Step = {}): this {
    const enter = step.enter ?? step.at ?? this.tape.nowNs + MS;
    const at = this.#time(step.at ?? enter);
    const bytes = bytesOf(content);
    this.#lastWriteNs = at;
    this.#firstWriteNs ||= enter;
    this.bytesOut += bytes.length;
    this.#callsOut++;
    this.#transferred(gen.DIRECTION_EGRESS, bytes, at, enter, step);
    this.egressSeq = (this.egressSeq + bytes.length) >>> 0;
    return this;
  }

  /** socket_transferred of bpf/socket.h. */
  #transferred(direction: number, bytes: Uint8Array, at: number, enter: number, step: Step): void {
    const isEdge = direction !== this.direction;
    const seq = direction === gen.DIRECTION_INGRESS ? this.ingressSeq : this.egressSeq;
    const prev = isEdge ? this.run : NO_RUN;
    const prevTail = this.tail;
    if (isEdge) {
      this.#captureLeft = this.#answerBytes(this.#isBodyless ? this.run.bytes : 0);
      this.#isBodyless = false;
      this.run = { ...NO_RUN, firstNs: direction === gen.DIRECTION_EGRESS ? enter : at };
      if (this.verdict === gen.VERDICT_EDGES) this.#captureLeft = 0;
      this.direction = direction;
      this.tail = NO_TAIL;
      this.#isAmidBody =
        direction === gen.DIRECTION_INGRESS &&
        this.role !== gen.ROLE_CLIENT &&
        !this.#isUpgraded &&
        this.bytesIn > bytes.length &&
        !beginsMessage(bytes);
    }
    const { run } = this;
    run.calls++;
    run.bytes += bytes.length;
    run.lastNs = at;
    run.endSeq = (seq + bytes.length) >>> 0;
    if (this.verdict === gen.VERDICT_IGNORE || (this.verdict === gen.VERDICT_EDGES && !isEdge)) return;
    if (this.#isUpgraded && this.verdict === gen.VERDICT_HEAD) this.#captureLeft = this.#headBytes;
    const isStreamed = this.verdict === gen.VERDICT_STREAM || (this.#isAmidBody && this.verdict === gen.VERDICT_HEAD);
    const hasContent = step.hasNoContent !== true;
    const isShort = this.#captureLeft < Math.min(bytes.length, this.#headBytes);
    if (!isEdge && isShort && !isStreamed && hasContent && beginsMessage(bytes)) {
      this.#captureLeft = this.#headBytes;
    }
    if (isEdge || this.#captureLeft > 0 || isStreamed) {
      this.#emitCall(direction, seq, bytes, at, enter, step, prev, prevTail, isEdge, isStreamed);
    }
    if (this.#captureLeft > 0 && !isStreamed) return;
    this.tail = hasContent ? Uint8Array.from([...this.tail, ...bytes.subarray(-8)].slice(-8)) : NO_TAIL;
  }

  get #pipelineBytes(): number {
    return PIPELINE_ROUNDS * Math.min(PIPELINE_HEADS * this.#headBytes, ROUND_BYTES);
  }

  #answerBytes(asked: number): number {
    if (asked <= this.#headBytes) return this.#headBytes;
    return asked <= this.#pipelineBytes / PIPELINE_ROUNDS ? this.#pipelineBytes / PIPELINE_ROUNDS : this.#pipelineBytes;
  }

  /** emit_call of bpf/socket.h. */
  #emitCall(
    direction: number,
    seq: number,
    bytes: Uint8Array,
    at: number,
    enter: number,
    step: Step,
    prev: Run,
    prevTail: Uint8Array,
    isEdge: boolean,
    isStreamed: boolean,
  ): void {
    // What follows the first chunk depends on how that begins.
    const first = isStreamed ? CHUNK_MAX : Math.min(CHUNK_MAX, this.#captureLeft);
    if (step.hasNoContent !== true && beginsBodyless(bytes)) {
      this.#isBodyless = true;
      if (!isStreamed) this.#captureLeft = this.#pipelineBytes;
    }
    const streamed = this.verdict === gen.VERDICT_STREAM ? PIPELINE_ROUNDS * ROUND_BYTES : ROUND_BYTES;
    const left = Math.min(isStreamed ? streamed : this.#captureLeft, bytes.length);
    let offset = 0;
    for (let chunk = 0; ; chunk++) {
      const want = Math.min(chunk === 0 ? first : CHUNK_MAX, left - offset);
      const got = step.hasNoContent === true ? 0 : want;
      const callBytes = bytes.length - offset;
      const hasMore = offset + got < left && got > 0;
      let flags = chunk === 0 && isEdge ? gen.DATA_EDGE : 0;
      if (got === 0) flags |= gen.DATA_NO_CONTENT;
      if (got < callBytes) flags |= gen.DATA_TRUNCATED;
      if (hasMore) flags |= gen.DATA_MORE;
      const fields = this.#dataFields(direction, at, enter, step.arrived ?? 0, (seq + offset) >>> 0, flags, prev);
      const payload = bytes.subarray(offset, offset + got);
      if ((flags & gen.DATA_EDGE) !== 0 && isUpgrade(payload)) this.#isUpgraded = true;
      const event = { ...fields, callBytes, chunkBytes: got };
      const bytesOfRecord = record(gen.DataEventCursor, gen.EVENT_DATA, event, payload);
      bytesOfRecord.set(prevTail, gen.DATA_EVENT_OFFSETS.prevTail);
      this.#emit(at, bytesOfRecord, step, (flags & gen.DATA_EDGE) !== 0, direction);
      offset += got;
      if (!hasMore) break;
    }
    this.#captureLeft = Math.max(0, this.#captureLeft - offset);
  }

  /** emit and count_lost of bpf/socket.h. */
  #emit(at: number, bytes: Uint8Array, step: Step, isEdge: boolean, direction: number): void {
    if (step.isLost !== true) {
      this.tape.add('data', at, bytes);
      return;
    }
    this.lost.lostRecords++;
    if (isEdge && direction === gen.DIRECTION_INGRESS) this.lost.lostEdgesIngress++;
    else if (isEdge) this.lost.lostEdgesEgress++;
  }

  #dataFields(
    direction: number,
    at: number,
    enterNs: number,
    arrivedNs: number,
    seq: number,
    flags: number,
    prev: Run,
  ): NumberFields<gen.DataEventCursor> {
    return {
      timeNs: at,
      enterNs,
      arrivedNs,
      ...this.#prev(prev),
      ...this.tcp,
      ...this.lost,
      slot: this.slot,
      generation: this.generation,
      seq,
      otherSeq: direction === gen.DIRECTION_INGRESS ? this.egressSeq : this.ingressSeq,
      pid: this.pid,
      tid: this.tid,
      pairTag: this.#pairTag,
      runCalls: this.run.calls,
      direction,
      flags,
      runDirection: this.direction,
      ...(direction === gen.DIRECTION_EGRESS ? this.#causes() : this.#readCauses()),
    };
  }

  #readCauses(): NumberFields<gen.DataEventCursor> {
    const { readRequest } = this.tape.thread(this.tid);
    return readRequest === null || this.role !== gen.ROLE_CLIENT ? {} : causeFields('request', readRequest);
  }

  #causes(): NumberFields<gen.DataEventCursor> {
    const { cause, request } = this.tape.thread(this.tid);
    return { ...causeFields('cause', cause), ...causeFields('request', request) };
  }

  #prev(run: Run): {
    prevFirstNs: number;
    prevLastNs: number;
    prevBytes: number;
    prevCalls: number;
    prevEndSeq: number;
  } {
    return {
      prevFirstNs: run.firstNs,
      prevLastNs: run.lastNs,
      prevBytes: run.bytes,
      prevCalls: run.calls,
      prevEndSeq: run.endSeq,
    };
  }

  /** A read returned 0: the peer has finished sending. */
  readEnd(step: Step = {}): this {
    return this.#ended(gen.DIRECTION_INGRESS, gen.DATA_EOF, 0, step);
  }

  /** A call failed. */
  failed(direction: number, errorNumber: number, step: Step = {}): this {
    return this.#ended(direction, gen.DATA_ERROR, errorNumber, step);
  }

  /** socket_ended of bpf/socket.h. */
  #ended(direction: number, flags: number, errorNumber: number, step: Step): this {
    const at = this.#time(step.at);
    const seq = direction === gen.DIRECTION_INGRESS ? this.ingressSeq : this.egressSeq;
    const fields = { ...this.#dataFields(direction, at, 0, 0, seq, flags, this.run), errorNumber };
    if (direction === gen.DIRECTION_INGRESS) {
      this.tape.thread(this.tid).taken(this.role, this.slot, this.generation, seq, true);
    }
    if (this.verdict === gen.VERDICT_IGNORE) return this;
    this.#emit(at, record(gen.DataEventCursor, gen.EVENT_DATA, fields), step, false, direction);
    return this;
  }

  /** The local side sent its FIN (or, with other flags, was reset): connection_state_changed. */
  finished(step: Step & { readonly flags?: number; readonly errorNumber?: number } = {}): this {
    const at = this.#time(step.at);
    this.flags |= step.flags ?? gen.CONNECTION_FIN_SENT;
    const fields = {
      timeNs: at,
      ...this.#prev(this.run),
      ...this.tcp,
      ...this.lost,
      slot: this.slot,
      generation: this.generation,
      flags: this.flags,
      errorNumber: step.errorNumber ?? 0,
      direction: this.direction,
    };
    if (step.isLost !== true) {
      this.tape.add('control', at, record(gen.ConnectionStateEventCursor, gen.EVENT_CONNECTION_STATE, fields));
    }
    return this;
  }

  /** The socket is gone; what follows in this story is told of the slot's next tenant. */
  closed(step: Step & ClosedStory = {}): this {
    const at = this.#time(step.at);
    const bytes = record(gen.ConnectionClosedEventCursor, gen.EVENT_CONNECTION_CLOSED, {
      timeNs: at,
      firstReadNs: this.#firstReadNs,
      lastReadNs: this.#lastReadNs,
      firstWriteNs: this.#firstWriteNs,
      lastWriteNs: this.#lastWriteNs,
      bytesIngress: this.bytesIn,
      bytesEgress: this.bytesOut,
      ...this.#prev(this.run),
      ...this.tcp,
      ...this.lost,
      callsIngress: this.#callsIn,
      callsEgress: this.#callsOut,
      slot: this.slot,
      generation: this.generation,
      flags: this.flags | (step.flags ?? 0),
      errorNumber: step.errorNumber ?? 0,
      finSentNs: step.finSentNs ?? 0,
      finReceivedNs: step.finReceivedNs ?? 0,
      resetNs: step.resetNs ?? 0,
      unseenIngress: step.unseenIngress ?? 0,
      unseenEgress: step.unseenEgress ?? 0,
      framesIngress: step.framesIngress ?? 0,
      framesEgress: step.framesEgress ?? 0,
      framesIngressState: step.framesIngressState ?? gen.FRAMES_NONE,
      framesEgressState: step.framesEgressState ?? gen.FRAMES_NONE,
      direction: this.direction,
    });
    if (step.isLost !== true) this.tape.add('control', at, bytes);
    return this;
  }

  /** User space asked how far the open run has come (src/kernel/progress.ts). */
  progress(step: Step = {}): this {
    const at = this.#time(step.at);
    const bytes = record(gen.ProgressEventCursor, gen.EVENT_PROGRESS, {
      timeNs: at,
      lastNs: this.run.lastNs,
      bytes: this.run.bytes,
      ...this.tcp,
      ...this.lost,
      slot: this.slot,
      generation: this.generation,
      endSeq: this.run.endSeq,
      calls: this.run.calls,
      direction: this.direction,
    });
    bytes.set(this.tail, gen.PROGRESS_EVENT_OFFSETS.tail);
    this.tape.add('progress', at, bytes);
    return this;
  }
}

/** A request head; `fields` are lines without CRLF. */
export function requestText(line: string, fields: readonly string[] = ['Host: shop.example:8080'], body = ''): string {
  return `${[`${line} HTTP/1.1`, ...fields].join('\r\n')}\r\n\r\n${body}`;
}

/** A response whose body has a Content-Length. */
export function responseText(status = 200, body = '', fields: readonly string[] = []): string {
  return `${[`HTTP/1.1 ${status} X`, `Content-Length: ${body.length}`, ...fields].join('\r\n')}\r\n\r\n${body}`;
}

/** is_upgrade of bpf/socket.h. */
function isUpgrade(payload: Uint8Array): boolean {
  return Buffer.from(payload.subarray(0, 12)).toString('latin1') === 'HTTP/1.1 101';
}
