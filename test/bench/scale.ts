// What grows with the machine: open connections (of which ten are busy), processes, routes. One variant at a time against a plain one: how long the
// agent takes to be ready, its memory under load, its CPU time per request, and what was lost. Rounds are not repeated here:
// memory and losses do not flicker as times do.
import { readdirSync, readFileSync } from 'node:fs';
import { parseSamples } from '../../src/cli/coverage.js';
import { Agent, get, spawnAgent } from '../support/agent.js';
import { Child, freePort, until } from '../support/processes.js';
import { Crowd } from './crowd.js';
import { type PartResult, type Row, renderTable } from './figures.js';
import { cpuOf } from './machine.js';
import { Nginx } from './nginx.js';
import type { Quiet } from './quiet.js';
import { loadAtRate } from './rate.js';
import { Sink } from './sink.js';

const WARM_SECONDS = 3;
const LOAD_SECONDS = 4;
/** The others have asked once, and stay open. */
const BUSY_CONNECTIONS = 10;

interface Variant {
  readonly name: string;
  readonly connections: number;
  readonly processes: number;
  /** Different paths that are asked for. */
  readonly routes: number;
  /** Requests a second; 0: as many as can be. */
  readonly rate: number;
}

const PLAIN = { connections: 10, processes: 0, routes: 10, rate: 0 };
const VARIANTS: readonly Variant[] = [
  { ...PLAIN, name: '10 connections, 10 routes' },
  { ...PLAIN, name: '10 connections, 30,000 requests/s', rate: 30_000 },
  { ...PLAIN, name: '1,000 connections', connections: 1000 },
  { ...PLAIN, name: '10,000 connections', connections: 10_000 },
  { ...PLAIN, name: '10,000 connections, 20,000 requests/s', connections: 10_000, rate: 20_000 },
  { ...PLAIN, name: '50,000 connections', connections: 50_000 },
  { ...PLAIN, name: '1,000 routes', routes: 1000 },
  { ...PLAIN, name: '10,000 routes', routes: 10_000 },
  { ...PLAIN, name: '500 more processes', processes: 500 },
  { ...PLAIN, name: '2,000 more processes', processes: 2000 },
];

interface Cell {
  readonly readyMs: number;
  readonly idleMb: number;
  readonly loadMb: number;
  readonly heapMb: number;
  /** Memory of BPF maps, which is the kernel's and in no process's account. */
  readonly mapsMb: number;
  readonly agentMicros: number;
  readonly perSecond: number;
  readonly lost: number;
}

function megabytes(pid: number, field: 'VmRSS' | 'RssAnon'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024;
}

function mapMegabytes(pid: number): number {
  const sizes = new Map<string, number>();
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    const text = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
    const id = /^map_id:\s+(\d+)/m.exec(text)?.[1];
    if (id !== undefined) sizes.set(id, Number(/^memlock:\s+(\d+)/m.exec(text)?.[1] ?? 0));
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0) / (1 << 20);
}

async function lostRecords(agent: Agent): Promise<number> {
  const samples = parseSamples((await get(`${agent.adminUrl}/metrics`)).body);
  return samples
    .filter(({ name }) => name === 'underspan_records_dropped_total' || name === 'underspan_connections_dropped_total')
    .reduce((sum, { value }) => sum + value, 0);
}

/** Everything that runs, so that an exec of each is looked into. */
async function startProcesses(count: number): Promise<Child | null> {
  if (count === 0) return null;
  const script = `for i in $(seq ${count}); do sleep 600 & done; echo up; wait`;
  const child = new Child('sh', ['-c', script]);
  await until('the processes', 30_000, () => (child.stdout.includes('up') ? true : null));
  return child;
}

async function measure(variant: Variant, sink: Sink): Promise<Cell> {
  const processes = await startProcesses(variant.processes);
  const nginx = await Nginx.start({ connections: variant.connections, routes: variant.routes });
  try {
    const port = await freePort();
    const from = performance.now();
    const child = await spawnAgent({
      config: nginx.selection(),
      endpoint: sink.url,
      env: { UNDERSPAN_ADMIN_PORT: String(port) },
    });
    try {
      await until('the agent to be ready', 30_000, () => (/ ready; /.test(child.stderr) ? true : null), 5);
      const readyMs = performance.now() - from;
      const agent = new Agent(child, port);
      const idleMb = megabytes(agent.pid, 'VmRSS');
      const crowd = await Crowd.open(nginx, variant.connections - BUSY_CONNECTIONS);
      try {
        const load = (seconds: number) =>
          variant.rate === 0
            ? nginx.load(seconds, BUSY_CONNECTIONS)
            : loadAtRate(nginx, variant.rate, seconds, BUSY_CONNECTIONS);
        await load(WARM_SECONDS);
        const before = cpuOf(agent.pid).total;
        const { requests, perSecond } = await load(LOAD_SECONDS);
        const agentMicros = ((cpuOf(agent.pid).total - before) * 1e6) / requests;
        const loadMb = megabytes(agent.pid, 'VmRSS');
        const heapMb = megabytes(agent.pid, 'RssAnon');
        const mapsMb = mapMegabytes(agent.pid);
        const lost = await lostRecords(agent);
        crowd.check();
        return { readyMs, idleMb, loadMb, heapMb, mapsMb, agentMicros, perSecond, lost };
      } finally {
        await crowd.close();
        await agent.stop();
      }
    } finally {
      await child.stop(1000, 'SIGKILL');
    }
  } finally {
    await nginx.stop();
    await processes?.stop(1000, 'SIGKILL');
  }
}

export async function runScale(_rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const sink = await Sink.start();
  const cells: Cell[] = [];
  try {
    for (const variant of VARIANTS) {
      say(`scale: ${variant.name}`);
      cells.push(await quiet.round(() => measure(variant, sink)));
    }
  } finally {
    await sink.stop();
  }
  return {
    title: 'what grows: nginx under full load, or at a rate, every server span exported, one thing changed at a time',
    tables: [tableOf(cells)],
    warnings: [],
    data: VARIANTS.map((variant, at) => ({ ...variant, ...cells[at] })),
  };
}

function tableOf(cells: readonly Cell[]): string {
  const columns = [
    { title: 'ready ms', digits: 0 },
    { title: 'resident MB, idle', digits: 0 },
    { title: 'under load', digits: 0 },
    { title: 'of it anonymous', digits: 0 },
    { title: 'BPF maps MB', digits: 0 },
    { title: 'agent CPU us/request', digits: 1 },
    { title: 'requests/s', digits: 0 },
    { title: 'lost', digits: 0 },
  ];
  const rows = VARIANTS.map(({ name }, at): Row => {
    const { readyMs, idleMb, loadMb, heapMb, mapsMb, agentMicros, perSecond, lost } = cells[at] as Cell;
    return { name, cells: [readyMs, idleMb, loadMb, heapMb, mapsMb, agentMicros, perSecond, lost] };
  });
  return renderTable('', columns, rows);
}
