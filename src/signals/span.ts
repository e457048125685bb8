// An exchange comes in, one OTLP span goes into the encoder: SERVER and CLIENT spans by the stable HTTP conventions, with
// the socket timeline as `underspan.*` attributes, and a `socket connect` span for each connect. Nothing is kept per span.
// A phase is written only if both its ends are known; a span is refused only if the encoder is full or has no time.

import { targetPath } from '../enrichment/route.js';
import type { Service } from '../enrichment/service.js';
import { type Exchange, KIND_CLIENT, KIND_SERVER, type Peer } from '../exchanges/exchange.js';
import type { AttributeKey, TraceRequestEncoder } from '../otlp/trace-request.js';
import type { TraceContext } from '../traces/context.js';
import { KnownMethods } from './http-method.js';
import { statusError } from './http-status.js';
import * as semconv from './semconv.js';
import { redactedCredentials, type ServerAddress, ServerAddresses } from './server-address.js';
import { firstInstantNs, secondsBetween } from './timeline.js';
import { targetQuery } from './url.js';

/** SpanKind of connects. The conventions say INTERNAL: a CLIENT span is a call, and a connect would be counted as one. */
const KIND_INTERNAL = 1;
/** StatusCode of trace.proto. */
const STATUS_ERROR = 2;
/** Span names held at once: methods are few, routes are bounded per service. */
const MAX_NAMES = 16384;

/** What the writer needs of the encoder. */
export type SpanEncoder = Pick<
  TraceRequestEncoder,
  'beginSpan' | 'name' | 'string' | 'stringArray' | 'int' | 'double' | 'bool' | 'link' | 'status' | 'endSpan'
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
  /** Span name by method (as it stands in the name), then route. */
  readonly #names = new Map<string, Map<string, string>>();
  #nameCount = 0;

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
    const method = this.#methods.attribute(exchange.method);
    const isKnown = method !== semconv.METHOD_OTHER;
    encoder.name(this.#name(isKnown ? method : semconv.HTTP_SPAN_NAME, isServer ? route : ''));
    encoder.string(semconv.HTTP_REQUEST_METHOD, method);
    if (!isKnown && exchange.method !== '') {
      encoder.string(semconv.HTTP_REQUEST_METHOD_ORIGINAL, exchange.method);
    }
    if (isServer && route !== '') encoder.string(semconv.HTTP_ROUTE, route);
    this.#writeUrl(exchange, this.#servers.resolve(exchange));
    this.#writePeer(exchange);
    this.#writeMessages(exchange);
    this.#writePhases(exchange);
    this.#writeConnection(exchange);
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
    this.#writeNetwork(connect.peer);
    if (connect.errorName !== '') {
      encoder.string(semconv.ERROR_TYPE, connect.errorName);
      encoder.status(STATUS_ERROR);
    }
    encoder.endSpan();
    return true;
  }

  #name(method: string, route: string): string {
    if (route === '') return method;
    const known = this.#names.get(method)?.get(route);
    if (known !== undefined) return known;
    if (++this.#nameCount > MAX_NAMES) {
      this.#names.clear();
      this.#nameCount = 1;
    }
    let byRoute = this.#names.get(method);
    if (byRoute === undefined) {
      byRoute = new Map();
      this.#names.set(method, byRoute);
    }
    const name = `${method} ${route}`;
    byRoute.set(route, name);
    return name;
  }

  #writeUrl(exchange: Exchange, server: ServerAddress): void {
    const encoder = this.#encoder;
    const path = targetPath(exchange.target);
    const query = this.#captureQuery ? targetQuery(exchange.target) : '';
    encoder.string(semconv.URL_SCHEME, server.scheme);
    encoder.string(semconv.URL_PATH, path);
    if (query !== '') encoder.string(semconv.URL_QUERY, query);
    if (exchange.kind === KIND_CLIENT && server.origin !== '') {
      encoder.string(semconv.URL_FULL, fullUrl(exchange, server, path, query));
    }
    if (server.address !== '') {
      encoder.string(semconv.SERVER_ADDRESS, server.address);
      if (server.port > 0) encoder.int(semconv.SERVER_PORT, server.port);
    }
  }

  #writePeer(exchange: Exchange): void {
    if (exchange.kind === KIND_SERVER && exchange.peer.remoteAddress !== '') {
      this.#encoder.string(semconv.CLIENT_ADDRESS, exchange.peer.remoteAddress);
    }
    this.#writeNetwork(exchange.peer);
    if (exchange.version !== '') this.#encoder.string(semconv.NETWORK_PROTOCOL_VERSION, exchange.version);
  }

  #writeNetwork(peer: Peer): void {
    const encoder = this.#encoder;
    if (peer.remoteAddress !== '') {
      encoder.string(semconv.NETWORK_PEER_ADDRESS, peer.remoteAddress);
      if (peer.remotePort > 0) encoder.int(semconv.NETWORK_PEER_PORT, peer.remotePort);
    }
    encoder.string(semconv.NETWORK_TRANSPORT, peer.transport);
    if (peer.networkType !== '') encoder.string(semconv.NETWORK_TYPE, peer.networkType);
  }

  #writeMessages(exchange: Exchange): void {
    const encoder = this.#encoder;
    if (exchange.userAgent !== '') encoder.string(semconv.USER_AGENT_ORIGINAL, exchange.userAgent);
    if (exchange.requestId !== '') encoder.stringArray(semconv.HTTP_REQUEST_HEADER_X_REQUEST_ID, [exchange.requestId]);
    if (exchange.requestBodyBytes >= 0) encoder.int(semconv.HTTP_REQUEST_BODY_SIZE, exchange.requestBodyBytes);
    if (exchange.isRequestHeadTruncated) encoder.bool(semconv.REQUEST_HEAD_TRUNCATED, true);
    if (exchange.status === 0) return;
    encoder.int(semconv.HTTP_RESPONSE_STATUS_CODE, exchange.status);
    if (exchange.responseBodyBytes >= 0) encoder.int(semconv.HTTP_RESPONSE_BODY_SIZE, exchange.responseBodyBytes);
    if (exchange.isResponseHeadTruncated) encoder.bool(semconv.RESPONSE_HEAD_TRUNCATED, true);
  }

  #writePhases(exchange: Exchange): void {
    const { requestFirstNs, requestTakenNs, requestLastNs } = exchange;
    const { responseFirstNs, responseTakenNs, responseLastNs } = exchange;
    if (exchange.kind === KIND_SERVER) {
      this.#phase(semconv.ACCEPT_WAIT, exchange.acceptWaitSeconds);
      this.#phase(semconv.RECEIVE_WAIT, secondsBetween(requestFirstNs, requestTakenNs));
      this.#phase(semconv.REQUEST_READ, secondsBetween(requestTakenNs, requestLastNs));
      this.#phase(semconv.PROCESSING, secondsBetween(requestLastNs, responseFirstNs));
      this.#phase(semconv.RESPONSE_WRITE, secondsBetween(responseFirstNs, responseLastNs));
    } else {
      this.#phase(semconv.CONNECT_DURATION, exchange.connectSeconds);
      this.#phase(semconv.REQUEST_WRITE, secondsBetween(requestFirstNs, requestLastNs));
      this.#phase(semconv.RESPONSE_WAIT, secondsBetween(requestLastNs, responseFirstNs));
      this.#phase(semconv.RECEIVE_WAIT, secondsBetween(responseFirstNs, responseTakenNs));
      this.#phase(semconv.RESPONSE_READ, secondsBetween(responseTakenNs, responseLastNs));
    }
  }

  /** `seconds` below 0 is "not known". */
  #phase(key: AttributeKey, seconds: number): void {
    if (seconds >= 0) this.#encoder.double(key, seconds);
  }

  #writeConnection(exchange: Exchange): void {
    const encoder = this.#encoder;
    encoder.bool(semconv.CONNECTION_REUSED, exchange.isConnectionReused);
    if (exchange.connectionIndex > 0) encoder.int(semconv.CONNECTION_REQUEST_INDEX, exchange.connectionIndex);
    encoder.int(semconv.IO_READ_CALLS, exchange.readCalls);
    encoder.int(semconv.IO_WRITE_CALLS, exchange.writeCalls);
    if (exchange.bytesIn >= 0) encoder.int(semconv.IO_READ_BYTES, exchange.bytesIn);
    if (exchange.bytesOut >= 0) encoder.int(semconv.IO_WRITE_BYTES, exchange.bytesOut);
    if (exchange.srttMicros > 0) encoder.double(semconv.TCP_SRTT, exchange.srttMicros / 1e6);
    if (exchange.retransmits > 0) encoder.int(semconv.TCP_RETRANSMITS, exchange.retransmits);
    if (exchange.rwndLimitedMs > 0) encoder.double(semconv.TCP_RWND_LIMITED, exchange.rwndLimitedMs / 1e3);
    if (exchange.sndbufLimitedMs > 0) encoder.double(semconv.TCP_SNDBUF_LIMITED, exchange.sndbufLimitedMs / 1e3);
    this.#writeUndelivered(exchange);
    if (exchange.connectionEnd !== '') encoder.string(semconv.CONNECTION_END, exchange.connectionEnd);
    if (exchange.parentEvidence !== '') encoder.string(semconv.PARENT_EVIDENCE, exchange.parentEvidence);
    if (exchange.connectTrace !== null && (exchange.connectSpan0 !== 0 || exchange.connectSpan1 !== 0)) {
      encoder.link(exchange.connectTrace, exchange.connectSpan0, exchange.connectSpan1);
    }
  }

  /** What was just sent is not acknowledged yet: that says something only behind bytes that could not be sent, or at an end. */
  #writeUndelivered({ unsentBytes, unackedBytes, connectionEnd }: Exchange): void {
    if (unsentBytes === 0 && connectionEnd === '') return;
    if (unsentBytes > 0) this.#encoder.int(semconv.TCP_UNSENT, unsentBytes);
    if (unackedBytes > 0) this.#encoder.int(semconv.TCP_UNACKED, unackedBytes);
  }

  #writeOutcome(exchange: Exchange): void {
    const error = exchange.errorType !== '' ? exchange.errorType : statusError(exchange.kind, exchange.status);
    if (error === '') return;
    this.#encoder.string(semconv.ERROR_TYPE, error);
    this.#encoder.status(STATUS_ERROR);
  }
}

/** `url.full`: what the client asked for, credentials redacted; of CONNECT, which has no more, the authority. */
function fullUrl(exchange: Exchange, server: ServerAddress, path: string, query: string): string {
  if (exchange.method === 'CONNECT') return server.origin.slice(server.origin.indexOf('//'));
  const credentials = exchange.target.startsWith('/') ? '' : redactedCredentials(exchange.target);
  const origin = credentials === '' ? server.origin : server.origin.replace('://', `://${credentials}`);
  const url = path === '*' ? origin : origin + path;
  return query === '' ? url : `${url}?${query}`;
}
