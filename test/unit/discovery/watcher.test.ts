import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';
import { compileSelection, type SelectionCriteria } from '../../../src/discovery/selector.js';
import { type KernelFilter, ProcessWatcher } from '../../../src/discovery/watcher.js';
import { NO_HOST } from '../../../src/enrichment/host.js';
import { ProcessTable } from '../../../src/enrichment/process.js';
import { type ProcessFacts, unknownFacts } from '../../../src/enrichment/process-facts.js';
import { ProcfsSource } from '../../../src/enrichment/procfs.js';
import { facts } from '../enrichment/facts.js';

const OWN = 1;
const NOTHING = '0/ffffffff';

/** The kernel's map of processes, with the kernel's habit of copying an entry at fork. */
class FakeKernel implements KernelFilter {
  readonly processes = new Map<number, string>();
  commits = 0;
  room = 100;

  setProcess(pid: number, include: number, exclude: number): boolean {
    if (this.processes.size >= this.room && !this.processes.has(pid)) return false;
    this.processes.set(pid, `${include.toString(16)}/${exclude.toString(16)}`);
    return true;
  }

  removeProcess(pid: number): void {
    this.processes.delete(pid);
  }

  commit(): void {
    this.commits++;
  }

  fork(pid: number, parentPid: number): void {
    const masks = this.processes.get(parentPid);
    if (masks !== undefined) this.processes.set(pid, masks);
  }
}

function setUp(criteria: Partial<SelectionCriteria>) {
  const kernel = new FakeKernel();
  const running = new Map<number, ProcessFacts>();
  const inspected: number[] = [];
  const watcher = new ProcessWatcher({
    filter: kernel,
    selection: compileSelection({ include: [], exclude: [], ...criteria }),
    inspect: pid => {
      inspected.push(pid);
      return running.get(pid) ?? unknownFacts(pid);
    },
    pids: () => [...running.keys()],
    ownPid: OWN,
  });
  const run = (pid: number, exe: string): void => {
    running.set(pid, facts(exe, exe, { pid }));
  };
  run(OWN, '/usr/bin/node');
  return { kernel, running, inspected, watcher, run };
}

test('everything is observed: nobody is looked at, only the agent has an entry', () => {
  const { kernel, inspected, watcher, run } = setUp({});
  run(10, '/usr/sbin/nginx');
  assert.equal(watcher.scan(), 2);
  watcher.onFork(11, 10);
  watcher.onExec(11);
  watcher.onExit(11);
  watcher.flush();
  assert.deepEqual([...kernel.processes], [[OWN, NOTHING]]);
  assert.deepEqual(inspected, []);
  assert.equal(kernel.commits, 1);
});

test('a scan finds what runs, exec what starts, exit clears', () => {
  const { kernel, watcher, run } = setUp({ include: [{ exe: 'nginx' }], exclude: [{ exe: 'sshd' }] });
  run(10, '/usr/sbin/nginx');
  run(11, '/usr/sbin/sshd');
  run(12, '/usr/bin/other');
  watcher.scan();
  assert.deepEqual(
    [...kernel.processes],
    [
      [OWN, NOTHING],
      [10, '1/0'],
      [11, '0/1'],
    ],
  );
  run(13, '/usr/sbin/nginx');
  watcher.onExec(13);
  assert.equal(kernel.commits, 1);
  watcher.flush();
  assert.equal(kernel.commits, 2);
  assert.equal(kernel.processes.get(13), '1/0');
  watcher.onExit(13);
  watcher.onExit(12);
  assert.equal(kernel.processes.has(13), false);
});

test('a process that runs another program is judged anew', () => {
  const { kernel, watcher, run } = setUp({ include: [{ exe: 'nginx' }] });
  run(10, '/usr/sbin/nginx');
  watcher.scan();
  run(10, '/bin/sh');
  watcher.onExec(10);
  assert.equal(kernel.processes.has(10), false);
});

test('a child has the masks of its parent, also where the kernel forked before they were set', () => {
  const { kernel, watcher, run } = setUp({ include: [{ exe: 'nginx' }] });
  kernel.fork(11, 10);
  run(10, '/usr/sbin/nginx');
  watcher.scan();
  watcher.onFork(11, 10);
  assert.equal(kernel.processes.get(11), '1/0');
});

test('a selector by process id means that process, not its children', () => {
  const { kernel, watcher, run } = setUp({ include: [{ pid: 10 }] });
  run(10, '/usr/sbin/nginx');
  watcher.scan();
  assert.equal(kernel.processes.get(10), '1/0');
  kernel.fork(11, 10);
  watcher.onFork(11, 10);
  assert.equal(kernel.processes.has(11), false);
});

test('the agent is never observed, nor what it starts, whatever the selectors say', () => {
  const { kernel, watcher, run } = setUp({ include: [{ exe: 'node' }, { pid: OWN }] });
  watcher.scan();
  watcher.onExec(OWN);
  watcher.onExit(OWN);
  run(20, '/usr/bin/node');
  watcher.onFork(20, OWN);
  watcher.onExec(20);
  watcher.onFork(21, 20);
  assert.deepEqual(
    [...kernel.processes],
    [
      [OWN, NOTHING],
      [20, NOTHING],
      [21, NOTHING],
    ],
  );
  watcher.onExit(20);
  assert.equal(kernel.processes.has(20), false);
});

test('a reload judges everything by the new selectors', () => {
  const { kernel, watcher, run } = setUp({ include: [{ exe: 'nginx' }] });
  run(10, '/usr/sbin/nginx');
  run(11, '/usr/sbin/apache2');
  watcher.scan();
  watcher.reload(compileSelection({ include: [{ exe: 'apache2' }], exclude: [] }));
  assert.deepEqual(
    [...kernel.processes],
    [
      [OWN, NOTHING],
      [11, '1/0'],
    ],
  );
  watcher.reload(compileSelection({ include: [], exclude: [] }));
  assert.deepEqual([...kernel.processes], [[OWN, NOTHING]]);
});

test('a scan clears what went without an exit record', () => {
  const { kernel, running, watcher, run } = setUp({ include: [{ exe: 'nginx' }] });
  run(10, '/usr/sbin/nginx');
  watcher.scan();
  running.delete(10);
  watcher.scan();
  assert.equal(kernel.processes.has(10), false);
  assert.equal(watcher.size, 1);
});

test('a full map is counted', () => {
  const { kernel, watcher, run } = setUp({ include: [{ exe: 'nginx' }] });
  kernel.room = 2;
  for (let pid = 10; pid < 13; pid++) run(pid, '/usr/sbin/nginx');
  watcher.scan();
  assert.equal(watcher.refused, 2);
});

test('the processes of this machine: a program that was started is found by the scan and by its name', async context => {
  // Another run of this test on the machine has a program of its own.
  const mark = `--found-by-watcher-${process.pid}`;
  const child: ChildProcess = spawn('python3', ['-u', '-c', 'print("up"); input()', mark], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  assert.ok(child.stdout);
  await once(child.stdout, 'data');
  const source = new ProcfsSource(NO_HOST);
  const table = new ProcessTable({ source, host: NO_HOST, version: '', attributes: [], keepArgs: false, rules: [] });
  const kernel = new FakeKernel();
  const watcher = new ProcessWatcher({
    filter: kernel,
    selection: compileSelection({ include: [{ exe: 'python3*', command: mark }], exclude: [] }),
    inspect: pid => table.inspect(pid),
    pids: () => source.pids(),
    ownPid: process.pid,
  });
  const count = watcher.scan();
  assert.ok(count > 1);
  assert.equal(kernel.processes.get(child.pid as number), '1/0');
  assert.equal(kernel.processes.get(process.pid), NOTHING);
  assert.equal(watcher.size, 2);
});
