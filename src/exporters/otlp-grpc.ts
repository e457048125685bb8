// OTLP over gRPC (OTLP specification, "OTLP/gRPC"): one attempt per export, the status code decides whether it is worth
// another. It does not repeat by itself; the queue does. One connection is kept; a new one takes its place when the
// receiver cannot be reached over it, or says nothing within the deadline.
import {
  Client,
  type ClientOptions,
  compressionAlgorithms,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { reasonOf } from '../errors.js';
import { collectYoung } from '../memory.js';
import { decodePartialSuccess, decodeRetryDelayMs } from '../otlp/decode.js';
import { type Exporter, type ExportResult, type Log, withTimeout } from './exporter.js';
import { partialResult } from './otlp-response.js';
import type { OtlpTarget } from './otlp-settings.js';
import { readTls, usable } from './otlp-tls.js';

const METHODS = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
} as const;

/** "OTLP/gRPC Throttling" and the table of failures before it. */
const RETRYABLE: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

/**
 * The gRPC client copies each request into a buffer, which is free once V8 has collected. Left to itself, that comes after
 * 30 MB and more of them, and then as a collection of everything, several times a second under load.
 */
const COLLECT_AFTER_BYTES = 4 << 20;

const asIs = (bytes: Buffer): Buffer => bytes;

export class OtlpGrpcExporter implements Exporter {
  readonly name: string;
  readonly canBeAway = true;
  readonly keepsBytes = false;
  readonly #target: OtlpTarget;
  readonly #log: Log;
  readonly #metadata = new Metadata();
  readonly #connect: () => Client;
  readonly #flying = new Set<Promise<unknown>>();
  #client: Client;
  #copiedBytes = 0;

  /** Throws AgentError OTLP_SETTINGS. Does not connect yet. */
  constructor(target: OtlpTarget, userAgent: string, log: Log) {
    this.name = `otlp ${target.signal} to ${target.url} (grpc)`;
    this.#target = target;
    this.#log = log;
    for (const [name, value] of Object.entries(target.headers)) usable(() => this.#metadata.set(name, value));
    const tls = readTls(target);
    const security = usable(() =>
      target.isSecure
        ? credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null)
        : credentials.createInsecure(),
    );
    const options: ClientOptions = {
      'grpc.primary_user_agent': userAgent,
      'grpc.default_compression_algorithm':
        target.compression === 'gzip' ? compressionAlgorithms.gzip : compressionAlgorithms.identity,
      // Else a new client would share the connection of the one that it takes the place of.
      'grpc.use_local_subchannel_pool': 1,
    };
    this.#connect = () => new Client(target.url, security, options);
    this.#client = this.#connect();
  }

  async export(bytes: Uint8Array, _itemCount: number): Promise<ExportResult> {
    const client = this.#client;
    const call = this.#call(client, bytes);
    this.#flying.add(call);
    try {
      return partialResult(this.name, await call, decodePartialSuccess, this.#log);
    } catch (error) {
      if (isServiceError(error) && isUnreachable(error)) this.#renew(client);
      return failure(error);
    } finally {
      this.#flying.delete(call);
      this.#noteCopy(bytes.length);
    }
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await withTimeout(Promise.allSettled(this.#flying), timeoutMs, []);
    this.#client.close();
  }

  #call(client: Client, bytes: Uint8Array): Promise<Buffer> {
    const deadline = Date.now() + this.#target.timeoutMs;
    const request = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        METHODS[this.#target.signal],
        asIs,
        asIs,
        request,
        this.#metadata,
        { deadline },
        (error, response) => {
          if (error === null) resolve(response ?? Buffer.alloc(0));
          else reject(error);
        },
      );
    });
  }

  #noteCopy(byteLength: number): void {
    this.#copiedBytes += byteLength;
    if (this.#copiedBytes < COLLECT_AFTER_BYTES) return;
    this.#copiedBytes = 0;
    collectYoung();
  }

  /**
   * Starts over with a new channel. A channel that cannot connect waits up to two minutes between its attempts, so a
   * receiver that comes back would be noticed late; the queue's own pauses are shorter. A connection that has died
   * without a word (a firewall that forgot it, a cable) would be believed in until TCP gives up, after a quarter of an hour.
   */
  #renew(failed: Client): void {
    if (failed !== this.#client) return;
    this.#client = this.#connect();
    failed.close();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'number';
}

function isUnreachable({ code }: ServiceError): boolean {
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED;
}

function failure(error: unknown): ExportResult {
  if (!isServiceError(error)) return { kind: 'refused', code: 'internal', message: reasonOf(error) };
  const message = `gRPC status ${error.code} ${status[error.code] ?? ''}: ${error.details ?? reasonOf(error)}`;
  const retryAfterMs = retryDelay(error);
  if (RETRYABLE.has(error.code)) return { kind: 'unavailable', message, retryAfterMs };
  // Only with a RetryInfo it is a pause; else this request is too much for the receiver and always will be.
  if (error.code === status.RESOURCE_EXHAUSTED && retryAfterMs !== null) {
    return { kind: 'unavailable', message, retryAfterMs };
  }
  return { kind: 'refused', code: String(error.code), message };
}

function retryDelay(error: ServiceError): number | null {
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!(details instanceof Uint8Array)) return null;
  try {
    return decodeRetryDelayMs(details);
  } catch {
    // Details are an extra of the receiver; unreadable ones say nothing.
    return null;
  }
}
