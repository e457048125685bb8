// Which socket carries which TLS session: a hundred at the same time on one event loop, sockets and descriptors that come
// and go, one library object on many sockets, sessions that were there before the probes. The clients and servers log the
// ports of each request; a span with other ports is a wrong binding, and there is none.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, collectSpans, onlyPorts, startAgent } from '../support/agent.js';
import { type Certificate, makeCertificate } from '../support/certificate.js';
import { head } from '../support/compare.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, freePorts, isListening, PATIENCE, temporaryDirectory, until } from '../support/processes.js';
import { CLIENT, type DecodedSpan, describe, number, pathOfSpan, SERVER } from '../support/spans.js';

interface Request {
  readonly path: string;
  readonly server: number;
  readonly client: number;
}

const PORTS = 3;
const SERVERS = 8;
const SESSIONS = 100;
const REQUESTS = 6;
/** More than there will be. */
const OLD_REQUESTS = 100_000;

let receiver: OtlpReceiver;
let certificate: Certificate;
let agent: Agent;
let directory: string;
/** All that servers will listen on. */
let free: number[];
let ports: number[];
let files = 0;
const running: Child[] = [];

function run(kind: 'mjs' | 'py', args: readonly string[]): Child {
  const command = kind === 'mjs' ? process.execPath : 'python3';
  const env = { TLS_KEY: certificate.key, TLS_CERTIFICATE: certificate.file };
  const child = new Child(command, [path.resolve(`test/services/tls-sessions.${kind}`), ...args], { env });
  running.push(child);
  return child;
}

/** A server on some ports. */
async function startServer(kind: 'mjs' | 'py'): Promise<string> {
  const own = free.splice(0, PORTS);
  const child = run(kind, ['server', own.join(','), path.join(directory, `server-${files++}`)]);
  await until('the server to listen', 20_000, async () => {
    assert.ok(child.isRunning, child.describe());
    return isListening({ port: own.at(-1) as number });
  });
  return own.join(',');
}

function startClient(kind: 'mjs' | 'py', ports: string, tag: string, rest: readonly string[]) {
  const log = path.join(directory, `client-${files++}`);
  const child = run(kind, ['client', ports, log, tag, ...rest]);
  const ended = async () => {
    await child.exited;
    assert.equal(child.exitCode, 0, child.describe());
    return readRequests(log);
  };
  return { child, log, ended };
}

function readRequests(log: string): Request[] {
  const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [];
  return lines.map(line => JSON.parse(line) as Request);
}

/** Every request has both its spans, with its own ports, and they are one trace. */
async function judge(requests: readonly Request[]): Promise<void> {
  const wanted = new Map(requests.map(request => [request.path, request]));
  assert.equal(wanted.size, requests.length);
  const isOurs = (span: DecodedSpan) => (span.kind === CLIENT || span.kind === SERVER) && wanted.has(pathOfSpan(span));
  const byPath = new Map<string, DecodedSpan[]>();
  for (const span of await collectSpans(receiver, isOurs, 2 * requests.length))
    byPath.set(pathOfSpan(span), [...(byPath.get(pathOfSpan(span)) ?? []), span]);
  const faults: string[] = [];
  for (const { path: name, server, client } of requests) {
    const spans = byPath.get(name) ?? [];
    const [asClient, ...moreClients] = spans.filter(({ kind }) => kind === CLIENT);
    const [asServer, ...moreServers] = spans.filter(({ kind }) => kind === SERVER);
    if (asClient === undefined || asServer === undefined || moreClients.length + moreServers.length > 0) {
      faults.push(`${name}: not one span on each side: ${spans.map(describe).join(' ')}`);
      continue;
    }
    if (number(asClient, 'network.peer.port') !== server) faults.push(`CLIENT bound wrongly: ${describe(asClient)}`);
    if (number(asServer, 'network.peer.port') !== client) faults.push(`SERVER bound wrongly: ${describe(asServer)}`);
    if (asServer.parentSpanId !== asClient.spanId) faults.push(`${name}: not joined`);
  }
  assert.equal(faults.length, 0, `${faults.length} of ${requests.length}: ${head(faults)}\n${await agent.losses()}`);
}

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  certificate = await makeCertificate();
  directory = temporaryDirectory('sessions');
  ports = await freePorts(PORTS * SERVERS);
  free = [...ports];
});

after(async () => {
  await agent?.stop();
  for (const child of running) await child.stop();
  await receiver?.close();
});

// First, since its sessions have to be older than the agent.
test('sessions that are older than the probes, in Node.js and asyncio: from the next request on', async () => {
  const clients = [];
  for (const [kind, server] of [
    ['mjs', 'mjs'],
    ['py', 'py'],
    ['mjs', 'py'],
  ] as const) {
    // Between two requests of a session: where all is slow, the agent has to come up beside them.
    const rest = ['10', String(OLD_REQUESTS), String(50 * PATIENCE)];
    clients.push(startClient(kind, await startServer(server), `old-${kind}-${server}`, rest));
  }
  for (const { log } of clients)
    await until('the sessions to begin', 20_000, () => (readRequests(log).length >= 50 ? true : null));
  agent = await startAgent({ endpoint: receiver.grpcUrl, config: onlyPorts(ports) });
  for (const file of [process.execPath, 'libssl\\.so\\S*']) {
    const line = new RegExp(`TLS of openssl in \\S*${file}: read`);
    await until('the libraries to be read', 20_000, () => (line.test(agent.child.stderr) ? true : null));
  }
  const before = clients.map(({ log }) => readRequests(log).length);
  await sleep(2000);
  for (const [index, { log }] of clients.entries())
    await until('more requests', 20_000, () =>
      readRequests(log).length >= (before[index] as number) + 60 ? true : null,
    );
  const requests: Request[] = [];
  for (const [index, { child, ended }] of clients.entries()) {
    process.kill(child.pid, 'SIGTERM');
    const all = await ended();
    // Each session has one request under way when the log is read.
    const later = all.slice((before[index] as number) + 10);
    assert.ok(later.length >= 50, `only ${later.length} requests of ${all.length} were made with the probes there`);
    requests.push(...later);
  }
  await judge(requests);
});

for (const [client, server] of [
  ['mjs', 'mjs'],
  ['py', 'py'],
  ['mjs', 'py'],
] as const) {
  test(`${SESSIONS} sessions at a time: ${client} to ${server}, connections kept and connections closed`, async () => {
    const ports = await startServer(server);
    const rest = [String(SESSIONS), String(REQUESTS), '0'];
    const kept = await startClient(client, ports, `kept-${client}-${server}`, rest).ended();
    const closed = await startClient(client, ports, `closed-${client}-${server}`, [...rest, 'close']).ended();
    assert.equal(kept.length + closed.length, 2 * SESSIONS * REQUESTS);
    await judge([...kept, ...closed]);
  });
}

test("OpenSSL's functions one by one: one object on many sockets, descriptors again, peeks, keys, renegotiation", async () => {
  const log = path.join(directory, 'calls');
  const env = { TLS_KEY: certificate.key, TLS_CERTIFICATE: certificate.file };
  const script = path.resolve('test/services/tls-calls.py');
  const child = new Child('python3', [script, String(free.shift()), log], { env });
  await child.exited;
  assert.equal(child.exitCode, 0, child.describe());
  const requests = readRequests(log);
  assert.equal(requests.length, 43);
  await judge(requests);
});

test("GnuTLS's sessions: one address again and again, descriptors that come again while their session still exists", async () => {
  const own = (await startServer('mjs')).split(',')[0] as string;
  const log = path.join(directory, 'gnutls');
  const child = new Child('python3', [path.resolve('test/services/gnutls-calls.py'), own, log, 'gnutls']);
  await child.exited;
  assert.equal(child.exitCode, 0, child.describe());
  const requests = readRequests(log);
  assert.equal(requests.length, 60);
  await judge(requests);
});
