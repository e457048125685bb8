// The contract of a protocol: one parser instance per direction of a connection, fed with the bytes of that direction in
// order. Parsers never throw, never log, never look past what they are given, and hold bounded state. They announce
// messages to a sink as they find them; the sink knows the times of the bytes being fed.
//
//   feed(bytes...)  -> OK        everything was consumed or kept
//                   -> BROKEN    not this protocol (any more); the parser waits for resync()
//   skip(count)     -> OK        the bytes that were not captured lie wholly inside a body
//                   -> LOST      a boundary may lie among them; the parser waits for resync()

/** Everything was consumed. */
export const OK = 0;
/** The bytes are not this protocol. */
export const BROKEN = 1;
/** Bytes are missing where they were needed. */
export const LOST = 2;
export type FeedResult = typeof OK | typeof BROKEN | typeof LOST;

/** How the end of a message is found (RFC 9112 section 6.3). */
export const FRAMING_NONE = 0;
export const FRAMING_LENGTH = 1;
export const FRAMING_CHUNKED = 2;
export const FRAMING_UNTIL_CLOSE = 3;
/** After CONNECT or 101: bytes that are no longer HTTP. */
export const FRAMING_OPAQUE = 4;
/** The head is longer than what was captured and the rest is missing: the end shows only at the next edge. */
export const FRAMING_UNKNOWN = 5;
export type Framing = 0 | 1 | 2 | 3 | 4 | 5;

/** What tracers other than W3C's, and proxies, say of a request in its head; '' where they say nothing. */
export class TraceHeaders {
  b3 = '';
  b3TraceId = '';
  b3SpanId = '';
  b3Sampled = '';
  b3Flags = '';
  /** `uber-trace-id` */
  jaeger = '';
  /** `x-amzn-trace-id` */
  xray = '';
  /** `x-request-id` */
  requestId = '';
  /** `request-id` of .NET before 5, which a call's begins with */
  hierarchicalId = '';
}

/** A parsed head. Handed to the sink for the time of the call: it is used again for the next one. */
export class MessageHead {
  /** Position of its first byte in the stream. */
  start = 0;
  /** Position behind the head (first body byte). */
  headEnd = 0;
  isRequest = false;
  method = '';
  target = '';
  /** '1.0' or '1.1'. */
  version = '';
  /** FastCGI: its request id, 0 in other protocols. */
  requestId = 0;
  /** FastCGI: the connection stays open behind the response. */
  isKept = false;
  /** FastCGI: it came to the web server through TLS. */
  isSecure = false;
  status = 0;
  framing: Framing = FRAMING_NONE;
  /** With FRAMING_LENGTH: octets. */
  contentLength = 0;
  host = '';
  userAgent = '';
  contentType = '';
  traceparent = '';
  tracestate = '';
  /** Made for the few heads that have such headers. */
  traceHeaders: TraceHeaders | null = null;
  /** Value of `connection`, lower case. */
  connection = '';
  upgrade = '';
  /** Value of `expect`, lower case. */
  expect = '';
  /** The head did not end within what may be kept or was captured. */
  isTruncated = false;

  /** As a new one. */
  clear(): void {
    this.start = 0;
    this.headEnd = 0;
    this.isRequest = false;
    this.method = '';
    this.target = '';
    this.version = '';
    this.requestId = 0;
    this.isKept = false;
    this.isSecure = false;
    this.status = 0;
    this.framing = FRAMING_NONE;
    this.contentLength = 0;
    this.host = '';
    this.userAgent = '';
    this.contentType = '';
    this.traceparent = '';
    this.tracestate = '';
    this.traceHeaders = null;
    this.connection = '';
    this.upgrade = '';
    this.expect = '';
    this.isTruncated = false;
  }
}

/** Receives what a parser finds, in stream order. */
export interface MessageSink {
  /** The first byte of a message was fed. Called before anything else of that message. */
  onMessageStart(position: number): void;
  /** The head is complete (or given up as truncated); it is the sink's until the call returns. 1xx responses are heads of their own, without an end. */
  onHead(head: MessageHead): void;
  /** The message is complete; `position` is behind its last byte, `bodyBytes` its body without framing, -1 unknown. */
  onMessageEnd(position: number, bodyBytes: number): void;
  /**
   * What the protocol says of the outcome, beside a status: `error` is an `error.type`, '' if it says none; `exitStatus` the
   * application's own. Comes before the end of the message.
   */
  onOutcome(error: string, exitStatus: number): void;
  /** For a response parser: the method of the request that the next response answers; '' if unknown. */
  requestMethod(): string;
  /** Likewise its request id: 0 if its head is not known, -1 if there is no request. */
  requestId(): number;
}

export interface MessageParser {
  /** Feeds bytes[from, to); the first byte has stream position `position`. The bytes are not kept by reference. */
  feed(bytes: Uint8Array, from: number, to: number, position: number): FeedResult;
  /** `count` bytes from `position` on exist but were not captured. */
  skip(count: number, position: number): FeedResult;
  /** Of `count` bytes that are missing next: how many lie where whole messages may be among them, which nobody would miss. */
  hidden(count: number): number;
  /** The direction changed or ended at `position`: an until-close or unknown-end message is over. */
  finish(position: number): void;
  /**
   * The head that is being read will not be completed (its stream ended, or the peer answered without waiting for it):
   * announces what is known of it as truncated, to be ended by finish(). LOST if no head is being read or too little is
   * known of it.
   */
  giveUpHead(): FeedResult;
  /** Between messages: one begins at `position` whose bytes cannot be read. It has no head, and ends where finish() says. */
  beginUnread(position: number): void;
  /** Drops all state: the next byte fed begins a message. */
  resync(): void;
  /** True between messages. */
  readonly isIdle: boolean;
  /** The message under way ends where the caller says: finish() (until close, opaque, a gap in a head or in chunks). */
  readonly isOpenEnded: boolean;
  /** Likewise, because bytes were not captured that would have shown its end: another message may have begun in the meantime. */
  readonly isEndHidden: boolean;
  /** Bytes of state held. */
  readonly heldBytes: number;
  /** Position at which the current message is known to end if it is length-framed, else -1. */
  readonly expectedEnd: number;
}

export interface Protocol {
  readonly name: string;
  /** Could bytes[from, to) be the beginning of a request (or response) of this protocol? */
  looksLikeRequest(bytes: Uint8Array, from: number, to: number): boolean;
  looksLikeResponse(bytes: Uint8Array, from: number, to: number): boolean;
  createRequestParser(sink: MessageSink): MessageParser;
  createResponseParser(sink: MessageSink): MessageParser;
}
