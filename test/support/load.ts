// The load generator: `node load.js '<LoadOptions as JSON>'`, a process of its own. Sends the planned requests over
// keep-alive connections as fast as the answers come, checks each answer, and writes what it saw by its own clock as JSON
// lines. The last line of standard output is a LoadSummary. A request that fails is an entry with `error`.
import { closeSync, openSync, writeSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { type PlannedRequest, type Profile, planRequest } from './load-plan.js';

export interface LoadOptions {
  readonly port?: number;
  readonly socketPath?: string;
  /** By https, whoever signed the certificate. */
  readonly isSecure?: boolean;
  readonly profile: Profile;
  readonly seed: number;
  readonly connections: number;
  /** Requests to send; 0: until standard input ends. */
  readonly requests: number;
  readonly firstNumber?: number;
  /** File for the entries. */
  readonly logPath: string;
  /** The server answers an upload with the number of octets that it got, and it must match. */
  readonly areUploadsEchoed?: boolean;
  /** A pause after each answer, per connection. */
  readonly pauseMs?: number;
  /** Some requests to nowhere before the first, path WARM_UP_PATH. */
  readonly isWarmedUp?: boolean;
}

export interface LoadEntry {
  readonly number: number;
  readonly method: string;
  readonly path: string;
  /** 0 if no response came. */
  readonly status: number;
  /** Milliseconds since the Unix epoch: when the request was handed to a connected socket. */
  readonly startMs: number;
  /** From there to the last byte of the response, or of the request if that came later. */
  readonly durationMs: number;
  /** The connection had been used before. */
  readonly isReused: boolean;
  readonly localPort: number;
  readonly error: string;
}

export interface LoadSummary {
  readonly requests: number;
  readonly failed: number;
  readonly seconds: number;
  readonly firstErrors: readonly string[];
}

const filler = Buffer.alloc(1_048_576, 'u');
/** Sockets that have carried a request: `reusedSocket` does not know of requests that waited for their turn. */
const usedSockets = new WeakSet<object>();

function sendBody(request: http.ClientRequest, plan: PlannedRequest): void {
  if (plan.bodyBytes < 0) {
    request.end();
  } else if (!plan.isChunked) {
    request.end(filler.subarray(0, plan.bodyBytes));
  } else {
    // At least two writes, so that it really is chunked.
    const half = plan.bodyBytes >> 1;
    if (half > 0) request.write(filler.subarray(0, half));
    request.end(plan.bodyBytes > half ? filler.subarray(half, plan.bodyBytes) : undefined);
  }
}

function headersOf(plan: PlannedRequest): http.OutgoingHttpHeaders {
  const headers: http.OutgoingHttpHeaders = { 'user-agent': 'underspan-load' };
  if (plan.bodyBytes >= 0) {
    if (plan.isChunked) headers['transfer-encoding'] = 'chunked';
    else headers['content-length'] = plan.bodyBytes;
  }
  if (plan.isLast) headers.connection = 'close';
  return headers;
}

/** What is wrong with an answer, '' if nothing. */
function judge(options: LoadOptions, plan: PlannedRequest, received: number, text: string): string {
  if (plan.expectedBytes >= 0 && received !== plan.expectedBytes) {
    return `corrupt: ${received} octets of body instead of ${plan.expectedBytes}`;
  }
  if (options.areUploadsEchoed && plan.path.startsWith('/upload/') && text !== String(plan.bodyBytes)) {
    return `corrupt: the server received ${text} octets instead of ${plan.bodyBytes}`;
  }
  return '';
}

function sendOne(options: LoadOptions, agent: http.Agent, plan: PlannedRequest): Promise<LoadEntry> {
  return new Promise(resolve => {
    let startMs = performance.now();
    let finishedMs = 0;
    let isReused = false;
    let localPort = 0;
    const target = options.socketPath ? { socketPath: options.socketPath } : { host: '127.0.0.1', port: options.port };
    const parts = { ...target, agent, method: plan.method, path: plan.path, headers: headersOf(plan) };
    const request = options.isSecure ? https.request({ ...parts, rejectUnauthorized: false }) : http.request(parts);
    const done = (status: number, endMs: number, error: string) => {
      resolve({
        number: plan.number,
        method: plan.method,
        path: plan.path,
        status,
        startMs: performance.timeOrigin + startMs,
        durationMs: Math.max(endMs, finishedMs) - startMs,
        isReused,
        localPort,
        error,
      });
    };
    request.once('socket', socket => {
      startMs = performance.now();
      isReused = usedSockets.has(socket);
      usedSockets.add(socket);
      localPort = socket.localPort ?? 0;
      if (socket.connecting) {
        socket.once(options.isSecure ? 'secureConnect' : 'connect', () => {
          startMs = performance.now();
          localPort = socket.localPort ?? 0;
        });
      }
    });
    request.once('finish', () => {
      finishedMs = performance.now();
    });
    request.once('error', error => done(0, performance.now(), (error as NodeJS.ErrnoException).code ?? error.message));
    request.once('response', response => {
      let received = 0;
      let text = '';
      response.on('data', (part: Buffer) => {
        received += part.length;
        if (received < 64) text += part.toString('latin1');
      });
      response.once('end', () => {
        const endMs = performance.now();
        const status = response.statusCode ?? 0;
        const finish = () => done(status, endMs, judge(options, plan, received, text));
        if (request.writableFinished) finish();
        else request.once('finish', finish);
      });
      response.once('error', error => done(0, performance.now(), `response: ${error.message}`));
    });
    sendBody(request, plan);
  });
}

/** The path of the requests that only warm up the client's code. */
export const WARM_UP_PATH = '/warm-up';

/** Requests to a server within this process: the first of all take long, wherever they go. */
async function warmUp(agent: http.Agent): Promise<void> {
  const server = http.createServer((request, response) => response.end(request.url)).listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const options: LoadOptions = { profile: 'app', seed: 0, connections: 1, requests: 0, logPath: '' };
  const { port } = server.address() as AddressInfo;
  for (let number = 0; number < 200; number++) {
    const plan = { ...planRequest('app', 0, number), path: WARM_UP_PATH, expectedBytes: -1 };
    await sendOne({ ...options, port }, agent, plan);
  }
  server.closeAllConnections();
  server.close();
}

async function main(options: LoadOptions): Promise<void> {
  const settings: http.AgentOptions = { keepAlive: true, maxSockets: options.connections, scheduling: 'fifo' };
  const agent = options.isSecure ? new https.Agent(settings) : new http.Agent(settings);
  if (options.isWarmedUp) await warmUp(agent);
  const entries: LoadEntry[] = [];
  const first = options.firstNumber ?? 0;
  let next = first;
  let isStopping = false;
  process.stdin.resume().once('end', () => {
    isStopping = true;
  });
  const isOver = () => (options.requests > 0 ? next >= first + options.requests : isStopping);
  const worker = async () => {
    while (!isOver()) {
      entries.push(await sendOne(options, agent, planRequest(options.profile, options.seed, next++)));
      if (options.pauseMs) await new Promise(resolve => setTimeout(resolve, options.pauseMs));
    }
  };
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: options.connections }, worker));
  const seconds = (performance.now() - beganMs) / 1000;
  agent.destroy();
  const file = openSync(options.logPath, 'w');
  for (const entry of entries) writeSync(file, `${JSON.stringify(entry)}\n`);
  closeSync(file);
  const errors = entries.filter(entry => entry.error !== '');
  const summary: LoadSummary = {
    requests: entries.length,
    failed: errors.length,
    seconds,
    firstErrors: errors.slice(0, 5).map(entry => `${entry.method} ${entry.path}: ${entry.error}`),
  };
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  process.stdin.destroy();
}

await main(JSON.parse(process.argv[2] ?? '{}') as LoadOptions);
