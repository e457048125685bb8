// OTLP over HTTP, protobuf or JSON (OTLP specification, "OTLP/HTTP"). The delegate repeats for a while by itself, within
// the timeout and minding Retry-After; what it gives up after that is "unavailable" here and the queue's business.
import { reasonOf } from '../errors.js';
import { decodePartialSuccess, type PartialSuccess } from '../otlp/decode.js';
import { metricsToJson, partialSuccessFromJson, tracesToJson } from '../otlp/json.js';
import { type Exporter, type ExportResult, type Log, withTimeout } from './exporter.js';
import { createHttpDelegate, type Delegate } from './otlp-delegate.js';
import { partialResult } from './otlp-response.js';
import type { OtlpTarget } from './otlp-settings.js';

/** Connection errors that another attempt may cure; the delegate repeats on the same. */
const RETRYABLE_ERRORS: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'ENOTFOUND',
  'ENETUNREACH',
  'EHOSTUNREACH',
]);

export class OtlpHttpExporter implements Exporter {
  readonly name: string;
  readonly #delegate: Delegate;
  readonly #log: Log;
  readonly #encode: (bytes: Uint8Array) => Uint8Array;
  readonly #decodeResponse: (response: Uint8Array) => PartialSuccess | null;

  constructor(target: OtlpTarget, userAgent: string, log: Log) {
    this.name = `otlp ${target.signal} to ${target.url} (${target.protocol})`;
    this.#log = log;
    if (target.protocol === 'http/json') {
      const toJson = target.signal === 'traces' ? tracesToJson : metricsToJson;
      this.#encode = bytes => Buffer.from(toJson(bytes));
      this.#decodeResponse = response => partialSuccessFromJson(Buffer.from(response).toString());
      this.#delegate = createHttpDelegate(target, userAgent, 'application/json');
    } else {
      this.#encode = bytes => bytes;
      this.#decodeResponse = decodePartialSuccess;
      this.#delegate = createHttpDelegate(target, userAgent, 'application/x-protobuf');
    }
  }

  async export(bytes: Uint8Array, _itemCount: number): Promise<ExportResult> {
    const outcome = await this.#delegate.send(this.#encode(bytes));
    if (outcome.isDelivered) return partialResult(this.name, outcome.response, this.#decodeResponse, this.#log);
    return failure(outcome.error);
  }

  async shutdown(timeoutMs: number): Promise<void> {
    await withTimeout(this.#delegate.close(), timeoutMs, undefined);
  }
}

/**
 * The delegate's errors: a status that forbids repeating carries it as a number in `code`; a status that it gave up on
 * has an error without `code`; the rest are Node's errors.
 */
function failure(error: unknown): ExportResult {
  const message = reasonOf(error);
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (typeof code === 'number')
    return { kind: 'refused', code: String(code), message: `HTTP status ${code}: ${message}` };
  if (code === undefined || RETRYABLE_ERRORS.has(String(code)))
    return { kind: 'unavailable', message, retryAfterMs: null };
  return { kind: 'refused', code: String(code), message };
}
