// The chunked transfer coding (RFC 9112 section 7.1). In: bytes of a chunked body. Out: where it ends and how many octets
// of content it had. Extensions and trailer fields are passed over, bare LF is taken for a line end.
//
//   chunk    size-in-hex [ ;extensions ] CRLF  data  CRLF
//   last     0 [ ;extensions ] CRLF  { trailer CRLF }  CRLF

/** The body goes on behind the bytes given. */
export const CHUNKED_MORE = -1;
/** The bytes are not chunked. */
export const CHUNKED_BROKEN = -2;

const AT_SIZE = 0;
const AT_FIRST_DIGIT = 1;
const AT_EXTENSION = 2;
const AT_DATA = 3;
const AT_DATA_CR = 4;
const AT_DATA_LF = 5;
const AT_TRAILER_START = 6;
const AT_TRAILER = 7;
const AT_TRAILER_CR = 8;
/** Bytes are missing where a boundary may have been. */
const AT_UNKNOWN = 9;

const TAB = 9;
const LF = 10;
const CR = 13;
const SP = 32;
const SEMICOLON = 59;

/** Largest size that another digit may follow. */
const SIZE_MAX = Math.floor(Number.MAX_SAFE_INTEGER / 16) - 1;

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

export class ChunkedReader {
  /** Octets of content so far. */
  bodyBytes = 0;
  /** Content of the current chunk that is still to come. */
  #left = 0;
  #state = AT_FIRST_DIGIT;

  /** Before a new body. */
  reset(): void {
    this.bodyBytes = 0;
    this.#left = 0;
    this.#state = AT_FIRST_DIGIT;
  }

  /** A boundary was lost: the end of the body cannot be seen any more. */
  get isLost(): boolean {
    return this.#state === AT_UNKNOWN;
  }

  /** Reads bytes[from, to): the index behind the body, CHUNKED_MORE or CHUNKED_BROKEN. */
  read(bytes: Uint8Array, from: number, to: number): number {
    let at = from;
    while (at < to) {
      if (this.#state === AT_UNKNOWN) return CHUNKED_MORE;
      if (this.#state === AT_DATA) {
        const count = Math.min(this.#left, to - at);
        this.#passData(count);
        at += count;
        continue;
      }
      if (this.#state === AT_EXTENSION || this.#state === AT_TRAILER) {
        while (at < to && bytes[at] !== LF) at++;
        if (at === to) return CHUNKED_MORE;
      }
      const byte = bytes[at++] as number;
      if (this.#state < AT_DATA) {
        if (!this.#readSize(byte)) return CHUNKED_BROKEN;
      } else if (this.#state < AT_TRAILER_START) {
        if (!this.#readDataEnd(byte)) return CHUNKED_BROKEN;
      } else if (this.#readTrailer(byte)) {
        return at;
      }
    }
    return CHUNKED_MORE;
  }

  /** `count` bytes are missing; unless all are data of the current chunk, the body is lost. */
  skip(count: number): void {
    if (this.#state === AT_DATA && count <= this.#left) this.#passData(count);
    else this.#state = AT_UNKNOWN;
  }

  #passData(count: number): void {
    this.bodyBytes += count;
    this.#left -= count;
    if (this.#left === 0) this.#state = AT_DATA_CR;
  }

  #readSize(byte: number): boolean {
    if (byte === LF) {
      if (this.#state === AT_FIRST_DIGIT) return false;
      this.#state = this.#left === 0 ? AT_TRAILER_START : AT_DATA;
      return true;
    }
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (this.#left > SIZE_MAX) return false;
      this.#left = this.#left * 16 + digit;
      this.#state = AT_SIZE;
      return true;
    }
    if (this.#state === AT_FIRST_DIGIT) return false;
    this.#state = AT_EXTENSION;
    return byte === SEMICOLON || byte === CR || byte === SP || byte === TAB;
  }

  #readDataEnd(byte: number): boolean {
    if (byte === CR && this.#state === AT_DATA_CR) {
      this.#state = AT_DATA_LF;
      return true;
    }
    this.#state = AT_FIRST_DIGIT;
    return byte === LF;
  }

  /** True at the end of the trailer section. */
  #readTrailer(byte: number): boolean {
    if (byte === LF) {
      if (this.#state !== AT_TRAILER) return true;
      this.#state = AT_TRAILER_START;
    } else {
      this.#state = byte === CR && this.#state === AT_TRAILER_START ? AT_TRAILER_CR : AT_TRAILER;
    }
    return false;
  }
}
