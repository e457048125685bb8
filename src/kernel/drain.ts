// Empties the rings into slabs, in an order that lets the dispatcher sort them: the control ring's position is taken
// first, then the data ring is drained to its end, then the control ring up to that position. A data record that is older
// than a control record at hand is therefore never still in the ring. One pass is bounded, so that the thread's other work
// gets its turn under a flood; the rings hold what is left.
import { Slab } from '../records/dispatch.js';
import type { Kernel } from './loader.js';

const DATA_SLAB_BYTES = 4 << 20;
const SLABS_PER_PASS = 8;
/** Largest record (data_event and its payload), padded: less room than this in a slab means that it was full. */
const MAX_RECORD_BYTES = 8192;

export class Drain {
  readonly data = new Slab(DATA_SLAB_BYTES);
  readonly control: Slab;
  #dataFill = 0;
  #controlFill = 0;
  readonly #kernel: Kernel;
  readonly #dataRingBytes: number;
  readonly #controlRingBytes: number;

  constructor(kernel: Kernel, dataRingBytes: number, controlRingBytes: number) {
    this.#kernel = kernel;
    this.#dataRingBytes = dataRingBytes;
    this.#controlRingBytes = controlRingBytes;
    this.control = new Slab(controlRingBytes);
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

  /**
   * Hands each batch to `process`; `isControlFresh` tells that the control slab is not the rest of the batch before.
   * Returns the bytes drained.
   */
  run(process: (data: Slab, control: Slab, isDataComplete: boolean, isControlFresh: boolean) => void): number {
    const kernel = this.#kernel;
    const { data, control } = this;
    let total = 0;
    this.#dataFill = Math.max(this.#dataFill, kernel.fill(kernel.dataRing) / this.#dataRingBytes);
    this.#controlFill = Math.max(this.#controlFill, kernel.fill(kernel.controlRing) / this.#controlRingBytes);
    const controlPosition = kernel.position(kernel.controlRing);
    for (let pass = 0; pass < SLABS_PER_PASS; pass++) {
      data.at = 0;
      data.length = kernel.drain(kernel.dataRing, data.bytes);
      const isComplete = data.length < data.bytes.length - MAX_RECORD_BYTES;
      const isControlFresh = control.isEmpty;
      if (isControlFresh) {
        control.at = 0;
        control.length = kernel.drain(kernel.controlRing, control.bytes, controlPosition);
        total += control.length;
      }
      total += data.length;
      if (data.length === 0 && control.isEmpty) break;
      process(data, control, isComplete, isControlFresh);
      if (isComplete) break;
    }
    return total;
  }
}
