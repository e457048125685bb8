// OTLP over gRPC (OTLP specification, "OTLP/gRPC"): one attempt per export, the status code decides whether it is worth
// another. It does not repeat by itself; the queue does. One connection is kept; a new one takes its place when the
// receiver cannot be reached over it, or says nothing within the deadline.
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { reasonOf } from '../errors.js';
import { decodePartialSuccess, decodeRetryDelayMs } from '../otlp/decode.js';
import { type Exporter, type ExportResult, type Log, withTimeout } from './exporter.js';
import { GrpcClient } from './grpc-client.js';
import { GrpcError } from './grpc-status.js';
import { partialResult } from './otlp-response.js';
import type { OtlpTarget } from './otlp-settings.js';
import { readTls, usable } from './otlp-tls.js';

const METHODS = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
} as const;

/** HTTP/2 has none of these (RFC 9113 section 8.2.2), or they are gRPC's own. */
const NOT_A_USERS = /^(connection|keep-alive|proxy-connection|transfer-encoding|upgrade|host|te|content-.*|grpc-.*)$/;

export class OtlpGrpcExporter implements Exporter {
  readonly name: string;
  readonly canBeAway = true;
  readonly keepsBytes = false;
  readonly #target: OtlpTarget;
  readonly #log: Log;
  readonly #client: GrpcClient;
  readonly #flying = new Set<Promise<unknown>>();

  /** Throws AgentError OTLP_SETTINGS. Does not connect yet. */
  constructor(target: OtlpTarget, userAgent: string, log: Log) {
    this.name = `otlp ${target.signal} to ${target.url} (grpc)`;
    this.#target = target;
    this.#log = log;
    const headers: Record<string, string> = { 'user-agent': userAgent };
    for (const [name, value] of Object.entries(target.headers)) {
      usable(() => checkHeader(name, value));
      headers[name.toLowerCase()] = value;
    }
    this.#client = new GrpcClient({
      url: target.url,
      isSecure: target.isSecure,
      tls: readTls(target),
      isCompressed: target.compression === 'gzip',
      headers,
    });
  }

  async export(bytes: Uint8Array, _itemCount: number): Promise<ExportResult> {
    const call = this.#client.call(METHODS[this.#target.signal], bytes, this.#target.timeoutMs);
    this.#flying.add(call);
    try {
      return partialResult(this.name, await call, decodePartialSuccess, this.#log);
    } catch (error) {
      // One that has died without a word (a firewall that forgot it, a cable) would be believed in until TCP gives up,
      // after a quarter of an hour.
      if (error instanceof GrpcError && error.is('UNAVAILABLE', 'DEADLINE_EXCEEDED')) this.#client.close();
      return failure(error);
    } finally {
      this.#flying.delete(call);
    }
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await withTimeout(Promise.allSettled(this.#flying), timeoutMs, []);
    this.#client.close();
  }
}

function checkHeader(name: string, value: string): void {
  validateHeaderName(name);
  validateHeaderValue(name, value);
  if (NOT_A_USERS.test(name.toLowerCase())) throw new Error(`a header '${name}' cannot be sent by gRPC`);
}

/** "OTLP/gRPC Throttling" and the table of failures before it. */
function isRetryable(error: GrpcError): boolean {
  return error.is('CANCELLED', 'DEADLINE_EXCEEDED', 'ABORTED', 'OUT_OF_RANGE', 'UNAVAILABLE', 'DATA_LOSS');
}

function failure(error: unknown): ExportResult {
  if (!(error instanceof GrpcError)) return { kind: 'refused', code: 'internal', message: reasonOf(error) };
  const { code, message } = error;
  const retryAfterMs = retryDelay(error);
  if (isRetryable(error)) return { kind: 'unavailable', message, retryAfterMs };
  // Only with a RetryInfo it is a pause; else this request is too much for the receiver and always will be.
  if (error.is('RESOURCE_EXHAUSTED') && retryAfterMs !== null) return { kind: 'unavailable', message, retryAfterMs };
  return { kind: 'refused', code: String(code), message };
}

function retryDelay({ details }: GrpcError): number | null {
  if (details === null) return null;
  try {
    return decodeRetryDelayMs(details);
  } catch {
    // Details are an extra of the receiver; unreadable ones say nothing.
    return null;
  }
}
