// TLS on spans. `TLS handshake` spans (the experimental connection spans of the conventions) for every handshake that was
// seen, and a `TLS connection` span for a connection whose plaintext is out of reach: what can be known of it, and why not
// more. Both are INTERNAL, as connects are: no request is invented from the sizes of records.
import type { Service } from '../enrichment/service.js';
import type { Peer } from '../exchanges/exchange.js';
import type { TlsHandshake } from '../protocols/tls/handshake.js';
import { HANDSHAKE_DONE, HANDSHAKE_FAILED } from '../protocols/tls/handshake.js';
import type { TraceContext } from '../traces/context.js';
import * as semconv from './semconv.js';
import { type SpanEncoder, writeNetwork } from './span.js';

const KIND_INTERNAL = 1;
const STATUS_ERROR = 2;

export interface TlsSpan {
  readonly service: Service;
  readonly trace: TraceContext;
  readonly span0: number;
  readonly span1: number;
  readonly peer: Peer;
  readonly isServer: boolean;
  readonly handshake: TlsHandshake;
  /** `error.type` that the socket gave, '' if none. */
  readonly errorType: string;
}

/** A connection whose bytes stayed ciphertext. */
export interface OpaqueConnection extends TlsSpan {
  readonly startNs: number;
  readonly endNs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly readCalls: number;
  readonly writeCalls: number;
  readonly bursts: { readonly count: number; readonly sumNs: number; readonly maxNs: number };
  /** Why nothing was read, of which library. */
  readonly opacity: { readonly reason: string; readonly library: string };
}

export class TlsSpanWriter {
  readonly #encoder: SpanEncoder;

  constructor(encoder: SpanEncoder) {
    this.#encoder = encoder;
  }

  writeHandshake(span: TlsSpan): void {
    const { handshake } = span;
    if (!this.#begin(span, semconv.TLS_HANDSHAKE_SPAN_NAME, handshake.startNs, handshake.endNs)) return;
    if (handshake.state === HANDSHAKE_FAILED) {
      this.#encoder.string(semconv.ERROR_TYPE, handshake.alert || span.errorType || 'connection_closed');
      this.#encoder.status(STATUS_ERROR);
    }
    this.#encoder.endSpan();
  }

  writeConnection(span: OpaqueConnection): void {
    if (!this.#begin(span, semconv.TLS_CONNECTION_SPAN_NAME, span.startNs, span.endNs)) return;
    const encoder = this.#encoder;
    const { handshake } = span;
    if (handshake.state === HANDSHAKE_DONE) {
      encoder.double(semconv.TLS_HANDSHAKE_DURATION, (handshake.endNs - handshake.startNs) / 1e9);
    }
    encoder.string(semconv.TLS_OPAQUE_REASON, span.opacity.reason);
    if (span.opacity.library !== '') encoder.string(semconv.TLS_LIBRARY, span.opacity.library);
    this.#writeBursts(span);
    encoder.int(semconv.IO_READ_CALLS, span.readCalls);
    encoder.int(semconv.IO_WRITE_CALLS, span.writeCalls);
    encoder.int(semconv.IO_READ_BYTES, span.bytesIn);
    encoder.int(semconv.IO_WRITE_BYTES, span.bytesOut);
    if (span.errorType !== '') {
      encoder.string(semconv.ERROR_TYPE, span.errorType);
      encoder.status(STATUS_ERROR);
    }
    encoder.endSpan();
  }

  /** What might have been requests, if the protocol takes turns. */
  #writeBursts({ bursts: { count, sumNs, maxNs } }: OpaqueConnection): void {
    const encoder = this.#encoder;
    encoder.int(semconv.TLS_BURSTS, count);
    if (count === 0) return;
    encoder.double(semconv.TLS_BURSTS_DURATION, sumNs / 1e9);
    encoder.double(semconv.TLS_BURSTS_DURATION_MAX, maxNs / 1e9);
    encoder.bool(semconv.TLS_BURSTS_APPROXIMATE, true);
  }

  #begin(span: TlsSpan, name: string, startNs: number, endNs: number): boolean {
    const { service, trace, span0, span1, peer, handshake } = span;
    if (startNs === 0) return false;
    const end = Math.max(startNs, endNs);
    if (!this.#encoder.beginSpan(service, trace, span0, span1, 0, 0, false, KIND_INTERNAL, startNs, end)) return false;
    this.#encoder.name(name);
    writeNetwork(this.#encoder, peer);
    if (handshake.serverName !== '') this.#encoder.string(semconv.SERVER_ADDRESS, handshake.serverName);
    const port = span.isServer ? peer.localPort : peer.remotePort;
    if (port > 0) this.#encoder.int(semconv.SERVER_PORT, port);
    writeTls(this.#encoder, handshake);
    const { offeredProtocols } = handshake;
    if (offeredProtocols.length > 0) this.#encoder.stringArray(semconv.TLS_OFFERED_PROTOCOLS, offeredProtocols);
    this.#encoder.bool(semconv.TLS_ESTABLISHED, handshake.state === HANDSHAKE_DONE);
    return true;
  }
}

/** What was agreed. */
export function writeTls(encoder: SpanEncoder, handshake: TlsHandshake): void {
  if (handshake.version === '') return;
  encoder.string(semconv.TLS_PROTOCOL_NAME, 'tls');
  encoder.string(semconv.TLS_PROTOCOL_VERSION, handshake.version);
  encoder.string(semconv.TLS_CIPHER, handshake.cipher);
  if (handshake.nextProtocol !== '') encoder.string(semconv.TLS_NEXT_PROTOCOL, handshake.nextProtocol);
  encoder.bool(semconv.TLS_RESUMED, handshake.isResumed);
}
