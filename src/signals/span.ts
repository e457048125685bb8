// An exchange comes in, one OTLP span goes into the encoder: SERVER and CLIENT spans by the stable HTTP conventions, with
// the socket timeline as `underspan.*` attributes, and a `socket connect` span for each connect. Nothing is kept per span.
// A phase is written only if both its ends are known; a span is refused only if the encoder is full or has no time.

import { targetPath } from '../enrichment/route.js';
import type { Service } from '../enrichment/service.js';
import { type Exchange, type Frames, KIND_CLIENT, KIND_SERVER, type Peer } from '../exchanges/exchange.js';
import { type AttributeKey, type DoubleRow, doubleRow, type TraceRequestEncoder } from '../otlp/trace-request.js';
import type { TraceContext } from '../traces/context.js';
import { FieldTable } from './field-table.js';
import { KnownMethods } from './http-method.js';
import { statusError } from './http-status.js';
import * as semconv from './semconv.js';
import { redactedCredentials, type ServerAddress, ServerAddresses } from './server-address.js';
import { firstInstantNs, secondsBetween } from './timeline.js';
import { writeTls } from './tls-span.js';
import { targetQuery } from './url.js';

/** SpanKind of connects. The conventions say INTERNAL: a CLIENT span is a call, and a connect would be counted as one. */
const KIND_INTERNAL = 1;
/** StatusCode of trace.proto. */
const STATUS_ERROR = 2;
type Keys = readonly [AttributeKey, AttributeKey, AttributeKey, AttributeKey];

/** The phases that every exchange has, one by one, and as a row for when all are known. */
class Phases {
  readonly keys: Keys;
  readonly row: DoubleRow;

  constructor(...keys: Keys) {
    this.keys = keys;
    this.row = doubleRow(keys);
  }
}

const SERVER_PHASES = new Phases(
  semconv.RECEIVE_WAIT,
  semconv.REQUEST_READ,
  semconv.PROCESSING,
  semconv.RESPONSE_WRITE,
);
const CLIENT_PHASES = new Phases(
  semconv.REQUEST_WRITE,
  semconv.RESPONSE_WAIT,
  semconv.RECEIVE_WAIT,
  semconv.RESPONSE_READ,
);

/** What the writer needs of the encoder. */
export type SpanEncoder = Pick<
  TraceRequestEncoder,
  | 'beginSpan'
  | 'name'
  | 'string'
  | 'stringArray'
  | 'int'
  | 'double'
  | 'doubles'
  | 'bool'
  | 'link'
  | 'status'
  | 'endSpan'
  | 'position'
  | 'since'
  | 'again'
>;

export interface SpanOptions {
  /** Methods that keep their name, in place of the standard ones (OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS). */
  readonly knownMethods?: readonly string[];
  /** Write url.query, and the query in url.full. Off by default. */
  readonly captureQuery?: boolean;
}

/** A connect call that ended, well or not. Times are boot-clock nanoseconds. */
export interface ConnectAttempt {
  readonly service: Service;
  readonly trace: TraceContext;
  readonly span0: number;
  readonly span1: number;
  /** 0/0 for a root. */
  readonly parent0: number;
  readonly parent1: number;
  readonly peer: Peer;
  readonly startNs: number;
  readonly endNs: number;
  /** Name of the errno ('ECONNREFUSED', ...), '' if the connection was established. */
  readonly errorName: string;
}

export class SpanWriter {
  readonly #encoder: SpanEncoder;
  readonly #methods: KnownMethods;
  readonly #captureQuery: boolean;
  readonly #servers = new ServerAddresses();
  /** What spans have in common, encoded once and copied (TraceRequestEncoder.since): half of the time of a span's writing. */
  readonly #requests = new FieldTable<ServerAddress, string, string>();
  readonly #agents = new FieldTable<string, string, string>();
  readonly #outcomes = new FieldTable<number, string, string>();
  readonly #serverPeers = new WeakMap<Peer, Uint8Array>();
  readonly #clientPeers = new WeakMap<Peer, Uint8Array>();

  constructor(encoder: SpanEncoder, options: SpanOptions = {}) {
    this.#encoder = encoder;
    this.#methods = new KnownMethods(options.knownMethods);
    this.#captureQuery = options.captureQuery ?? false;
  }

  /**
   * Writes the span of an exchange. `route` is the http.route of a SERVER exchange, '' if none is known; a CLIENT does
   * not know routes and its `route` is not looked at. False if there is no service, no time, or no room in the encoder.
   */
  writeExchange(exchange: Exchange, route: string): boolean {
    const service = exchange.service;
    const startNs = firstInstantNs(exchange);
    if (service === null || startNs === 0) return false;
    const isServer = exchange.kind === KIND_SERVER;
    const encoder = this.#encoder;
    const isBegun = encoder.beginSpan(
      service,
      exchange.trace,
      exchange.span0,
      exchange.span1,
      exchange.parent0,
      exchange.parent1,
      isServer && exchange.parentEvidence !== '',
      exchange.kind,
      startNs,
      Math.max(startNs, exchange.endNs),
    );
    if (!isBegun) return false;
    const server = this.#servers.resolve(exchange);
    this.#writeRequest(exchange, isServer ? route : '', server);
    this.#writeUrl(exchange, server);
    this.#writePeer(exchange);
    this.#writeMessages(exchange);
    this.#writePhases(exchange);
    this.#writeConnection(exchange);
    if (exchange.tls !== null) writeTls(encoder, exchange.tls);
    this.#writeOutcome(exchange);
    encoder.endSpan();
    return true;
  }

  /** Writes the `socket connect` span of a connect. False if its times are unknown or the encoder has no room. */
  writeConnect(connect: ConnectAttempt): boolean {
    const encoder = this.#encoder;
    const { service, trace, span0, span1, parent0, parent1, startNs, endNs } = connect;
    if (startNs === 0) return false;
    const end = Math.max(startNs, endNs);
    if (!encoder.beginSpan(service, trace, span0, span1, parent0, parent1, false, KIND_INTERNAL, startNs, end)) {
      return false;
    }
    encoder.name(semconv.SOCKET_CONNECT_SPAN_NAME);
    writeNetwork(encoder, connect.peer);
    if (connect.errorName !== '') {
      encoder.string(semconv.ERROR_TYPE, connect.errorName);
      encoder.status(STATUS_ERROR);
    }
    encoder.endSpan();
    return true;
  }

  /** Name, method, route and whom it was for. */
  #writeRequest(exchange: Exchange, route: string, server: ServerAddress): void {
    const encoder = this.#encoder;
    const known = this.#requests.get(server, route, exchange.method);
    if (known !== undefined) {
      encoder.again(known);
      return;
    }
    const start = encoder.position;
    const method = this.#methods.attribute(exchange.method);
    const isKnown = method !== semconv.METHOD_OTHER;
    const name = isKnown ? method : semconv.HTTP_SPAN_NAME;
    encoder.name(route === '' ? name : `${name} ${route}`);
    encoder.string(semconv.HTTP_REQUEST_METHOD, method);
    if (!isKnown && exchange.method !== '') {
      encoder.string(semconv.HTTP_REQUEST_METHOD_ORIGINAL, exchange.method);
    }
    if (route !== '') encoder.string(semconv.HTTP_ROUTE, route);
    encoder.string(semconv.URL_SCHEME, server.scheme);
    if (server.address !== '') {
      encoder.string(semconv.SERVER_ADDRESS, server.address);
      if (server.port > 0) encoder.int(semconv.SERVER_PORT, server.port);
    }
    if (isKnown) this.#requests.set(server, route, exchange.method, encoder.since(start));
  }

  #writeUrl(exchange: Exchange, server: ServerAddress): void {
    const encoder = this.#encoder;
    const path = targetPath(exchange.target);
    const query = this.#captureQuery ? targetQuery(exchange.target) : '';
    encoder.string(semconv.URL_PATH, path);
    if (query !== '') encoder.string(semconv.URL_QUERY, query);
    if (exchange.kind !== KIND_CLIENT) return;
    const origin = this.#servers.origin(exchange, server);
    if (origin !== '') encoder.string(semconv.URL_FULL, fullUrl(exchange, origin, path, query));
  }

  #writePeer(exchange: Exchange): void {
    const encoder = this.#encoder;
    const { peer } = exchange;
    const peers = exchange.kind === KIND_SERVER ? this.#serverPeers : this.#clientPeers;
    const known = peers.get(peer);
    if (known !== undefined) {
      encoder.again(known);
      return;
    }
    const start = encoder.position;
    if (exchange.kind === KIND_SERVER && peer.remoteAddress !== '') {
      encoder.string(semconv.CLIENT_ADDRESS, peer.remoteAddress);
    }
    writeNetwork(encoder, peer);
    peers.set(peer, encoder.since(start));
  }

  #writeMessages(exchange: Exchange): void {
    const encoder = this.#encoder;
    if (exchange.userAgent !== '') this.#writeAgent(exchange.userAgent);
    if (exchange.requestId !== '') encoder.stringArray(semconv.HTTP_REQUEST_HEADER_X_REQUEST_ID, [exchange.requestId]);
    if (exchange.requestBodyBytes >= 0) encoder.int(semconv.HTTP_REQUEST_BODY_SIZE, exchange.requestBodyBytes);
    if (exchange.isRequestHeadTruncated) encoder.bool(semconv.REQUEST_HEAD_TRUNCATED, true);
    if (exchange.isRequestUnread) encoder.bool(semconv.REQUEST_CONTENT_UNREAD, true);
    if (exchange.isResponseUnread) encoder.bool(semconv.RESPONSE_CONTENT_UNREAD, true);
    if (exchange.status === 0) return;
    if (exchange.responseBodyBytes >= 0) encoder.int(semconv.HTTP_RESPONSE_BODY_SIZE, exchange.responseBodyBytes);
    if (exchange.isResponseHeadTruncated) encoder.bool(semconv.RESPONSE_HEAD_TRUNCATED, true);
  }

  #writeAgent(userAgent: string): void {
    const encoder = this.#encoder;
    const known = this.#agents.get(userAgent, '', '');
    if (known !== undefined) {
      encoder.again(known);
      return;
    }
    const start = encoder.position;
    encoder.string(semconv.USER_AGENT_ORIGINAL, userAgent);
    this.#agents.set(userAgent, '', '', encoder.since(start));
  }

  #writePhases(exchange: Exchange): void {
    const { requestFirstNs, requestTakenNs, requestLastNs } = exchange;
    const { responseFirstNs, responseTakenNs, responseLastNs } = exchange;
    const { opening } = exchange;
    if (opening !== null) {
      this.#phase(semconv.ACCEPT_WAIT, opening.acceptWaitSeconds);
      this.#phase(semconv.CONNECT_DURATION, opening.connectSeconds);
      this.#phase(semconv.TLS_HANDSHAKE_DURATION, opening.handshakeSeconds);
    }
    if (exchange.kind === KIND_SERVER) {
      this.#writeRow(
        SERVER_PHASES,
        secondsBetween(requestFirstNs, requestTakenNs),
        secondsBetween(requestTakenNs, requestLastNs),
        secondsBetween(requestLastNs, responseFirstNs),
        secondsBetween(responseFirstNs, responseLastNs),
      );
    } else {
      // An answer that was there before the request had been written was not waited for.
      const isEarly = responseFirstNs > 0 && responseFirstNs < requestLastNs;
      this.#writeRow(
        CLIENT_PHASES,
        secondsBetween(requestFirstNs, requestLastNs),
        isEarly ? 0 : secondsBetween(requestLastNs, responseFirstNs),
        secondsBetween(responseFirstNs, responseTakenNs),
        secondsBetween(responseTakenNs, responseLastNs),
      );
    }
  }

  #writeRow(phases: Phases, first: number, second: number, third: number, fourth: number): void {
    if (first >= 0 && second >= 0 && third >= 0 && fourth >= 0) {
      this.#encoder.doubles(phases.row, first, second, third, fourth);
      return;
    }
    const { keys } = phases;
    this.#phase(keys[0], first);
    this.#phase(keys[1], second);
    this.#phase(keys[2], third);
    this.#phase(keys[3], fourth);
  }

  /** `seconds` below 0 is "not known". */
  #phase(key: AttributeKey, seconds: number): void {
    if (seconds >= 0) this.#encoder.double(key, seconds);
  }

  #writeFrames({ read, written, uncounted }: Frames): void {
    const encoder = this.#encoder;
    if (read >= 0) encoder.int(semconv.WEBSOCKET_READ_FRAMES, read);
    if (written >= 0) encoder.int(semconv.WEBSOCKET_WRITE_FRAMES, written);
    if (uncounted !== '') encoder.string(semconv.WEBSOCKET_UNCOUNTED, uncounted);
  }

  #writeConnection(exchange: Exchange): void {
    const encoder = this.#encoder;
    encoder.bool(semconv.CONNECTION_REUSED, exchange.isConnectionReused);
    if (exchange.connectionIndex > 0) encoder.int(semconv.CONNECTION_REQUEST_INDEX, exchange.connectionIndex);
    encoder.int(semconv.IO_READ_CALLS, exchange.readCalls);
    encoder.int(semconv.IO_WRITE_CALLS, exchange.writeCalls);
    if (exchange.bytesIn >= 0) encoder.int(semconv.IO_READ_BYTES, exchange.bytesIn);
    if (exchange.bytesOut >= 0) encoder.int(semconv.IO_WRITE_BYTES, exchange.bytesOut);
    if (exchange.exitStatus !== 0) encoder.int(semconv.FASTCGI_APP_STATUS, exchange.exitStatus);
    if (exchange.frames !== null) this.#writeFrames(exchange.frames);
    if (exchange.srttMicros > 0) encoder.double(semconv.TCP_SRTT, exchange.srttMicros / 1e6);
    if (exchange.retransmits > 0) encoder.int(semconv.TCP_RETRANSMITS, exchange.retransmits);
    if (exchange.rwndLimitedMs > 0) encoder.double(semconv.TCP_RWND_LIMITED, exchange.rwndLimitedMs / 1e3);
    if (exchange.sndbufLimitedMs > 0) encoder.double(semconv.TCP_SNDBUF_LIMITED, exchange.sndbufLimitedMs / 1e3);
    this.#writeUndelivered(exchange);
    if (exchange.connectionEnd !== '') encoder.string(semconv.CONNECTION_END, exchange.connectionEnd);
    if (exchange.parentEvidence !== '') encoder.string(semconv.PARENT_EVIDENCE, exchange.parentEvidence);
    const { linked } = exchange;
    if (linked !== null) encoder.link(linked.trace, linked.span0, linked.span1);
    const { refusedParent, begun, opening } = exchange;
    if (refusedParent !== null) encoder.link(refusedParent.trace, refusedParent.span0, refusedParent.span1);
    if (begun !== null && !begun.trace.hasIdsOf(exchange.trace)) encoder.link(begun.trace, begun.span0, begun.span1);
    if (opening !== null && opening.connectTrace !== null && (opening.connectSpan0 !== 0 || opening.connectSpan1 !== 0))
      encoder.link(opening.connectTrace, opening.connectSpan0, opening.connectSpan1);
  }

  /** What was just sent is not acknowledged yet: that says something only behind bytes that could not be sent, or at an end. */
  #writeUndelivered({ unsentBytes, unackedBytes, connectionEnd }: Exchange): void {
    if (unsentBytes === 0 && connectionEnd === '') return;
    if (unsentBytes > 0) this.#encoder.int(semconv.TCP_UNSENT, unsentBytes);
    if (unackedBytes > 0) this.#encoder.int(semconv.TCP_UNACKED, unackedBytes);
  }

  /** Status, version, and whether that is an error. */
  #writeOutcome(exchange: Exchange): void {
    const encoder = this.#encoder;
    const { kind, status, version, errorType, isFastcgi } = exchange;
    const key = (status * 8 + kind) * 2 + (isFastcgi ? 1 : 0);
    const known = this.#outcomes.get(key, version, errorType);
    if (known !== undefined) {
      encoder.again(known);
      return;
    }
    const start = encoder.position;
    if (isFastcgi) encoder.string(semconv.NETWORK_PROTOCOL_NAME, semconv.FASTCGI);
    if (version !== '') encoder.string(semconv.NETWORK_PROTOCOL_VERSION, version);
    if (status !== 0) encoder.int(semconv.HTTP_RESPONSE_STATUS_CODE, status);
    const error = errorType !== '' ? errorType : statusError(kind, status);
    if (error !== '') {
      encoder.string(semconv.ERROR_TYPE, error);
      encoder.status(STATUS_ERROR);
    }
    this.#outcomes.set(key, version, errorType, encoder.since(start));
  }
}

/** `url.full`: what the client asked for, credentials redacted; of CONNECT, which has no more, the authority. */
function fullUrl(exchange: Exchange, origin: string, path: string, query: string): string {
  if (exchange.method === 'CONNECT') return origin.slice(origin.indexOf('//'));
  const credentials = exchange.target.startsWith('/') ? '' : redactedCredentials(exchange.target);
  const base = credentials === '' ? origin : origin.replace('://', `://${credentials}`);
  const url = path === '*' ? base : base + path;
  return query === '' ? url : `${url}?${query}`;
}

/** Where the other side is. */
export function writeNetwork(encoder: SpanEncoder, peer: Peer): void {
  if (peer.remoteAddress !== '') {
    encoder.string(semconv.NETWORK_PEER_ADDRESS, peer.remoteAddress);
    if (peer.remotePort > 0) encoder.int(semconv.NETWORK_PEER_PORT, peer.remotePort);
  }
  encoder.string(semconv.NETWORK_TRANSPORT, peer.transport);
  if (peer.networkType !== '') encoder.string(semconv.NETWORK_TYPE, peer.networkType);
}
