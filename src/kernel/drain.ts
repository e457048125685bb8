// Empties the rings into slabs. The moment `cutNs` is taken first, then the data ring's position, then the control ring's:
// whatever happened to a connection up to that moment is then in the slabs, its opening as well as its bytes, and what is
// newer waits in them for the next pass. A ring is read up to a record that is being written, and a program that can be
// preempted (a probe of a TLS library) may take milliseconds over one: what lies behind it is not in the slab then, while
// the other ring's records are. So long nothing new is handed over; but by the last pass of all, everything. One pass is bounded, so that the thread's other work
// gets its turn under a flood. What is left lies in the rings, and where these fill meanwhile, as while the pipeline's code is cold, in
// spare room of this process, for a while (`relieve`).

import { Slab } from '../records/dispatch.js';
import { EventHeaderCursor } from '../records/records.gen.js';
import type { Kernel } from './loader.js';

const DATA_SLAB_BYTES = 4 << 20;
const CONTROL_SLAB_BYTES = 1 << 20;
const SLABS_PER_PASS = 2;
/** Largest record (data_event and its payload), padded: less room than this in a slab means that it is full. */
const MAX_RECORD_BYTES = 8192;
/** A writer that is kept from its CPU for longer is not waited for: records may come without what came before them. */
const WRITER_PATIENCE_NS = 1e9;

/** Of the data ring: records that take less may wait for more of them. */
const SMALL_SHARE = 1 / 16;
/** Of a ring: what is fuller is relieved. */
const RELIEVED_SHARE = 1 / 4;
/**
 * Spare room is for a pipeline that catches up. Of one that does not it would only make the records late: after so long what may lie
 * there becomes less, and nothing after three times that.
 */
const BEHIND_NS = 5e9;
/** Of bpf/host/host.c. */
export const SPARE_BYTES = 64 << 20;

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
  /** The last run found nothing to relieve, and what may lie in spare room since this one began. */
  #caughtUpNs = 0;
  #spareBytes = 0;
  #spareFill = 0;
  /** More was there than one pass takes. */
  isBehind = false;
  /** Of each ring. */
  maxSpareBytes: number;
  readonly #kernel: Kernel;
  readonly #dataRingBytes: number;
  readonly #controlRingBytes: number;
  readonly #header = new EventHeaderCursor();

  constructor(kernel: Kernel, dataRingBytes: number, controlRingBytes: number, maxSpareBytes = SPARE_BYTES) {
    this.#kernel = kernel;
    this.maxSpareBytes = maxSpareBytes;
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

  /** Likewise of the spare room of both. */
  takeSpareFill(): number {
    const fill = this.#spareFill;
    this.#spareFill = 0;
    return fill;
  }

  /** There are few data records, and none of the control ring, on which probes of new processes depend. */
  get canWait(): boolean {
    const kernel = this.#kernel;
    if (kernel.fill(kernel.controlRing) > 0 || this.#spared > 0) return false;
    return kernel.fill(kernel.dataRing) < this.#dataRingBytes * SMALL_SHARE;
  }

  get #spared(): number {
    const kernel = this.#kernel;
    return kernel.spared(kernel.dataRing) + kernel.spared(kernel.controlRing);
  }

  /** To be called now and then while records are worked on: rings that fill meanwhile get room. */
  relieve(): void {
    const kernel = this.#kernel;
    if (kernel.fill(kernel.dataRing) > this.#dataRingBytes * RELIEVED_SHARE)
      kernel.relieve(kernel.dataRing, this.#spareBytes);
    if (kernel.fill(kernel.controlRing) > this.#controlRingBytes * RELIEVED_SHARE)
      kernel.relieve(kernel.controlRing, this.#spareBytes);
  }

  /** To be called now and then: spare room that is not in use is nobody's memory. */
  settle(): void {
    this.#kernel.settle(this.#kernel.dataRing);
    this.#kernel.settle(this.#kernel.controlRing);
  }

  /** How much may lie in spare room from now on. */
  #planSpare(nowNs: number): void {
    const kernel = this.#kernel;
    const dataFill = kernel.fill(kernel.dataRing) / this.#dataRingBytes;
    const controlFill = kernel.fill(kernel.controlRing) / this.#controlRingBytes;
    const spared = this.#spared;
    this.#dataFill = Math.max(this.#dataFill, dataFill);
    this.#controlFill = Math.max(this.#controlFill, controlFill);
    this.#spareFill = Math.max(this.#spareFill, spared / SPARE_BYTES);
    if (spared === 0 && Math.max(dataFill, controlFill) < RELIEVED_SHARE) this.#caughtUpNs = nowNs;
    const left = 1.5 - (nowNs - this.#caughtUpNs) / (2 * BEHIND_NS);
    this.#spareBytes = this.maxSpareBytes * Math.max(0, Math.min(1, left));
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
    this.#planSpare(nowNs);
    this.isBehind = false;
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
      this.isBehind = (isDataFull || isControlFull) && !isWaiting;
      if (!this.isBehind) break;
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
