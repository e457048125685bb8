// The requests of a FastCGI connection. In: records. Out: a head when its parameters are complete, the end of the request.
//
//   BEGIN_REQUEST  PARAMS ... PARAMS(empty)  STDIN ... STDIN(empty)
//
// A request is over with the last byte that its CONTENT_LENGTH promises: applications read the empty record behind it when
// they have answered, or never. It is counted with the request all the same, and passed over before the next one. Requests
// of several ids under way at a time are BROKEN: no web server of the field sends them so.
import { type FeedResult, FRAMING_LENGTH, FRAMING_NONE, FRAMING_UNKNOWN, LOST, MessageHead, OK } from '../protocol.js';
import { LENGTH_ABSENT, ParamsReader } from './params.js';
import * as record from './record.js';
import { RecordParser } from './record-parser.js';

/** `network.protocol.version`. */
const VERSION = '1.0';

const IN_NOTHING = 0;
const IN_BEGIN = 1;
const IN_PARAMS = 2;
const IN_STDIN = 3;
const IN_UNREAD = 4;

export class RequestParser extends RecordParser {
  readonly #params = new ParamsReader();
  #state = IN_NOTHING;
  /** While its parameters come. */
  #head: MessageHead | null = null;
  #requestId = 0;
  /** Content of BEGIN_REQUEST that has come. */
  #beginBytes = 0;
  #role = 0;
  #contentLength = LENGTH_ABSENT;
  #bodyBytes = 0;
  /** The empty record of STDIN has not come. */
  #isStdinOpen = false;

  protected get isAmid(): boolean {
    return this.#state !== IN_NOTHING;
  }

  protected get textBytes(): number {
    return this.#params.heldBytes;
  }

  protected get trailingBytes(): number {
    return this.#isStdinOpen ? record.HEADER_BYTES : 0;
  }

  protected get isOver(): boolean {
    return false;
  }

  protected onHeader(start: number): boolean {
    const { type, requestId } = this.record;
    if (requestId === 0) return type >= record.GET_VALUES;
    if (type === record.BEGIN_REQUEST) return this.#begin(start, requestId);
    if (type === record.ABORT_REQUEST) {
      this.#abort(start);
      return true;
    }
    if (this.#state === IN_NOTHING) {
      if (type === record.STDIN && this.record.contentLeft === 0) this.#isStdinOpen = false;
      return type === record.STDIN || type === record.DATA;
    }
    if (requestId !== this.#requestId) return false;
    if (type === record.PARAMS) return this.#onParams(start);
    if (type !== record.STDIN) return type === record.DATA;
    if (this.#state !== IN_STDIN) return false;
    if (this.record.contentLeft === 0) {
      this.#isStdinOpen = false;
      this.#finish(start + record.HEADER_BYTES + this.record.paddingLeft);
    }
    return true;
  }

  #begin(start: number, requestId: number): boolean {
    if (this.record.contentLeft !== record.BODY_BYTES) return false;
    if (this.#state !== IN_NOTHING) {
      // What is left of a body is not sent any more to an application that has answered.
      if (this.#state !== IN_STDIN || requestId !== this.#requestId) return false;
      this.#finish(start);
    }
    const head = new MessageHead();
    head.start = start;
    head.isRequest = true;
    head.version = VERSION;
    head.requestId = requestId;
    this.#head = head;
    this.#requestId = requestId;
    this.#beginBytes = 0;
    this.#role = 0;
    this.#bodyBytes = 0;
    this.#contentLength = LENGTH_ABSENT;
    this.#isStdinOpen = true;
    this.#params.begin(head);
    this.#state = IN_BEGIN;
    this.sink.onMessageStart(start);
    return true;
  }

  #onParams(start: number): boolean {
    if (this.#state !== IN_PARAMS) return false;
    if (this.record.contentLeft > 0) return true;
    const headEnd = start + record.HEADER_BYTES + this.record.paddingLeft;
    this.#announce(headEnd);
    if (this.#contentLength > 0 || (this.#contentLength === LENGTH_ABSENT && this.#params.isChunked)) {
      this.#state = IN_STDIN;
    } else this.#finish(headEnd + record.HEADER_BYTES);
    return true;
  }

  protected onContent(bytes: Uint8Array, from: number, to: number, position: number): boolean {
    if (this.record.requestId !== this.#requestId) return true;
    if (this.#state === IN_BEGIN) return this.#readBegin(bytes, from, to);
    if (this.#state === IN_PARAMS && this.record.type === record.PARAMS) this.#params.read(bytes, from, to);
    else if (this.#state === IN_STDIN && this.record.type === record.STDIN) this.#countBody(to - from, position);
    return true;
  }

  #readBegin(bytes: Uint8Array, from: number, to: number): boolean {
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number;
      if (this.#beginBytes < 2) this.#role = this.#role * 256 + byte;
      else if (this.#beginBytes === 2) (this.#head as MessageHead).isKept = (byte & record.KEEP_CONN) !== 0;
      this.#beginBytes++;
    }
    if (this.#beginBytes >= 2 && this.#role !== record.ROLE_RESPONDER) return false;
    if (this.#beginBytes === record.BODY_BYTES) this.#state = IN_PARAMS;
    return true;
  }

  #countBody(count: number, position: number): void {
    this.#bodyBytes += count;
    if (this.#contentLength < 0 || this.#bodyBytes < this.#contentLength) return;
    const { contentLeft, paddingLeft } = this.record;
    this.#finish(position + contentLeft + paddingLeft + record.HEADER_BYTES);
  }

  protected onContentGap(count: number, position: number): void {
    if (this.record.requestId !== this.#requestId) return;
    if (this.#state === IN_BEGIN) {
      this.#beginBytes += count;
      if (this.#beginBytes === record.BODY_BYTES) this.#state = IN_PARAMS;
    } else if (this.#state === IN_PARAMS && this.record.type === record.PARAMS) this.#params.skip(count);
    else if (this.#state === IN_STDIN && this.record.type === record.STDIN) this.#countBody(count, position);
  }

  protected onHidden(position: number): void {
    this.cutHead(position);
  }

  protected cutHead(position: number): FeedResult {
    if (this.#head === null) return LOST;
    this.#head.isTruncated = true;
    this.#announce(position);
    this.#state = IN_STDIN;
    return OK;
  }

  protected beginHidden(position: number): void {
    this.#state = IN_UNREAD;
    this.#contentLength = LENGTH_ABSENT;
    this.#isStdinOpen = true;
    this.sink.onMessageStart(position);
  }

  #announce(headEnd: number): void {
    const head = this.#head as MessageHead;
    this.#params.end();
    this.#contentLength = this.#params.contentLength;
    head.headEnd = headEnd;
    head.contentLength = Math.max(0, this.#contentLength);
    head.framing = this.#contentLength > 0 ? FRAMING_LENGTH : head.isTruncated ? FRAMING_UNKNOWN : FRAMING_NONE;
    this.#head = null;
    this.sink.onHead(head);
  }

  /** The web server no longer wants an answer. */
  #abort(start: number): void {
    this.sink.onOutcome('FCGI_ABORT_REQUEST', 0);
    if (this.#state === IN_NOTHING) return;
    const end = start + record.HEADER_BYTES + this.record.left;
    if (this.#head !== null) this.cutHead(end);
    this.#finish(end);
  }

  #finish(position: number): void {
    this.#state = IN_NOTHING;
    this.sink.onMessageEnd(position, this.#bodyBytes);
  }

  /** Behind a gap; what was promised has to do, where it was seen. */
  protected end(position: number): void {
    this.#state = IN_NOTHING;
    this.sink.onMessageEnd(position, this.#contentLength);
  }

  protected mayGoOn(bytes: Uint8Array, from: number, to: number): boolean {
    return record.beginsRequest(bytes, from, to) || record.endsStream(record.STDIN, bytes, from, to);
  }

  protected drop(): void {
    this.#state = IN_NOTHING;
    this.#head = null;
    this.#isStdinOpen = true;
  }
}
