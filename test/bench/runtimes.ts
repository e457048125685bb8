// What programs that say themselves what they are at cost beside their system calls: probes of the units of HAProxy, lighttpd
// and Varnish, of Node.js's loop, of asyncio's tasks. Each calls a server, and the agent is over the one that calls. By the kernel's own count
// (BPF_STATS_RUN_TIME, /proc/PID/fdinfo): runs of probes and nanoseconds in them per request. The trap that leads to a
// probe is not in it: 0.7 to 1 us on an instruction that the kernel emulates.
import { readdirSync, readFileSync } from 'node:fs';
import { startAgent } from '../support/agent.js';
import { Chain, type LinkKind } from '../support/chain.js';
import { processTree } from '../support/processes.js';
import { type PartResult, type Row, renderTable, spreadOf } from './figures.js';
import { Probes } from './probes.js';
import type { Quiet } from './quiet.js';

const KINDS: readonly (readonly [string, LinkKind])[] = [
  ['HAProxy', 'haproxy'],
  ['lighttpd', 'lighttpd'],
  ['Varnish', 'varnish'],
  ['Node.js', 'node'],
  ['asyncio', 'asyncio'],
];
const WARM = 100;
const REQUESTS = 500;
const CONCURRENCY = 10;
/** enum bpf_prog_type: uprobes are kprobes to it. */
const PROBE_TYPE = 2;

interface Runs {
  readonly runs: number;
  readonly ns: number;
}

function fieldOf(info: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)$`, 'm').exec(info)?.[1] ?? 0);
}

/** Of all probes that the process holds. */
function runsOf(pid: number): Runs {
  const folder = `/proc/${pid}/fdinfo`;
  const infos = new Map<number, string>();
  for (const fd of readdirSync(folder)) {
    const info = readFileSync(`${folder}/${fd}`, 'latin1');
    if (fieldOf(info, 'prog_type') === PROBE_TYPE) infos.set(fieldOf(info, 'prog_id'), info);
  }
  const total = (name: string): number => [...infos.values()].reduce((all, info) => all + fieldOf(info, name), 0);
  return { runs: total('run_cnt'), ns: total('run_time_ns') };
}

async function measure(kind: LinkKind): Promise<Runs> {
  const chain = new Chain();
  const stats = await Probes.attach({ kind: 'empty', prefixes: ['data_'], hasStats: true });
  try {
    await chain.add('called', { kind: 'go' });
    const asked = await chain.add('asked', { kind, calls: ['called'] });
    const pids = processTree(asked.child.pid).map(pid => `    - pid: ${pid}\n`);
    const agent = await startAgent({ config: `selection:\n  include:\n${pids.join('')}` });
    try {
      await chain.load('asked', 1, WARM, CONCURRENCY);
      const before = runsOf(agent.child.pid);
      await chain.load('asked', 1 + WARM, REQUESTS, CONCURRENCY);
      const after = runsOf(agent.child.pid);
      return { runs: (after.runs - before.runs) / REQUESTS, ns: (after.ns - before.ns) / REQUESTS };
    } finally {
      await agent.stop();
    }
  } finally {
    await chain.stop();
    await stats.detach();
  }
}

export async function runRuntimes(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const cells = KINDS.map((): Runs[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [at, [name, kind]] of KINDS.entries()) {
      say(`runtimes, round ${round + 1} of ${rounds}: ${name}`);
      cells[at]?.push(await quiet.round(() => measure(kind)));
    }
  }
  const columns = [
    { title: 'probes', digits: 1 },
    { title: 'ns in them', digits: 0, hasSpread: true },
  ];
  const rows = KINDS.map(([name], at): Row => {
    const found = cells[at] as Runs[];
    return { name, cells: [spreadOf(found.map(({ runs }) => runs)), spreadOf(found.map(({ ns }) => ns))] };
  });
  return {
    title: 'probes of programs and runtimes: one that calls another server for each request',
    tables: [renderTable('per request', columns, rows)],
    warnings: [],
    data: KINDS.map(([name], at) => ({ name, rounds: cells[at] })),
  };
}
