// Spans on their way from the worker to the main thread, which takes them in its own time: a message port has no bound of
// its own. In: what is about to be sent, and what has been taken. Out: whether there is room. A live worker does not wait, since the
// rings would overflow: what has no room is dropped and counted. A replay waits, since its recording does not run away.

/** More than half a second of everything at 30,000 requests/s. */
const MAX_BYTES = 16 << 20;
const WAIT_MS = 1000;

/** One of them at each end, over the same shared word: bytes sent and not taken. */
export class Handover {
  readonly shared: SharedArrayBuffer;
  readonly #bytes: Int32Array;
  readonly #maxBytes: number;
  /** Spans for which there was no room. */
  dropped = 0;

  constructor(shared = new SharedArrayBuffer(4), maxBytes = MAX_BYTES) {
    this.shared = shared;
    this.#bytes = new Int32Array(shared);
    this.#maxBytes = maxBytes;
  }

  get byteLength(): number {
    return Atomics.load(this.#bytes, 0);
  }

  /** May `byteLength` be sent? Then they count until they are taken. Something may always be on its way, however large. */
  offer(byteLength: number, spanCount: number): boolean {
    const held = this.byteLength;
    if (held > 0 && held + byteLength > this.#maxBytes) {
      this.dropped += spanCount;
      return false;
    }
    Atomics.add(this.#bytes, 0, byteLength);
    return true;
  }

  /** Blocks this thread until the other one has made room. */
  waitForRoom(byteLength: number): void {
    for (let held = this.byteLength; held > 0 && held + byteLength > this.#maxBytes; held = this.byteLength) {
      Atomics.wait(this.#bytes, 0, held, WAIT_MS);
    }
  }

  taken(byteLength: number): void {
    Atomics.sub(this.#bytes, 0, byteLength);
    Atomics.notify(this.#bytes, 0);
  }
}
