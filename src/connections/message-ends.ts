// Where messages end whose end was not captured, and where the next request begins behind one. In: the last bytes that went
// through, as the kernel keeps them or as they were captured, and the bytes at hand. Out: yes, no, an offset. Nothing is
// found without evidence in bytes; what that leaves open is counted by synchrony.ts.
import { detectRequest } from '../protocols/detect.js';
import { DATA_EDGE, DATA_EVENT_OFFSETS, type DataEventCursor } from '../records/records.gen.js';
import type { Connection } from './connection.js';
import type { Stream } from './stream.js';

/** Last bytes of a chunked body without trailers: CRLF 0 CRLF CRLF (RFC 9112 section 7.1), last byte highest. */
const CHUNKED_TAIL_HIGH = 0x0a0d0a0d;
const CHUNKED_TAIL_LOW = 0x300a0d;
/** The same in front of a request that follows in the same bytes. */
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n', 'latin1');
/** So many letters may be a method that is cut. */
const METHOD_MAX = 20;

/** Is the request under way a chunked body of which bytes are missing, so that only its last chunk can end it? */
export function isDiscarding(connection: Connection): boolean {
  const { parser } = connection.requestStream;
  return connection.matcher?.isRequestChunked === true && parser?.isOpenEnded === true;
}

/**
 * After an early response the rest of the request's body is read and thrown away, and the next request follows, in a
 * call of its own or behind the last chunk, which may lie in two calls. How the bytes before this call ended is not always
 * known; then a whole request line at the beginning of the call has to do. Returns where the next request begins, -1 if
 * nowhere here. One that begins in bytes which were not captured shows by its response only (Matcher.isAstray), and is
 * counted.
 */
export function findNextRequest(
  connection: Connection,
  event: DataEventCursor,
  bytes: Uint8Array,
  from: number,
  to: number,
): number {
  const isAnswered = connection.matcher?.isAnswered === true;
  readTail(event, connection.requestStream);
  if (detectRequest(bytes, from, to) !== null) {
    if (isChunkedEnd(tail.low, tail.high) || (isAnswered && isRequestLine(bytes, from, to))) return from;
  }
  if (!isAnswered) return -1;
  // The marker's first bytes may have come before.
  const joined = Buffer.alloc(8 + to - from);
  joined.writeUInt32LE(tail.low, 0);
  joined.writeUInt32LE(tail.high, 4);
  joined.set(bytes.subarray(from, to), 8);
  for (let at = joined.indexOf(LAST_CHUNK, 2); at >= 0; at = joined.indexOf(LAST_CHUNK, at + 1)) {
    const next = from + at + LAST_CHUNK.length - 8;
    if (next < to && mayBeginRequest(bytes, next, to)) return next;
  }
  return -1;
}

/** The 8 bytes before the record at hand, last byte highest; 0 where they are not known. */
const tail = { low: 0, high: 0 };

function readTail(event: DataEventCursor, stream: Stream): void {
  tail.low = 0;
  tail.high = 0;
  if (stream.tailSeq === event.seq) {
    tail.low = stream.tailLow;
    tail.high = stream.tailHigh;
  } else if ((event.flags & DATA_EDGE) === 0) {
    const { view, at } = event;
    tail.low = view.getUint32(at + DATA_EVENT_OFFSETS.prevTail, true);
    tail.high = view.getUint32(at + DATA_EVENT_OFFSETS.prevTail + 4, true);
  }
}

/** Are these the last 8 bytes of a chunked body, last byte highest? */
export function isChunkedEnd(low: number, high: number): boolean {
  return high === CHUNKED_TAIL_HIGH && low >>> 8 === CHUNKED_TAIL_LOW;
}

/** At an edge: does the run before, in the other direction's `stream`, end like a chunked body? The kernel knows those not captured. */
export function endedChunked(event: DataEventCursor, stream: Stream): boolean {
  const { view, at } = event;
  const low = view.getUint32(at + DATA_EVENT_OFFSETS.prevTail, true);
  const high = view.getUint32(at + DATA_EVENT_OFFSETS.prevTail + 4, true);
  if (high !== 0) return isChunkedEnd(low, high);
  return stream.tailSeq === stream.nextSeq && isChunkedEnd(stream.tailLow, stream.tailHigh);
}

/** As isRequestLine, of a line that may go on behind `to`. */
function mayBeginRequest(bytes: Uint8Array, from: number, to: number): boolean {
  const end = bytes.indexOf(10, from);
  if (end >= 0 && end < to) return isRequestLine(bytes, from, to);
  if (detectRequest(bytes, from, to) !== null) return true;
  return to - from <= METHOD_MAX && /^[A-Z-]+$/.test(Buffer.from(bytes.subarray(from, to)).toString('latin1'));
}

/** Do bytes[from, to) begin with a line that ends in ` HTTP/1.x`? */
function isRequestLine(bytes: Uint8Array, from: number, to: number): boolean {
  const end = bytes.indexOf(10, from);
  if (end < 0 || end >= to) return false;
  const line = Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString('latin1');
  return / HTTP\/1\.\d\r?$/.test(line);
}
