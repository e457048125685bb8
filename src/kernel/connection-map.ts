// The kernel's `connections` map in this process's memory, as far as slots are in use: mapped pages count as resident, and the
// whole map is 32 MB. Slots are given out from the lowest on, and those that were given back are given out first, so that what is in
// use lies together. In: a slot that a record has named. Out: a view that has it.
import { ConnectionCursor } from '../records/records.gen.js';

/** 2 MB. */
const FIRST_SLOTS = 4096;

/** Where the connection of a slot is looked at: its fields are at `slot * ConnectionCursor.SIZE`. */
export interface ConnectionView {
  viewOf(slot: number): DataView;
}

export class ConnectionMap implements ConnectionView {
  readonly #maxSlots: number;
  readonly #mapMemory: (bytes: number) => ArrayBuffer;
  #slots = 0;
  #view = new DataView(new ArrayBuffer(0));

  /** `mapMemory` maps that much of the map, from its beginning. */
  constructor(maxSlots: number, mapMemory: (bytes: number) => ArrayBuffer) {
    this.#maxSlots = maxSlots;
    this.#mapMemory = mapMemory;
    this.#grow(0);
  }

  /** Of a slot that the kernel does not have (a damaged record) the view has nothing: reading it throws RangeError. */
  viewOf(slot: number): DataView {
    if (slot >= this.#slots && slot < this.#maxSlots) this.#grow(slot);
    return this.#view;
  }

  #grow(slot: number): void {
    let slots = Math.max(this.#slots, FIRST_SLOTS);
    while (slots <= slot) slots *= 2;
    this.#slots = Math.min(slots, this.#maxSlots);
    this.#view = new DataView(this.#mapMemory(this.#slots * ConnectionCursor.SIZE));
  }
}
