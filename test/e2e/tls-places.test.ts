// Where a TLS library may lie: linked into an executable, in a file that has been deleted, in another mount namespace, in a
// file that is loaded long after the start. And where it cannot be read, a connection that says so, with what is seen from
// outside: no request is made up.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { type Agent, collectSpans, get, onlyPorts, startAgent } from '../support/agent.js';
import { type Certificate, makeCertificate } from '../support/certificate.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, freePorts, isListening, runCommand, temporaryDirectory, until } from '../support/processes.js';
import { buildGo } from '../support/servers.js';
import { CLIENT, type DecodedSpan, describe, flag, number, pathOfSpan, pidOf, SERVER, text } from '../support/spans.js';

const SOURCE = path.resolve('test/services/tls-static.c');
const REQUESTS = 3;
const SERVERS = 8;

let receiver: OtlpReceiver;
let certificate: Certificate;
let agent: Agent;
let directory: string;
/** All that servers will listen on. */
let free: number[];
/** Older than the agent, its library already deleted. */
let deleted: Server;
let deletedFolder: string;
const running: Child[] = [];

interface Server {
  readonly child: Child;
  readonly port: number;
}

async function start(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<Server> {
  const port = free.shift() as number;
  const all = [...args, String(port), certificate.key, certificate.file];
  const child = new Child(command, all, { env });
  running.push(child);
  await until('the server to listen', 20_000, () => {
    assert.ok(child.isRunning, child.describe());
    return isListening({ port });
  });
  return { child, port };
}

/** Copies of the system's library, which are files that nobody has mapped yet. */
async function copyLibraries(): Promise<string> {
  const { stdout } = await runCommand('ldd', [path.join(directory, 'shared')]);
  const found = [...stdout.matchAll(/=> (\S+\/lib(?:ssl|crypto)\.so[.\d]*)/g)].map(match => match[1] as string);
  assert.equal(found.length, 2, stdout);
  const folder = temporaryDirectory('libraries');
  for (const file of found) copyFileSync(file, path.join(folder, path.basename(file)));
  return folder;
}

async function compile(name: string, ...options: string[]): Promise<void> {
  const { exitCode, describe: tell } = await runCommand('clang', [
    ...['-O2', SOURCE, '-o', path.join(directory, name), ...options, '-lssl', '-lcrypto', '-lpthread'],
  ]);
  assert.equal(exitCode, 0, String(tell));
}

/** Some requests on one connection. */
async function ask({ port }: Server, name: string): Promise<string[]> {
  const paths = Array.from({ length: REQUESTS }, (_, index) => `/${name}/${index}`);
  const urls = paths.map(one => `https://place.test:${port}${one}`);
  const resolve = ['--resolve', `place.test:${port}:127.0.0.1`];
  const child = await runCommand('curl', ['--silent', '--insecure', '--http1.1', ...resolve, ...urls]);
  assert.equal(child.stdout, 'hello'.repeat(REQUESTS), child.describe());
  return paths;
}

function portsOf({ child }: Server): Map<string, number> {
  const lines = child.stdout.split('\n').slice(0, -1);
  const entries = lines.map(line => JSON.parse(line) as { readonly path: string; readonly client: number });
  return new Map(entries.map(({ path: name, client }) => [name, client]));
}

/** Every request has its SERVER span, from the right client. */
async function judge(server: Server, paths: readonly string[]): Promise<void> {
  const isOurs = (span: DecodedSpan) => span.kind === SERVER && paths.includes(pathOfSpan(span));
  const spans = await collectSpans(receiver, isOurs, paths.length);
  assert.deepEqual(spans.map(pathOfSpan).sort(), [...paths].sort(), await agent.losses());
  const ports = portsOf(server);
  for (const span of spans)
    assert.equal(number(span, 'network.peer.port'), ports.get(pathOfSpan(span)), describe(span));
}

/** The agent has read the library of a file with this in its name. */
async function isRead(name: string): Promise<void> {
  const line = new RegExp(`TLS of openssl in \\S*${name}\\S*( \\(deleted\\))?: read`);
  await until(`the library in ${name} to be read`, 20_000, () => (line.test(agent.child.stderr) ? true : null), 50);
}

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  certificate = await makeCertificate();
  directory = temporaryDirectory('places');
  free = await freePorts(SERVERS);
  const config = onlyPorts(free);
  await compile('shared');
  await compile('linked', '-static');
  await compile('stripped', '-static', '-s');
  deletedFolder = await copyLibraries();
  deleted = await start(path.join(directory, 'shared'), [], { LD_LIBRARY_PATH: deletedFolder });
  rmSync(deletedFolder, { recursive: true });
  agent = await startAgent({ endpoint: receiver.grpcUrl, config });
});

after(async () => {
  await agent?.stop();
  for (const child of running) await child.stop();
  await receiver?.close();
});

test('a library whose file has been deleted', async () => {
  assert.match(readFileSync(`/proc/${deleted.child.pid}/maps`, 'utf8'), /libssl\.so.* \(deleted\)/);
  await isRead(path.basename(deletedFolder));
  await judge(deleted, await ask(deleted, 'deleted'));
});

test('a library linked into an executable', async () => {
  const server = await start(path.join(directory, 'linked'), []);
  await isRead('linked');
  await judge(server, await ask(server, 'linked'));
});

test('a library in a mount namespace of its own', async () => {
  const libraries = await copyLibraries();
  const hidden = temporaryDirectory('hidden');
  const script = `mount -t tmpfs none ${hidden} && cp ${libraries}/* ${hidden} && LD_LIBRARY_PATH=${hidden} exec "$@"`;
  const run = ['--mount', 'sh', '-c', script, 'sh', path.join(directory, 'shared')];
  const server = await start('unshare', run);
  await isRead(path.basename(hidden));
  await judge(server, await ask(server, 'hidden'));
});

test('one file in two containers of one image, to which overlayfs gives a device each: probed once', async () => {
  const [image, empty] = [temporaryDirectory('image'), temporaryDirectory('empty')];
  await buildGo('go-server', image);
  const env = { TLS_KEY: certificate.key, TLS_CERTIFICATE: certificate.file };
  const wanted: string[] = [];
  const ports: number[] = [];
  for (const name of ['one', 'other']) {
    const [root, port] = [temporaryDirectory('container'), free.shift() as number];
    const script = `mount -t overlay none -o lowerdir=${image}:${empty} ${root} && exec ${root}/go-server "$@"`;
    const log = path.join(empty, `${name}.log`);
    const child = new Child('unshare', ['--mount', 'sh', '-c', script, 'sh', String(port), log], { env });
    running.push(child);
    await until('the server to listen', 20_000, () => {
      assert.ok(child.isRunning, child.describe());
      return isListening({ port });
    });
    await until('the program to be followed', 20_000, () => agent.child.stderr.includes('/go-server: read') || null);
    ports.push(port);
    wanted.push(...Array.from({ length: REQUESTS }, (_, index) => `/bytes/5/${name}-${index}`));
  }
  for (const [at, port] of ports.entries()) {
    const urls = wanted.slice(at * REQUESTS, (at + 1) * REQUESTS).map(one => `https://127.0.0.1:${port}${one}`);
    const child = await runCommand('curl', ['--silent', '--insecure', '--http1.1', ...urls]);
    assert.equal(child.stdout, 'xxxxx'.repeat(REQUESTS), child.describe());
  }
  const isOurs = (span: DecodedSpan) =>
    (span.kind === SERVER || span.kind === CLIENT) && wanted.includes(pathOfSpan(span));
  const spans = await collectSpans(receiver, isOurs, 2 * wanted.length);
  for (const one of wanted) {
    const both = spans.filter(span => pathOfSpan(span) === one);
    const [asClient, asServer] = [CLIENT, SERVER].map(kind => both.find(span => span.kind === kind));
    assert.ok(both.length === 2 && asClient && asServer, `${both.map(describe).join('\n')}\n${await agent.losses()}`);
    assert.equal(asServer.parentSpanId, asClient.spanId, describe(asServer));
  }
});

test('a library that is loaded long after the start: from the connection on that comes after the first', async () => {
  const late = temporaryDirectory('late');
  const libraries = await copyLibraries();
  mkdirSync(path.join(late, 'lib'));
  const [ssl, crypto] = ['ssl', 'crypto'].map(name => path.join(libraries, `lib${name}.so.3`));
  const script = `
import ctypes, runpy, sys, time
time.sleep(2)  # until it is looked at no more
for file in ("${crypto}", "${ssl}"):
    ctypes.CDLL(file, mode=ctypes.RTLD_GLOBAL)
port, key, certificate = sys.argv[1:]
import os
os.environ.update(TLS_KEY=key, TLS_CERTIFICATE=certificate)
sys.argv = ["tls-server.py", "threads", port, "${path.join(late, 'log')}"]
runpy.run_path("${path.resolve('test/services/tls-server.py')}", run_name="__main__")
`;
  // The distribution's own Python: it takes the library that is loaded already.
  const server = await start('/usr/bin/python3', ['-c', script]);
  const url = `https://127.0.0.1:${server.port}/bytes/5`;
  const first = await runCommand('curl', ['--silent', '--insecure', `${url}/first`]);
  assert.equal(first.stdout, 'xxxxx', first.describe());
  await isRead(path.basename(libraries));
  const second = await runCommand('curl', ['--silent', '--insecure', `${url}/second`]);
  assert.equal(second.stdout, 'xxxxx', second.describe());
  const isOurs = (span: DecodedSpan) => span.kind === SERVER && pathOfSpan(span) === '/bytes/5/second';
  assert.equal((await collectSpans(receiver, isOurs, 1)).length, 1, await agent.losses());
});

test('a library without symbols: a connection with the reason and what is seen from outside, no requests', async () => {
  const server = await start(path.join(directory, 'stripped'), []);
  const isOpaque = (span: DecodedSpan) => span.name === 'TLS connection' && pidOf(span) === server.child.pid;
  // What is in a program is looked up when it first speaks TLS; its first connections may end before.
  await until('the library to be known', 20_000, async () => {
    await ask(server, 'stripped');
    const spans = await collectSpans(receiver, isOpaque, 1);
    return spans.some(span => text(span, 'underspan.tls.library') === 'openssl') ? true : null;
  });
  const spans = receiver.spans().filter(isOpaque);
  for (const span of spans) {
    assert.match(
      text(span, 'underspan.tls.opaque.reason'),
      /^(symbols_stripped|library_unknown|process_not_inspected)$/,
    );
    assert.equal(text(span, 'server.address'), 'place.test');
    assert.deepEqual(span.attributes.get('underspan.tls.offered_protocols'), ['http/1.1']);
    assert.ok(number(span, 'underspan.tls.handshake.duration') > 0, describe(span));
    assert.ok(number(span, 'underspan.io.read_bytes') > 100 && number(span, 'underspan.io.write_bytes') > 100);
    assert.equal(number(span, 'underspan.tls.bursts'), REQUESTS, describe(span));
    assert.equal(flag(span, 'underspan.tls.bursts.approximate'), true);
  }
  assert.equal(text(spans.at(-1) as DecodedSpan, 'underspan.tls.opaque.reason'), 'symbols_stripped');
  assert.deepEqual(
    receiver.spans().filter(span => span.kind === SERVER && pidOf(span) === server.child.pid),
    [],
  );
  const { body } = await get(`${agent.adminUrl}/metrics`);
  assert.match(body, /underspan_connections_dropped_total\{.*reason="tls_symbols_stripped".*\} [1-9]/);
});
