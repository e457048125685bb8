// Records of FastCGI 1.0 (specification, sections 3 and 8): what both directions of a connection consist of. In: bytes in
// order. Out: one header at a time, however the bytes are cut.
//
//   version 1 | type | request id (2) | content length (2) | padding length | 0 | content | padding
//
// Request id 0 is for the connection itself (GET_VALUES and its answer).

export const HEADER_BYTES = 8;
const VERSION = 1;

export const BEGIN_REQUEST = 1;
export const ABORT_REQUEST = 2;
export const END_REQUEST = 3;
export const PARAMS = 4;
export const STDIN = 5;
export const STDOUT = 6;
export const STDERR = 7;
export const DATA = 8;
export const GET_VALUES = 9;
export const GET_VALUES_RESULT = 10;
export const UNKNOWN_TYPE = 11;

/** Length of the content of BEGIN_REQUEST and END_REQUEST. */
export const BODY_BYTES = 8;
/** The role of an application that answers requests; the others (authorizer, filter) are not read. */
export const ROLE_RESPONDER = 1;
/** In the flags of BEGIN_REQUEST: the application leaves the connection open. */
export const KEEP_CONN = 1;

export class RecordReader {
  type = 0;
  requestId = 0;
  /** Of the record under way, still to come. */
  contentLeft = 0;
  paddingLeft = 0;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerBytes = 0;

  /** A record has ended, and no byte of the next one has come. */
  get isBetween(): boolean {
    return this.contentLeft === 0 && this.paddingLeft === 0 && this.#headerBytes === 0;
  }

  /** Bytes of the record under way that are still to come; none while its header is being read. */
  get left(): number {
    return this.contentLeft + this.paddingLeft;
  }

  /** Bytes of a header that have come. */
  get headerBytes(): number {
    return this.#headerBytes;
  }

  /** Reads bytes of a header; the index behind them. It is complete when `headerBytes` is 0 again. */
  readHeader(bytes: Uint8Array, from: number, to: number): number {
    if (this.#headerBytes === 0 && to - from >= HEADER_BYTES) {
      this.#take(bytes, from);
      return from + HEADER_BYTES;
    }
    let at = from;
    while (at < to && this.#headerBytes < HEADER_BYTES) this.#header[this.#headerBytes++] = bytes[at++] as number;
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0;
      this.#take(this.#header, 0);
    }
    return at;
  }

  /** `type` is 0 if these bytes are no header. */
  #take(bytes: Uint8Array, at: number): void {
    const isHeader = bytes[at] === VERSION && bytes[at + 7] === 0;
    this.type = isHeader ? (bytes[at + 1] as number) : 0;
    this.requestId = word(bytes, at + 2);
    this.contentLeft = word(bytes, at + 4);
    this.paddingLeft = bytes[at + 6] as number;
  }

  clear(): void {
    this.type = 0;
    this.contentLeft = 0;
    this.paddingLeft = 0;
    this.#headerBytes = 0;
  }
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** Do bytes[from, to) begin with the header of a record of this type? */
export function isHeaderOf(type: number, bytes: Uint8Array, from: number, to: number): boolean {
  return to - from >= HEADER_BYTES && bytes[from] === VERSION && bytes[from + 1] === type && bytes[from + 7] === 0;
}

/** Do bytes[from, to) begin a request, as far as they go? Its header has to be there. */
export function beginsRequest(bytes: Uint8Array, from: number, to: number): boolean {
  if (!isHeaderOf(BEGIN_REQUEST, bytes, from, to)) return false;
  if (word(bytes, from + 2) === 0 || word(bytes, from + 4) !== BODY_BYTES) return false;
  const body = from + HEADER_BYTES;
  if (to - body >= 2 && word(bytes, body) !== ROLE_RESPONDER) return false;
  return to - body < 3 || (bytes[body + 2] as number) <= KEEP_CONN;
}

/** An empty record ends a stream. */
export function endsStream(type: number, bytes: Uint8Array, from: number, to: number): boolean {
  return isHeaderOf(type, bytes, from, to) && word(bytes, from + 2) !== 0 && word(bytes, from + 4) === 0;
}
