// Frames of a WebSocket (RFC 6455 section 5.2), counted. In: the bytes of one direction behind the 101, in order, and how many
// were not captured. Out: how many frames have ended. Payloads are passed over by their length; where a header lies among
// bytes that were not captured, nothing behind it can be told apart, and the reader says why it stopped.
//
//   frame    FIN:1 RSV:3 opcode:4 | MASK:1 length:7 | (126: length:16, 127: length:64) | (MASK: key:32) | payload
//   opcode   0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong; from 8 on a payload has at most 125 octets

/** Why frames could not be counted; '': they could. */
export type UncountedReason = '' | 'not_captured' | 'ring_full' | 'not_frames';

const HEADER_MAX = 14;
const MASK_BYTES = 4;
const OPCODES = new Set([0, 1, 2, 8, 9, 10]);
/** Lengths have 63 bits. */
const LENGTH_HIGH_MAX = 0x80000000;

export class FrameReader {
  /** Frames that have ended. */
  count = 0;
  uncounted: UncountedReason = '';
  /** Octets of the payload under way that are still to come. */
  left = 0;
  readonly #header = new Uint8Array(HEADER_MAX);
  #have = 0;
  readonly #isMasked: boolean | null;

  /** `isMasked`: frames of a client are, those of a server are not (section 5.1); null: not looked at. */
  constructor(isMasked: boolean | null) {
    this.#isMasked = isMasked;
  }

  feed(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to && this.uncounted === ''; ) at = this.step(bytes, at, to);
  }

  /** Reads on by a piece of payload if any is `left`, else by an octet of a header; the index behind it. */
  step(bytes: Uint8Array, at: number, to: number): number {
    if (this.left === 0) {
      this.#readHeader(bytes[at] as number);
      return at + 1;
    }
    const count = Math.min(this.left, to - at);
    this.#pass(count);
    return at + count;
  }

  /** `count` bytes exist and were not captured, because of `reason`. */
  skip(count: number, reason: UncountedReason): void {
    if (count === 0 || this.uncounted !== '') return;
    if (count > this.left) this.uncounted = reason;
    else this.#pass(count);
  }

  #pass(count: number): void {
    this.left -= count;
    if (this.left === 0) this.count++;
  }

  #readHeader(byte: number): void {
    const header = this.#header;
    header[this.#have++] = byte;
    if (this.#have < 2) return;
    const isMasked = (header[1] as number) >= 0x80;
    const short = (header[1] as number) & 0x7f;
    const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
    if (this.#have < 2 + lengthBytes + (isMasked ? MASK_BYTES : 0)) return;
    this.#have = 0;
    const length = lengthBytes === 0 ? short : this.#length(lengthBytes);
    const opcode = (header[0] as number) & 0x0f;
    const isControl = opcode >= 8;
    const isWhole = (header[0] as number) >= 0x80;
    if (
      !OPCODES.has(opcode) ||
      length < 0 ||
      (isControl && (short > 125 || !isWhole)) ||
      (this.#isMasked !== null && isMasked !== this.#isMasked)
    ) {
      this.uncounted = 'not_frames';
      return;
    }
    this.left = length;
    if (length === 0) this.count++;
  }

  /** -1: none that is allowed. */
  #length(bytes: number): number {
    const view = new DataView(this.#header.buffer);
    if (bytes === 2) return view.getUint16(2);
    const high = view.getUint32(2);
    return high >= LENGTH_HIGH_MAX ? -1 : high * 2 ** 32 + view.getUint32(6);
  }
}
