// The admin listener: /readyz (200 once the probes are attached, 503 before), /healthz, /metrics (Prometheus text). Only
// GET and HEAD, no bodies read, a bounded number of connections, each bounded in time. If the port is taken the agent
// goes on without it and says so.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { reasonOf } from '../errors.js';
import type { Health, HealthReport } from './health.js';
import type { Logger } from './log.js';

export interface MetricsBody {
  readonly contentType: string;
  readonly body: string;
}

export interface AdminOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly health: Health;
  /** The text of /metrics for a request's Accept header; a bare string is Prometheus text 0.0.4. */
  readonly metrics: (accept: string) => Promise<string | MetricsBody>;
  readonly log: Logger;
}

export interface AdminListener {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const HEADERS_TIMEOUT_MS = 2_000;
const REQUEST_TIMEOUT_MS = 10_000;
const METRICS_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 16_384;
const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8';

/** The listener, or null if it could not listen (logged: the agent works without). */
export async function startAdmin(options: AdminOptions): Promise<AdminListener | null> {
  const server = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: 1_000 },
    (request, response) => {
      answer(options, request, response).catch((error: unknown) => {
        options.log.limited('admin', 'warn', 'an admin request failed', { reason: reasonOf(error) });
        if (!response.headersSent) send(request, response, 500, 'text/plain; charset=utf-8', 'internal error\n');
        else response.destroy();
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  try {
    await listen(server, options.host, options.port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const place = `${options.host}:${options.port}`;
    const why = code === 'EADDRINUSE' ? `${place} is in use by another process` : `${place}: ${reasonOf(error)}`;
    options.log.warn(`no admin listener, ${why}; going on without /readyz, /healthz and /metrics (admin.port)`);
    return null;
  }
  server.on('error', error => options.log.limited('admin', 'warn', 'admin listener', { reason: reasonOf(error) }));
  const address = server.address() as AddressInfo;
  return { host: address.address, port: address.port, close: () => close(server) };
}

async function answer(options: AdminOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '/').split('?', 1)[0];
  if (path !== '/readyz' && path !== '/healthz' && path !== '/metrics') {
    send(request, response, 404, 'text/plain; charset=utf-8', 'try /readyz, /healthz or /metrics\n');
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    send(request, response, 405, 'text/plain; charset=utf-8', 'only GET and HEAD\n');
  } else if (path === '/metrics') {
    const metrics = await withTimeout(options.metrics(request.headers.accept ?? ''));
    const { contentType, body } =
      typeof metrics === 'string' ? { contentType: PROMETHEUS_TEXT, body: metrics } : metrics;
    send(request, response, 200, contentType, body);
  } else {
    report(request, response, path === '/readyz' ? options.health.readiness() : options.health.liveness());
  }
}

function report(request: IncomingMessage, response: ServerResponse, health: HealthReport): void {
  send(request, response, health.isOk ? 200 : 503, 'text/plain; charset=utf-8', `${health.detail}\n`);
}

function send(request: IncomingMessage, response: ServerResponse, status: number, type: string, body: string): void {
  const bytes = Buffer.from(body);
  // A body that nobody reads would hold the connection: it ends with the answer.
  if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined) {
    response.setHeader('connection', 'close');
  }
  response.writeHead(status, {
    'content-type': type,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

function withTimeout<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the metrics took too long')), METRICS_TIMEOUT_MS);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
