import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { NO_HOST } from '../../../src/enrichment/host.js';
import { ProcessTable, type ProcessTableOptions } from '../../../src/enrichment/process.js';
import { type ProcessFacts, RecordedSource } from '../../../src/enrichment/process-facts.js';
import { ProcfsSource } from '../../../src/enrichment/procfs.js';
import type { Service } from '../../../src/enrichment/service.js';
import { FakeProc } from './facts.js';

const SECOND_NS = 1e9;

function table(
  context: TestContext,
  options: Partial<ProcessTableOptions> = {},
): { proc: FakeProc; processes: ProcessTable } {
  const proc = new FakeProc(context);
  const source = new ProcfsSource(NO_HOST, proc.root);
  const processes = new ProcessTable({
    source,
    host: NO_HOST,
    version: '0.1.0',
    attributes: [],
    keepArgs: false,
    rules: [],
    ...options,
  });
  return { proc, processes };
}

test('a running process is read once, at its first use', context => {
  const { proc, processes } = table(context);
  proc.add(42, { exe: '/usr/bin/python3', args: ['python3', 'shop.py'] });
  const service = processes.service(42);
  assert.equal(service.name, 'shop');
  proc.remove(42);
  assert.equal(processes.service(42), service);
});

test('a process that was gone before anybody looked is known by its exec record', context => {
  const { processes } = table(context);
  processes.onExec(42, 7, ['/usr/bin/curl', '-u', 'ann:secret', 'http://x'], 'curl', 1, 5 * SECOND_NS, 5 * SECOND_NS);
  processes.onExit(42, 6 * SECOND_NS);
  const known = processes.facts(42);
  assert.equal(processes.service(42).name, 'curl');
  assert.deepEqual([known.parentPid, known.startNs, known.exePath], [7, 5 * SECOND_NS, '/usr/bin/curl']);
  assert.ok(!JSON.stringify([known, processes.service(42)]).includes('secret'));
});

test('a process that is unknown altogether has a service nevertheless', context => {
  const { processes } = table(context);
  assert.equal(processes.service(42).name, 'unknown_service');
  assert.equal(processes.service(42), processes.service(42));
});

test('master and workers are one service by name and three instances', context => {
  const { proc, processes } = table(context);
  const nginx = { exe: '/usr/sbin/nginx' };
  proc.add(10, { ...nginx, args: ['nginx: master process nginx'], startTicks: 100 });
  proc.add(11, { ...nginx, args: ['nginx: worker process'], parentPid: 10, startTicks: 101 });
  proc.add(12, { ...nginx, args: ['nginx: worker process'], parentPid: 10, startTicks: 101 });
  const services = [10, 11, 12].map(pid => processes.service(pid));
  assert.deepEqual(new Set(services.map(service => service.name)), new Set(['nginx']));
  assert.equal(new Set(services.map(service => service.instanceId)).size, 3);
  assert.equal(new Set(services.map(service => service.id)).size, 3);
});

test('a worker that is gone is what its parent was at the fork, even if nobody looked at the parent before', context => {
  const { proc, processes } = table(context);
  proc.add(10, { exe: '/usr/lib/postgresql/15/bin/postgres', args: ['postgres', '-D', '/data'] });
  processes.onFork(11, 10, 20 * SECOND_NS);
  processes.onExit(11, 21 * SECOND_NS);
  assert.equal(processes.service(11).name, 'postgres');
  assert.equal(processes.facts(11).parentPid, 10);
  assert.equal(processes.facts(11).startNs, 20 * SECOND_NS);
});

test('exec begins another service; what came before it keeps the old one', context => {
  const { processes } = table(context);
  processes.onExec(42, 7, ['sh', '-c', 'exec curl'], 'sh', 1, SECOND_NS, SECOND_NS);
  processes.onExec(42, 7, ['curl', 'http://x'], 'curl', 1, SECOND_NS, 2 * SECOND_NS);
  assert.equal(processes.service(42, 1.5 * SECOND_NS).name, 'sh');
  assert.equal(processes.service(42, 2.5 * SECOND_NS).name, 'curl');
  assert.equal(processes.service(42).name, 'curl');
});

test('a reused pid is another process: late records of the first one still find it until the grace period ends', context => {
  const { processes } = table(context, { exitGraceNs: 30 * SECOND_NS });
  processes.onExec(42, 1, ['first'], 'first', 1, SECOND_NS, SECOND_NS);
  const first = processes.service(42);
  processes.onExit(42, 2 * SECOND_NS);
  processes.onFork(42, 1, 3 * SECOND_NS);
  processes.onExec(42, 1, ['second'], 'second', 1, 3 * SECOND_NS, 3 * SECOND_NS);
  assert.equal(processes.service(42, 1.9 * SECOND_NS), first);
  assert.equal(processes.service(42).name, 'second');
  assert.notEqual(processes.service(42).instanceId, first.instanceId);
  processes.expire(40 * SECOND_NS);
  assert.equal(processes.service(42, 1.9 * SECOND_NS).name, 'second');
});

test('/proc of a stranger with the same pid is not believed', context => {
  const { proc, processes } = table(context);
  processes.onExec(42, 1, ['/usr/bin/ours'], 'ours', 1, 5 * SECOND_NS, 5 * SECOND_NS);
  proc.add(42, { exe: '/usr/bin/stranger', startTicks: 90_000 });
  assert.equal(processes.service(42).name, 'ours');
});

test('nobody asks /proc about a process that has exited', context => {
  const { proc, processes } = table(context);
  processes.onExec(42, 1, ['/usr/bin/ours'], 'ours', 1, 5 * SECOND_NS, 5 * SECOND_NS);
  processes.onExit(42, 5.1 * SECOND_NS);
  proc.add(42, { exe: '/usr/bin/stranger', startTicks: 510 });
  assert.equal(processes.service(42).name, 'ours');
});

test('the fork record and /proc name the same instance', context => {
  const { proc, processes } = table(context);
  proc.add(42, { exe: '/usr/bin/shop', args: ['shop'], startTicks: 2000 });
  const instance = processes.service(42).instanceId;
  const { proc: again, processes: others } = table(context);
  again.add(42, { exe: '/usr/bin/shop', args: ['shop'], startTicks: 2000 });
  others.onFork(42, 1, 20.012 * SECOND_NS);
  assert.equal(others.service(42).instanceId, instance);
});

test('a gone process is in the container that its control group was seen to be', context => {
  const id = '3f1c9b6e0a7d4852b1c0e9f8a7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4';
  const { proc, processes } = table(context);
  processes.onExec(10, 1, ['shop'], 'shop', 77, 5 * SECOND_NS, 5 * SECOND_NS);
  proc.add(10, { exe: '/shop', args: ['shop'], startTicks: 500, cgroup: `0::/docker/${id}\n` });
  processes.service(10);
  processes.onExec(11, 10, ['curl'], 'curl', 77, 6 * SECOND_NS, 6 * SECOND_NS);
  processes.onExec(12, 10, ['curl'], 'curl', 78, 6 * SECOND_NS, 6 * SECOND_NS);
  processes.onExit(11, 7 * SECOND_NS);
  processes.onExit(12, 7 * SECOND_NS);
  assert.equal(processes.facts(11).containerId, id);
  assert.equal(processes.facts(12).containerId, '');
});

test('the table is bounded: the least recently used goes, is counted and given back', context => {
  const forgotten: Service[] = [];
  const { processes } = table(context, { maxProcesses: 4, onForget: service => forgotten.push(service) });
  for (let pid = 1; pid <= 4; pid++) processes.onExec(pid, 0, [`p${pid}`], `p${pid}`, 1, pid, pid);
  const second = processes.service(2);
  processes.service(1);
  for (let pid = 5; pid <= 7; pid++) processes.onExec(pid, 0, [`p${pid}`], `p${pid}`, 1, pid, pid);
  assert.equal(processes.size, 4);
  assert.equal(processes.evicted, 3);
  assert.deepEqual(forgotten, [second]);
  assert.equal(processes.service(1).name, 'p1');
});

test('a flood of short processes does not push out a running one that is quiet', context => {
  const { processes } = table(context, { maxProcesses: 100 });
  processes.onExec(1, 0, ['shop'], 'shop', 1, 1, 1);
  const quiet = processes.service(1);
  for (let pid = 2; pid < 1000; pid++) {
    processes.onExec(pid, 1, ['curl'], 'curl', 1, SECOND_NS, SECOND_NS);
    processes.onExit(pid, SECOND_NS);
  }
  assert.equal(processes.service(1), quiet);
  assert.equal(processes.size, 100);
  assert.equal(processes.evicted, 899);
});

test('many short processes leave nothing behind', context => {
  const forgotten = new Set<number>();
  const { processes } = table(context, { exitGraceNs: SECOND_NS, onForget: service => forgotten.add(service.id) });
  let timeNs = SECOND_NS;
  for (let i = 0; i < 5000; i++) {
    const pid = 1000 + (i % 700);
    timeNs += 0.01 * SECOND_NS;
    processes.onFork(pid, pid === 1000 ? 1699 : pid - 1, timeNs);
    processes.onExec(pid, 1, ['curl'], 'curl', 1, timeNs, timeNs);
    processes.service(pid);
    processes.onExit(pid, timeNs);
  }
  processes.expire(timeNs + 2 * SECOND_NS);
  assert.ok(processes.size <= 1, `${processes.size} left`); // the parent of the first, which never exited
  assert.equal(forgotten.size, 5000);
});

test('what a recorder gets restores the same services without the machine', context => {
  const recorded: string[] = [];
  const { proc, processes } = table(context, { onFacts: known => recorded.push(JSON.stringify(known)) });
  proc.add(42, {
    exe: '/usr/bin/java',
    args: ['java', '-Dpassword=secret', '-jar', 'shop-1.0.jar', '--token=secret'],
    environ: 'OTEL_RESOURCE_ATTRIBUTES=team=blue\0DB_PASSWORD=secret\0',
  });
  const original = processes.service(42);
  processes.service(42);
  assert.equal(recorded.length, 1);
  assert.ok(!recorded.join().includes('secret'));
  const source = new RecordedSource();
  for (const line of recorded) source.add(JSON.parse(line) as ProcessFacts);
  const { processes: replayed } = table(context, { source });
  assert.deepEqual(replayed.service(42), original);
  assert.equal(original.name, 'shop');
});

test('the first word of a rewritten title is its command: the rest may name users', context => {
  const { proc, processes } = table(context);
  proc.add(42, { exe: '/usr/lib/postgresql/15/bin/postgres', args: ['postgres: ann payroll 10.0.0.1(5) idle'] });
  assert.deepEqual(processes.facts(42).args, ['postgres']);
});

test('arguments are kept and exported only if the user wants them', context => {
  const args = ['shop', '--port', '80'];
  const { proc, processes } = table(context, { keepArgs: true });
  proc.add(42, { exe: '/usr/bin/shop', args });
  assert.deepEqual(new Map(processes.service(42).attributes).get('process.command_args'), args);
  const { proc: other, processes: reserved } = table(context);
  other.add(42, { exe: '/usr/bin/shop', args });
  assert.equal(new Map(reserved.service(42).attributes).get('process.command_args'), undefined);
});

test('rules see the whole command line; new rules do not rename a service that runs', context => {
  const rule = (name: string) => ({ name, matches: (given: ProcessFacts) => given.args.includes('--eu') });
  const { proc, processes } = table(context, { rules: [rule('shop-eu')] });
  proc.add(42, { exe: '/usr/bin/shop', args: ['shop', '--eu'] });
  proc.add(43, { exe: '/usr/bin/shop', args: ['shop', '--eu'], startTicks: 600 });
  assert.equal(processes.service(42).name, 'shop-eu');
  processes.setRules([rule('shop-europe')]);
  assert.equal(processes.service(42).name, 'shop-eu');
  assert.equal(processes.service(43).name, 'shop-europe');
});

test('inspect gives the whole command line, again and again, and makes no service', context => {
  const recorded: ProcessFacts[] = [];
  const { proc, processes } = table(context, { onFacts: known => recorded.push(known) });
  proc.add(42, { exe: '/usr/bin/shop', args: ['shop', '--eu'] });
  assert.deepEqual(processes.inspect(42).args, ['shop', '--eu']);
  assert.equal(recorded.length, 0);
  processes.service(42);
  assert.deepEqual(processes.inspect(42).args, ['shop', '--eu']);
  assert.equal(processes.inspect(99).pid, 99);
});
