// OTLP over HTTP, protobuf or JSON (OTLP specification, "OTLP/HTTP"). The delegate repeats for a while by itself, within
// the timeout and minding Retry-After; what it gives up after that is "unavailable" here and the queue's business.
import { reasonOf } from '../errors.js';
import { decodePartialSuccess, type PartialSuccess } from '../otlp/decode.js';
import { metricsToJson, partialSuccessFromJson, tracesToJson } from '../otlp/json.js';
import { type Exporter, type ExportResult, type Log, withTimeout } from './exporter.js';
import { createHttpDelegate, type Delegate } from './otlp-delegate.js';
import { partialResult } from './otlp-response.js';
import type { OtlpTarget } from './otlp-settings.js';

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
 * The delegate's errors: a status that forbids repeating carries it as a number in `code`; a status or timeout that it
 * gave up on has no `code`; the rest are Node's. Those of the connection (and of TLS) may be cured at the other end,
 * those that Node names ERR_... mean that the request cannot even be made.
 */
function failure(error: unknown): ExportResult {
  const message = reasonOf(error);
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (typeof code === 'number') {
    return { kind: 'refused', code: String(code), message: `HTTP status ${code}: ${message}` };
  }
  const isOurs = typeof code === 'string' && code.startsWith('ERR_') && !code.startsWith('ERR_TLS');
  if (isOurs) return { kind: 'refused', code, message };
  return { kind: 'unavailable', message, retryAfterMs: null };
}
