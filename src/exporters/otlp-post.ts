// One POST of an encoded request (OTLP specification, "OTLP/HTTP"): compressed if the target wants that, over connections
// that are kept, all of it within one deadline. Comes out: the receiver's answer, or an error of the connection. Never
// repeats, except at once when the receiver closed a kept connection just then.
import http from 'node:http';
import https from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { OtlpTarget } from './otlp-settings.js';
import { readTls, usable } from './otlp-tls.js';

/** Of an answer; what follows is read and forgotten. */
const MAX_ANSWER_BYTES = 64 * 1024;

const compress = promisify(gzip);

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
  /** What Retry-After asks for. */
  readonly retryAfterMs: number | null;
}

export class HttpPoster {
  readonly #target: OtlpTarget;
  readonly #url: URL;
  readonly #agent: http.Agent;
  readonly #headers: http.OutgoingHttpHeaders;

  /** Throws AgentError OTLP_SETTINGS. Does not connect yet. */
  constructor(target: OtlpTarget, userAgent: string, contentType: string) {
    this.#target = target;
    this.#url = new URL(target.url);
    for (const [name, value] of Object.entries(target.headers)) {
      usable(() => {
        http.validateHeaderName(name);
        http.validateHeaderValue(name, value);
      });
    }
    const tls = readTls(target);
    this.#agent = target.isSecure ? new https.Agent({ keepAlive: true, ...tls }) : new http.Agent({ keepAlive: true });
    this.#headers = {
      'user-agent': userAgent,
      ...target.headers,
      'content-type': contentType,
      ...(target.compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
    };
  }

  /** Rejects with Node's error, or with one that names the timeout. */
  async post(bytes: Uint8Array): Promise<Answer> {
    const deadlineMs = performance.now() + this.#target.timeoutMs;
    const body = this.#target.compression === 'gzip' ? await compress(bytes) : bytes;
    try {
      return await this.#attempt(body, deadlineMs);
    } catch (error) {
      if (error instanceof StaleConnectionError) return this.#attempt(body, deadlineMs);
      throw error;
    }
  }

  /** Breaks off what is in flight, and closes kept connections. */
  close(): void {
    this.#agent.destroy();
  }

  #attempt(body: Uint8Array, deadlineMs: number): Promise<Answer> {
    const send = this.#target.isSecure ? https.request : http.request;
    return new Promise((resolve, reject) => {
      const request = send(this.#url, {
        method: 'POST',
        agent: this.#agent,
        headers: { ...this.#headers, 'content-length': body.length },
      });
      const { timeoutMs } = this.#target;
      const expiry = setTimeout(
        () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)),
        Math.max(0, deadlineMs - performance.now()),
      );
      const settle = (): void => clearTimeout(expiry);
      request.on('response', response => {
        readAnswer(response).then(resolve, reject).finally(settle);
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        settle();
        const isStale = request.reusedSocket && error.code === 'ECONNRESET';
        reject(isStale ? new StaleConnectionError(error.message, { cause: error }) : error);
      });
      request.end(body);
    });
  }
}

/** The kept connection had been closed by the receiver. */
class StaleConnectionError extends Error {}

async function readAnswer(response: http.IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    if (length < MAX_ANSWER_BYTES) parts.push(part);
    length += part.length;
  }
  return {
    status: response.statusCode ?? 0,
    contentType: response.headers['content-type'] ?? '',
    body: Buffer.concat(parts),
    retryAfterMs: parseRetryAfter(response.headers['retry-after'], Date.now()),
  };
}

/** Seconds or a date (RFC 9110 section 10.2.3); null if it is neither, or not there. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? null : Math.max(0, atMs - nowMs);
}
