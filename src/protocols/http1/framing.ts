// How a message ends (RFC 9112 section 6.3). In: a complete head and its framing fields. Out: head.framing and
// head.contentLength. Where the specification tells a recipient to refuse a message, an observer can only wait for the
// next edge: FRAMING_UNKNOWN.
import {
  FRAMING_CHUNKED,
  FRAMING_LENGTH,
  FRAMING_NONE,
  FRAMING_OPAQUE,
  FRAMING_UNKNOWN,
  FRAMING_UNTIL_CLOSE,
  type Framing,
  type MessageHead,
} from '../protocol.js';
import { endsInChunked, type FieldReader, LENGTH_ABSENT } from './fields.js';

/** By the fields alone; `fallback` without any. */
function framingOfFields(fields: FieldReader, head: MessageHead, fallback: Framing): Framing {
  const coding = fields.transferEncoding;
  // `identity` was a coding that changes nothing, RFC 2616 section 3.6; old servers still send it beside a length.
  if (coding !== '' && coding !== 'identity') {
    // Transfer-Encoding in an HTTP/1.0 message is faulty framing, RFC 9112 section 6.1: some obey it, some do not.
    if (head.version === '1.0') return FRAMING_UNKNOWN;
    if (endsInChunked(coding)) return FRAMING_CHUNKED;
    return head.isRequest ? FRAMING_UNKNOWN : FRAMING_UNTIL_CLOSE;
  }
  if (fields.contentLength === LENGTH_ABSENT) return fallback;
  if (fields.contentLength < 0) return FRAMING_UNKNOWN;
  head.contentLength = fields.contentLength;
  return FRAMING_LENGTH;
}

/** Sets the framing of a request. `isCut`: there may be further fields that were not seen. */
export function frameRequest(fields: FieldReader, head: MessageHead, isCut: boolean): void {
  head.framing = framingOfFields(fields, head, isCut ? FRAMING_UNKNOWN : FRAMING_NONE);
}

/** Sets the framing of a response to a request with the given method ('' if unknown: taken as one that has a body). */
export function frameResponse(fields: FieldReader, head: MessageHead, isCut: boolean, requestMethod: string): void {
  const status = head.status;
  if (status === 101 || (requestMethod === 'CONNECT' && status >= 200 && status < 300)) {
    head.framing = FRAMING_OPAQUE;
  } else if (status < 200 || status === 204 || status === 304 || requestMethod === 'HEAD') {
    head.framing = FRAMING_NONE;
  } else {
    head.framing = framingOfFields(fields, head, isCut ? FRAMING_UNKNOWN : FRAMING_UNTIL_CLOSE);
  }
}
