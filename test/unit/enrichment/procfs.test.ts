import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { NO_HOST, parsePasswd, readHostFacts } from '../../../src/enrichment/host.js';
import { PodDirectory } from '../../../src/enrichment/kubernetes.js';
import {
  ProcfsSource,
  parseArgs,
  parseEnvironment,
  parsePackageName,
  parseStat,
} from '../../../src/enrichment/procfs.js';
import { programNameOf } from '../../../src/enrichment/service-name.js';
import { FakeProc } from './facts.js';

const ID = '3f1c9b6e0a7d4852b1c0e9f8a7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4';
const UID = '0e6b5b3a-1c2d-4e5f-8a9b-0c1d2e3f4a5b';

test('a process is read from the files of its folder', context => {
  const proc = new FakeProc(context);
  proc.add(42, {
    comm: 'odd) (name',
    parentPid: 7,
    startTicks: 12345,
    exe: '/usr/bin/python3.11 (deleted)',
    args: ['python3', 'app.py'],
    environ: 'PATH=/bin\0OTEL_SERVICE_NAME=shop\0OTEL_RESOURCE_ATTRIBUTES=a=b\0OTEL_EXPORTER_OTLP_ENDPOINT=http://x\0',
    cwd: '/srv/shop',
    uid: 33,
    cgroup: '0::/system.slice/shop.service\n',
    netns: 4026531999,
  });
  const source = new ProcfsSource({ ...NO_HOST, users: [[33, 'www-data']] }, proc.root);
  assert.deepEqual(source.read(42), {
    pid: 42,
    parentPid: 7,
    startNs: 123_450_000_000,
    exePath: '/usr/bin/python3.11',
    exeName: 'python3.11',
    args: ['python3', 'app.py'],
    cwd: '/srv/shop',
    uid: 33,
    owner: 'www-data',
    cgroup: '/system.slice/shop.service',
    environment: { serviceName: 'shop', resourceAttributes: 'a=b', otlpVariables: ['OTEL_EXPORTER_OTLP_ENDPOINT'] },
    containerId: '',
    pod: null,
    netns: 4026531999,
    language: 'python',
    runtimeName: '',
    program: '',
  });
  assert.deepEqual(source.pids(), [42]);
});

test('a process that is not there is null, and counted', context => {
  const source = new ProcfsSource(NO_HOST, new FakeProc(context).root);
  assert.equal(source.read(42), null);
  assert.equal(source.reader.gone, 1);
});

test('a process whose files are partly gone is known by the rest', context => {
  const proc = new FakeProc(context);
  proc.write(42, 'stat', '42 (shop) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 77 0');
  const facts = new ProcfsSource(NO_HOST, proc.root).read(42);
  assert.equal(facts?.exeName, 'shop');
  assert.equal(facts?.startNs, 770_000_000);
  assert.equal(facts?.uid, -1);
});

test('the owner of a process in a container is not looked up among the users of the host', context => {
  const proc = new FakeProc(context);
  proc.add(42, { uid: 33, cgroup: `0::/system.slice/docker-${ID}.scope\n` });
  const facts = new ProcfsSource({ ...NO_HOST, users: [[33, 'www-data']] }, proc.root).read(42);
  assert.equal(facts?.owner, '');
  assert.equal(facts?.containerId, ID);
});

test('Kubernetes names come from the log directory of the host', context => {
  const proc = new FakeProc(context);
  const logs = join(proc.root, 'logs');
  mkdirSync(logs);
  writeFileSync(join(logs, `cart-7d9f-x2_prod_cart-${ID}.log`), '');
  writeFileSync(join(logs, 'something else.log'), '');
  proc.add(42, { cgroup: `0::/kubepods/burstable/pod${UID}/${ID}\n` });
  const source = new ProcfsSource(NO_HOST, proc.root, new PodDirectory(['/nonexistent', logs]));
  assert.deepEqual(source.read(42)?.pod, { podName: 'cart-7d9f-x2', namespace: 'prod', containerName: 'cart' });
});

test('an unknown container makes the log directory be listed at most once per interval', context => {
  const proc = new FakeProc(context);
  const logs = join(proc.root, 'logs');
  mkdirSync(logs);
  let nowMs = 0;
  const pods = new PodDirectory([logs], () => nowMs);
  assert.equal(pods.find(ID), null);
  writeFileSync(join(logs, `cart_prod_cart-${ID}.log`), '');
  nowMs = 1000;
  assert.equal(pods.find(ID), null);
  nowMs = 3000;
  assert.equal(pods.find(ID)?.podName, 'cart');
});

test('the nearest package.json with a name counts, a scope is left out', context => {
  const proc = new FakeProc(context);
  proc.add(42, {});
  proc.write(42, 'root/srv/shop/package.json', '{"name":"@acme/shop"}');
  proc.write(42, 'root/srv/shop/dist/package.json', '{"type":"module"}');
  const source = new ProcfsSource(NO_HOST, proc.root);
  assert.equal(source.packageName(42, '/srv/shop/dist/src'), 'shop');
  assert.equal(source.packageName(42, '/srv'), '');
  assert.equal(source.packageName(42, 'relative'), '');
});

test('a planted package.json is not followed, nor waited for', context => {
  const proc = new FakeProc(context);
  proc.write(42, 'root/elsewhere.json', '{"name":"secret"}');
  proc.link(42, 'root/a/package.json', join(proc.root, '42/root/elsewhere.json'));
  mkdirSync(join(proc.root, '42/root/b'));
  execFileSync('mkfifo', [join(proc.root, '42/root/b/package.json')]);
  const source = new ProcfsSource(NO_HOST, proc.root);
  assert.equal(source.packageName(42, '/a'), '');
  assert.equal(source.packageName(42, '/b'), '');
});

test('stat: the name may hold parentheses; what is not a stat file is null', () => {
  assert.equal(parseStat('1 (a) b) S 3 4')?.comm, undefined);
  assert.equal(parseStat(`1 (a) b) S 3 ${'0 '.repeat(17)}9 0`)?.comm, 'a) b');
  assert.equal(parseStat(''), null);
  assert.equal(parseStat(')('), null);
});

test('arguments: empty ones within stay, padding behind goes', () => {
  assert.deepEqual(parseArgs('a\0\0b\0'), ['a', '', 'b']);
  assert.deepEqual(parseArgs('nginx: worker process\0\0\0 \0'), ['nginx: worker process']);
  assert.deepEqual(parseArgs(''), []);
});

test('environment: only whole names count, the first of two, and values of exporters are not kept', () => {
  const text =
    'XOTEL_SERVICE_NAME=no\0OTEL_SERVICE_NAME=a=b\0OTEL_SERVICE_NAME=c\0OTEL_EXPORTER_OTLP_HEADERS=key=secret\0OTEL_EXPORTER_OTLP_TIMEOUT=\0OTEL_X';
  const environment = parseEnvironment(Buffer.from(text));
  assert.deepEqual(environment, {
    serviceName: 'a=b',
    resourceAttributes: '',
    otlpVariables: ['OTEL_EXPORTER_OTLP_HEADERS'],
  });
  assert.ok(!JSON.stringify(environment).includes('secret'));
});

test('package.json: a name that is not a text, or a file that is not JSON, names nothing', () => {
  for (const text of ['', 'null', '[]', '{"name":5}', '{"name"']) assert.equal(parsePackageName(text), '');
});

test('passwd: the first name of an id counts, lines that are none are left out', () => {
  assert.deepEqual(parsePasswd('root:x:0:0::/:/bin/sh\ntoor:x:0:0\nbad\n:x:5:\nx:y:z:\nann:x:1000:'), [
    [0, 'root'],
    [1000, 'ann'],
  ]);
});

test('property: whatever /proc holds, reading and naming never throw', context => {
  const proc = new FakeProc(context);
  const source = new ProcfsSource(NO_HOST, proc.root);
  const bytes = fc.uint8Array({ maxLength: 300 });
  const path = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 40 }).filter(text => !text.includes('\0'));
  const word = fc.constantFrom(
    '-m',
    '-c',
    '-jar',
    'app:app',
    'gunicorn',
    '-',
    '--',
    '/usr/bin/uvicorn',
    '[x]',
    'npm start',
    '=',
    '',
  );
  const exe = fc.constantFrom(
    '/usr/bin/python3',
    '/usr/bin/node',
    '/bin/java',
    '/bin/ruby',
    '/bin/beam.smp',
    '/bin/bash',
    '/bin/x',
  );
  fc.assert(
    fc.property(
      bytes,
      bytes,
      bytes,
      path,
      fc.oneof(exe, path),
      fc.array(word, { maxLength: 6 }),
      (a, b, c, cwd, link, words) => {
        proc.write(9, 'stat', a.length % 2 === 0 ? Buffer.from(a) : `9 (x) S 1 ${'1 '.repeat(30)}`);
        proc.write(9, 'cmdline', words.length > 0 ? words.join('\0') : Buffer.from(b));
        proc.write(9, 'environ', Buffer.concat([Buffer.from('OTEL_'), Buffer.from(c)]));
        proc.write(9, 'cgroup', Buffer.from(b));
        proc.write(9, 'status', Buffer.from(c));
        proc.link(9, 'exe', link);
        proc.link(9, 'cwd', cwd);
        const facts = source.read(9);
        if (facts === null) return;
        assert.equal(typeof programNameOf(facts, directory => source.packageName(9, directory)), 'string');
        assert.ok(programNameOf(facts).length <= 128);
      },
    ),
    { numRuns: 300 },
  );
});

// ---- real processes

/** Starts a program that says a word once it runs, and stops it after the test. */
async function start(
  context: TestContext,
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<number> {
  const child: ChildProcess = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'inherit'] });
  context.after(() => child.kill('SIGKILL'));
  assert.ok(child.stdout);
  await once(child.stdout, 'data');
  return child.pid as number;
}

function folder(context: TestContext, files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'underspan-app-'));
  context.after(() => rmSync(directory, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(directory, name, '..'), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  return directory;
}

test('a real Node program with a generic script is named by its package.json', async context => {
  const directory = folder(context, {
    'package.json': '{"name":"@acme/orders"}',
    'dist/index.js': 'console.log("up"); setInterval(() => {}, 1000);',
  });
  const env = { ...process.env, OTEL_SERVICE_NAME: 'told', SECRET: 'hidden' };
  const pid = await start(context, process.execPath, ['dist/index.js', '--token', 'x'], { cwd: directory, env });
  const source = new ProcfsSource(readHostFacts());
  const facts = source.read(pid);
  assert.ok(facts);
  assert.equal(
    programNameOf(facts, path => source.packageName(pid, path)),
    'orders',
  );
  assert.equal(facts.language, 'nodejs');
  assert.equal(facts.parentPid, process.pid);
  assert.equal(facts.environment.serviceName, 'told');
  assert.ok(!JSON.stringify(facts).includes('hidden'));
});

test('a real Python script is named by its file', async context => {
  const directory = folder(context, { 'app.py': 'import time\nprint("up", flush=True)\ntime.sleep(60)\n' });
  const pid = await start(context, 'python3', ['app.py'], { cwd: directory });
  const facts = new ProcfsSource(readHostFacts()).read(pid);
  assert.ok(facts);
  assert.equal(programNameOf(facts), 'app');
  assert.equal(facts.language, 'python');
});

test('a real shell script is named by its file', async context => {
  const directory = folder(context, { 'nightly.sh': 'echo up\nread line\n' });
  const pid = await start(context, 'sh', [join(directory, 'nightly.sh')]);
  const facts = new ProcfsSource(readHostFacts()).read(pid);
  assert.ok(facts);
  assert.equal(programNameOf(facts), 'nightly');
});

test('this process: start time, user and network namespace are what the system says', () => {
  const facts = new ProcfsSource(readHostFacts()).read(process.pid);
  assert.ok(facts);
  assert.equal(facts.uid, process.geteuid?.());
  assert.ok(facts.netns > 0);
  assert.ok(facts.startNs > 0 && facts.startNs % 1e7 === 0);
  assert.equal(facts.exePath, execFileSync('readlink', ['-f', process.execPath]).toString().trim());
});
