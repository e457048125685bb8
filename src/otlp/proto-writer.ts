// Protocol Buffers wire format (protobuf encoding guide) into one flat buffer that grows and is reused: numbers and text
// go in, bytes [0, at) come out. Nothing is lost: text that is not ASCII takes a slower road, lone surrogates become
// U+FFFD. A message whose size is not known beforehand is opened with a two-byte length that is patched when it is
// closed; a length under 128 then stays a two-byte varint, which is legal and one move cheaper.

/** Wire types of the protobuf encoding. */
export const WIRE_VARINT = 0;
export const WIRE_FIXED64 = 1;
export const WIRE_LENGTH = 2;
export const WIRE_FIXED32 = 5;

const TWO_POW_32 = 0x1_0000_0000;
/** Up to this many characters a JavaScript loop beats the call into the runtime. */
const SHORT_TEXT = 48;

/** Bytes that a value from 0 to 2^53 takes as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** The first bytes of a field; field numbers up to 2047. */
export function tagBytes(field: number, wireType: number): readonly number[] {
  const tag = field * 8 + wireType;
  return tag < 128 ? [tag] : [(tag & 127) | 128, tag >>> 7];
}

/** Bytes as `ProtoWriter.words` takes them. */
export function wordsOf(bytes: Uint8Array): Int32Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  const view = new DataView(padded.buffer);
  return Int32Array.from({ length: padded.length / 4 }, (_, at) => view.getInt32(at * 4, true));
}

export class ProtoWriter {
  /** The buffer; replaced when it grows, so never keep a reference across a write. */
  bytes: Buffer;
  /** Where the next byte goes. */
  at = 0;
  #view: DataView;

  constructor(capacityBytes = 4096) {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(capacityBytes, 64));
    this.#view = new DataView(this.bytes.buffer);
  }

  get capacityBytes(): number {
    return this.bytes.length;
  }

  /** Makes room for `count` more bytes. Every method below calls it for itself. */
  ensure(count: number): void {
    if (this.at + count > this.bytes.length) this.#resize(Math.max(this.bytes.length * 2, this.at + count));
  }

  /** Forgets the content, and gives memory back when the buffer is larger than `keepBytes`. What comes next begins at `at`. */
  reset(keepBytes: number, at = 0): void {
    this.at = 0;
    if (this.bytes.length > keepBytes) this.#resize(Math.max(keepBytes, 64));
    this.at = at;
  }

  /** A copy of the content in an ArrayBuffer of its own. */
  copy(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.bytes.subarray(0, this.at));
  }

  #resize(capacity: number): void {
    const grown = Buffer.allocUnsafeSlow(capacity);
    if (this.at > 0) this.bytes.copy(grown, 0, 0, this.at);
    this.bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  /** One byte: a tag below 128, a bool, a small length. */
  byte(value: number): void {
    this.ensure(1);
    this.bytes[this.at++] = value;
  }

  /** An integer from 0 to 2^53. */
  varint(value: number): void {
    this.ensure(8);
    let rest = value;
    while (rest >= TWO_POW_32) {
      this.bytes[this.at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    rest >>>= 0;
    while (rest >= 128) {
      this.bytes[this.at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.bytes[this.at++] = rest;
  }

  /** An int64 field's value; a safe integer. Negative ones take ten bytes (two's complement of 64 bits). */
  int64(value: number): void {
    if (value >= 0) {
      this.varint(value);
      return;
    }
    this.ensure(10);
    // Seven bits at a time from the magnitude minus one, inverted: no 64-bit arithmetic is needed.
    let rest = -(value + 1);
    for (let i = 0; i < 9; i++) {
      this.bytes[this.at++] = (127 - (rest % 128)) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.at++] = 1;
  }

  /** Little endian, from 0 to 2^32-1. */
  fixed32(value: number): void {
    this.ensure(4);
    this.#view.setUint32(this.at, value, true);
    this.at += 4;
  }

  /** A 32-bit word of an id, most significant byte first. */
  word(value: number): void {
    this.ensure(4);
    this.#view.setUint32(this.at, value, false);
    this.at += 4;
  }

  /** A non-negative integer up to 2^53 as fixed64 or sfixed64. */
  fixed64(value: number): void {
    this.ensure(8);
    this.#view.setUint32(this.at, value % TWO_POW_32, true);
    this.#view.setUint32(this.at + 4, Math.floor(value / TWO_POW_32), true);
    this.at += 8;
  }

  /** A signed safe integer as sfixed64. */
  sfixed64(value: number): void {
    this.ensure(8);
    const high = Math.floor(value / TWO_POW_32);
    this.#view.setUint32(this.at, value - high * TWO_POW_32, true);
    this.#view.setInt32(this.at + 4, high, true);
    this.at += 8;
  }

  /**
   * `seconds` * 1e9 + `nanos` as fixed64, exactly: the product does not fit a double. Remainders are differences, since V8 calls
   * fmod for those of doubles: 4 % of a span.
   */
  fixed64Time(seconds: number, nanos: number): void {
    this.ensure(8);
    const high = Math.floor(seconds / 65536);
    const lowPart = (seconds - high * 65536) * 1e9 + nanos;
    const highPart = high * 1e9;
    const lowWords = Math.floor(lowPart / TWO_POW_32);
    const highWords = Math.floor(highPart / 65536);
    const low = lowPart - lowWords * TWO_POW_32 + (highPart - highWords * 65536) * 65536;
    const carry = low >= TWO_POW_32 ? 1 : 0;
    this.#view.setUint32(this.at, low - carry * TWO_POW_32, true);
    this.#view.setUint32(this.at + 4, lowWords + highWords + carry, true);
    this.at += 8;
  }

  double(value: number): void {
    this.ensure(8);
    this.#view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  /** Over a double that is there already. */
  doubleAt(at: number, value: number): void {
    this.#view.setFloat64(at, value, true);
  }

  /** Bytes as they are, without a length. */
  raw(source: Uint8Array): void {
    this.ensure(source.length);
    this.bytes.set(source, this.at);
    this.at += source.length;
  }

  /** `length` bytes that lie in whole words, little endian: of some ten words a loop is faster than the call that copies bytes. */
  words(words: Int32Array, length: number): void {
    this.ensure(words.length * 4);
    const view = this.#view;
    const { at } = this;
    for (let i = 0; i < words.length; i++) view.setInt32(at + i * 4, words[i] as number, true);
    this.at = at + length;
  }

  /**
   * Tries to write text of which every character is ASCII, without a length; the caller has written the length already,
   * since it is the number of characters. False, and nothing written, if another character is met.
   */
  tryAscii(text: string): boolean {
    const count = text.length;
    this.ensure(count);
    const { bytes } = this;
    let { at } = this;
    for (let i = 0; i < count; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) return false;
      bytes[at++] = code;
    }
    this.at = at;
    return true;
  }

  /** UTF-8 without a length; `byteCount` must be Buffer.byteLength(text). */
  utf8(text: string, byteCount: number): void {
    this.ensure(byteCount);
    this.bytes.write(text, this.at, byteCount, 'utf8');
    this.at += byteCount;
  }

  /** A one-byte tag, the length and the text (a string field). */
  stringField(tag: number, text: string): void {
    const start = this.at;
    if (text.length <= SHORT_TEXT) {
      this.ensure(2);
      this.bytes[this.at++] = tag;
      this.bytes[this.at++] = text.length;
      if (this.tryAscii(text)) return;
      this.at = start;
    }
    const count = Buffer.byteLength(text);
    this.byte(tag);
    this.varint(count);
    this.utf8(text, count);
  }

  /** Opens a length-delimited field with a one-byte tag; give the result to `close`. Nesting is allowed. */
  open(tag: number): number {
    this.ensure(3);
    this.bytes[this.at] = tag;
    this.at += 3;
    return this.at;
  }

  /** Closes what `open` returned: patches the length, and moves the content when two bytes cannot hold it. */
  close(start: number): void {
    const count = this.at - start;
    if (count < 16384) {
      this.bytes[start - 2] = (count & 127) | 128;
      this.bytes[start - 1] = count >>> 7;
      return;
    }
    const size = varintSize(count);
    const extra = size - 2;
    this.ensure(extra);
    this.bytes.copyWithin(start + extra, start, this.at);
    this.at = start - 2;
    this.varint(count);
    this.at += count;
  }
}
