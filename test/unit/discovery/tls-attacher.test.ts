// Finding TLS libraries in the memory of real processes, here this one: Node.js has OpenSSL built in.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, readlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { type LibraryReport, TlsAttacher } from '../../../src/discovery/tls-attacher.js';
import { Child, temporaryDirectory, until } from '../../support/processes.js';

interface Attached {
  readonly program: string;
  readonly path: string;
  readonly offsets: readonly number[];
  readonly isReturn: boolean;
}

function attacher({ refuse = false, expectsOthers = false } = {}) {
  const attached: Attached[] = [];
  const reports: LibraryReport[] = [];
  const tls = new TlsAttacher({
    probes: {
      isSettled: () => true,
      attachUser(program, path, offsets, isReturn) {
        if (refuse) throw new Error('not permitted');
        attached.push({ program, path, offsets, isReturn });
      },
    },
    isObserved: pid => pid === process.pid,
    expectsOthers: () => expectsOthers,
    onRoutines: () => {},
    onNode: () => undefined,
    onVirtualThreads: () => undefined,
    onReport: report => reports.push(report),
    inspector: null,
  });
  return { tls, attached, reports };
}

test('the OpenSSL in an executable is probed, returns before entries', () => {
  const { tls, attached, reports } = attacher();
  assert.ok(tls.look(process.pid));
  const report = reports.find(({ kind, path }) => kind === 'tls' && path === process.execPath);
  assert.deepEqual(report, { kind: 'tls', library: 'openssl', path: process.execPath, ok: true, detail: '' });
  const ofNode = attached.filter(({ path, program }) => path === attached[0]?.path && !program.startsWith('loop_'));
  assert.equal(ofNode[0]?.program, 'tls_call_exit');
  assert.equal(ofNode[0]?.isReturn, true);
  assert.deepEqual(
    ofNode.slice(1).map(({ isReturn }) => isReturn),
    ofNode.slice(1).map(() => false),
  );
  assert.match(ofNode[0]?.path ?? '', /^\/proc\/self\/fd\/\d+$/);
});

test('the event loop of Node.js is watched, what every turn passes through last', () => {
  const { tls, attached, reports } = attacher();
  tls.look(process.pid);
  assert.deepEqual(
    reports.filter(({ kind }) => kind === 'loop').map(({ library, ok }) => [library, ok]),
    [['node', true]],
  );
  const programs = attached.map(({ program }) => program).filter(program => program.startsWith('loop_'));
  const ofMessages = ['loop_received', 'loop_receiving', 'loop_receives', 'loop_posts'];
  assert.deepEqual(programs, [...ofMessages, 'loop_timers', 'loop_opens', 'loop_deferred', 'loop_turned']);
});

test('where nginx goes on with a request is probed once its calls are not known to be for those that they seem to be for', async () => {
  const directory = temporaryDirectory('attacher-nginx');
  const file = path.join(directory, 'nginx.conf');
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `${name}_temp_path ${directory}/${name};`,
  );
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${directory}/pid; error_log stderr; events {}
    http { access_log off; ${paths.join(' ')} server { listen unix:${directory}/socket; } }`,
  );
  const nginx = new Child('nginx', ['-p', directory, '-c', file]);
  try {
    await until('nginx to listen', 10_000, () => existsSync(path.join(directory, 'socket')) || null);
    const { tls, attached, reports } = attacher();
    tls.look(nginx.pid);
    assert.deepEqual(
      reports.filter(({ library }) => library === 'nginx').map(({ kind, ok }) => [kind, ok]),
      [['loop', true]],
    );
    assert.ok(attached.every(({ program }) => program !== 'nginx_first'));
    for (const isSure of [false, true]) tls.followQueues(nginx.pid, isSure);
    const found = attached.filter(({ program }) => program === 'nginx_first');
    assert.deepEqual(
      found.map(({ offsets, isReturn }) => [offsets.length, isReturn]),
      [[2, false]],
    );
    assert.equal(reports.filter(({ kind, ok }) => kind === 'requests' && ok).length, 1);
    // Node.js has no such functions: what only may be is no reason to probe its promises.
    tls.look(process.pid);
    const before = attached.length;
    tls.followQueues(process.pid, false);
    assert.equal(attached.length, before);
  } finally {
    await nginx.stop();
  }
});

test('a file is looked into once', () => {
  const { tls, attached } = attacher();
  tls.look(process.pid);
  const count = attached.length;
  tls.look(process.pid);
  assert.equal(attached.length, count);
});

test('libraries that are installed and that nobody has mapped are probed where others may come, each once', () => {
  const { tls, attached, reports } = attacher({ expectsOthers: true });
  tls.scan([]);
  const files = reports.map(report => report.path);
  assert.ok(
    files.some(file => /\/libssl\.so/.test(file)),
    files.join(' '),
  );
  assert.equal(new Set(files).size, files.length, files.join(' '));
  const count = attached.length;
  tls.scan([]);
  assert.equal(attached.length, count);
});

test('a file that takes the place of another one, inode and all, is looked into', () => {
  const { tls, attached } = attacher();
  const file = path.join(temporaryDirectory('inode'), 'program');
  const run = (from: string, ...args: string[]): number => {
    copyFileSync(from, file);
    const child = spawn(file, args, { stdio: 'ignore' });
    while (!readlinkSync(`/proc/${child.pid}/exe`).endsWith('/program'));
    assert.ok(tls.look(child.pid as number));
    child.kill('SIGKILL');
    unlinkSync(file);
    return attached.length;
  };
  const before = run('/bin/sleep', '60');
  // Where the file system gives the number away again; elsewhere it is just another file.
  assert.ok(run(process.execPath, '-e', 'setTimeout(() => {}, 60000)') > before);
});

test('a refusal is told, and nothing else of it', () => {
  const { tls, reports } = attacher({ refuse: true });
  tls.look(process.pid);
  assert.ok(reports.length > 0);
  for (const report of reports) assert.deepEqual([report.ok, report.detail], [false, 'not permitted']);
});

test('a process that is gone or not observed is left alone', () => {
  const { tls, attached } = attacher();
  assert.equal(tls.look(2 ** 30), false);
  tls.scan([1]);
  tls.tick(0);
  assert.equal(attached.length, 0);
});

test('a program that was started is looked at several times: libraries come late', () => {
  const { tls, attached } = attacher();
  tls.onExec(process.pid, 1e9);
  assert.equal(attached.length, 0);
  tls.tick(1e9);
  assert.ok(attached.length > 0);
  for (const afterMs of [3, 50, 500, 5000]) tls.tick(1e9 + afterMs * 1e6);
});

test('a process that turns out to speak TLS is looked at at once, whoever waits, and not for each connection', () => {
  let looks = 0;
  const tls = new TlsAttacher({
    probes: { isSettled: () => true, attachUser: () => undefined },
    isObserved: () => {
      looks++;
      return true;
    },
    expectsOthers: () => false,
    onRoutines: () => undefined,
    onNode: () => undefined,
    onVirtualThreads: () => undefined,
    onReport: () => undefined,
    inspector: null,
  });
  for (let pid = 2 ** 30; pid < 2 ** 30 + 100; pid++) tls.onExec(pid, 1e9);
  for (let connections = 0; connections < 100; connections++) tls.onTls(process.pid, 1e9);
  assert.equal(tls.opacityOf(process.pid).reason, 'process_not_inspected');
  tls.tick(1e9);
  assert.deepEqual(tls.opacityOf(process.pid), { reason: 'session_not_seen', library: '' });
  assert.ok(looks <= 5, `${looks} looks in one turn`);
});

test('a file whose programs are still being loaded is probed once they are, and its process looked at again', () => {
  const attached: string[] = [];
  const asked = new Set<string>();
  let isLoaded = false;
  const tls = new TlsAttacher({
    probes: {
      isSettled(program) {
        asked.add(program);
        return isLoaded || !program.startsWith('tls_');
      },
      attachUser: program => attached.push(program),
    },
    isObserved: () => true,
    expectsOthers: () => false,
    onRoutines: () => undefined,
    onNode: () => undefined,
    onVirtualThreads: () => undefined,
    onReport: () => undefined,
    inspector: null,
  });
  tls.look(process.pid);
  tls.tick(0);
  assert.ok(asked.has('tls_call_exit') && asked.has('tls_read_enter'), 'all of its programs are asked for at once');
  assert.deepEqual(attached, []);
  assert.equal(tls.opacityOf(process.pid).reason, 'process_not_inspected');
  assert.ok(tls.isReading);
  tls.look(process.pid);
  isLoaded = true;
  tls.tick(0);
  assert.equal(attached.filter(program => program === 'tls_call_exit').length, 1);
  assert.equal(tls.opacityOf(process.pid).reason, 'session_not_seen');
  assert.ok(!tls.isReading);
});
