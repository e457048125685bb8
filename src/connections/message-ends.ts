// Where messages end whose end was not captured, and where the next request begins behind one. In: the last bytes that went
// through, as the kernel keeps them or as they were captured, and the bytes at hand. Out: yes, no, an offset. Nothing is
// found without evidence in bytes; what that leaves open is counted by synchrony.ts.
import { detectRequest } from '../protocols/detect.js';
import { DATA_EVENT_OFFSETS, type DataEventCursor } from '../records/records.gen.js';
import type { Connection } from './connection.js';
import type { Stream } from './stream.js';

/** Last bytes of a chunked body without trailers: CRLF 0 CRLF CRLF (RFC 9112 section 7.1), last byte highest. */
const CHUNKED_TAIL_HIGH = 0x0a0d0a0d;
const CHUNKED_TAIL_LOW = 0x300a0d;
/** The same in front of a request that follows in the same bytes. */
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n', 'latin1');

/** Is the request under way a chunked body of which bytes are missing, so that only its last chunk can end it? */
export function isDiscarding(connection: Connection): boolean {
  const { parser } = connection.requestStream;
  return connection.matcher?.isRequestChunked === true && parser?.isOpenEnded === true;
}

/**
 * After an early response the rest of the request's body is read and thrown away, and the next request follows, in a
 * call of its own or behind the last chunk. How the bytes before this call ended is not always known; then a whole
 * request line at the beginning of the call has to do. Returns where the next request begins, -1 if nowhere here. One
 * that begins in bytes which were not captured shows by its response only (Matcher.isAstray), and is counted.
 */
export function findNextRequest(
  connection: Connection,
  event: DataEventCursor,
  bytes: Uint8Array,
  from: number,
  to: number,
): number {
  const isAnswered = connection.matcher?.isAnswered === true;
  if (detectRequest(bytes, from, to) !== null) {
    if (endsChunked(event, connection.requestStream) || (isAnswered && isRequestLine(bytes, from, to))) return from;
  }
  if (!isAnswered) return -1;
  const chunk = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from);
  for (let at = chunk.indexOf(LAST_CHUNK); at >= 0; at = chunk.indexOf(LAST_CHUNK, at + 1)) {
    const next = from + at + LAST_CHUNK.length;
    if (isRequestLine(bytes, next, to)) return next;
  }
  return -1;
}

/** Are these the last 8 bytes of a chunked body, last byte highest? */
export function isChunkedEnd(low: number, high: number): boolean {
  return high === CHUNKED_TAIL_HIGH && low >>> 8 === CHUNKED_TAIL_LOW;
}

/** Do the bytes of `stream` before the call at hand end like a chunked body? The kernel knows those not captured. */
export function endsChunked(event: DataEventCursor, stream: Stream): boolean {
  const { view, at } = event;
  const low = view.getUint32(at + DATA_EVENT_OFFSETS.prevTail, true);
  const high = view.getUint32(at + DATA_EVENT_OFFSETS.prevTail + 4, true);
  return high === 0 ? isChunkedEnd(stream.tailLow, stream.tailHigh) : isChunkedEnd(low, high);
}

/** Do bytes[from, to) begin with a line that ends in ` HTTP/1.x`? */
function isRequestLine(bytes: Uint8Array, from: number, to: number): boolean {
  const end = bytes.indexOf(10, from);
  if (end < 0 || end >= to) return false;
  const line = Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString('latin1');
  return / HTTP\/1\.\d\r?$/.test(line);
}
