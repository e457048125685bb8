// Name-value pairs of FastCGI (section 3.4). In: the content of PARAMS records, in pieces, and what is missing of it. Out:
// each name in one piece, and its value in as many as it came. Bounded: a name that is longer than NAME_MAX_BYTES is told as
// an empty one, and nothing of a value is kept here.
//
//   name length | value length | name | value        a length: one byte below 128, or four with the highest bit set

/** Longest name that is told. */
export const NAME_MAX_BYTES = 64;

const IN_NAME_LENGTH = 0;
const IN_VALUE_LENGTH = 1;
const IN_NAME = 2;
const IN_VALUE = 3;
/** Bytes were missing: where the next pair begins is not known. */
const IS_LOST = 4;

const LONG = 0x80;

export interface PairSink {
  onName(bytes: Uint8Array, from: number, to: number): void;
  /** The next bytes of the value; at least one call for each name, the last one with `isLast`. */
  onValue(bytes: Uint8Array, from: number, to: number, isLast: boolean): void;
  /** The rest of the value, or of its pair, is missing. */
  onCut(): void;
}

export class PairReader {
  readonly #sink: PairSink;
  readonly #name = new Uint8Array(NAME_MAX_BYTES);
  #state = IN_NAME_LENGTH;
  #length = 0;
  /** Bytes of a length still to come. */
  #lengthLeft = 0;
  #nameLength = 0;
  #nameLeft = 0;
  #valueLeft = 0;

  constructor(sink: PairSink) {
    this.#sink = sink;
  }

  get isLost(): boolean {
    return this.#state === IS_LOST;
  }

  reset(): void {
    this.#state = IN_NAME_LENGTH;
    this.#length = 0;
    this.#lengthLeft = 0;
  }

  read(bytes: Uint8Array, from: number, to: number): void {
    let at = from;
    while (at < to) {
      switch (this.#state) {
        case IN_NAME_LENGTH:
        case IN_VALUE_LENGTH:
          this.#readLength(bytes[at++] as number);
          break;
        case IN_NAME:
          at = this.#readName(bytes, at, to);
          break;
        case IN_VALUE:
          at = this.#readValue(bytes, at, to);
          break;
        default:
          return;
      }
      if (this.#state === IN_NAME && this.#nameLeft === 0) this.#beginValue();
      if (this.#state === IN_VALUE && this.#valueLeft === 0) this.#endEmptyValue();
    }
  }

  /** `count` bytes are missing. */
  skip(count: number): void {
    if (this.#state === IS_LOST) return;
    if (this.#state !== IN_VALUE || count > this.#valueLeft) {
      this.#sink.onCut();
      this.#state = IS_LOST;
      return;
    }
    this.#sink.onCut();
    this.#valueLeft -= count;
    if (this.#valueLeft === 0) this.#state = IN_NAME_LENGTH;
  }

  #readLength(byte: number): void {
    if (this.#lengthLeft === 0) {
      if (byte < LONG) {
        this.#takeLength(byte);
        return;
      }
      this.#length = byte & 0x7f;
      this.#lengthLeft = 3;
      return;
    }
    this.#length = this.#length * 256 + byte;
    if (--this.#lengthLeft === 0) this.#takeLength(this.#length);
  }

  #takeLength(length: number): void {
    if (this.#state === IN_NAME_LENGTH) {
      this.#nameLength = this.#nameLeft = length;
      this.#state = IN_VALUE_LENGTH;
      return;
    }
    this.#valueLeft = length;
    this.#state = IN_NAME;
  }

  #readName(bytes: Uint8Array, from: number, to: number): number {
    const end = Math.min(to, from + this.#nameLeft);
    const done = this.#nameLength - this.#nameLeft;
    this.#nameLeft -= end - from;
    if (this.#nameLength > NAME_MAX_BYTES) {
      if (this.#nameLeft === 0) this.#sink.onName(bytes, end, end);
    } else if (end - from === this.#nameLength) {
      this.#sink.onName(bytes, from, end);
    } else {
      this.#name.set(bytes.subarray(from, end), done);
      if (this.#nameLeft === 0) this.#sink.onName(this.#name, 0, this.#nameLength);
    }
    return end;
  }

  #beginValue(): void {
    if (this.#nameLength === 0) this.#sink.onName(this.#name, 0, 0);
    this.#state = IN_VALUE;
  }

  #readValue(bytes: Uint8Array, from: number, to: number): number {
    const end = Math.min(to, from + this.#valueLeft);
    this.#valueLeft -= end - from;
    if (this.#valueLeft === 0) this.#state = IN_NAME_LENGTH;
    this.#sink.onValue(bytes, from, end, this.#valueLeft === 0);
    return end;
  }

  #endEmptyValue(): void {
    this.#state = IN_NAME_LENGTH;
    this.#sink.onValue(this.#name, 0, 0, true);
  }
}
