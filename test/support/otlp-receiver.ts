// An OTLP receiver inside the test's process: gRPC by @grpc/grpc-js' server, HTTP (protobuf, JSON, gzip) by node:http,
// with or without TLS. Keeps what arrives, decoded, and misbehaves on demand. The bytes are read with src/otlp/decode.ts,
// which test/unit/otlp holds to the SDK's own serializers.
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs/light.js';
import { type DecodedMetric, type DecodedSpan, decodeMetrics, decodeTraces } from '../../src/otlp/decode.js';
import { messageType } from '../../src/otlp/descriptor.js';
import { assertOfficialMetrics, assertOfficialTraces } from './official-otlp.js';

/** What the receiver does instead of taking a request. */
export type Fault =
  /** gRPC UNAVAILABLE, HTTP 503; `retryAfterMs` as RetryInfo or Retry-After. */
  | { readonly kind: 'unavailable'; readonly retryAfterMs?: number }
  /** gRPC RESOURCE_EXHAUSTED, HTTP 429; worth repeating only with `retryAfterMs`. */
  | { readonly kind: 'exhausted'; readonly retryAfterMs?: number }
  /** gRPC INVALID_ARGUMENT, HTTP 400. */
  | { readonly kind: 'refuse'; readonly message: string }
  /** Takes the request and answers that `rejected` items were not stored. */
  | { readonly kind: 'partial'; readonly rejected: number; readonly message: string }
  /** Takes the request after a while. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  /** Breaks the connection. */
  | { readonly kind: 'reset' };

export interface ReceivedRequest {
  readonly transport: 'grpc' | 'http/protobuf' | 'http/json';
  readonly signal: 'traces' | 'metrics';
  /** HTTP only. */
  readonly path: string;
  /** Lower-case names; of gRPC the metadata. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it came, after decompression. */
  readonly body: Buffer;
  /** The fault with which it was met. */
  readonly fault: Fault['kind'] | 'none';
}

export interface OtlpReceiverOptions {
  readonly grpc?: boolean;
  readonly http?: boolean;
  /** PEM texts; `clientCa` asks clients for a certificate. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** Ports to take instead of free ones. */
  readonly grpcPort?: number;
  readonly httpPort?: number;
}

type Signal = ReceivedRequest['signal'];

const SERVICES: Readonly<Record<Signal, string>> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
};

export class OtlpReceiver {
  readonly #options: OtlpReceiverOptions;
  #grpcServer: grpc.Server | null = null;
  #httpServer: http.Server | https.Server | null = null;
  #grpcPort = 0;
  #httpPort = 0;
  #fault: Fault | null = null;
  #faultsLeft = 0;
  #spans: DecodedSpan[] = [];
  #metrics: DecodedMetric[] = [];
  #requests: ReceivedRequest[] = [];

  constructor(options: OtlpReceiverOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#options.grpc) await this.#listenGrpc(this.#options.grpcPort ?? 0);
    if (this.#options.http) await this.#listenHttp(this.#options.httpPort ?? 0);
  }

  /** '' if not asked for. */
  get grpcUrl(): string {
    return this.#grpcPort === 0 ? '' : `${this.#scheme}://127.0.0.1:${this.#grpcPort}`;
  }

  /** The base, without /v1/traces; '' if not asked for. */
  get httpUrl(): string {
    return this.#httpPort === 0 ? '' : `${this.#scheme}://127.0.0.1:${this.#httpPort}`;
  }

  get grpcPort(): number {
    return this.#grpcPort;
  }

  get httpPort(): number {
    return this.#httpPort;
  }

  /** Everything taken so far, in order of arrival. */
  spans(): readonly DecodedSpan[] {
    return this.#spans;
  }

  metrics(): readonly DecodedMetric[] {
    return this.#metrics;
  }

  /** Every request, also those met with a fault. */
  requests(): readonly ReceivedRequest[] {
    return this.#requests;
  }

  clear(): void {
    this.#spans = [];
    this.#metrics = [];
    this.#requests = [];
  }

  /** Misbehaves for the next `times` requests; null ends it. */
  setFault(fault: Fault | null, times = Number.POSITIVE_INFINITY): void {
    this.#fault = fault;
    this.#faultsLeft = times;
  }

  /** Resolves when the condition holds; rejects after `timeoutMs` with what is there. */
  async waitFor(condition: (receiver: OtlpReceiver) => boolean, timeoutMs = 10_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!condition(this)) {
      if (performance.now() > endMs) {
        const names = this.#spans.slice(-5).map(span => span.name);
        throw new Error(
          `after ${timeoutMs} ms: ${this.#spans.length} spans (last: ${names.join(', ')}), ` +
            `${this.#metrics.length} metrics, ${this.#requests.length} requests`,
        );
      }
      await sleep(20);
    }
  }

  waitForSpans(count: number, timeoutMs = 10_000): Promise<void> {
    return this.waitFor(receiver => receiver.spans().length >= count, timeoutMs);
  }

  async close(): Promise<void> {
    this.#grpcServer?.forceShutdown();
    this.#grpcServer = null;
    const httpServer = this.#httpServer;
    this.#httpServer = null;
    if (httpServer === null) return;
    httpServer.closeAllConnections();
    await new Promise<void>(resolve => httpServer.close(() => resolve()));
  }

  get #scheme(): string {
    return this.#options.tls === undefined ? 'http' : 'https';
  }

  #takeFault(): Fault | null {
    if (this.#fault === null || this.#faultsLeft <= 0) return null;
    this.#faultsLeft--;
    return this.#fault;
  }

  /** Keeps a request, and its content unless the fault stands in the way; the response's partial success. */
  #take(request: ReceivedRequest, bytes: Uint8Array): { readonly rejected: number; readonly message: string } | null {
    this.#requests.push(request);
    const fault = request.fault;
    if (fault !== 'none' && fault !== 'partial' && fault !== 'slow') return null;
    if (request.signal === 'traces') {
      const spans = decodeTraces(bytes);
      assertOfficialTraces(bytes, spans);
      this.#spans.push(...spans);
    } else {
      const metrics = decodeMetrics(bytes);
      assertOfficialMetrics(bytes, metrics);
      this.#metrics.push(...metrics);
    }
    return fault === 'partial' && this.#fault?.kind === 'partial' ? this.#fault : null;
  }

  // -- gRPC

  async #listenGrpc(port: number): Promise<void> {
    const server = new grpc.Server();
    for (const signal of ['traces', 'metrics'] as const) {
      const definition = {
        path: SERVICES[signal],
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      };
      const handle: grpc.handleUnaryCall<Buffer, Buffer> = (call, respond) => {
        void this.#handleGrpc(signal, call, respond);
      };
      server.addService({ export: definition }, { export: handle });
    }
    this.#grpcPort = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, this.#grpcCredentials(), (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    this.#grpcServer = server;
  }

  #grpcCredentials(): grpc.ServerCredentials {
    const { tls } = this.#options;
    if (tls === undefined) return grpc.ServerCredentials.createInsecure();
    const pair = { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) };
    const clientCa = tls.clientCa === undefined ? null : Buffer.from(tls.clientCa);
    return grpc.ServerCredentials.createSsl(clientCa, [pair], clientCa !== null);
  }

  async #handleGrpc(
    signal: Signal,
    call: grpc.ServerUnaryCall<Buffer, Buffer>,
    respond: grpc.sendUnaryData<Buffer>,
  ): Promise<void> {
    const fault = this.#takeFault();
    const headers = Object.fromEntries(Object.entries(call.metadata.getMap()).map(([k, v]) => [k, v.toString()]));
    const body = call.request;
    const partial = this.#take(
      { transport: 'grpc', signal, path: '', headers, body, fault: fault?.kind ?? 'none' },
      body,
    );
    switch (fault?.kind) {
      case 'unavailable':
        return respond(rpcError(grpc.status.UNAVAILABLE, 'try later', fault.retryAfterMs));
      case 'exhausted':
        return respond(rpcError(grpc.status.RESOURCE_EXHAUSTED, 'too much', fault.retryAfterMs));
      case 'refuse':
        return respond(rpcError(grpc.status.INVALID_ARGUMENT, fault.message));
      case 'reset': {
        const port = this.#grpcPort;
        this.#grpcServer?.forceShutdown();
        return this.#listenGrpc(port);
      }
      case 'slow':
        await sleep(fault.delayMs);
    }
    respond(null, encodeResponse(partial));
  }

  // -- HTTP

  async #listenHttp(port: number): Promise<void> {
    const { tls } = this.#options;
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#handleHttp(request, response).catch((error: unknown) => {
        response.writeHead(400).end(String(error));
      });
    };
    const server =
      tls === undefined
        ? http.createServer(handle)
        : https.createServer(
            { cert: tls.cert, key: tls.key, ca: tls.clientCa, requestCert: tls.clientCa !== undefined },
            handle,
          );
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
    this.#httpPort = (server.address() as AddressInfo).port;
    this.#httpServer = server;
  }

  async #handleHttp(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = this.#takeFault();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const raw = Buffer.concat(chunks);
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
    const isJson = request.headers['content-type'] === 'application/json';
    const path = request.url ?? '';
    const signal: Signal = path.endsWith('/metrics') ? 'metrics' : 'traces';
    const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
    const partial = this.#take(
      { transport: isJson ? 'http/json' : 'http/protobuf', signal, path, headers, body, fault: fault?.kind ?? 'none' },
      isJson ? jsonToBytes(signal, body.toString()) : body,
    );
    switch (fault?.kind) {
      case 'unavailable':
      case 'exhausted': {
        const { retryAfterMs } = fault;
        if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
        response.writeHead(fault.kind === 'exhausted' ? 429 : 503).end();
        return;
      }
      case 'refuse':
        response
          .writeHead(400, { 'content-type': request.headers['content-type'] })
          .end(encodeRefusal(isJson, fault.message));
        return;
      case 'reset':
        request.socket.resetAndDestroy();
        return;
      case 'slow':
        await sleep(fault.delayMs);
    }
    if (isJson) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(jsonResponse(signal, partial));
    } else {
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end(encodeResponse(partial));
    }
  }
}

/** Starts a receiver on free loopback ports. Close it. */
export async function startOtlpReceiver(options: OtlpReceiverOptions): Promise<OtlpReceiver> {
  const receiver = new OtlpReceiver(options);
  await receiver.start();
  return receiver;
}

/** A gRPC error; with a delay it carries google.rpc.Status{3 Any{google.rpc.RetryInfo{1 Duration}}}. */
function rpcError(code: grpc.status, details: string, retryAfterMs?: number): grpc.ServerErrorResponse {
  const metadata = new grpc.Metadata();
  if (retryAfterMs !== undefined) {
    const duration = protobuf.Writer.create()
      .uint32(8)
      .int64(Math.floor(retryAfterMs / 1000));
    duration.uint32(16).int32((retryAfterMs % 1000) * 1e6);
    const info = protobuf.Writer.create().uint32(10).bytes(duration.finish()).finish();
    const any = protobuf.Writer.create().uint32(10).string('type.googleapis.com/google.rpc.RetryInfo');
    any.uint32(18).bytes(info);
    const status = protobuf.Writer.create().uint32(8).int32(code).uint32(18).string(details);
    status.uint32(26).bytes(any.finish());
    metadata.set('grpc-status-details-bin', Buffer.from(status.finish()));
  }
  return Object.assign(new Error(details), { code, details, metadata });
}

/** The body of a failed HTTP answer: a google.rpc.Status (OTLP specification, "Failures"). */
function encodeRefusal(isJson: boolean, message: string): string | Uint8Array {
  if (isJson) return JSON.stringify({ code: 3, message });
  return protobuf.Writer.create().uint32(8).int32(3).uint32(18).string(message).finish();
}

type Partial = { readonly rejected: number; readonly message: string } | null;

/** Export...ServiceResponse{1 partial_success{1 rejected, 2 error_message}}. */
function encodeResponse(partial: Partial): Buffer {
  if (partial === null) return Buffer.alloc(0);
  const inner = protobuf.Writer.create().uint32(8).int64(partial.rejected).uint32(18).string(partial.message);
  return Buffer.from(protobuf.Writer.create().uint32(10).bytes(inner.finish()).finish());
}

function jsonResponse(signal: Signal, partial: Partial): string {
  if (partial === null) return '{}';
  const field = signal === 'traces' ? 'rejectedSpans' : 'rejectedDataPoints';
  return JSON.stringify({ partialSuccess: { [field]: String(partial.rejected), errorMessage: partial.message } });
}

const ID_FIELDS: ReadonlySet<string> = new Set(['traceId', 'spanId', 'parentSpanId']);

/** OTLP/JSON to protobuf: ids are hex there, base64 in protobuf's own mapping. */
function jsonToBytes(signal: Signal, text: string): Uint8Array {
  const request: unknown = JSON.parse(text, (key, value: unknown) =>
    ID_FIELDS.has(key) && typeof value === 'string' ? Buffer.from(value, 'hex').toString('base64') : value,
  );
  const type = messageType(signal === 'traces' ? 'TracesRequest' : 'MetricsRequest');
  return type.encode(type.fromObject(request as Record<string, unknown>)).finish();
}
