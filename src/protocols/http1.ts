// HTTP/1.0 and 1.1 (RFC 9112): one parser per direction. In: the bytes of a stream in order, and how many were not
// captured. Out: heads and ends of messages with their positions. Of a message only a line that a chunk did not finish
// is copied. Lost: a head that was not captured to its end is announced as truncated; a boundary that falls among missing
// bytes makes the parser say LOST, and say nothing more, until resync().
//
//   message   { CRLF } start-line CRLF { name ":" value CRLF } CRLF body
//   body      nothing | Content-Length octets | chunks | all until the stream ends | no longer HTTP (CONNECT, 101)
//
// Rules beyond the contract in protocol.ts:
// - A 1xx response is onMessageStart and onHead, without an end; but 101 is a message whose body is what follows.
// - Messages whose end the bytes do not show wait for finish(): until close, opaque, FRAMING_UNKNOWN, a truncated head,
//   and a chunked body with a gap that may hide a boundary. expectedEnd is -1, further bytes and gaps are OK.
//   An opaque message goes on while the directions alternate: finish() it only when its stream has ended.
// - finish() during a head, a length-framed or an intact chunked body does nothing: the parser stays not idle, and the
//   message either goes on (the peer only spoke in between) or was cut short; which of the two is the caller's to know.
// - A truncated head has the framing of the fields that were seen. One that declared a length is ended by finish() unless
//   fewer bytes than declared can have followed; bodyBytes is then what was declared.
// - Bytes at another position than the last ones ended at are LOST: a gap that nobody announced.
import { CHUNKED_BROKEN, CHUNKED_MORE, ChunkedReader } from './http1/chunked.js';
import { FieldReader } from './http1/fields.js';
import { frameRequest, frameResponse } from './http1/framing.js';
import { KnownFields } from './http1/known-fields.js';
import {
  isRequestLinePrefix,
  isStatusLinePrefix,
  looksLikeRequest,
  looksLikeResponse,
  readCutRequestLine,
  readRequestLine,
  readStatusLine,
} from './http1/start-line.js';
import { LINE_MAX_BYTES, LineBuffer } from './line-buffer.js';
import {
  BROKEN,
  type FeedResult,
  FRAMING_CHUNKED,
  FRAMING_LENGTH,
  FRAMING_NONE,
  FRAMING_OPAQUE,
  FRAMING_UNKNOWN,
  FRAMING_UNTIL_CLOSE,
  type Framing,
  LOST,
  MessageHead,
  type MessageParser,
  type MessageSink,
  OK,
  type Protocol,
  type TraceHeaders,
} from './protocol.js';

const IN_NOTHING = 0;
const IN_START_LINE = 1;
const IN_FIELDS = 2;
const IN_LENGTH_BODY = 3;
const IN_CHUNKED_BODY = 4;
/** The message ends where the caller says: finish(). */
const IN_OPEN_BODY = 5;
const IS_BROKEN = 6;
const IS_LOST = 7;

const LF = 10;
const CR = 13;

/** What a parser needs while it reads a head. */
class Reading {
  readonly head = new MessageHead();
  readonly fields = new FieldReader();
  /** Of a line that a chunk did not finish. */
  readonly line = new LineBuffer();
}

const knownOfRequests = new KnownFields();
const knownOfResponses = new KnownFields();

/** One that nobody uses at the moment: heads seldom lie in more than one record, so that one serves nearly all. */
let spare: Reading | null = null;

/** The stream may go on at any position. */
const ANYWHERE = -1;

class Http1Parser implements MessageParser {
  readonly #sink: MessageSink;
  readonly #isRequest: boolean;
  /** From the first chunked body on. */
  #chunked: ChunkedReader | null = null;
  #state = IN_NOTHING;
  /** Where the next byte must be. */
  #position = ANYWHERE;
  /** Null outside of heads. */
  #reading: Reading | null = null;
  // -- what is remembered of the head while its body passes
  #framing: Framing = FRAMING_NONE;
  #contentLength = 0;
  #isCut = false;
  /** A request of a method that has no body: what follows its head is another request. */
  #isBodyless = false;
  #headEnd = 0;

  constructor(sink: MessageSink, isRequest: boolean) {
    this.#sink = sink;
    this.#isRequest = isRequest;
  }

  get isIdle(): boolean {
    return this.#state === IN_NOTHING;
  }

  get isOpenEnded(): boolean {
    return this.#state === IN_OPEN_BODY;
  }

  get isEndHidden(): boolean {
    if (this.#state !== IN_OPEN_BODY) return false;
    return this.#framing !== FRAMING_UNTIL_CLOSE && this.#framing !== FRAMING_OPAQUE;
  }

  get expectedEnd(): number {
    return this.#state === IN_LENGTH_BODY ? this.#headEnd + this.#contentLength : -1;
  }

  get heldBytes(): number {
    const reading = this.#reading;
    if (reading === null) return 0;
    return reading.line.bytes.length + textLength(reading.head) + reading.fields.heldBytes;
  }

  feed(bytes: Uint8Array, from: number, to: number, position: number): FeedResult {
    if (this.#state >= IS_BROKEN) return this.#state === IS_BROKEN ? BROKEN : LOST;
    if (position !== this.#position && this.#position !== ANYWHERE) return this.#lose();
    const base = position - from;
    let at = from;
    while (at < to) {
      switch (this.#state) {
        case IN_NOTHING:
          at = this.#begin(bytes, at, to, base);
          break;
        case IN_START_LINE:
        case IN_FIELDS:
          at = this.#readHead(bytes, at, to, base);
          break;
        case IN_LENGTH_BODY:
          at = this.#readLengthBody(to, base);
          break;
        case IN_CHUNKED_BODY:
          at = this.#readChunkedBody(bytes, at, to, base);
          break;
        default:
          // An open body, or broken on the way.
          at = to;
      }
    }
    this.#position = base + to;
    return this.#state === IS_BROKEN ? BROKEN : OK;
  }

  skip(count: number, position: number): FeedResult {
    if (this.#state >= IS_BROKEN) return this.#state === IS_BROKEN ? BROKEN : LOST;
    if (count === 0) return OK;
    if (position !== this.#position && this.#position !== ANYWHERE) return this.#lose();
    this.#position = position + count;
    switch (this.#state) {
      case IN_START_LINE:
      case IN_FIELDS:
        return this.#truncateHead(position);
      case IN_LENGTH_BODY:
        return this.#skipLengthBody();
      case IN_CHUNKED_BODY:
        this.#skipChunkedBody(count);
        return OK;
      case IN_OPEN_BODY:
        return OK;
      default:
        return this.#lose();
    }
  }

  hidden(count: number): number {
    switch (this.#state) {
      case IN_LENGTH_BODY:
        return Math.max(0, this.#position + count - this.#headEnd - this.#contentLength);
      case IN_CHUNKED_BODY:
        return 0;
      case IN_OPEN_BODY:
        return this.#isCut && this.#isBodyless ? count : 0;
      default:
        return count;
    }
  }

  giveUpHead(): FeedResult {
    if (this.#state !== IN_START_LINE && this.#state !== IN_FIELDS) return LOST;
    return this.#truncateHead(this.#position);
  }

  finish(position: number): void {
    if (this.#state !== IN_OPEN_BODY) return;
    const bodyBytes = this.#openBodyBytes(position);
    if (bodyBytes < 0 && this.#framing === FRAMING_LENGTH) return;
    this.#position = position;
    this.#end(position, bodyBytes);
  }

  beginUnread(position: number): void {
    if (this.#state !== IN_NOTHING) return;
    this.#state = IN_OPEN_BODY;
    this.#position = position;
    this.#framing = FRAMING_UNKNOWN;
    this.#isCut = true;
    this.#isBodyless = false;
    this.#headEnd = position;
    this.#sink.onMessageStart(position);
  }

  resync(): void {
    this.#state = IN_NOTHING;
    this.#position = ANYWHERE;
    this.#drop();
  }

  /** Passes over the empty lines before a message (RFC 9112 section 2.2) and begins it at the first other byte. */
  #begin(bytes: Uint8Array, from: number, to: number, base: number): number {
    let at = from;
    while (at < to && (bytes[at] === CR || bytes[at] === LF)) at++;
    if (at === to) return to;
    const reading = spare ?? new Reading();
    spare = null;
    const { head } = reading;
    head.clear();
    head.start = base + at;
    head.isRequest = this.#isRequest;
    reading.fields.reset();
    this.#reading = reading;
    this.#state = IN_START_LINE;
    this.#sink.onMessageStart(head.start);
    return at;
  }

  /** Reads lines until the head or the bytes end; the index behind what was read. */
  #readHead(bytes: Uint8Array, from: number, to: number, base: number): number {
    const reading = this.#reading as Reading;
    const { line, head, fields } = reading;
    const known = this.#isRequest ? knownOfRequests : knownOfResponses;
    /** Where the fields begin, if that is within these bytes. */
    let fieldsAt = -1;
    let at = from;
    while (at < to) {
      const isStartLine = this.#state === IN_START_LINE;
      let end = at;
      while (end < to && bytes[end] !== LF) end++;
      if (end === to) return this.#keepLine(bytes, at, to, line);
      let isHeadEnd: boolean;
      if (line.length === 0) {
        const isOverfull = end - at > LINE_MAX_BYTES;
        isHeadEnd = this.#readLine(bytes, at, isOverfull ? at + LINE_MAX_BYTES : end, isOverfull, reading);
      } else {
        line.append(bytes, at, end);
        isHeadEnd = this.#readLine(line.bytes, 0, line.length, line.isOverfull, reading);
        line.clear();
      }
      at = end + 1;
      if (this.#state === IS_BROKEN) return to;
      if (isHeadEnd) {
        if (fieldsAt >= 0) known.remember(bytes, fieldsAt, at, head, fields);
        this.#completeHead(reading, base + at);
        return at;
      }
      if (!isStartLine) continue;
      fieldsAt = at;
      const headEnd = known.find(bytes, at, to, head, fields);
      if (headEnd < 0) continue;
      this.#completeHead(reading, base + headEnd);
      return headEnd;
    }
    return at;
  }

  /** Keeps the beginning of a line, unless it can already be seen that this is not HTTP. */
  #keepLine(bytes: Uint8Array, from: number, to: number, line: LineBuffer): number {
    line.append(bytes, from, to);
    if (this.#state === IN_START_LINE) {
      const isPossible = this.#isRequest ? isRequestLinePrefix : isStatusLinePrefix;
      if (!isPossible(line.bytes, 0, line.length)) this.#break();
    }
    return to;
  }

  /** Reads bytes[from, to), a line without LF; true if it is the empty one that ends the head. */
  #readLine(bytes: Uint8Array, from: number, to: number, isOverfull: boolean, { fields, head }: Reading): boolean {
    const end = to > from && bytes[to - 1] === CR ? to - 1 : to;
    if (this.#state === IN_FIELDS) {
      if (end === from) return true;
      fields.readLine(bytes, from, end, head);
      return false;
    }
    this.#state = IN_FIELDS;
    if (!this.#readStartLine(bytes, from, end, isOverfull, head)) this.#break();
    return false;
  }

  #readStartLine(bytes: Uint8Array, from: number, to: number, isCut: boolean, head: MessageHead): boolean {
    if (!this.#isRequest) return readStatusLine(bytes, from, to, isCut, head);
    return isCut ? readCutRequestLine(bytes, from, to, head) : readRequestLine(bytes, from, to, head);
  }

  #completeHead(reading: Reading, headEnd: number): void {
    const { head } = reading;
    head.headEnd = headEnd;
    this.#announce(reading, false);
    if (this.#framing === FRAMING_LENGTH && this.#contentLength > 0) {
      this.#state = IN_LENGTH_BODY;
    } else if (this.#framing === FRAMING_CHUNKED) {
      this.#chunked ??= new ChunkedReader();
      this.#chunked.reset();
      this.#state = IN_CHUNKED_BODY;
    } else if (this.#framing !== FRAMING_NONE && this.#framing !== FRAMING_LENGTH) {
      this.#state = IN_OPEN_BODY;
    } else if (!this.#isRequest && head.status < 200) {
      this.#state = IN_NOTHING;
    } else {
      this.#end(headEnd, 0);
    }
  }

  /** The head goes on at `position`, but not for us. */
  #truncateHead(position: number): FeedResult {
    const reading = this.#reading as Reading;
    const { head, line } = reading;
    if (this.#state === IN_START_LINE) {
      const isKnown = this.#isRequest
        ? readCutRequestLine(line.bytes, 0, line.length, head)
        : readStatusLine(line.bytes, 0, line.length, true, head);
      if (!isKnown) return this.#lose();
    }
    // Behind an interim response comes the real one, and where is not known.
    if (!this.#isRequest && head.status < 200 && head.status !== 101) return this.#lose();
    head.isTruncated = true;
    head.headEnd = position;
    this.#announce(reading, true);
    this.#state = IN_OPEN_BODY;
    return OK;
  }

  /** Frames the head and gives it to the sink. */
  #announce(reading: Reading, isCut: boolean): void {
    const { fields, head, line } = reading;
    if (this.#isRequest) frameRequest(fields, head, isCut);
    else frameResponse(fields, head, isCut, head.status >= 200 ? this.#sink.requestMethod() : '');
    this.#framing = head.framing;
    this.#contentLength = head.contentLength;
    this.#headEnd = head.headEnd;
    this.#isCut = isCut;
    this.#isBodyless = head.method === 'GET' || head.method === 'HEAD';
    this.#reading = null;
    line.release();
    this.#sink.onHead(head);
    spare = reading;
  }

  #readLengthBody(to: number, base: number): number {
    const end = this.#headEnd + this.#contentLength;
    if (end > base + to) return to;
    this.#end(end, this.#contentLength);
    return end - base;
  }

  #readChunkedBody(bytes: Uint8Array, from: number, to: number, base: number): number {
    const chunked = this.#chunked as ChunkedReader;
    const end = chunked.read(bytes, from, to);
    if (end === CHUNKED_MORE) return to;
    if (end === CHUNKED_BROKEN) {
      this.#break();
      return to;
    }
    this.#end(base + end, chunked.bodyBytes);
    return end;
  }

  #skipChunkedBody(count: number): void {
    const chunked = this.#chunked as ChunkedReader;
    chunked.skip(count);
    if (chunked.isLost) this.#state = IN_OPEN_BODY;
  }

  /** The missing bytes end at #position. A length-framed message ends where it said, seen or not. */
  #skipLengthBody(): FeedResult {
    const end = this.#headEnd + this.#contentLength;
    if (end > this.#position) return OK;
    this.#end(end, this.#contentLength);
    return end === this.#position ? OK : this.#lose();
  }

  /** Octets of the body of a message that ends at `position` because the caller says so; -1 if they cannot be known. */
  #openBodyBytes(position: number): number {
    const seen = position - this.#headEnd;
    switch (this.#framing) {
      case FRAMING_NONE:
        return 0;
      case FRAMING_LENGTH:
        return seen >= this.#contentLength ? this.#contentLength : -1;
      case FRAMING_OPAQUE:
      case FRAMING_UNTIL_CLOSE:
        return this.#isCut ? -1 : seen;
      default:
        return -1;
    }
  }

  #end(position: number, bodyBytes: number): void {
    this.#state = IN_NOTHING;
    this.#sink.onMessageEnd(position, bodyBytes);
  }

  #lose(): FeedResult {
    this.#drop();
    this.#state = IS_LOST;
    return LOST;
  }

  #break(): void {
    this.#drop();
    this.#state = IS_BROKEN;
  }

  #drop(): void {
    const reading = this.#reading;
    if (reading === null) return;
    this.#reading = null;
    reading.line.release();
    spare = reading;
  }
}

/** Characters of the strings that a head holds. */
function textLength(head: MessageHead): number {
  return (
    head.method.length +
    head.target.length +
    head.host.length +
    head.userAgent.length +
    head.contentType.length +
    head.traceparent.length +
    head.tracestate.length +
    head.connection.length +
    head.upgrade.length +
    head.expect.length +
    (head.traceHeaders === null ? 0 : traceHeadersLength(head.traceHeaders))
  );
}

function traceHeadersLength(headers: TraceHeaders): number {
  return Object.values(headers).reduce((sum: number, value: string) => sum + value.length, 0);
}

export const http1: Protocol = {
  name: 'http1',
  looksLikeRequest,
  looksLikeResponse,
  createRequestParser: sink => new Http1Parser(sink, true),
  createResponseParser: sink => new Http1Parser(sink, false),
};
