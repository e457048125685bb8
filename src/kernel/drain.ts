// Empties the rings into slabs. The moment `cutNs` is taken first, then the data ring's position, then the control ring's:
// whatever happened to a connection up to that moment is then in the slabs, its opening as well as its bytes, and what is
// newer waits in them for the next pass. A ring is read up to a record that is being written, and a program that can be
// preempted (a probe of a TLS library) may take milliseconds over one: what lies behind it is not in the slab then, while
// the other ring's records are. So long nothing new is handed over; but by the last pass of all, everything. One pass is bounded, so that the thread's other work
// gets its turn under a flood; the rings hold what is left.

import { Slab } from '../records/dispatch.js';
import { EventHeaderCursor } from '../records/records.gen.js';
import type { Kernel } from './loader.js';

const DATA_SLAB_BYTES = 4 << 20;
const CONTROL_SLAB_BYTES = 1 << 20;
const SLABS_PER_PASS = 8;
/** Largest record (data_event and its payload), padded: less room than this in a slab means that it is full. */
const MAX_RECORD_BYTES = 8192;
/** A writer that is kept from its CPU for longer is not waited for: records may come without what came before them. */
const WRITER_PATIENCE_NS = 1e9;

/** Of the data ring: records that take less may wait for more of them. */
const SMALL_SHARE = 1 / 16;

/** What a pass added to the slabs, for a recording. */
export interface Drained {
  readonly data: Uint8Array;
  readonly control: Uint8Array;
  readonly cutNs: number;
}

export class Drain {
  readonly data = new Slab(DATA_SLAB_BYTES);
  readonly control = new Slab(CONTROL_SLAB_BYTES);
  #dataFill = 0;
  #controlFill = 0;
  /** Times of the last records in slabs that are full. */
  #lastDataNs = 0;
  #lastControlNs = 0;
  /** The latest cut up to which everything has been handed over, and since when there is none that is newer. */
  #completeNs = 0;
  #waitsSinceNs = 0;
  readonly #kernel: Kernel;
  readonly #dataRingBytes: number;
  readonly #controlRingBytes: number;
  readonly #header = new EventHeaderCursor();

  constructor(kernel: Kernel, dataRingBytes: number, controlRingBytes: number) {
    this.#kernel = kernel;
    this.#dataRingBytes = dataRingBytes;
    this.#controlRingBytes = controlRingBytes;
  }

  /** Largest fill of the data ring since the last call, as a share. */
  takeDataFill(): number {
    const fill = this.#dataFill;
    this.#dataFill = 0;
    return fill;
  }

  /** Likewise of the control ring. */
  takeControlFill(): number {
    const fill = this.#controlFill;
    this.#controlFill = 0;
    return fill;
  }

  /** There are few data records, and none of the control ring, on which probes of new processes depend. */
  get canWait(): boolean {
    const kernel = this.#kernel;
    return kernel.fill(kernel.controlRing) === 0 && kernel.fill(kernel.dataRing) < this.#dataRingBytes * SMALL_SHARE;
  }

  /** A record is being written, and what comes behind it has not been handed over. */
  get isWaiting(): boolean {
    return this.#waitsSinceNs > 0;
  }

  /**
   * Fills the slabs with what happened up to `nowNs`, which the caller has just read from the boot clock, and calls
   * `process` for each filling. Returns the bytes drained. The last run waits for nothing: what is still being written then
   * is a record that cannot be read.
   */
  run(nowNs: number, process: (drained: Drained) => void, isLast = false): number {
    const kernel = this.#kernel;
    const { data, control } = this;
    const passesUnwritten = isLast && this.isWaiting;
    let total = 0;
    this.#dataFill = Math.max(this.#dataFill, kernel.fill(kernel.dataRing) / this.#dataRingBytes);
    this.#controlFill = Math.max(this.#controlFill, kernel.fill(kernel.controlRing) / this.#controlRingBytes);
    const dataPosition = kernel.position(kernel.dataRing);
    const controlPosition = kernel.position(kernel.controlRing);
    for (let pass = 0; pass < SLABS_PER_PASS; pass++) {
      const newData = this.#fill(data, kernel.dataRing, dataPosition, passesUnwritten);
      const newControl = this.#fill(control, kernel.controlRing, controlPosition, passesUnwritten);
      total += newData.length + newControl.length;
      // What stays behind in a ring is being written, or found no room.
      const isDataFull = isFull(data);
      const isControlFull = isFull(control);
      const isWaiting =
        (!isControlFull && kernel.taken(kernel.controlRing) < controlPosition) ||
        (!isDataFull && kernel.taken(kernel.dataRing) < dataPosition);
      if (isDataFull) this.#lastDataNs = this.#lastOf(newData, this.#lastDataNs);
      if (isControlFull) this.#lastControlNs = this.#lastOf(newControl, this.#lastControlNs);
      const upToNs = Math.min(
        nowNs,
        isDataFull ? this.#lastDataNs : nowNs,
        isControlFull ? this.#lastControlNs : nowNs,
      );
      process({ data: newData, control: newControl, cutNs: this.#cut(nowNs, isWaiting, upToNs) });
      if (!(isDataFull || isControlFull) || isWaiting) break;
    }
    return total;
  }

  /** Up to when records are handed over: `upToNs`, unless one is still being written. */
  #cut(nowNs: number, isWaiting: boolean, upToNs: number): number {
    if (!isWaiting) this.#waitsSinceNs = 0;
    else if (this.#waitsSinceNs === 0) this.#waitsSinceNs = nowNs;
    if (!isWaiting || nowNs - this.#waitsSinceNs > WRITER_PATIENCE_NS) this.#completeNs = upToNs;
    return this.#completeNs;
  }

  #fill(slab: Slab, ring: Kernel['dataRing'], upTo: number, passesUnwritten: boolean): Uint8Array {
    slab.compact();
    const from = slab.length;
    slab.length += this.#kernel.drain(ring, slab.rest(), upTo, passesUnwritten);
    return slab.bytes.subarray(from, slab.length);
  }

  /** Time of the last record of a filling that has one, or else `before`: with more to come, nothing newer is complete. */
  #lastOf(bytes: Uint8Array, before: number): number {
    let lastNs = before;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at + EventHeaderCursor.SIZE <= bytes.length; at += (this.#header.size + 7) & ~7) {
      this.#header.seek(view, at);
      if (this.#header.timeNs > 0) lastNs = this.#header.timeNs;
      if (this.#header.size === 0) break;
    }
    return lastNs;
  }
}

function isFull(slab: Slab): boolean {
  return slab.bytes.length - slab.length <= MAX_RECORD_BYTES;
}
