// The kernel's `connections` map in this process's memory, as far as slots are in use: mapped pages count as resident, and the
// whole map is 32 MB. Slots are given out from the lowest on, and those that were given back are given out first, so that what is in
// use lies together. In: a slot that a record has named. Out: a view that has it, and where in it.
import { ConnectionCursor } from '../records/records.gen.js';

/** Mapped at a time: 512 KB, whole pages. */
const PIECE_SLOTS = 1024;
const NOTHING = new DataView(new ArrayBuffer(0));

/** Where the connection of a slot is looked at: its fields are at `connectionAt(slot)`. */
export interface ConnectionView {
  viewOf(slot: number): DataView;
}

/** In the view of the slot. */
export function connectionAt(slot: number): number {
  return (slot % PIECE_SLOTS) * ConnectionCursor.SIZE;
}

export class ConnectionMap implements ConnectionView {
  readonly #maxSlots: number;
  readonly #mapMemory: (from: number, bytes: number) => ArrayBuffer;
  readonly #pieces: DataView[] = [];

  /** `mapMemory` maps so many bytes of the map, or as many as there are. */
  constructor(maxSlots: number, mapMemory: (from: number, bytes: number) => ArrayBuffer) {
    this.#maxSlots = maxSlots;
    this.#mapMemory = mapMemory;
  }

  /** Of a slot that the kernel does not have (a damaged record) the view has nothing: reading it throws RangeError. */
  viewOf(slot: number): DataView {
    return this.#pieces[Math.floor(slot / PIECE_SLOTS)] ?? this.#mapPiece(slot);
  }

  #mapPiece(slot: number): DataView {
    if (slot >= this.#maxSlots) return NOTHING;
    const index = Math.floor(slot / PIECE_SLOTS);
    while (this.#pieces.length <= index) {
      const bytes = PIECE_SLOTS * ConnectionCursor.SIZE;
      this.#pieces.push(new DataView(this.#mapMemory(this.#pieces.length * bytes, bytes)));
    }
    return this.#pieces[index] as DataView;
  }
}
