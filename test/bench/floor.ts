// What a hook costs before any program does anything: empty programs on each way to see system calls, under the same load,
// and in a tight loop of one call. This is what chose tp_btf/sys_enter and sys_exit in bpf/socket_syscall.bpf.c. The last
// variant is the agent's own programs with nobody selected: what every process of the machine pays.
import { buildPath } from '../../src/kernel/host.js';
import { runCommand } from '../support/processes.js';
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { cpuOfTree } from './machine.js';
import { Nginx } from './nginx.js';
import { Probes } from './probes.js';
import type { ProbeOrder } from './probes-process.js';
import type { Quiet } from './quiet.js';

const LOAD_SECONDS = 2;
const LOOP_CALLS = 20_000;

interface Variant {
  readonly name: string;
  readonly order: ProbeOrder | null;
}

function empty(name: string, ...prefixes: string[]): Variant {
  return { name, order: { kind: 'empty', prefixes, hasStats: false } };
}

const VARIANTS: readonly Variant[] = [
  { name: 'nothing', order: null },
  empty('raw_tp sys_enter + sys_exit', 'raw_'),
  empty('tp_btf sys_enter + sys_exit', 'btf_'),
  empty('tp_btf sys_exit only', 'btf_exit'),
  empty('tp_btf sock_send_length + sock_recv_length', 'sock_'),
  empty('per-syscall tracepoints, enter + exit', 'call_'),
  empty('per-syscall tracepoints, exit only', 'call_exit'),
  { name: 'agent programs, nobody selected', order: { kind: 'agent', pids: [], hasStats: false } },
];

interface Cell {
  readonly perSecond: number;
  readonly serverMicros: number;
  readonly getppidNs: number;
  readonly readNs: number;
}

async function measure(variant: Variant, nginx: Nginx): Promise<Cell> {
  const probes = variant.order === null ? null : await Probes.attach(variant.order);
  try {
    const from = cpuOfTree(nginx.child.pid);
    const { perSecond, requests } = await nginx.load(LOAD_SECONDS);
    const serverMicros = ((cpuOfTree(nginx.child.pid) - from) * 1e6) / requests;
    const loop = await runCommand(buildPath('bench/syscall-loop'), [String(LOOP_CALLS)]);
    if (loop.exitCode !== 0) throw new Error(`syscall-loop failed: ${loop.describe()}`);
    return { perSecond, serverMicros, ...(JSON.parse(loop.stdout) as { getppidNs: number; readNs: number }) };
  } finally {
    await probes?.detach();
  }
}

export async function runFloor(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const nginx = await Nginx.start();
  const cells: Cell[][] = VARIANTS.map(() => []);
  try {
    await nginx.load(1);
    for (let round = 0; round < rounds; round++) {
      for (const [at, variant] of VARIANTS.entries()) {
        say(`floor, round ${round + 1} of ${rounds}: ${variant.name}`);
        cells[at]?.push(await quiet.round(() => measure(variant, nginx)));
      }
    }
  } finally {
    await nginx.stop();
  }
  return {
    title: 'the price of the hooks: empty programs',
    tables: [tableOf(cells)],
    warnings: [],
    data: VARIANTS.map(({ name }, at) => ({ variant: name, rounds: cells[at] })),
  };
}

function tableOf(cells: readonly Cell[][]): string {
  const baseline = cells[0] as Cell[];
  const of = (mine: readonly Cell[], key: keyof Cell): number[] => mine.map(cell => cell[key]);
  const columns = [
    { title: 'requests/s', digits: 1, isShare: true, hasSpread: true },
    { title: 'server CPU', digits: 2, hasSpread: true },
    { title: 'getppid ns', digits: 0, hasSpread: true },
    { title: 'added', digits: 0 },
    { title: 'read ns', digits: 0, hasSpread: true },
    { title: 'added', digits: 0 },
  ];
  const rows = VARIANTS.map(({ name }, at): Row => {
    const mine = cells[at] as Cell[];
    const added = (key: 'getppidNs' | 'readNs') =>
      spreadOf(of(mine, key).map((value, round) => value - (of(baseline, key)[round] as number)));
    return {
      name,
      cells: [
        ratioOf(of(mine, 'perSecond'), of(baseline, 'perSecond')),
        ratioOf(of(mine, 'serverMicros'), of(baseline, 'serverMicros')),
        spreadOf(of(mine, 'getppidNs')),
        added('getppidNs'),
        spreadOf(of(mine, 'readNs')),
        added('readNs'),
      ],
    };
  });
  return renderTable('ratio to nothing, and ns per call', columns, rows);
}
