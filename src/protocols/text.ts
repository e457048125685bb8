// Bytes to strings, for the few that become attributes. In: a range of captured bytes. Out: a string that encodes back to
// the same bytes where that is possible. Strings that come again and again (hosts, user agents, targets) are looked up in
// a table of fixed size instead of being made again: a hit costs no garbage and hands on a string whose hash is known.
import { isUtf8 } from 'node:buffer';

type Slice = (this: Uint8Array, start: number, end: number) => string;
// Buffer's own method works on any Uint8Array: no Buffer has to be made around the bytes of a batch.
const latin1Slice = (Buffer.prototype as unknown as { latin1Slice: Slice }).latin1Slice;

/**
 * Decodes bytes[from, to) as what was on the wire: ASCII as it is, valid UTF-8 as UTF-8 (it encodes back to the same
 * bytes), anything else as one character a byte (nothing is replaced or lost, RFC 9110 section 5.5 obs-text).
 */
export function decodeText(bytes: Uint8Array, from: number, to: number): string {
  let seen = 0;
  for (let at = from; at < to; at++) seen |= bytes[at] as number;
  if (seen >= 0x80 && isUtf8(bytes.subarray(from, to))) {
    return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('utf8');
  }
  return latin1Slice.call(bytes, from, to);
}

/** `to`, or less if bytes[from, to) end within a UTF-8 sequence: where a text that goes on behind `to` may be cut. */
export function cutText(bytes: Uint8Array, from: number, to: number): number {
  let lead = to - 1;
  while (lead > from && lead > to - 4 && ((bytes[lead] as number) & 0xc0) === 0x80) lead--;
  if (lead < from) return to;
  const byte = bytes[lead] as number;
  const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
  return to - lead < needed ? lead : to;
}

/** Longest range that is worth a place in the table. */
const INTERNED_MAX_BYTES = 128;

/** A Buffer's own slice would be a view of the batch. */
const copyOf = Uint8Array.prototype.slice;
/** Texts that are in no slot have no length. */
const NO_BYTES = new Uint8Array(0);

/** A direct-mapped table of strings: a new string takes the place of the one that had its slot. */
export class StringTable {
  readonly #slots: string[];
  /** What each was made of: bytes are compared with bytes, since a character of a string takes V8 several times as long. */
  readonly #bytes: Uint8Array[];
  readonly #mask: number;

  /** `slotCount`: a power of two. Memory is bounded by slotCount * 2 * INTERNED_MAX_BYTES, and what two objects take. */
  constructor(slotCount: number) {
    this.#slots = new Array<string>(slotCount).fill('');
    this.#bytes = new Array<Uint8Array>(slotCount).fill(NO_BYTES);
    this.#mask = slotCount - 1;
  }

  /** The string of bytes[from, to), made only if the table does not have it. */
  get(bytes: Uint8Array, from: number, to: number): string {
    const length = to - from;
    if (length === 0) return '';
    if (length > INTERNED_MAX_BYTES) return decodeText(bytes, from, to);
    const slot = hash(bytes, from, to) & this.#mask;
    if (isSame(this.#bytes[slot] as Uint8Array, bytes, from, length)) return this.#slots[slot] as string;
    const text = decodeText(bytes, from, to);
    this.#slots[slot] = text;
    this.#bytes[slot] = copyOf.call(bytes, from, to);
    return text;
  }
}

function isSame(known: Uint8Array, bytes: Uint8Array, from: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let at = 0; at < length; at++) {
    if (known[at] !== bytes[from + at]) return false;
  }
  return true;
}

/** Of a long text the two ends are enough: an unlucky collision costs a string, nothing else. */
function hash(bytes: Uint8Array, from: number, to: number): number {
  let sum = to - from;
  let at = from;
  if (to - from > 32) {
    sum = hashRange(bytes, from, from + 16, sum);
    at = to - 16;
  }
  sum = hashRange(bytes, at, to, sum);
  return sum ^ (sum >>> 15);
}

/** Four bytes at a time: one multiplication waits for the one before it. */
function hashRange(bytes: Uint8Array, from: number, to: number, start: number): number {
  let sum = start;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    sum = Math.imul(sum ^ word, 0x9e3779b1);
    sum ^= sum >>> 15;
  }
  for (; at < to; at++) sum = Math.imul(sum ^ (bytes[at] as number), 0x9e3779b1);
  return sum;
}
