// Every name that spans and metrics carry, said once: keys of the OpenTelemetry semantic conventions (version below,
// HTTP and network parts stable, body sizes and active requests in development) and our own under `underspan.`.
// Keys come encoded for the span writer; metrics use their `name`.
import { attributeKey } from '../otlp/trace-request.js';

export { SEMCONV_VERSION } from '../otlp/resource.js';

// -- conventions: docs/registry/attributes of open-telemetry/semantic-conventions
export const ERROR_TYPE = attributeKey('error.type');
export const CLIENT_ADDRESS = attributeKey('client.address');
export const SERVER_ADDRESS = attributeKey('server.address');
export const SERVER_PORT = attributeKey('server.port');
export const HTTP_REQUEST_METHOD = attributeKey('http.request.method');
export const HTTP_REQUEST_HEADER_X_REQUEST_ID = attributeKey('http.request.header.x-request-id');
export const HTTP_REQUEST_METHOD_ORIGINAL = attributeKey('http.request.method_original');
export const HTTP_REQUEST_BODY_SIZE = attributeKey('http.request.body.size');
export const HTTP_RESPONSE_BODY_SIZE = attributeKey('http.response.body.size');
export const HTTP_RESPONSE_STATUS_CODE = attributeKey('http.response.status_code');
export const HTTP_ROUTE = attributeKey('http.route');
export const NETWORK_IO_DIRECTION = attributeKey('network.io.direction');
export const NETWORK_PEER_ADDRESS = attributeKey('network.peer.address');
export const NETWORK_PEER_PORT = attributeKey('network.peer.port');
export const NETWORK_PROTOCOL_NAME = attributeKey('network.protocol.name');
export const NETWORK_PROTOCOL_VERSION = attributeKey('network.protocol.version');
export const NETWORK_TRANSPORT = attributeKey('network.transport');
export const NETWORK_TYPE = attributeKey('network.type');
export const OTEL_METRIC_OVERFLOW = attributeKey('otel.metric.overflow');
export const TLS_CIPHER = attributeKey('tls.cipher');
export const TLS_ESTABLISHED = attributeKey('tls.established');
export const TLS_NEXT_PROTOCOL = attributeKey('tls.next_protocol');
export const TLS_PROTOCOL_NAME = attributeKey('tls.protocol.name');
export const TLS_PROTOCOL_VERSION = attributeKey('tls.protocol.version');
export const TLS_RESUMED = attributeKey('tls.resumed');
export const URL_FULL = attributeKey('url.full');
export const URL_PATH = attributeKey('url.path');
export const URL_QUERY = attributeKey('url.query');
export const URL_SCHEME = attributeKey('url.scheme');
export const USER_AGENT_ORIGINAL = attributeKey('user_agent.original');

// -- ours: the socket timeline. Phases are seconds; they tile the span without overlap where all are known.
/** SERVER, first request of a connection: handshake done to accept returned. */
export const ACCEPT_WAIT = attributeKey('underspan.accept.wait');
/** First byte of the incoming message in the kernel to the return of the read that took it (CLIENT: the response's). */
export const RECEIVE_WAIT = attributeKey('underspan.receive.wait');
/** SERVER: first to last request byte taken. */
export const REQUEST_READ = attributeKey('underspan.request.read');
/** SERVER: last request byte taken to first response byte given. */
export const PROCESSING = attributeKey('underspan.processing');
/** SERVER: first to last response byte given. */
export const RESPONSE_WRITE = attributeKey('underspan.response.write');
/** CLIENT, first request of a connection: what connect took. */
export const CONNECT_DURATION = attributeKey('underspan.connect.duration');
/** CLIENT: first to last request byte given. */
export const REQUEST_WRITE = attributeKey('underspan.request.write');
/** CLIENT: last request byte given to first response byte in the kernel. */
export const RESPONSE_WAIT = attributeKey('underspan.response.wait');
/** CLIENT: first to last response byte taken. */
export const RESPONSE_READ = attributeKey('underspan.response.read');
/** First request of a connection: ClientHello to the end of the handshake. */
export const TLS_HANDSHAKE_DURATION = attributeKey('underspan.tls.handshake.duration');
/** Why the plaintext of a connection was out of reach. */
export const TLS_OPAQUE_REASON = attributeKey('underspan.tls.opaque.reason');
/** Of such a connection: runs of the client's bytes that were answered, how long they took together, and the longest. */
export const TLS_BURSTS = attributeKey('underspan.tls.bursts');
export const TLS_BURSTS_DURATION = attributeKey('underspan.tls.bursts.duration');
export const TLS_BURSTS_DURATION_MAX = attributeKey('underspan.tls.bursts.duration.max');
/** They are told by the direction of the ciphertext alone. */
export const TLS_BURSTS_APPROXIMATE = attributeKey('underspan.tls.bursts.approximate');
/** What the client offered by ALPN; what was chosen is encrypted since TLS 1.3. */
export const TLS_OFFERED_PROTOCOLS = attributeKey('underspan.tls.offered_protocols');
/** The library that could not be read, if it is known. */
export const TLS_LIBRARY = attributeKey('underspan.tls.library');
export const CONNECTION_REUSED = attributeKey('underspan.connection.reused');
/** 1 for the first request of a connection; absent on connections older than the agent, and behind one that went unseen. */
export const CONNECTION_REQUEST_INDEX = attributeKey('underspan.connection.request_index');
/** What ended the connection, if it ended before the exchange was complete: `fin_sent`, `fin_received`, `reset_sent`, `reset_received`. */
export const CONNECTION_END = attributeKey('underspan.connection.end');
/** Metrics: `client`, `server` or `unknown`. */
export const CONNECTION_ROLE = attributeKey('underspan.connection.role');
export const IO_READ_CALLS = attributeKey('underspan.io.read_calls');
export const IO_WRITE_CALLS = attributeKey('underspan.io.write_calls');
export const IO_READ_BYTES = attributeKey('underspan.io.read_bytes');
export const IO_WRITE_BYTES = attributeKey('underspan.io.write_bytes');
/** Whole frames of a WebSocket, and why those of a direction without a number could not be counted. */
export const WEBSOCKET_READ_FRAMES = attributeKey('underspan.websocket.read_frames');
export const WEBSOCKET_WRITE_FRAMES = attributeKey('underspan.websocket.write_frames');
export const WEBSOCKET_UNCOUNTED = attributeKey('underspan.websocket.uncounted.reason');
/** What a FastCGI application said of itself at the end of a request, where that is not 0. */
export const FASTCGI_APP_STATUS = attributeKey('underspan.fastcgi.app_status');
/** How the parent is known: `header` (traceparent, b3 ...), `sequence` (socket pair), `remote_sequence` (another host), or a grade
 *  of traces/causes.ts. Absent on roots. */
export const PARENT_EVIDENCE = attributeKey('underspan.parent.evidence');
/** True: the head was longer than what was captured, attributes taken from headers may be missing. */
export const REQUEST_HEAD_TRUNCATED = attributeKey('underspan.request.head_truncated');
export const RESPONSE_HEAD_TRUNCATED = attributeKey('underspan.response.head_truncated');
/** True: bytes of it moved where they cannot be read (sendfile, splice ...): they are counted and timed. */
export const REQUEST_CONTENT_UNREAD = attributeKey('underspan.request.content_unread');
export const RESPONSE_CONTENT_UNREAD = attributeKey('underspan.response.content_unread');
/** Smoothed round trip time, seconds. */
export const TCP_SRTT = attributeKey('underspan.tcp.srtt');
/** Segments that this side of the connection sent again while the exchange was under way. */
export const TCP_RETRANSMITS = attributeKey('underspan.tcp.retransmits');
/** Seconds in which this side had bytes to send and the peer's receive window was shut. */
export const TCP_RWND_LIMITED = attributeKey('underspan.tcp.rwnd_limited');
/** Seconds in which this side's send buffer was too small for the network to be kept busy. */
export const TCP_SNDBUF_LIMITED = attributeKey('underspan.tcp.sndbuf_limited');
/** Bytes that at the span's end had been given to the kernel and not been sent; sent and not been acknowledged. */
export const TCP_UNSENT = attributeKey('underspan.tcp.unsent');
export const TCP_UNACKED = attributeKey('underspan.tcp.unacked');

/** `network.protocol.name` where it is not HTTP. */
export const FASTCGI = 'fastcgi';

/** `network.io.direction`. */
export const DIRECTION_RECEIVE = 'receive';
export const DIRECTION_TRANSMIT = 'transmit';

// -- span names
/** Where the method is none of the known ones (HTTP spans, "Name"). */
export const HTTP_SPAN_NAME = 'HTTP';
/** Of the experimental connection spans; here without the peer, which is an attribute, to keep the name low-cardinal. */
export const SOCKET_CONNECT_SPAN_NAME = 'socket connect';
export const TLS_HANDSHAKE_SPAN_NAME = 'TLS handshake';
export const TLS_CONNECTION_SPAN_NAME = 'TLS connection';
/** Value of http.request.method for methods that are not known. */
export const METHOD_OTHER = '_OTHER';
