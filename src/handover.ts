// Spans on their way from the worker to the main thread, which takes them in its own time: a message port has no bound of
// its own. In: what is about to be sent, and what has been taken. Out: whether there is room, and memory to encode requests
// into. A live worker does not wait, since the rings would overflow: what has no room is dropped and counted. A replay waits,
// since its recording does not run away.
//
// Requests lie in a few slots of memory that both threads see, and that come back when nobody reads them any more: fresh
// memory for each would be zeroed page by page, and counted by V8 as a reason to collect. What finds no slot (the receiver
// is slow, the request large) has memory of its own, which goes with it.

/** More than half a second of everything at 30,000 requests/s. */
const MAX_BYTES = 16 << 20;
const WAIT_MS = 1000;
/** A request of ordinary traffic, see FLUSH_BYTES of assembly.ts; no memory is used before one is written. */
const SLOT_BYTES = 1.5 * (1 << 20);
/** Where it begins there: gRPC copies it behind a prefix of five bytes, by words if both lie so in them. */
const SLOT_START = 5;
/** Two in flight, one that waits, one that is written, and as many while a receiver pauses. */
const SLOTS = 8;
/** Not in a slot. */
export const NO_SLOT = -1;

/** Words that both threads change. */
const HELD = 0;
/** A bit for each slot that nobody uses. */
const FREE = 1;

/** What both threads see. */
export interface HandoverMemory {
  readonly words: SharedArrayBuffer;
  readonly slots: readonly SharedArrayBuffer[];
}

function newMemory(): HandoverMemory {
  const words = new SharedArrayBuffer(8);
  new Int32Array(words)[FREE] = (1 << SLOTS) - 1;
  return { words, slots: Array.from({ length: SLOTS }, () => new SharedArrayBuffer(SLOT_BYTES)) };
}

/** One of them at each end, over the same memory. */
export class Handover {
  readonly memory: HandoverMemory;
  readonly #words: Int32Array;
  readonly #maxBytes: number;
  /** Spans for which there was no room. */
  dropped = 0;

  constructor(memory = newMemory(), maxBytes = MAX_BYTES) {
    this.memory = memory;
    this.#words = new Int32Array(memory.words);
    this.#maxBytes = maxBytes;
  }

  /** Bytes sent and not taken. */
  get byteLength(): number {
    return Atomics.load(this.#words, HELD);
  }

  /** Memory for a request, in the slot that was used last if one is free. Only the worker asks. */
  allocate(byteLength: number): Uint8Array {
    const free = Atomics.load(this.#words, FREE);
    if (free === 0 || SLOT_START + byteLength > SLOT_BYTES) return Buffer.allocUnsafeSlow(byteLength);
    const slot = 31 - Math.clz32(free & -free);
    Atomics.and(this.#words, FREE, ~(1 << slot));
    return new Uint8Array(this.memory.slots[slot] as SharedArrayBuffer, SLOT_START, byteLength);
  }

  /** The slot that `allocate` gave, or NO_SLOT. */
  slotOf({ buffer }: Uint8Array): number {
    return buffer instanceof SharedArrayBuffer ? this.memory.slots.indexOf(buffer) : NO_SLOT;
  }

  /** The request in a slot: this end's own view of it, since one that crosses would count as new memory of this thread's. */
  read(slot: number, byteLength: number): Uint8Array {
    return new Uint8Array(this.memory.slots[slot] as SharedArrayBuffer, SLOT_START, byteLength);
  }

  /** Nobody reads the request any more. Once for each that was allocated. */
  release(slot: number): void {
    if (slot !== NO_SLOT) Atomics.or(this.#words, FREE, 1 << slot);
  }

  /** May `byteLength` be sent? Then they count until they are taken. Something may always be on its way, however large. */
  offer(byteLength: number, spanCount: number): boolean {
    const held = this.byteLength;
    if (held > 0 && held + byteLength > this.#maxBytes) {
      this.dropped += spanCount;
      return false;
    }
    Atomics.add(this.#words, HELD, byteLength);
    return true;
  }

  /** Blocks this thread until the other one has made room. */
  waitForRoom(byteLength: number): void {
    for (let held = this.byteLength; held > 0 && held + byteLength > this.#maxBytes; held = this.byteLength) {
      Atomics.wait(this.#words, HELD, held, WAIT_MS);
    }
  }

  taken(byteLength: number): void {
    Atomics.sub(this.#words, HELD, byteLength);
    Atomics.notify(this.#words, HELD);
  }
}
