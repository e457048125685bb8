// The part of a line that came before the chunk that ends it. In: byte ranges. Out: the line in one piece. Grows from a
// small buffer by doubling up to LINE_MAX_BYTES; what a line has beyond that is dropped, and `isOverfull` says so.

/** Longest line that is kept (request line or header line), in bytes. */
export const LINE_MAX_BYTES = 64 * 1024;
const FIRST_BYTES = 256;
const NOTHING = new Uint8Array(0);

export class LineBuffer {
  /** The line is in bytes[0, length). */
  bytes: Uint8Array = NOTHING;
  length = 0;
  /** The line was longer than LINE_MAX_BYTES: its end is not here. */
  isOverfull = false;

  /** Appends source[from, to). */
  append(source: Uint8Array, from: number, to: number): void {
    let count = to - from;
    if (this.length + count > LINE_MAX_BYTES) {
      this.isOverfull = true;
      count = LINE_MAX_BYTES - this.length;
    }
    this.#reserve(this.length + count);
    const target = this.bytes;
    const at = this.length;
    if (count < 32) {
      for (let i = 0; i < count; i++) target[at + i] = source[from + i] as number;
    } else {
      target.set(source.subarray(from, from + count), at);
    }
    this.length = at + count;
  }

  /** Empties the line and keeps the memory for the next. */
  clear(): void {
    this.length = 0;
    this.isOverfull = false;
  }

  /** Gives the memory back. */
  release(): void {
    this.clear();
    this.bytes = NOTHING;
  }

  #reserve(needed: number): void {
    if (needed <= this.bytes.length) return;
    let size = Math.max(FIRST_BYTES, this.bytes.length * 2);
    while (size < needed) size *= 2;
    const grown = new Uint8Array(Math.min(size, LINE_MAX_BYTES));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
