// Unary gRPC calls over one HTTP/2 connection ("PROTOCOL-HTTP2" of gRPC). In: a method, an encoded message, a deadline. Out:
// the encoded answer, or a GrpcError. Never repeats. The message is not copied: the socket is written to from where it lies,
// so nobody reads it any more once the call has ended, well or not.
//
// A library that did all of gRPC copied each message (a quarter of what the main thread did), kept 8 MB more, and took
// 50 ms to load; see test/bench/README.md.
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectSocket, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { gunzipSync, gzip } from 'node:zlib';
import { reasonOf } from '../errors.js';
import { openTunnel, proxyFor } from './grpc-proxy.js';
import { GrpcError, ofHttpStatus, ofReset, statusIn } from './grpc-status.js';
import type { TlsFiles } from './otlp-tls.js';

const compress = promisify(gzip);

/** A flag (compressed or not) and a length. */
const PREFIX_BYTES = 5;
/** Of an answer; what follows is read and forgotten. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** A timeout has eight digits at most; more than a day is none. */
const MAX_TIMEOUT_MS = 99_999_999;
const UNIX = 'unix:';

export interface GrpcTarget {
  /** host:port or unix:path. */
  readonly url: string;
  readonly isSecure: boolean;
  readonly tls: TlsFiles;
  /** Whether messages are sent compressed. */
  readonly isCompressed: boolean;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export class GrpcClient {
  readonly #target: GrpcTarget;
  readonly #authority: string;
  #session: ClientHttp2Session | null = null;
  #opening: Promise<ClientHttp2Session> | null = null;

  constructor(target: GrpcTarget) {
    this.#target = target;
    this.#authority = target.url.startsWith(UNIX) ? 'localhost' : target.url;
  }

  /** Rejects with a GrpcError. */
  async call(method: string, message: Uint8Array, timeoutMs: number): Promise<Buffer> {
    const endMs = performance.now() + timeoutMs;
    const { isCompressed } = this.#target;
    const body = isCompressed ? await compress(message) : message;
    const session = await this.#open(timeoutMs);
    const call = new Call(session, this.#headersFor(method, endMs), body, isCompressed, endMs);
    try {
      return await call.answered;
    } finally {
      // What has been handed to the socket is still read from where it lies.
      if (!call.isSent) this.#drop(session);
    }
  }

  /** The next call has a new connection; calls on this one fail. */
  close(): void {
    if (this.#session !== null) this.#drop(this.#session);
  }

  #drop(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = null;
    session.destroy();
  }

  #headersFor(method: string, endMs: number): OutgoingHttpHeaders {
    const restMs = Math.max(1, Math.ceil(endMs - performance.now()));
    return {
      ':method': 'POST',
      ':path': method,
      te: 'trailers',
      'content-type': 'application/grpc',
      ...(restMs > MAX_TIMEOUT_MS ? {} : { 'grpc-timeout': `${restMs}m` }),
      ...(this.#target.isCompressed ? { 'grpc-encoding': 'gzip' } : {}),
      'grpc-accept-encoding': 'identity,gzip',
      ...this.#target.headers,
    };
  }

  async #open(timeoutMs: number): Promise<ClientHttp2Session> {
    const known = this.#session;
    if (known !== null && !known.closed && !known.destroyed) return known;
    this.#opening ??= this.#connect(timeoutMs).finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  /** Resolves at once, with a connection that is being made; through a proxy once that has made it. */
  async #connect(timeoutMs: number): Promise<ClientHttp2Session> {
    const { url, isSecure, tls } = this.#target;
    const authority = `${isSecure ? 'https' : 'http'}://${this.#authority}`;
    const proxy = url.startsWith(UNIX) ? null : proxyFor(url, process.env);
    let through: Socket | null = null;
    try {
      if (proxy !== null) through = await openTunnel(proxy, url, timeoutMs);
    } catch (error) {
      throw new GrpcError('UNAVAILABLE', reasonOf(error));
    }
    const socket = through;
    const session = connect(authority, {
      settings: { enablePush: false },
      ...tls,
      ...(url.startsWith(UNIX) ? { createConnection: () => connectSocket(unixPath(url)) } : {}),
      ...(socket === null ? {} : { createConnection: () => (isSecure ? secured(socket, authority, tls) : socket) }),
    });
    // Its calls are told of it.
    session.on('error', () => undefined);
    session.on('close', () => {
      if (this.#session === session) this.#session = null;
    });
    this.#session = session;
    return session;
  }
}

function unixPath(url: string): string {
  return url.slice(UNIX.length).replace(/^\/\/(?=\/)/, '');
}

function secured(socket: Socket, authority: string, tls: TlsFiles): Socket {
  const host = new URL(authority).hostname.replace(/^\[|\]$/g, '');
  const servername = isIP(host) === 0 ? host : '';
  return connectTls({ socket, servername, host, ALPNProtocols: ['h2'], ...tls });
}

/** One call: a stream of the connection, until it is closed. */
class Call {
  readonly answered: Promise<Buffer>;
  readonly #session: ClientHttp2Session;
  #stream: ClientHttp2Stream | null = null;
  readonly #parts: Buffer[] = [];
  #length = 0;
  #httpStatus = 0;
  #isZipped = false;
  /** undefined: none has come. */
  #status: GrpcError | null | undefined;
  #error: Error | null = null;

  constructor(
    session: ClientHttp2Session,
    headers: OutgoingHttpHeaders,
    body: Uint8Array,
    isZipped: boolean,
    endMs: number,
  ) {
    this.#session = session;
    this.answered = new Promise((resolve, reject) => {
      const stream = session.request(headers);
      this.#stream = stream;
      const expiry = setTimeout(
        () => stream.destroy(new GrpcError('DEADLINE_EXCEEDED', 'no answer within the timeout')),
        Math.max(0, endMs - performance.now()),
      );
      stream.on('response', answer => {
        this.#httpStatus = answer[':status'] ?? 0;
        this.#isZipped = answer['grpc-encoding'] === 'gzip';
        this.#status = statusIn(answer);
      });
      stream.on('trailers', trailers => {
        this.#status = statusIn(trailers);
      });
      stream.on('data', (part: Buffer) => this.#keep(part));
      stream.on('error', error => {
        this.#error = error;
      });
      stream.on('close', () => {
        clearTimeout(expiry);
        const failure = this.#failure(stream);
        if (failure === null) resolve(this.#answer());
        else reject(failure);
      });
      const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
      prefix[0] = isZipped ? 1 : 0;
      prefix.writeUInt32BE(body.length, 1);
      stream.cork();
      stream.write(prefix);
      stream.end(body);
    });
  }

  /** Nothing of the message waits any more. */
  get isSent(): boolean {
    return this.#stream?.writableFinished === true;
  }

  #keep(part: Buffer): void {
    if (this.#length < MAX_ANSWER_BYTES) this.#parts.push(part);
    this.#length += part.length;
  }

  #failure(stream: ClientHttp2Stream): GrpcError | null {
    if (this.#status !== undefined) return this.#status;
    const error = this.#error;
    if (error instanceof GrpcError) return error;
    if (this.#httpStatus !== 0 && this.#httpStatus !== 200) return ofHttpStatus(this.#httpStatus);
    if (this.#session.destroyed || this.#session.closed || stream.rstCode === undefined) {
      return new GrpcError('UNAVAILABLE', error === null ? 'the connection was closed' : reasonOf(error));
    }
    return ofReset(stream.rstCode, error === null ? 'the stream ended without a status' : reasonOf(error));
  }

  /** What it says is an extra: the status said that the request was taken. */
  #answer(): Buffer {
    const bytes = Buffer.concat(this.#parts);
    if (bytes.length < PREFIX_BYTES) return Buffer.alloc(0);
    const message = bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + bytes.readUInt32BE(1));
    if (bytes[0] === 0) return message;
    return this.#isZipped ? unzip(message) : Buffer.alloc(0);
  }
}

/** Bytes that are no gzip are given as they are: who decodes them will say so. */
function unzip(bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_ANSWER_BYTES });
  } catch {
    return bytes;
  }
}
