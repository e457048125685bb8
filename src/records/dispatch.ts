// Walks what one drain yields and hands each record to its handler. In: the data ring's and the control ring's bytes (and
// progress records). Out: calls on a RecordHandler, in order of time over both rings. Records of an unknown kind or a
// broken size are counted and skipped. Cursors are reused: a handler keeps nothing of them.
//
// Both rings are complete up to a moment (`cutNs`, kernel/drain.ts): what is newer stays in the slabs for the next run, so
// that a connection's records are handed over in their order whichever ring they came through.
import {
  ConnectFailedEventCursor,
  ConnectionClosedEventCursor,
  ConnectionLostEventCursor,
  ConnectionOpenedEventCursor,
  ConnectionStateEventCursor,
  DataEventCursor,
  EVENT_CONNECT_FAILED,
  EVENT_CONNECTION_CLOSED,
  EVENT_CONNECTION_LOST,
  EVENT_CONNECTION_OPENED,
  EVENT_CONNECTION_STATE,
  EVENT_DATA,
  EVENT_HEADER_OFFSETS,
  EVENT_PROCESS_EXEC,
  EVENT_PROCESS_EXIT,
  EVENT_PROCESS_FORK,
  EVENT_PROGRESS,
  EVENT_WAKE,
  EVENT_WORK,
  EventHeaderCursor,
  ProcessExecEventCursor,
  ProcessExitEventCursor,
  ProcessForkEventCursor,
  ProgressEventCursor,
  WakeEventCursor,
  WorkEventCursor,
} from './records.gen.js';

export interface RecordHandler {
  /** `bytes` is the batch; the payload begins at `payload`. */
  onData(event: DataEventCursor, bytes: Uint8Array, payload: number): void;
  onOpened(event: ConnectionOpenedEventCursor): void;
  onState(event: ConnectionStateEventCursor): void;
  onClosed(event: ConnectionClosedEventCursor): void;
  onConnectFailed(event: ConnectFailedEventCursor): void;
  onExec(event: ProcessExecEventCursor, bytes: Uint8Array): void;
  onFork(event: ProcessForkEventCursor): void;
  onExit(event: ProcessExitEventCursor): void;
  onProgress(event: ProgressEventCursor): void;
  onLost(event: ConnectionLostEventCursor): void;
  onWork(event: WorkEventCursor): void;
  onWake(event: WakeEventCursor): void;
}

/** Bytes of records, each padded to 8: an empty slab of a size, or what a recording holds. Filled behind what is left. */
export class Slab {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  length = 0;
  /** Where the next record begins. */
  at = 0;

  constructor(size: number | Uint8Array) {
    this.bytes = typeof size === 'number' ? new Uint8Array(size) : size;
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
    if (typeof size !== 'number') this.length = size.length;
  }

  /** Moves what has not been handed over to the front; the room behind it is what `rest` gives. */
  compact(): void {
    if (this.at === 0) return;
    this.bytes.copyWithin(0, this.at, this.length);
    this.length -= this.at;
    this.at = 0;
  }

  /** Where more records go. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.length);
  }

  /** Time of the next record, Infinity at the end. */
  nextNs(): number {
    return this.#nsAt(this.at);
  }

  /**
   * Puts what has not been handed over into the order of time, records of one time as they are. A program reads the clock
   * before it takes its place in the ring: another CPU may come in between.
   */
  sort(): void {
    let lastNs = 0;
    for (let at = this.at, stride = this.#strideAt(at); stride > 0; at += stride, stride = this.#strideAt(at)) {
      const ns = this.#nsAt(at);
      if (ns < lastNs) {
        this.#sortAll();
        return;
      }
      lastNs = ns;
    }
  }

  #sortAll(): void {
    const records: { readonly ns: number; readonly bytes: Uint8Array }[] = [];
    for (let at = this.at, stride = this.#strideAt(at); stride > 0; at += stride, stride = this.#strideAt(at))
      records.push({ ns: this.#nsAt(at), bytes: this.bytes.slice(at, at + stride) });
    let at = this.at;
    for (const { bytes } of records.sort((a, b) => a.ns - b.ns)) {
      this.bytes.set(bytes, at);
      at += bytes.length;
    }
  }

  #nsAt(at: number): number {
    if (at + EventHeaderCursor.SIZE > this.length) return Number.POSITIVE_INFINITY;
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 4294967296;
  }

  /** Bytes from this record to the next; 0 at the end and at what is no whole record. */
  #strideAt(at: number): number {
    if (at + EventHeaderCursor.SIZE > this.length) return 0;
    const size = this.view.getUint32(at + EVENT_HEADER_OFFSETS.size, true);
    const stride = Math.ceil(size / 8) * 8;
    return size < EventHeaderCursor.SIZE || at + stride > this.length ? 0 : stride;
  }
}

/** Records between two calls of `onStretch`, less one: a power of two less one. */
const STRETCH_MASK = 255;

export class Dispatcher {
  /** Records that could not be read. */
  malformed = 0;
  records = 0;
  /** Latest time seen. */
  lastNs = 0;
  /** Called now and then by `run`: records that come meanwhile may need room. */
  onStretch: (() => void) | null = null;
  readonly #header = new EventHeaderCursor();
  readonly #data = new DataEventCursor();
  readonly #opened = new ConnectionOpenedEventCursor();
  readonly #state = new ConnectionStateEventCursor();
  readonly #closed = new ConnectionClosedEventCursor();
  readonly #failed = new ConnectFailedEventCursor();
  readonly #exec = new ProcessExecEventCursor();
  readonly #fork = new ProcessForkEventCursor();
  readonly #work = new WorkEventCursor();
  readonly #wake = new WakeEventCursor();
  readonly #exit = new ProcessExitEventCursor();
  readonly #progress = new ProgressEventCursor();
  readonly #lost = new ConnectionLostEventCursor();
  readonly #handler: RecordHandler;

  constructor(handler: RecordHandler) {
    this.#handler = handler;
  }

  /** Hands over what both slabs have up to `cutNs`, in order of time; of two at one time the control record first. */
  run(data: Slab, control: Slab, cutNs = Number.MAX_VALUE): void {
    // Else a connection's first bytes could come before it: what opened it behind a control record of a moment later.
    control.sort();
    for (;;) {
      const dataNs = data.nextNs();
      const controlNs = control.nextNs();
      if (Math.min(dataNs, controlNs) > cutNs) {
        this.#dropRest(data);
        this.#dropRest(control);
        return;
      }
      this.#step(controlNs <= dataNs ? control : data);
      if ((this.records & STRETCH_MASK) === 0) this.onStretch?.();
    }
  }

  /** Hands over one slab. */
  runOne(slab: Slab): void {
    while (slab.at + EventHeaderCursor.SIZE <= slab.length) this.#step(slab);
    this.#dropRest(slab);
  }

  /** Bytes too few for a header are no beginning of a record that the next filling would complete. */
  #dropRest(slab: Slab): void {
    if (slab.at === slab.length || slab.at + EventHeaderCursor.SIZE <= slab.length) return;
    this.malformed++;
    slab.at = slab.length;
  }

  #step(slab: Slab): void {
    const { view, at } = slab;
    const header = this.#header;
    header.seek(view, at);
    const size = header.size;
    if (size < EventHeaderCursor.SIZE || at + size > slab.length) {
      // The rest cannot be walked: the size is what leads to the next record.
      this.malformed++;
      slab.at = slab.length;
      return;
    }
    slab.at = Math.min(slab.length, at + ((size + 7) & ~7));
    this.records++;
    if (header.timeNs > this.lastNs) this.lastNs = header.timeNs;
    this.#hand(header.kind, size, slab, at);
  }

  #hand(kind: number, size: number, slab: Slab, at: number): void {
    const handler = this.#handler;
    const { view, bytes } = slab;
    if (kind === EVENT_DATA && size >= DataEventCursor.SIZE) {
      const event = this.#data;
      event.seek(view, at);
      if (event.chunkBytes > size - DataEventCursor.SIZE) this.malformed++;
      else handler.onData(event, bytes, at + DataEventCursor.SIZE);
    } else if (kind === EVENT_CONNECTION_OPENED && size >= ConnectionOpenedEventCursor.SIZE) {
      this.#opened.seek(view, at);
      handler.onOpened(this.#opened);
    } else if (kind === EVENT_CONNECTION_STATE && size >= ConnectionStateEventCursor.SIZE) {
      this.#state.seek(view, at);
      handler.onState(this.#state);
    } else if (kind === EVENT_CONNECTION_CLOSED && size >= ConnectionClosedEventCursor.SIZE) {
      this.#closed.seek(view, at);
      handler.onClosed(this.#closed);
    } else if (kind === EVENT_CONNECT_FAILED && size >= ConnectFailedEventCursor.SIZE) {
      this.#failed.seek(view, at);
      handler.onConnectFailed(this.#failed);
    } else if (kind === EVENT_PROCESS_EXEC && size >= ProcessExecEventCursor.SIZE) {
      this.#exec.seek(view, at);
      if (this.#exec.argsBytes > size - ProcessExecEventCursor.SIZE) this.malformed++;
      else handler.onExec(this.#exec, bytes);
    } else if (kind === EVENT_PROCESS_FORK && size >= ProcessForkEventCursor.SIZE) {
      this.#fork.seek(view, at);
      handler.onFork(this.#fork);
    } else if (kind === EVENT_PROCESS_EXIT && size >= ProcessExitEventCursor.SIZE) {
      this.#exit.seek(view, at);
      handler.onExit(this.#exit);
    } else if (kind === EVENT_PROGRESS && size >= ProgressEventCursor.SIZE) {
      this.#progress.seek(view, at);
      handler.onProgress(this.#progress);
    } else if (kind === EVENT_CONNECTION_LOST && size >= ConnectionLostEventCursor.SIZE) {
      this.#lost.seek(view, at);
      handler.onLost(this.#lost);
    } else if (kind === EVENT_WORK && size >= WorkEventCursor.SIZE) {
      this.#work.seek(view, at);
      handler.onWork(this.#work);
    } else if (kind === EVENT_WAKE && size >= WakeEventCursor.SIZE) {
      this.#wake.seek(view, at);
      handler.onWake(this.#wake);
    } else {
      this.malformed++;
    }
  }
}
