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

/** A direct-mapped table of strings: a new string takes the place of the one that had its slot. */
export class StringTable {
  readonly #slots: string[];
  readonly #mask: number;

  /** `slotCount`: a power of two. Memory is bounded by slotCount * 128 characters. */
  constructor(slotCount: number) {
    this.#slots = new Array<string>(slotCount).fill('');
    this.#mask = slotCount - 1;
  }

  /** The string of bytes[from, to), made only if the table does not have it. */
  get(bytes: Uint8Array, from: number, to: number): string {
    const length = to - from;
    if (length === 0) return '';
    if (length > INTERNED_MAX_BYTES) return decodeText(bytes, from, to);
    const slot = hash(bytes, from, to) & this.#mask;
    const known = this.#slots[slot] as string;
    if (known.length === length && isSame(known, bytes, from)) return known;
    const text = decodeText(bytes, from, to);
    // A decoded UTF-8 string has fewer characters than bytes and would never be found again.
    if (text.length === length) this.#slots[slot] = text;
    return text;
  }
}

function isSame(known: string, bytes: Uint8Array, from: number): boolean {
  for (let at = 0; at < known.length; at++) {
    if (known.charCodeAt(at) !== bytes[from + at]) return false;
  }
  return true;
}

/** Of a long text the two ends are enough: an unlucky collision costs a string, nothing else. */
function hash(bytes: Uint8Array, from: number, to: number): number {
  let sum = to - from;
  let at = from;
  if (to - from > 32) {
    for (; at < from + 16; at++) sum = (Math.imul(sum, 31) + (bytes[at] as number)) | 0;
    at = to - 16;
  }
  for (; at < to; at++) sum = (Math.imul(sum, 31) + (bytes[at] as number)) | 0;
  return sum ^ (sum >>> 15);
}
