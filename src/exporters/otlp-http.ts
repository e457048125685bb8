// OTLP over HTTP, protobuf or JSON (OTLP specification, "OTLP/HTTP"): one attempt per export, the status decides whether
// it is worth another. Like OTLP/gRPC it does not repeat by itself; the queue does.
import { reasonOf } from '../errors.js';
import { decodePartialSuccess, decodeStatusMessage, type PartialSuccess } from '../otlp/decode.js';
import { metricsToJson, partialSuccessFromJson, tracesToJson } from '../otlp/json.js';
import type { Exporter, ExportResult, Log } from './exporter.js';
import { type Answer, HttpPoster } from './otlp-post.js';
import { partialResult } from './otlp-response.js';
import type { OtlpTarget } from './otlp-settings.js';

/** "Retryable Response Codes"; others must not be repeated. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const MAX_MESSAGE_LENGTH = 200;

export class OtlpHttpExporter implements Exporter {
  readonly name: string;
  readonly canBeAway = true;
  readonly keepsBytes = false;
  readonly #poster: HttpPoster;
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
      this.#poster = new HttpPoster(target, userAgent, 'application/json');
    } else {
      this.#encode = bytes => bytes;
      this.#decodeResponse = decodePartialSuccess;
      this.#poster = new HttpPoster(target, userAgent, 'application/x-protobuf');
    }
  }

  async export(bytes: Uint8Array, _itemCount: number): Promise<ExportResult> {
    try {
      const answer = await this.#poster.post(this.#encode(bytes));
      if (answer.status < 200 || answer.status >= 300) return failure(answer);
      return partialResult(this.name, answer.body, this.#decodeResponse, this.#log);
    } catch (error) {
      return broken(error);
    }
  }

  async shutdown(_timeoutMs: number): Promise<void> {
    this.#poster.close();
  }
}

function failure(answer: Answer): ExportResult {
  const said = saidIn(answer);
  const message = `HTTP status ${answer.status}${said === '' ? '' : `: ${said}`}`;
  if (RETRYABLE.has(answer.status)) return { kind: 'unavailable', message, retryAfterMs: answer.retryAfterMs };
  return { kind: 'refused', code: String(answer.status), message };
}

/** The reason in a failed answer: a google.rpc.Status as the specification wants it, or what proxies write as text. */
function saidIn({ contentType, body }: Answer): string {
  let text = '';
  try {
    if (contentType.startsWith('application/x-protobuf')) text = decodeStatusMessage(body);
    else if (contentType.startsWith('application/json')) {
      text = String((JSON.parse(body.toString()) as { message?: unknown } | null)?.message ?? '');
    } else text = body.toString();
  } catch {
    // The status code says enough.
  }
  return text.trim().slice(0, MAX_MESSAGE_LENGTH);
}

/**
 * Nothing was answered. Errors of the connection (and of TLS) may be cured at the other end; those that Node names
 * ERR_... mean that the request cannot even be made.
 */
function broken(error: unknown): ExportResult {
  const message = reasonOf(error);
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  const isOurs = typeof code === 'string' && code.startsWith('ERR_') && !code.startsWith('ERR_TLS');
  if (isOurs) return { kind: 'refused', code, message };
  return { kind: 'unavailable', message, retryAfterMs: null };
}
