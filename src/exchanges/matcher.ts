// Pairs requests with responses in the order of the connection (HTTP/1: RFC 9112 section 9.3). In: messages from the two
// parsers of a connection, with the times of the bytes at hand in the connection. Out: exchanges, begun and finished.
// Bounded: more than MAX_PENDING unanswered requests make the connection's state worthless, and it is given up.
import type { Connection } from '../connections/connection.js';
import { FRAMING_CHUNKED, FRAMING_OPAQUE, type MessageHead, type MessageSink } from '../protocols/protocol.js';
import { type Exchange, KIND_CLIENT, KIND_SERVER, type Peer } from './exchange.js';

/** What the matcher tells the pipeline. */
export interface ExchangeSink {
  /** The first byte of a request, at `position` of its stream: gives identity to a new exchange. */
  beginExchange(connection: Connection, position: number): Exchange;
  /** The first byte of its response was given, or taken; again after an interim one. */
  onResponseStart(connection: Connection, exchange: Exchange): void;
  /** The request's head is known: context and parents can be. */
  onRequestHead(connection: Connection, exchange: Exchange, head: MessageHead): void;
  /** Everything of the exchange is known that will be. */
  finishExchange(connection: Connection, exchange: Exchange): void;
  /** A request whose first byte was not seen: counted like one that was dropped. */
  missExchange(connection: Connection, reason: DropReason): void;
  /** It cannot be told; `reason` is counted. */
  dropExchange(connection: Connection, exchange: Exchange, reason: DropReason): void;
}

/** Why an exchange that was begun gave no span; one list for code, metrics and documentation. */
export const DROP_REASONS = [
  'gap',
  'ring_full',
  'unsynced',
  'unparsed',
  'evicted',
  'otlp',
  'instrumented',
  'filtered',
  'sampled',
  'no_exporter',
  'budget',
  'unfinished',
  'untimed',
  'buffer_full',
  'oversized',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

const MAX_PENDING = 256;
const REQUEST_TIMEOUT = 408;

/** Calls on each direction when a message began. */
class Pending {
  exchange: Exchange;
  requestCalls = 0;
  responseCalls = 0;
  /** How its protocol names it, see MessageHead. */
  requestId = 0;
  /** What the connection's TCP had come to when it began. */
  retransmits = 0;
  rwndLimitedMs = 0;
  sndbufLimitedMs = 0;
  isRequestHeadDone = false;
  isRequestDone = false;
  isResponseStarted = false;
  isResponseHeadDone = false;
  isResponseDone = false;
  /** The exchange has been handed on: answered, and its request was not seen to end. */
  isTold = false;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
  }

  /** As a new one. */
  renew(exchange: Exchange): this {
    this.exchange = exchange;
    this.responseCalls = 0;
    this.requestId = 0;
    this.isRequestHeadDone = false;
    this.isRequestDone = false;
    this.isResponseStarted = false;
    this.isResponseHeadDone = false;
    this.isResponseDone = false;
    this.isTold = false;
    return this;
  }
}

/** Room for one, which is all that most connections ever need: an empty array takes room for 17 with its first element. */
function roomForOne(): Pending[] {
  const pending = [sparePending as Pending];
  pending.pop();
  return pending;
}

/** One that is over, for the next request on any connection: seldom are there many at a time. */
let sparePending: Pending | null = null;

/** What the parser of a connection's requests finds. A class: V8 compiles calls of methods into their callers, not of closures. */
class RequestSink implements MessageSink {
  readonly #matcher: Matcher;

  constructor(matcher: Matcher) {
    this.#matcher = matcher;
  }

  onMessageStart(position: number): void {
    this.#matcher.requestStarted(position);
  }

  onHead(head: MessageHead): void {
    this.#matcher.requestHead(head);
  }

  onMessageEnd(position: number, bodyBytes: number): void {
    this.#matcher.requestEnded(position, bodyBytes);
  }

  onOutcome(error: string, exitStatus: number): void {
    this.#matcher.outcome(error, exitStatus);
  }

  requestMethod(): string {
    return '';
  }

  requestId(): number {
    return 0;
  }
}

/** Likewise of its responses. */
class ResponseSink implements MessageSink {
  readonly #matcher: Matcher;

  constructor(matcher: Matcher) {
    this.#matcher = matcher;
  }

  onMessageStart(position: number): void {
    this.#matcher.responseStarted(position);
  }

  onHead(head: MessageHead): void {
    this.#matcher.responseHead(head);
  }

  onMessageEnd(position: number, bodyBytes: number): void {
    this.#matcher.responseEnded(position, bodyBytes);
  }

  onOutcome(error: string, exitStatus: number): void {
    this.#matcher.outcome(error, exitStatus);
  }

  requestMethod(): string {
    return this.#matcher.answeredMethod;
  }

  requestId(): number {
    return this.#matcher.answeredId;
  }
}

export class Matcher {
  readonly requests: MessageSink = new RequestSink(this);
  readonly responses: MessageSink = new ResponseSink(this);
  /** Framing of the response under way is chunked: its end shows in the last bytes even behind a gap. */
  isResponseChunked = false;
  isRequestChunked = false;
  /** Nothing but its own bytes shows where the response under way ends: the connection stays open behind it. */
  isEndWithin = false;
  /** Too many requests waited and were dropped: nothing more is paired until the connection has been resynchronised. */
  isOverfull = false;
  /**
   * Responses still to come for pipelined requests that were given up. They must not be taken for those of later requests:
   * that many request edges (each has at least one response before it) pass before the connection is read again.
   */
  owedResponses = 0;
  /** A response began to which no request is known, while one was still being read: a request was missed behind that. */
  isAstray = false;
  /** CLIENT: the exchange whose response began last. A server's is nobody's cause, and would be kept as long as its connection. */
  lastResponded: Exchange | null = null;
  readonly #connection: Connection;
  readonly #sink: ExchangeSink;
  readonly #pending = roomForOne();

  constructor(connection: Connection, sink: ExchangeSink) {
    this.#connection = connection;
    this.#sink = sink;
  }

  /** The one request that has not been answered in full; null if there is none, or another one behind it. */
  get soleRequest(): Exchange | null {
    let sole: Exchange | null = null;
    for (const { exchange, isResponseDone } of this.#pending) {
      if (isResponseDone) continue;
      if (sole !== null) return null;
      sole = exchange;
    }
    return sole;
  }

  /** Behind the request whose response is due there is another one. */
  get owesMore(): boolean {
    let owed = 0;
    for (const { isResponseDone } of this.#pending) if (!isResponseDone) owed++;
    return owed > 1;
  }

  /** A request came before the one before it was answered. */
  get isPipelined(): boolean {
    return this.#pending.length > 1;
  }

  /** Nothing is under way. */
  get isIdle(): boolean {
    return this.#pending.length === 0;
  }

  /** Requests whose response has not begun. */
  get unansweredCount(): number {
    let count = 0;
    for (const pending of this.#pending) if (!pending.isResponseStarted) count++;
    return count;
  }

  /** The request under way has had its whole response: only the rest of its body can still come, or the next request. */
  get isAnswered(): boolean {
    return this.#asking()?.isResponseDone === true;
  }

  /** Where the connection goes has become known after its requests began. */
  setPeer(peer: Peer): void {
    for (const { exchange } of this.#pending) exchange.peer = peer;
  }

  /** Method of the request whose response is due next, '' if there is none. */
  get answeredMethod(): string {
    return this.#answering()?.exchange.method ?? '';
  }

  /** As MessageSink.requestId. */
  get answeredId(): number {
    return this.#answering()?.requestId ?? -1;
  }

  /** The exchange whose response is due next. */
  #answering(): Pending | null {
    for (const pending of this.#pending) if (!pending.isResponseDone) return pending;
    return null;
  }

  #asking(): Pending | null {
    const last = this.#pending[this.#pending.length - 1];
    return last !== undefined && !last.isRequestDone ? last : null;
  }

  requestStarted(position: number): void {
    const connection = this.#connection;
    connection.exchangeCount++;
    if (this.#pending.length >= MAX_PENDING) {
      this.abandon('evicted');
      this.isOverfull = true;
    }
    const exchange = this.#sink.beginExchange(connection, position);
    if (this.isOverfull) {
      // Seen, so it is in the books.
      this.#sink.dropExchange(connection, exchange, 'evicted');
      return;
    }
    exchange.requestStart = position;
    const pending = sparePending === null ? new Pending(exchange) : sparePending.renew(exchange);
    sparePending = null;
    pending.requestCalls = connection.requestStream.calls - 1;
    pending.retransmits = connection.tcp.beginRetransmits;
    pending.rwndLimitedMs = connection.tcp.beginRwndLimitedMs;
    pending.sndbufLimitedMs = connection.tcp.beginSndbufLimitedMs;
    this.#pending.push(pending);
  }

  requestHead(head: MessageHead): void {
    const pending = this.#asking();
    if (pending === null) return;
    const { exchange } = pending;
    pending.isRequestHeadDone = true;
    exchange.method = head.method;
    exchange.target = head.target;
    exchange.host = head.host;
    exchange.userAgent = head.userAgent;
    exchange.version = head.version;
    exchange.isRequestHeadTruncated = head.isTruncated;
    exchange.isSecure ||= head.isSecure;
    pending.requestId = head.requestId;
    this.isEndWithin = head.isKept;
    this.isRequestChunked = head.framing === FRAMING_CHUNKED;
    this.#sink.onRequestHead(this.#connection, exchange, head);
  }

  requestEnded(position: number, bodyBytes: number): void {
    const pending = this.#asking();
    if (pending === null) return;
    const { exchange } = pending;
    const connection = this.#connection;
    pending.isRequestDone = true;
    if (!pending.isTold) {
      exchange.requestEnd = position;
      exchange.requestBodyBytes = bodyBytes;
      exchange.requestLastNs = connection.lastNs;
      this.#countRequestCalls(pending);
    }
    this.#settle();
  }

  /** Bytes of the message under way, or of the next one, were moved where they cannot be read. */
  noteUnread(isRequest: boolean): void {
    const pending = isRequest ? this.#asking() : this.#answering();
    if (pending === null) return;
    if (isRequest) pending.exchange.isRequestUnread = true;
    else pending.exchange.isResponseUnread = true;
  }

  /** What is said of the exchange whose response is due, beside its status. */
  outcome(error: string, exitStatus: number): void {
    const pending = this.#answering();
    if (pending === null) return;
    // What is said first is the reason of the rest.
    if (pending.exchange.errorType === '') pending.exchange.errorType = error;
    pending.exchange.exitStatus = exitStatus;
  }

  #countRequestCalls(pending: Pending): void {
    const calls = Math.max(1, this.#connection.requestStream.calls - pending.requestCalls);
    if (pending.exchange.kind === KIND_SERVER) pending.exchange.readCalls = calls;
    else pending.exchange.writeCalls = calls;
  }

  #countResponseCalls(pending: Pending): void {
    const calls = Math.max(1, this.#connection.responseStream.calls - pending.responseCalls);
    if (pending.exchange.kind === KIND_SERVER) pending.exchange.writeCalls = calls;
    else pending.exchange.readCalls = calls;
  }

  responseStarted(position: number): void {
    const pending = this.#answering();
    if (pending === null) {
      this.isAstray = this.isAnswered;
      return;
    }
    const connection = this.#connection;
    const { exchange } = pending;
    // Again after an interim response: the final one's first byte is what counts.
    if (!pending.isResponseStarted) pending.responseCalls = connection.responseStream.calls - 1;
    pending.isResponseStarted = true;
    exchange.responseStart = position;
    exchange.responseFirstNs = connection.firstNs;
    exchange.responseTakenNs = connection.takenNs;
    if (exchange.kind === KIND_CLIENT) this.lastResponded = exchange;
    this.#sink.onResponseStart(connection, exchange);
  }

  responseHead(head: MessageHead): void {
    const pending = this.#answering();
    if (head.status > 0 && head.status < 200 && head.status !== 101) return;
    if (pending === null) {
      // Its request lay among bytes that were not captured. What a server says unasked is that it has waited too long.
      if (!this.isAstray && head.status !== REQUEST_TIMEOUT) this.#sink.missExchange(this.#connection, 'gap');
      return;
    }
    const { exchange } = pending;
    exchange.status = head.status;
    exchange.isResponseHeadTruncated = head.isTruncated;
    pending.isResponseHeadDone = true;
    this.isResponseChunked = head.framing === FRAMING_CHUNKED;
    if (head.framing === FRAMING_OPAQUE) this.#connection.openTunnel(head);
  }

  responseEnded(position: number, bodyBytes: number): void {
    const pending = this.#answering();
    if (pending === null) return;
    const { exchange } = pending;
    const connection = this.#connection;
    pending.isResponseDone = true;
    exchange.responseEnd = position;
    exchange.responseBodyBytes = bodyBytes;
    exchange.responseLastNs = connection.lastNs;
    this.#countResponseCalls(pending);
    if (connection.isOpaque) {
      // A tunnel: what went through it is no body of either message.
      exchange.responseBodyBytes = -1;
      exchange.requestEnd = Math.max(exchange.requestEnd, connection.requestStream.position);
      this.#countRequestCalls(pending);
      exchange.closedNs = connection.endedNs;
      exchange.frames = connection.tunnel?.isWebSocket === true ? connection.tunnel.frames : null;
    }
    this.#settle();
  }

  /** Hands on what is complete, in order. A response may be complete before its request: that one waits. */
  #settle(): void {
    for (;;) {
      const first = this.#pending[0];
      if (first === undefined || !first.isResponseDone || !first.isRequestDone) return;
      // A shift is a call into V8, and there is seldom a second one.
      if (this.#pending.length === 1) this.#pending.pop();
      else this.#pending.shift();
      if (!first.isTold) this.#finish(first);
      sparePending = first;
    }
  }

  #finish(pending: Pending): void {
    const connection = this.#connection;
    const { exchange } = pending;
    const { tcp } = connection;
    const requestBytes = exchange.requestEnd < 0 ? -1 : Math.max(0, exchange.requestEnd - exchange.requestStart);
    const responseBytes = Math.max(0, exchange.responseEnd - exchange.responseStart);
    exchange.bytesIn = exchange.kind === KIND_SERVER ? requestBytes : responseBytes;
    exchange.bytesOut = exchange.kind === KIND_SERVER ? responseBytes : requestBytes;
    exchange.srttMicros = tcp.srttMicros;
    exchange.retransmits = tcp.retransmits - pending.retransmits;
    exchange.rwndLimitedMs = tcp.rwndLimitedMs - pending.rwndLimitedMs;
    exchange.sndbufLimitedMs = tcp.sndbufLimitedMs - pending.sndbufLimitedMs;
    exchange.unsentBytes = tcp.unsentBytes;
    exchange.unackedBytes = tcp.unackedBytes;
    if (exchange.errorType !== '' || connection.endNs <= exchange.endNs) exchange.connectionEnd = connection.end;
    this.#sink.finishExchange(connection, exchange);
  }

  /** The connection is over: what is pending has failed, with the cause that is known. */
  close(errorType: string): void {
    const connection = this.#connection;
    this.#noteOwed();
    for (const pending of this.#pending.splice(0)) {
      if (pending.isTold) continue;
      const { exchange } = pending;
      if (!pending.isRequestHeadDone) {
        this.#sink.dropExchange(connection, exchange, 'unparsed');
        continue;
      }
      if (!pending.isRequestDone) {
        exchange.requestEnd = connection.requestStream.position;
        exchange.requestBodyBytes = -1;
        exchange.requestLastNs = 0;
        this.#countRequestCalls(pending);
      }
      if (!pending.isResponseDone) {
        if (exchange.errorType === '') exchange.errorType = errorType;
        if (pending.isResponseStarted) this.#countResponseCalls(pending);
        exchange.responseEnd = pending.isResponseStarted ? connection.responseStream.position : exchange.responseStart;
        exchange.responseBodyBytes = -1;
        exchange.responseLastNs = Math.max(connection.lastNs, connection.endedNs);
      }
      this.#finish(pending);
    }
  }

  /**
   * The oldest request has waited for its response since before `ns`: what is pending has timed out. A response under way
   * (a download, a tunnel) may last.
   */
  expire(ns: number, nowNs: number): boolean {
    const first = this.#pending[0];
    if (first === undefined || first.isResponseHeadDone || first.exchange.requestTakenNs >= ns) return false;
    if (first.isResponseStarted && first.exchange.isResponseUnread) return false;
    this.#connection.endedNs = nowNs;
    this.close('timeout');
    this.#connection.endedNs = 0;
    return true;
  }

  /** Hands on the oldest exchange if it was answered before `ns` and its request goes on, or was not seen to end. */
  tellAnswered(ns: number): void {
    const first = this.#pending[0];
    if (first === undefined || first.isTold || first.isRequestDone || !first.isResponseDone) return;
    if (first.exchange.responseLastNs >= ns) return;
    // A head that was not waited for: what is known of it has to do.
    if (!first.isRequestHeadDone) this.#connection.requestStream.parser?.giveUpHead();
    first.isTold = true;
    if (first.isRequestHeadDone) this.#finishUnended(first);
    else this.#sink.dropExchange(this.#connection, first.exchange, 'unparsed');
  }

  #noteOwed(): void {
    const unanswered = this.#pending.filter(pending => !pending.isResponseDone).length;
    this.owedResponses = Math.max(this.owedResponses, unanswered - 1);
  }

  /** Bytes are missing: nothing that was under way can be trusted. */
  abandon(reason: DropReason): void {
    this.isAstray = false;
    this.#noteOwed();
    for (const pending of this.#pending.splice(0)) {
      if (pending.isTold) continue;
      if (pending.isResponseDone && pending.isRequestHeadDone) this.#finishUnended(pending);
      else this.#sink.dropExchange(this.#connection, pending.exchange, reason);
    }
  }

  /** Answered, but where its body ended was not seen: its size is not known. */
  #finishUnended(pending: Pending): void {
    const { exchange } = pending;
    if (!pending.isRequestDone) {
      exchange.requestEnd = -1;
      exchange.requestBodyBytes = -1;
      this.#countRequestCalls(pending);
    }
    this.#finish(pending);
  }
}
