// What our programs cost in the kernel by the kernel's own count (BPF_STATS_RUN_TIME): runs and nanoseconds per request, by
// program, with nobody, the server, and server and client selected. Empty programs on the same hooks come first: their
// nanoseconds a run are what the measuring itself adds. Work that a program causes elsewhere (cache misses) is not in it.
import { processTree } from '../support/processes.js';
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { Nginx } from './nginx.js';
import { Probes } from './probes.js';
import type { ProbeOrder, ProbeReport } from './probes-process.js';
import type { Quiet } from './quiet.js';

const LOAD_SECONDS = 2;

interface ProgramCost {
  readonly name: string;
  readonly runsPerRequest: number;
  readonly nsPerRun: number;
  readonly nsPerRequest: number;
  readonly instructions: number;
}

interface Cell {
  readonly programs: readonly ProgramCost[];
  readonly nsPerRequest: number;
  readonly recordsPerRequest: number;
  readonly ringBytesPerRequest: number;
  readonly losses: number;
}

interface Case {
  readonly name: string;
  readonly order: ProbeOrder;
}

function casesOf(nginx: Nginx): Case[] {
  const server = processTree(nginx.child.pid);
  const agent = (pids: readonly number[]): ProbeOrder => ({ kind: 'agent', pids, hasStats: true });
  return [
    { name: 'empty programs', order: { kind: 'empty', prefixes: ['btf_', 'data_'], hasStats: true } },
    { name: 'nobody selected', order: agent([]) },
    { name: 'server selected', order: agent(server) },
    // wrk is started by this process and inherits its selection.
    { name: 'server and client selected', order: agent([...server, process.pid]) },
  ];
}

function costs(before: ProbeReport, after: ProbeReport, requests: number): Cell {
  const programs = after.programs
    .map((program): ProgramCost => {
      const start = before.programs.find(({ name }) => name === program.name);
      const runs = program.runs - (start?.runs ?? 0);
      const ns = program.runNs - (start?.runNs ?? 0);
      return {
        name: program.name,
        runsPerRequest: runs / requests,
        nsPerRun: runs === 0 ? 0 : ns / runs,
        nsPerRequest: ns / requests,
        instructions: program.instructions,
      };
    })
    .filter(({ runsPerRequest }) => runsPerRequest >= 0.01);
  return {
    programs,
    nsPerRequest: programs.reduce((sum, program) => sum + program.nsPerRequest, 0),
    recordsPerRequest: (after.dataRecords - before.dataRecords) / requests,
    ringBytesPerRequest: (after.drainedBytes - before.drainedBytes) / requests,
    losses: after.losses - before.losses,
  };
}

async function measure(order: ProbeOrder, nginx: Nginx): Promise<Cell> {
  const probes = await Probes.attach(order);
  try {
    const before = await probes.report();
    const { requests } = await nginx.load(LOAD_SECONDS);
    return costs(before, await probes.report(), requests);
  } finally {
    await probes.detach();
  }
}

export async function runKernel(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const nginx = await Nginx.start();
  const cases = casesOf(nginx);
  const cells: Cell[][] = cases.map(() => []);
  try {
    await nginx.load(1);
    for (let round = 0; round < rounds; round++) {
      for (const [at, { name, order }] of cases.entries()) {
        say(`kernel, round ${round + 1} of ${rounds}: ${name}`);
        cells[at]?.push(await quiet.round(() => measure(order, nginx)));
      }
    }
  } finally {
    await nginx.stop();
  }
  const lost = cells.flat().reduce((sum, cell) => sum + cell.losses, 0);
  return {
    title: 'in the kernel: BPF run time, measured by BPF statistics',
    tables: [totals(cases, cells), ...cases.map(({ name }, at) => byProgram(name, cells[at] as Cell[]))],
    warnings: lost > 0 ? [`${lost} records were lost or skipped in the kernel`] : [],
    data: cases.map(({ name }, at) => ({ case: name, rounds: cells[at] })),
  };
}

function totals(cases: readonly Case[], cells: readonly Cell[][]): string {
  const valuesOf = (at: number, key: 'nsPerRequest' | 'recordsPerRequest' | 'ringBytesPerRequest'): number[] =>
    (cells[at] as Cell[]).map(cell => cell[key]);
  const columns = [
    { title: 'BPF ns/request', digits: 0, hasSpread: true },
    { title: 'to empty', digits: 2, hasSpread: true },
    { title: 'data records', digits: 2 },
    { title: 'ring bytes', digits: 0 },
  ];
  const rows = cases.map(
    ({ name }, at): Row => ({
      name,
      cells: [
        spreadOf(valuesOf(at, 'nsPerRequest')),
        ratioOf(valuesOf(at, 'nsPerRequest'), valuesOf(0, 'nsPerRequest')),
        spreadOf(valuesOf(at, 'recordsPerRequest')),
        spreadOf(valuesOf(at, 'ringBytesPerRequest')),
      ],
    }),
  );
  return renderTable('per request', columns, rows);
}

function byProgram(name: string, cells: readonly Cell[]): string {
  const columns = [
    { title: 'runs/request', digits: 2 },
    { title: 'ns/run', digits: 0, hasSpread: true },
    { title: 'ns/request', digits: 0, hasSpread: true },
    { title: 'instructions', digits: 0 },
  ];
  const names = [...new Set(cells.flatMap(cell => cell.programs.map(program => program.name)))];
  const rows = names.map((program): Row => {
    const found = cells.flatMap(cell => cell.programs.filter(candidate => candidate.name === program));
    const keys = ['runsPerRequest', 'nsPerRun', 'nsPerRequest', 'instructions'] as const;
    return { name: program, cells: keys.map(key => spreadOf(found.map(cost => cost[key]))) };
  });
  return renderTable(`${name}, by program`, columns, rows);
}
