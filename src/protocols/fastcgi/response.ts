// The responses of a FastCGI connection. In: records. Out: a head when the CGI header in STDOUT is complete, what END_REQUEST
// says of the outcome, the end of the response.
//
//   STDOUT ... [STDOUT(empty)]  STDERR ... [STDERR(empty)]  END_REQUEST
//
// A response whose stream ends behind an empty STDOUT is whole: some web servers do not wait for END_REQUEST.
import { type FeedResult, FRAMING_NONE, LOST, MessageHead, OK } from '../protocol.js';
import { CgiHeadReader } from './cgi-head.js';
import * as record from './record.js';
import { RecordParser } from './record-parser.js';

const IN_NOTHING = 0;
const IN_HEAD = 1;
const IN_BODY = 2;

/** Content of END_REQUEST: application status (4), protocol status (1), reserved (3). */
const PROTOCOL_STATUS_AT = 4;
/** Protocol statuses that are failures, by number (section 5.5). */
const FAILURES: readonly string[] = ['', 'FCGI_CANT_MPX_CONN', 'FCGI_OVERLOADED', 'FCGI_UNKNOWN_ROLE'];
/** It was answered, without a header. */
const EMPTY = 'empty_response';
const UNKNOWN = -1;

export class ResponseParser extends RecordParser {
  readonly #lines = new CgiHeadReader();
  #state = IN_NOTHING;
  #head: MessageHead | null = null;
  #requestId = 0;
  /** UNKNOWN: bytes of the head were missing. */
  #bodyBytes = 0;
  #isStdoutDone = false;
  /** Content of END_REQUEST that has come. */
  #endBytes = 0;
  #appStatus = 0;
  #protocolStatus = 0;

  protected get isAmid(): boolean {
    return this.#state !== IN_NOTHING;
  }

  protected get textBytes(): number {
    return this.#lines.heldBytes;
  }

  protected get trailingBytes(): number {
    return 0;
  }

  protected get isOver(): boolean {
    return this.#isStdoutDone;
  }

  protected onHeader(start: number): boolean {
    const { type, requestId, contentLeft } = this.record;
    if (requestId === 0) return type === record.GET_VALUES_RESULT || type === record.UNKNOWN_TYPE;
    if (type !== record.STDOUT && type !== record.STDERR && type !== record.END_REQUEST) return false;
    if (this.#state === IN_NOTHING) {
      const due = this.sink.requestId();
      if (due < 0 && (type !== record.STDOUT || contentLeft === 0)) return true;
      if (due > 0 && due !== requestId) return false;
      this.#begin(start, requestId);
    }
    if (requestId !== this.#requestId) return false;
    if (type === record.STDOUT && contentLeft === 0) this.#isStdoutDone = true;
    if (type === record.END_REQUEST) this.#endBytes = 0;
    return type !== record.END_REQUEST || contentLeft === record.BODY_BYTES;
  }

  #begin(start: number, requestId: number): void {
    this.#head = new MessageHead();
    this.#head.start = start;
    this.#requestId = requestId;
    this.#bodyBytes = 0;
    this.#isStdoutDone = false;
    this.#appStatus = this.#protocolStatus = 0;
    this.#lines.begin();
    this.#state = IN_HEAD;
    this.sink.onMessageStart(start);
  }

  protected onContent(bytes: Uint8Array, from: number, to: number, position: number): boolean {
    if (this.#state === IN_NOTHING || this.record.requestId !== this.#requestId) return true;
    if (this.record.type === record.END_REQUEST) this.#readEnd(bytes, from, to, position);
    else if (this.record.type === record.STDOUT) this.#readStdout(bytes, from, to, position);
    return true;
  }

  #readStdout(bytes: Uint8Array, from: number, to: number, position: number): void {
    if (this.#state === IN_BODY) {
      if (this.#bodyBytes !== UNKNOWN) this.#bodyBytes += to - from;
      return;
    }
    const bodyAt = this.#lines.read(bytes, from, to, this.#head as MessageHead);
    if (bodyAt === -1) return;
    if (bodyAt === -2) {
      this.cutHead(position);
      return;
    }
    this.#announce(position - (to - bodyAt), false);
    this.#bodyBytes = to - bodyAt;
  }

  #readEnd(bytes: Uint8Array, from: number, to: number, position: number): void {
    for (let at = from; at < to; at++, this.#endBytes++) {
      const byte = bytes[at] as number;
      if (this.#endBytes < PROTOCOL_STATUS_AT) this.#appStatus = (this.#appStatus << 8) | byte;
      else if (this.#endBytes === PROTOCOL_STATUS_AT) this.#protocolStatus = byte;
    }
    if (this.#endBytes === record.BODY_BYTES) this.#finish(position + this.record.paddingLeft);
  }

  protected onContentGap(count: number, position: number): void {
    if (this.#state === IN_NOTHING || this.record.requestId !== this.#requestId) return;
    if (this.record.type === record.END_REQUEST) {
      this.#endBytes += count;
      if (this.#endBytes === record.BODY_BYTES) this.#finish(position + this.record.paddingLeft);
    } else if (this.record.type === record.STDOUT) {
      if (this.#state === IN_HEAD) this.cutHead(position);
      else if (this.#bodyBytes !== UNKNOWN) this.#bodyBytes += count;
    }
  }

  protected onHidden(position: number): void {
    this.cutHead(position);
  }

  protected cutHead(position: number): FeedResult {
    if (this.#head === null) return LOST;
    this.#head.isTruncated = true;
    this.#announce(position, true);
    this.#bodyBytes = UNKNOWN;
    return OK;
  }

  protected beginHidden(position: number): void {
    this.#begin(position, 0);
    this.#head = null;
    this.#state = IN_BODY;
    this.#bodyBytes = UNKNOWN;
  }

  #announce(headEnd: number, isCut: boolean): void {
    const head = this.#head as MessageHead;
    this.#lines.end(head, isCut);
    head.headEnd = headEnd;
    head.framing = FRAMING_NONE;
    this.#head = null;
    this.#state = IN_BODY;
    this.sink.onHead(head);
  }

  #finish(position: number): void {
    let failure = FAILURES[this.#protocolStatus] ?? '';
    if (this.#head !== null) {
      // Without an empty line behind them, its lines are the header all the same.
      if (this.#lines.hasLines) this.#announce(position, false);
      else if (failure === '') failure = EMPTY;
    }
    if (failure !== '' || this.#appStatus !== 0) this.sink.onOutcome(failure, this.#appStatus);
    this.#end(position, this.#bodyBytes);
  }

  /** Behind a gap, or behind the end of STDOUT. */
  protected end(position: number): void {
    if (this.#isStdoutDone) {
      this.#finish(position);
      return;
    }
    this.#end(position, this.#lines.contentLength);
  }

  #end(position: number, bodyBytes: number): void {
    this.#state = IN_NOTHING;
    this.#head = null;
    this.#isStdoutDone = false;
    this.sink.onMessageEnd(position, bodyBytes);
  }

  protected mayGoOn(bytes: Uint8Array, from: number, to: number): boolean {
    const isOutput =
      record.isHeaderOf(record.STDOUT, bytes, from, to) || record.isHeaderOf(record.STDERR, bytes, from, to);
    return isOutput || record.isHeaderOf(record.END_REQUEST, bytes, from, to);
  }

  protected drop(): void {
    this.#state = IN_NOTHING;
    this.#head = null;
    this.#isStdoutDone = false;
  }
}
