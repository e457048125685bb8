// What a user's users notice: latency at a rate that the machine holds easily, half of what it gives when saturated, and whether
// the rings keep up with it. h2load keeps the rate (HTTP/1.1, keep-alive); its log has each request's time. Requests leave in
// bursts, one of each connection at a time: read the ratios.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSamples } from '../../src/cli/coverage.js';
import { type Agent, get, startAgent } from '../support/agent.js';
import { runCommand, temporaryDirectory } from '../support/processes.js';
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { cpuBetween, cpuOf, cpuOfTree } from './machine.js';
import { Nginx } from './nginx.js';
import { Probes } from './probes.js';
import type { Quiet } from './quiet.js';
import { Sink } from './sink.js';

const CONNECTIONS = 50;
const LOAD_SECONDS = 4;
const WARM_SECONDS = 1;
/** Until V8 has compiled what is hot. */
const WARM_AGENT_SECONDS = 10;

interface State {
  readonly name: string;
  readonly start: (nginx: Nginx, sink: Sink) => Promise<Probes | Agent | null>;
}

const STATES: readonly State[] = [
  { name: 'nothing', start: async () => null },
  { name: 'empty programs', start: () => Probes.attach({ kind: 'empty', prefixes: ['btf_'], hasStats: false }) },
  {
    name: 'agent, metrics only',
    start: nginx => startAgent({ config: `${nginx.selection()}traces: { exporters: [none] }\n` }),
  },
  {
    name: 'agent, every server span',
    start: (nginx, sink) => startAgent({ config: nginx.selection(), endpoint: sink.url }),
  },
  {
    name: 'agent, server and client spans',
    start: (nginx, sink) => startAgent({ config: nginx.selection('h2load'), endpoint: sink.url }),
  },
];

interface Cell {
  readonly perSecond: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly serverMicros: number;
  readonly agentMicros: number;
  /** Records that the rings had no room for, since the agent started. */
  readonly lost: number;
}

export type Load = Pick<Cell, 'perSecond' | 'p50' | 'p99' | 'p999'> & { readonly requests: number };

/** Requests at a fixed rate, each timed. */
export async function loadAtRate(
  nginx: Nginx,
  perSecond: number,
  seconds: number,
  connections = CONNECTIONS,
): Promise<Load> {
  const log = path.join(temporaryDirectory('rate'), 'requests.log');
  const each = Math.max(1, Math.round(perSecond / connections));
  const args = ['--h1', '-t1', `-c${connections}`, `-D${seconds}`, `--rps=${each}`, `--log-file=${log}`, nginx.url];
  const child = await runCommand('h2load', args, { timeoutMs: seconds * 1000 + 20_000 });
  if (child.exitCode !== 0) throw new Error(`h2load failed: ${child.describe()}`);
  const lines = readFileSync(log, 'latin1').trim().split('\n');
  const failed = lines.filter(line => line.split('\t')[1] !== '200').length;
  if (failed > 0) throw new Error(`${failed} requests failed: ${child.describe()}`);
  const micros = Float64Array.from(lines, line => Number(line.split('\t')[2])).sort();
  const at = (share: number): number =>
    micros[Math.min(micros.length - 1, Math.floor(micros.length * share))] as number;
  const requests = lines.length;
  return { requests, perSecond: requests / seconds, p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

async function lostRecords(agent: Agent): Promise<number> {
  const samples = parseSamples((await get(`${agent.adminUrl}/metrics`)).body);
  return samples
    .filter(({ name }) => name === 'underspan_records_dropped_total')
    .reduce((sum, { value }) => sum + value, 0);
}

async function measure(state: State, nginx: Nginx, sink: Sink, rate: number): Promise<Cell> {
  const companion = await state.start(nginx, sink);
  const agent = companion === null || companion instanceof Probes ? null : companion;
  try {
    await loadAtRate(nginx, rate, agent === null ? WARM_SECONDS : WARM_AGENT_SECONDS);
    const read = () => ({ server: cpuOfTree(nginx.child.pid), agent: agent === null ? null : cpuOf(agent.pid) });
    const from = read();
    const result = await loadAtRate(nginx, rate, LOAD_SECONDS);
    const to = read();
    const each = (seconds: number): number => (seconds * 1e6) / result.requests;
    const spent =
      agent === null || from.agent === null || to.agent === null
        ? 0
        : cpuBetween(agent.pid, from.agent, to.agent).total;
    return {
      ...result,
      serverMicros: each(to.server - from.server),
      agentMicros: each(spent),
      lost: agent === null ? 0 : await lostRecords(agent),
    };
  } finally {
    if (companion instanceof Probes) await companion.detach();
    else await companion?.stop();
  }
}

export async function runRate(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const nginx = await Nginx.start();
  const sink = await Sink.start();
  const cells: Cell[][] = STATES.map(() => []);
  let rate = 0;
  try {
    await nginx.load(1);
    rate = Math.round((await nginx.load(2)).perSecond / 2);
    for (let round = 0; round < rounds; round++) {
      for (const [at, state] of STATES.entries()) {
        say(`rate, round ${round + 1} of ${rounds}: ${state.name}`);
        cells[at]?.push(await quiet.round(() => measure(state, nginx, sink, rate)));
      }
    }
  } finally {
    await nginx.stop();
    await sink.stop();
  }
  return {
    title: `nginx at half load: ${rate} requests/s over ${CONNECTIONS} connections`,
    tables: [table(cells)],
    warnings: [],
    data: STATES.map(({ name }, at) => ({ state: name, rate, rounds: cells[at] })),
  };
}

function table(cells: readonly Cell[][]): string {
  const values = (at: number, key: keyof Cell): number[] => (cells[at] as Cell[]).map(cell => cell[key]);
  const ratios = ['p50', 'p99', 'p999'] as const;
  const plain = ['p50', 'p99', 'serverMicros', 'agentMicros', 'perSecond', 'lost'] as const;
  const columns = [
    ...['p50', 'p99', 'p99.9'].map(title => ({ title, digits: 2, hasSpread: true })),
    { title: 'p50 us', digits: 0 },
    { title: 'p99 us', digits: 0 },
    { title: 'server CPU us', digits: 1 },
    { title: 'agent CPU us', digits: 1, hasSpread: true },
    { title: 'requests/s', digits: 0 },
    { title: 'records lost', digits: 0, hasSpread: true },
  ];
  const rows = STATES.map(
    ({ name }, at): Row => ({
      name,
      cells: [
        ...ratios.map(key => ratioOf(values(at, key), values(0, key))),
        ...plain.map(key => spreadOf(values(at, key))),
      ],
    }),
  );
  return renderTable('latency as ratio to nothing, same round', columns, rows);
}
