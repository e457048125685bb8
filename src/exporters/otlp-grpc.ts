// OTLP over gRPC (OTLP specification, "OTLP/gRPC"): one attempt per export, the status code decides whether it is worth
// another. The delegate does not repeat by itself; the queue does.
import { reasonOf } from '../errors.js';
import { decodePartialSuccess, decodeRetryDelayMs } from '../otlp/decode.js';
import { type Exporter, type ExportResult, type Log, withTimeout } from './exporter.js';
import { createGrpcDelegate, type Delegate } from './otlp-delegate.js';
import { partialResult } from './otlp-response.js';
import type { OtlpTarget } from './otlp-settings.js';

const UNAVAILABLE = 14;
const RESOURCE_EXHAUSTED = 8;
/** CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS ("OTLP/gRPC Throttling", failures). */
const RETRYABLE: ReadonlySet<number> = new Set([1, 4, 10, 11, UNAVAILABLE, 15]);

/** The part of gRPC's ServiceError that is used. */
interface GrpcError {
  readonly code: number;
  readonly details?: string;
  readonly metadata?: { get(key: string): readonly (string | Uint8Array)[] };
}

export class OtlpGrpcExporter implements Exporter {
  readonly name: string;
  readonly #target: OtlpTarget;
  readonly #userAgent: string;
  readonly #log: Log;
  #delegate: Delegate;
  #renewals = 0;

  constructor(target: OtlpTarget, userAgent: string, log: Log) {
    this.name = `otlp ${target.signal} to ${target.url} (grpc)`;
    this.#target = target;
    this.#userAgent = userAgent;
    this.#log = log;
    this.#delegate = createGrpcDelegate(target, userAgent);
  }

  async export(bytes: Uint8Array, _itemCount: number): Promise<ExportResult> {
    const delegate = this.#delegate;
    const outcome = await delegate.send(bytes);
    if (outcome.isDelivered) return partialResult(this.name, outcome.response, decodePartialSuccess, this.#log);
    const result = failure(outcome.error);
    if (isGrpcError(outcome.error) && outcome.error.code === UNAVAILABLE) this.#renew(delegate);
    return result;
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await withTimeout(this.#delegate.close(), timeoutMs, undefined);
  }

  /**
   * Starts over with a new channel. The old one waits up to two minutes between its attempts to connect, so a receiver
   * that comes back would be noticed late; the queue's own pauses are shorter. Connections are shared by address and
   * options, hence the user agent that differs.
   */
  #renew(failed: Delegate): void {
    if (failed !== this.#delegate) return;
    this.#renewals++;
    this.#delegate = createGrpcDelegate(this.#target, `${this.#userAgent} (connection ${this.#renewals + 1})`);
    void failed.close();
  }
}

function isGrpcError(error: unknown): error is GrpcError {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'number';
}

function failure(error: unknown): ExportResult {
  if (!isGrpcError(error)) return { kind: 'refused', code: 'internal', message: reasonOf(error) };
  const message = `gRPC status ${error.code}: ${error.details ?? reasonOf(error)}`;
  const retryAfterMs = retryDelay(error);
  if (RETRYABLE.has(error.code)) return { kind: 'unavailable', message, retryAfterMs };
  // Only with a RetryInfo it is a pause; else this request is too much for the receiver and always will be.
  if (error.code === RESOURCE_EXHAUSTED && retryAfterMs !== null) return { kind: 'unavailable', message, retryAfterMs };
  return { kind: 'refused', code: String(error.code), message };
}

function retryDelay(error: GrpcError): number | null {
  const [status] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!(status instanceof Uint8Array)) return null;
  try {
    return decodeRetryDelayMs(status);
  } catch {
    // Details are an extra of the receiver; unreadable ones say nothing.
    return null;
  }
}
