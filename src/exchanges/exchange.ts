// One request and its response on a connection: what the protocols parsed, what the kernel timed. The hub between the
// front of the pipeline (connections, protocols, exchanges) and its back (traces, enrichment, signals). Every field is
// set in the constructor and keeps its type for life. Times are boot-clock nanoseconds, 0 means "not known".
import type { ConnectionEnd } from '../connections/connection.js';
import type { Service } from '../enrichment/service.js';
import type { TlsHandshake } from '../protocols/tls/handshake.js';
import type { Supposition } from '../traces/answers.js';
import type { Askers } from '../traces/askers.js';
import type { ClientSight } from '../traces/client-sight.js';
import type { TraceContext } from '../traces/context.js';
import type { CallCount, ProcessWork } from '../traces/process-work.js';
import type { RemoteParent } from '../traces/propagation.js';

/** Values are OTLP's SpanKind. */
export const KIND_SERVER = 2;
export const KIND_CLIENT = 3;
export type ExchangeKind = typeof KIND_SERVER | typeof KIND_CLIENT;

/** Addresses of a connection in text form, made once per connection. */
export interface Peer {
  /** `network.peer.address`: the remote IP, or the socket path of a unix socket ('' if unnamed). */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** `network.transport`. */
  readonly transport: 'tcp' | 'unix';
  /** `network.type`, '' for unix sockets. */
  readonly networkType: 'ipv4' | 'ipv6' | '';
}

/** How a call is known to be for a request, from the strongest evidence to the weakest: traces/causes.ts. */
export type CauseGrade = 'goroutine' | 'task' | 'fork' | 'thread' | 'slice' | 'loop';

/** Why frames of a WebSocket could not be counted; '': they could. */
export type UncountedReason = '' | 'not_captured' | 'not_frames';

/** Whole frames of a WebSocket by direction; -1: not counted. */
export class Frames {
  read = -1;
  written = -1;
  uncounted: UncountedReason = '';
}

/** How its connection was opened. */
export class Opening {
  /** Seconds from established to the return of accept; -1: not of a SERVER. */
  acceptWaitSeconds = -1;
  /** Seconds that connect took; -1: not of a CLIENT. */
  connectSeconds = -1;
  /** Seconds that the TLS handshake took; -1: there was none. */
  handshakeSeconds = -1;
  /** The `socket connect` span of this connection, for a link; span words 0 if none. */
  connectTrace: TraceContext | null = null;
  connectSpan0 = 0;
  connectSpan1 = 0;
}

interface SpanOfTrace {
  readonly trace: TraceContext;
  readonly span0: number;
  readonly span1: number;
}

/**
 * What only a CLIENT has is declared here and made by Call: a SERVER, which is to take little memory, has no such fields of its own, is
 * given none, and reads those of a call of which nothing is known.
 */
export class Exchange {
  readonly kind: ExchangeKind;
  peer: Peer;
  /** The process that read the request (SERVER) or wrote it (CLIENT). */
  service: Service | null = null;
  pid = 0;
  tid = 0;

  // -- request
  method = '';
  /** Request target as sent: origin-form, absolute-form, authority-form or `*`. */
  target = '';
  /** `http.route` of a SERVER, once it is known. */
  route = '';
  /** Host header, '' if absent. */
  host = '';
  userAgent = '';
  /** `x-request-id`, '' if absent. */
  requestId = '';
  /** Version of the protocol: '1.0', '1.1'. */
  version = '';
  /** It is FastCGI, not HTTP. */
  isFastcgi = false;
  /** Position of the first and behind the last byte of the request in its stream (bytes since the stream was seen). */
  requestStart = 0;
  requestEnd = 0;
  /** It went through TLS; of FastCGI: it had come to the web server so. */
  isSecure = false;
  /** The handshake of its connection, null if that was not seen. */
  tls: TlsHandshake | null = null;
  /** Octets of body as framed (chunk headers excluded); -1 unknown. */
  requestBodyBytes = 0;
  /** The head was longer than the captured prefix: headers may be missing. */
  isRequestHeadTruncated = false;
  /** Bytes of it moved inside the kernel (sendfile, splice): counted and timed, not read. */
  isRequestUnread = false;

  // -- response
  /** 0: no response was seen. */
  status = 0;
  responseStart = 0;
  responseEnd = 0;
  responseBodyBytes = 0;
  isResponseHeadTruncated = false;
  isResponseUnread = false;

  /** FastCGI: what the application said of itself, 0 if nothing. */
  exitStatus = 0;

  /** `error.type` that the connection gave ('ECONNRESET', 'timeout', ...), '' if none; a status is not one. */
  errorType = '';

  // -- timeline
  /** First request byte in the receive queue (SERVER), or the entry of the write that took it (CLIENT). */
  requestFirstNs = 0;
  /** SERVER: return of the read that took the first request byte. CLIENT: same as requestFirstNs. */
  requestTakenNs = 0;
  /** Last request byte taken from (SERVER) or given to (CLIENT) the socket. */
  requestLastNs = 0;
  /** SERVER: entry of the write with the first response byte. CLIENT: first response byte in the receive queue. */
  responseFirstNs = 0;
  /** CLIENT: return of the read that took the first response byte. SERVER: same as responseFirstNs. */
  responseTakenNs = 0;
  /** Last response byte given (SERVER) or taken (CLIENT). */
  responseLastNs = 0;
  /** Of a tunnel (101, CONNECT), which lasts until then. */
  closedNs = 0;

  // -- connection
  /** 1 for the first exchange of the connection; 0 if the connection is older than the agent, or one has gone unseen. */
  connectionIndex = 0;
  isConnectionReused = false;
  /** Of the first exchange of a connection whose begin was seen. */
  opening: Opening | null = null;
  readCalls = 0;
  writeCalls = 0;
  /** Bytes on the socket, heads and framing included; -1 unknown. */
  bytesIn = 0;
  bytesOut = 0;
  /** Of a WebSocket. */
  frames: Frames | null = null;
  srttMicros = 0;
  /** Segments sent again while it was under way. */
  retransmits = 0;
  /** How long, while it was under way, bytes could not be sent: the peer's window was shut; the send buffer was too small. */
  rwndLimitedMs = 0;
  sndbufLimitedMs = 0;
  /** At its end: bytes that the kernel had not sent yet, and those that it had sent and the peer had not acknowledged. */
  unsentBytes = 0;
  unackedBytes = 0;
  /** What ended the connection, if it ended before the exchange was complete. */
  connectionEnd: ConnectionEnd = '';

  /** Not '': it is only counted, under this reason, when it ends. */
  discardReason: '' | 'evicted' | 'otlp' | 'filtered' = '';

  /** The method under which metrics count it as active, '' if they do not. */
  activeMethod = '';

  /** Names the request on both sides of the connection, see traces/correlator.ts. */
  pairRequestSeq = 0;
  pairResponseSeq = 0;
  pairTag = 0;
  /** SERVER: its client's record may come later than its own, and is waited for; null if it is not. */
  clientSight: ClientSight | null = null;

  /** It has not ended: something may still come of it. */
  isUnderWay = true;

  // -- in its process (traces/causes.ts)
  /** The books of its process while it is under way. */
  work: ProcessWork | null = null;
  /** SERVER: being served; its response has begun; its calls that have no response, and all that were put down to it. */
  isServing = false;
  isAnswering = false;
  calls = 0;
  callCount = 0;
  /** CLIENT: the request that it was sent for, and how that is known. */
  declare cause: Exchange | null;
  declare causeGrade: '' | CauseGrade;
  /** CLIENT: what it was sent for if its thread or task turns out to serve several requests, and how that is known. */
  declare loopCause: Exchange | null;
  declare loopGrade: 'slice' | 'loop';
  /** CLIENT: other threads may have given to the loop what it was sent for. */
  declare isShared: boolean;
  /** SERVER: the last such call that it may have made; CLIENT: the one before. */
  lastShared: Exchange | null = null;
  declare sharedBefore: Exchange | null;
  /** CLIENT: from the request to it, its loop was at nothing else: no call can have been put off meanwhile. */
  declare isStraight: boolean;
  /** CLIENT: nothing that the program does for itself, by timers, can have put off a call before this one. */
  declare isClear: boolean;
  /** CLIENT: what it may have been sent for; and it has shown that it was. */
  declare supposed: Supposition | null;
  declare isAnswered: boolean;
  /** CLIENT: its thread did nothing else between its request and the response to that. */
  declare isBetween: boolean;
  /** CLIENT: the request that the loop was at when it was sent, over or not. */
  declare amid: Exchange | null;
  /** CLIENT: the call whose response had been taken when it was sent; null if that is not known. */
  declare after: Exchange | null;
  /** CLIENT: the evidence is too weak for a parent: a link. */
  declare linked: Exchange | null;
  declare peerCalls: CallCount | null;
  /** CLIENT: do responses of that peer wake those who asked for them? */
  declare askers: Askers | null;
  /** CLIENT: its goroutine was started for the request, in a way that this number names; 0: it took the request itself. Its
   *  task is called so, or, if it was started for the request, the first one that was at it. */
  declare start: number;
  /** Of a goroutine that was started so: the connection of that request, and whether its process's channels are followed since. */
  declare startSlot: number;
  declare startGeneration: number;
  declare isFollowed: boolean;
  declare isStarted: boolean;
  /** The task that called, by its own name; 0: not known. */
  declare caller: number;
  /** The program itself said which request it is for. */
  declare isTold: boolean;
  /** CLIENT: the virtual thread that took the request has sent it. */
  declare isVirtual: boolean;
  /** CLIENT: its goroutine had taken what this number names out of a channel, or its thread has it from an executor; 0: it was at
   *  the request itself. */
  declare item: number;
  /** SERVER: who gave the response is known to have been at this request alone. */
  isOwnAnswer = false;
  /** Request: one that was at it may have done something for another one. */
  isCrossed = false;
  /** CLIENT: its response has begun; the thread that took it. */
  declare isReleased: boolean;
  declare responseTid: number;
  /** The one that went on because of that, which another one had taken, or which ran the virtual thread that has called; 0: none that is known. */
  declare returnedTid: number;
  /** CLIENT: its thread had been woken to do it, by one that is not known to be at a request, not before that, in microseconds modulo 2^32. */
  declare isHanded: boolean;
  declare askedFromUs: number;
  /** CLIENT: whoever has sent it, the thread that was at the request has taken the connection out of a pool for it. */
  declare isAsked: boolean;
  /** CLIENT: and it waits for the response; or has had a thread of the client's do so. */
  declare isAwaited: boolean;
  declare isPassed: boolean;
  /** Of a request that a task of tokio serves: numbers of wakings for which a call has been made; null: none has. */
  wakings: number[] | null = null;
  /** No other request was being served when it was sent. */
  declare isAlone: boolean;
  /** SERVER: the thread that gives the response was at it all the time. */
  isOneAtATime = false;

  // -- trace
  #trace: TraceContext;
  span0: number;
  span1: number;
  /** Parent span id, 0/0 for a root. */
  parent0 = 0;
  parent1 = 0;
  /** How the parent is known: '' (root), 'header' (a tracer's header), 'sequence' (socket pair), 'remote_sequence' (the same, of
   *  a client on another host), or what shows inside a process. */
  parentEvidence: '' | 'header' | 'sequence' | 'remote_sequence' | CauseGrade = '';
  /** The span of a header that was not made the parent, for a link; null if none. */
  refusedParent: SpanOfTrace | null = null;
  /** CLIENT: what the SDK on the other side called for it, in the trace that it began; a link where that is another one. */
  declare begun: SpanOfTrace | null;
  /** The exchange whose span is the parent, where it is on this host. */
  parentExchange: Exchange | null = null;
  /** CLIENT: its process wrote the header that names the parent, it did not hand it on. */
  declare hasOwnHeader: boolean;
  /** CLIENT: the request whose trace waits until it is known whether the header's trace was begun for it. */
  declare begunFor: Exchange | null;
  /** SERVER: the context that it came with, else that of the first header that its process wrote for it. */
  toldContext: RemoteParent | null = null;
  /** CLIENT: its server's exchange was seen on this host. */
  declare isJoined: boolean;

  constructor(kind: ExchangeKind, peer: Peer, trace: TraceContext, span0: number, span1: number) {
    this.kind = kind;
    this.peer = peer;
    this.#trace = trace;
    this.span0 = span0;
    this.span1 = span1;
  }

  get trace(): TraceContext {
    return this.#trace.root;
  }

  set trace(trace: TraceContext) {
    this.#trace = trace;
  }

  /** First instant of the span. */
  get startNs(): number {
    return this.requestFirstNs;
  }

  /** Last instant of the span: the response's last byte, or the last thing that was seen. */
  get endNs(): number {
    return Math.max(
      this.responseLastNs,
      this.responseTakenNs,
      this.requestLastNs,
      this.requestTakenNs,
      this.requestFirstNs,
      this.closedNs,
    );
  }
}

/** A CLIENT: the fields that Exchange declares are its own. They are a quarter of its bytes, and nothing a SERVER needs. */
class Call extends Exchange {
  override cause: Exchange['cause'] = null;
  override causeGrade: Exchange['causeGrade'] = '';
  override loopCause: Exchange['loopCause'] = null;
  override loopGrade: Exchange['loopGrade'] = 'loop';
  override isStraight = false;
  override isClear = false;
  override supposed: Exchange['supposed'] = null;
  override isAnswered = false;
  override amid: Exchange['amid'] = null;
  override after: Exchange['after'] = null;
  override linked: Exchange['linked'] = null;
  override peerCalls: Exchange['peerCalls'] = null;
  override askers: Exchange['askers'] = null;
  override start = 0;
  override startSlot = 0;
  override startGeneration = 0;
  override isFollowed = false;
  override isStarted = false;
  override isShared = false;
  override sharedBefore: Exchange['sharedBefore'] = null;
  override isBetween = false;
  override isAsked = false;
  override isAwaited = false;
  override isPassed = false;
  override caller = 0;
  override isTold = false;
  override isVirtual = false;
  override item = 0;
  override isReleased = false;
  override responseTid = 0;
  override returnedTid = 0;
  override isHanded = false;
  override askedFromUs = 0;
  override isAlone = false;
  override begun: Exchange['begun'] = null;
  override hasOwnHeader = false;
  override begunFor: Exchange['begunFor'] = null;
  override isJoined = false;
}

export function newExchange(
  kind: ExchangeKind,
  peer: Peer,
  trace: TraceContext,
  span0: number,
  span1: number,
): Exchange {
  return kind === KIND_CLIENT
    ? new Call(kind, peer, trace, span0, span1)
    : new Exchange(kind, peer, trace, span0, span1);
}

// What a call begins with, a SERVER reads.
const [peer, trace] = [null as unknown as Peer, null as unknown as TraceContext];
const served = new Exchange(KIND_SERVER, peer, trace, 0, 0);
for (const [field, value] of Object.entries(new Call(KIND_CLIENT, peer, trace, 0, 0)))
  if (!(field in served)) Object.defineProperty(Exchange.prototype, field, { value, writable: true });
