// Requests over TLS, held against the servers' and the client's own logs: every one has both its spans, with the right peer,
// joined into one trace by the sequence pair. The servers are as their makers ship them: OpenSSL on the socket (nginx,
// Apache, Python's threads), OpenSSL between memory buffers (Node.js, asyncio), Go's crypto/tls, stripped and not; clients
// with OpenSSL, GnuTLS and crypto/tls. One agent watches all; some servers are older than it.
import assert from 'node:assert/strict';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, collectSpans, startAgent } from '../support/agent.js';
import { type Certificate, makeCertificate } from '../support/certificate.js';
import { head } from '../support/compare.js';
import { type Phase, runPhase } from '../support/experiment.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { runCommand, temporaryDirectory } from '../support/processes.js';
import {
  buildGo,
  type Server,
  startApache,
  startGo,
  startNginx,
  startNodeServer,
  startPythonTls,
} from '../support/servers.js';
import { CLIENT, type DecodedSpan, describe, flag, number, pathOfSpan, SERVER, text } from '../support/spans.js';
import {
  assertAttributes,
  assertOneTrace,
  assertSame,
  assertTimeline,
  assertWitnessesAgree,
} from '../support/verdicts.js';

const LOAD = { connections: 50, requests: 600 };

let receiver: OtlpReceiver;
let certificate: Certificate;
let agent: Agent;
const older: Server[] = [];

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  certificate = await makeCertificate();
  older.push(await startNginx({ certificate }), await startPythonTls('asyncio', certificate));
  agent = await startAgent({ endpoint: receiver.grpcUrl });
});

after(async () => {
  await agent?.stop();
  for (const server of older) await server.stop();
  await receiver?.close();
});

/** The span says https, and where the other side is. */
function faultsOf(span: DecodedSpan, server: Server): string[] {
  const faults: string[] = [];
  const isClient = span.kind === CLIENT;
  if (text(span, 'url.scheme') !== 'https') faults.push(`url.scheme ${text(span, 'url.scheme')}`);
  if (text(span, 'network.peer.address') !== '127.0.0.1') faults.push('no peer address');
  if (isClient && number(span, 'network.peer.port') !== server.port) faults.push('not the port of the server');
  return faults.map(fault => `${fault}: ${describe(span)}`);
}

function judge(phase: Phase): void {
  assertWitnessesAgree(phase);
  assertSame('SERVER', phase, phase.serverSide);
  assertSame('CLIENT', phase, phase.clientSide);
  assertOneTrace(phase);
  assertAttributes(phase);
  assertTimeline(phase);
  const pairs = [...phase.serverSide.pairs, ...phase.clientSide.pairs];
  const faults = pairs.flatMap(({ span }) => faultsOf(span, phase.server));
  assert.equal(faults.length, 0, head(faults));
}

async function play(server: Server): Promise<void> {
  const phase = await runPhase('tls', server, agent, receiver, { ...LOAD, seed: 7, firstNumber: 0, loggedBefore: 0 });
  judge(phase);
}

test('nginx, older than the agent', () => play(older[0] as Server));
test('asyncio, older than the agent', () => play(older[1] as Server));

const STRIPPED = ['-ldflags=-s -w'];

for (const [name, start] of [
  ['Apache', () => startApache({ certificate })],
  ['Node.js', () => startNodeServer({ certificate })],
  ["Python's http.server", () => startPythonTls('threads', certificate)],
  ['Go', () => startGo({ certificate })],
  ['Go, stripped', () => startGo({ certificate, flags: STRIPPED })],
] as const) {
  test(`${name}, younger than the agent`, async () => {
    const server = await start();
    try {
      await play(server);
    } finally {
      await server.stop();
    }
  });
}

/** Paths of a client's run, each of which nginx answers. */
function pathsOf(client: string, count: number): string[] {
  const kinds = ['/bytes/0', '/bytes/2000', '/bytes/200000', '/status/404', '/chunked/20000'];
  return Array.from({ length: count }, (_, index) => `${kinds[index % kinds.length]}/${client}-${index}`);
}

/** Every request has its CLIENT span, and nginx's SERVER span is its child. */
async function judgeClient(client: string, paths: readonly string[]): Promise<void> {
  const wanted = new Set(paths);
  const isOurs = (span: DecodedSpan) => (span.kind === CLIENT || span.kind === SERVER) && wanted.has(pathOfSpan(span));
  const spans = await collectSpans(receiver, isOurs, 2 * paths.length);
  const lines: string[] = [];
  for (const path of paths) {
    const clients = spans.filter(span => span.kind === CLIENT && pathOfSpan(span) === path);
    const servers = spans.filter(span => span.kind === SERVER && pathOfSpan(span) === path);
    const [one, other] = [clients[0], servers[0]];
    if (clients.length !== 1 || servers.length !== 1 || one === undefined || other === undefined) {
      lines.push(`${path}: ${clients.length} CLIENT and ${servers.length} SERVER spans`);
      continue;
    }
    lines.push(...faultsOf(one, older[0] as Server), ...faultsOf(other, older[0] as Server));
    if (one.traceId !== other.traceId || other.parentSpanId !== one.spanId) lines.push(`${path}: not joined`);
  }
  assert.equal(lines.length, 0, `${client}: ${head(lines)}\n${await agent.losses()}`);
}

async function runClient(command: string, args: readonly string[]): Promise<void> {
  const child = await runCommand(command, args);
  assert.ok(child.exitCode === 0 || child.exitCode === 8, child.describe()); // wget: a 404 was among the answers
}

test('curl, OpenSSL on its socket', async () => {
  const paths = pathsOf('curl', 20);
  const urls = paths.flatMap(path => ['--output', '/dev/null', `${(older[0] as Server).url}${path}`]);
  await runClient('curl', ['--silent', '--insecure', '--http1.1', ...urls]);
  await judgeClient('curl', paths);
});

test('wget, GnuTLS', async () => {
  const paths = pathsOf('wget', 20);
  const urls = paths.map(path => `${(older[0] as Server).url}${path}`);
  await runClient('wget', ['--quiet', '--no-check-certificate', '--output-document=/dev/null', ...urls]);
  await judgeClient('wget', paths);
});

test('pycurl, GnuTLS under libcurl', async () => {
  const paths = pathsOf('pycurl', 20);
  const script = path.resolve('test/services/pycurl-client.py');
  await runClient('/usr/bin/python3', [script, ...paths.map(target => `${(older[0] as Server).url}${target}`)]);
  await judgeClient('pycurl', paths);
});

test('Node.js, requests that are written from within the call that ends the handshake, as fetch does', async () => {
  const paths = pathsOf('written-within', 20);
  const script = `
import tls from 'node:tls';
const [port, ...paths] = process.argv.slice(1);
for (const path of paths) await new Promise((resolve, reject) => {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () =>
    socket.write('GET ' + path + ' HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'));
  socket.on('error', reject).on('close', resolve).resume();
});
`;
  const { port } = older[0] as Server;
  await runClient(process.execPath, ['--input-type=module', '--eval', script, String(port), ...paths]);
  await judgeClient('written-within', paths);
});

for (const [name, flags] of [
  ['Go', []],
  ['Go, stripped', STRIPPED],
] as const) {
  test(`${name}, as a client`, async () => {
    const client = await buildGo('go-client', temporaryDirectory('go-client'), flags);
    const tag = flags.length === 0 ? 'go' : 'go-stripped';
    const urls = (prefix: string) => pathsOf(prefix, 20).map(one => `${(older[0] as Server).url}${one}`);
    // The first program on the machine that runs the file is over before its probes are there.
    const line = `crypto/tls (Go) in ${client}: read`;
    for (let runs = 0; !agent.child.stderr.includes(line); runs++) {
      assert.ok(runs < 50, 'the program is not read');
      await runClient(client, urls(`${tag}-first-${runs}`));
      await sleep(100);
    }
    await runClient(client, urls(tag));
    await judgeClient(tag, pathsOf(tag, 20));
  });
}

test('a refused certificate is a handshake that failed, on both sides', async () => {
  const child = await runCommand('curl', [
    '--silent',
    '--tls-max',
    '1.2',
    `${(older[0] as Server).url}/bytes/0/refused`,
  ]);
  assert.equal(child.exitCode, 60, child.describe());
  const isOurs = (span: DecodedSpan) =>
    span.name === 'TLS handshake' &&
    text(span, 'error.type') === 'unknown_ca' &&
    flag(span, 'tls.established') === false;
  const spans = await collectSpans(receiver, isOurs, 2);
  assert.equal(spans.length, 2, spans.map(describe).join('\n'));
  for (const span of spans) {
    assert.equal(text(span, 'tls.protocol.version'), '1.2');
    assert.equal(number(span, 'server.port'), (older[0] as Server).port);
  }
});

test('every connection of the load has its handshake: version and suite', () => {
  const spans = receiver
    .spans()
    .filter(span => span.name === 'TLS handshake' && flag(span, 'tls.established') === true);
  assert.ok(spans.length >= 50, `${spans.length} handshakes`);
  const faults = spans.filter(
    span => !/^1\.[23]$/.test(text(span, 'tls.protocol.version')) || !/^TLS_/.test(text(span, 'tls.cipher')),
  );
  assert.equal(faults.length, 0, head(faults.map(describe)));
});
