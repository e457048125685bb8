// What a request costs in things that can be counted, whatever the machine's mood: records and bytes in the ring for each
// request, how often the pipeline's thread wakes up, idle and under load, and what an idle agent has in memory.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseSamples } from '../../src/cli/coverage.js';
import { type Agent, get, startAgent } from '../support/agent.js';
import { runCommand, until } from '../support/processes.js';
import { startNginx } from '../support/servers.js';

const LOAD_SECONDS = 3;
/** One for the request, one for the response; and what begins and ends a connection. */
const RECORDS_PER_REQUEST = { least: 1.99, most: 2.05 };
/** Two heads of this load (about 60 and 160 bytes), two record headers. */
const MOST_BYTES_PER_REQUEST = 700;
/**
 * The rings are looked into every 10 ms under load, every 50 ms otherwise; timers and messages of the thread come on top,
 * and programs that others start on the machine keep it looking.
 */
const MOST_WAKEUPS = { idle: 90, load: 200 };
/** Resident, of an agent that has just started: 85 to 88 MB when this bound was set, 111 before pages of Node.js that were not in use were let go. */
const MOST_IDLE_BYTES = 100 << 20;

interface Look {
  readonly records: number;
  readonly edges: number;
  readonly bytes: number;
}

async function look(agent: Agent): Promise<Look> {
  const samples = parseSamples((await get(`${agent.adminUrl}/metrics`)).body);
  const event = (kind: string): number =>
    samples
      .filter(({ name, labels }) => name === 'underspan_kernel_events_total' && labels.get('kind') === kind)
      .reduce((sum, { value }) => sum + value, 0);
  return { records: event('data_records'), edges: event('edges'), bytes: event('data_bytes') };
}

/** Times that each thread but the first gave up its CPU because it had nothing to do. */
function wakeups(pid: number): Map<number, number> {
  const threads = readdirSync(`/proc/${pid}/task`).map(Number);
  const counts = threads
    .filter(thread => thread !== pid)
    .map((thread): [number, number] => {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
      return [thread, Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0)];
    });
  return new Map(counts);
}

/** Of the thread that wakes up most. */
async function wakeupsPerSecond(pid: number, during: () => Promise<unknown>): Promise<number> {
  const [before, from] = [wakeups(pid), performance.now()];
  await during();
  const seconds = (performance.now() - from) / 1000;
  const more = [...wakeups(pid)].map(([thread, count]) => count - (before.get(thread) ?? count));
  return Math.max(...more) / seconds;
}

/** Nice values of its threads that are not the first one's, as their distance from it. */
function priorities(pid: number): number[] {
  const nice = (thread: string | number): number => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  };
  const distances = readdirSync(`/proc/${pid}/task`).map(thread => {
    try {
      return nice(thread) - nice(pid);
    } catch {
      return 0; // it has ended meanwhile
    }
  });
  return distances.filter(distance => distance !== 0);
}

test('an idle agent has little in memory', async t => {
  // Nobody's: it looks into no other program.
  const agent = await startAgent({ config: 'selection: { include: [{ exe: nobody-runs-this }] }\n' });
  t.after(() => agent.child.stop(1000, 'SIGKILL'));
  const status = readFileSync(`/proc/${agent.pid}/status`, 'latin1');
  const bytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  assert.ok(bytes > 0 && bytes <= MOST_IDLE_BYTES, `${bytes} bytes`);
  await agent.stop();
});

test('an agent that is to stand back does so with all its threads', async t => {
  const agent = await startAgent({ config: 'selection: { include: [{ listen_port: 1 }] }\nlimits: { nice: 7 }\n' });
  t.after(() => agent.child.stop(1000, 'SIGKILL'));
  await until('all threads to have the priority', 40_000, () =>
    getPriority(agent.pid) === getPriority() + 7 && priorities(agent.pid).length === 0 ? true : null,
  );
  await agent.stop();
});

test('two records a request, a bounded number of bytes and of wake-ups', async t => {
  const server = await startNginx();
  t.after(() => server.stop());
  const config = `selection: { include: [{ listen_port: ${server.port} }] }\nlimits: { nice: -5 }\n`;
  const agent = await startAgent({ config });
  t.after(() => agent.child.stop(1000, 'SIGKILL'));
  let requests = 0;
  // As the client counted them: an agent that gets no time on a busy machine may not have told all.
  const load = async (): Promise<void> => {
    const wrk = await runCommand('wrk', ['-t1', '-c8', `-d${LOAD_SECONDS}s`, `${server.url}/status/200/x`]);
    requests = Number(/(\d+) requests in/.exec(wrk.stdout)?.[1]);
  };
  // A thread begins with the priority of the one that starts it: the one that reads executables takes its own then, and those
  // that load programs end, which takes a busy machine many seconds.
  await until('the thread that empties the rings, and no other, to go first', 40_000, () =>
    priorities(agent.pid).join() === '-5' ? true : null,
  );
  const before = await look(agent);
  const busy = await wakeupsPerSecond(agent.pid, load);
  await sleep(500);
  const after = await look(agent);
  assert.ok(requests > 500, `${requests} requests`);
  const records = (after.records - before.records) / requests;
  const bytes = (after.bytes - before.bytes) / requests;
  assert.ok(
    records >= RECORDS_PER_REQUEST.least && records <= RECORDS_PER_REQUEST.most,
    `${records} records a request`,
  );
  assert.ok(bytes > 100 && bytes <= MOST_BYTES_PER_REQUEST, `${bytes} captured bytes a request`);
  assert.ok(busy <= MOST_WAKEUPS.load, `${busy} wake-ups a second under load`);
  await sleep(1500); // from one interval to the other it goes step by step
  const idle = await wakeupsPerSecond(agent.pid, () => sleep(3000));
  assert.ok(idle > 1 && idle <= MOST_WAKEUPS.idle, `${idle} wake-ups a second at rest`);
  await agent.stop();
});
