// What a user pays: a server saturated by wrk, alone and under each state of ours, in interleaved rounds. Server, load and
// agent share the cores, so throughput falls by all that is spent anywhere. CPU per request says where it went. Two parts:
// nginx (macro), where what we add shows most, and a node server (node).
import { startAgent } from '../support/agent.js';
import { type Child, processTree } from '../support/processes.js';
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { cpuBetween, cpuOf, cpuOfTree } from './machine.js';
import { type LoadResult, Nginx } from './nginx.js';
import { NodeServer } from './node-server.js';
import { Probes } from './probes.js';
import type { Quiet } from './quiet.js';
import { Sink } from './sink.js';

const WARM_SECONDS = 1;
const WARM_SERVER_SECONDS = 4;
/**
 * An agent's first seconds go to V8's compiler threads. By requests seen, at the load of one busy machine: 22 us each over the first
 * 60,000, 13 us after 120,000, then level.
 */
const WARM_AGENT_SECONDS = 8;
const LOAD_SECONDS = 2;
/** Requests cut off at both ends of the load are no loss, and what is sampled is so by chance. */
const TOLERATED_COVERAGE = 0.995;
const TOLERATED_SAMPLE = 0.9;

/** A server under load. */
export interface Target {
  readonly child: Child;
  /** An agent's selection: this server alone, or with its client, if that program is named. */
  selection(client?: string): string;
  /** Saturates the server for a while. */
  load(seconds: number): Promise<LoadResult>;
  stop(): Promise<void>;
}

/** Something of ours that runs beside the server. */
interface Companion {
  readonly pid: number;
  stop(): Promise<void>;
  /** What was lost so far, in words. */
  losses?(): Promise<string>;
}

interface State {
  readonly name: string;
  readonly isAgent?: boolean;
  /** Spans that should leave for each request. */
  readonly spansPerRequest: number;
  readonly start: (target: Target, sink: Sink) => Promise<Companion | null>;
}

const NO_SPANS = 'traces: { exporters: [none] }\n';

async function probesOnly(target: Target): Promise<Companion> {
  const probes = await Probes.attach({ kind: 'agent', pids: processTree(target.child.pid), hasStats: false });
  return { pid: probes.child.pid, stop: () => probes.detach() };
}

async function emptyProbes(): Promise<Companion> {
  const probes = await Probes.attach({ kind: 'empty', prefixes: ['btf_'], hasStats: false });
  return { pid: probes.child.pid, stop: () => probes.detach() };
}

/** A share of all traces. */
function sampled(share: number): State {
  return {
    name: `agent, ${share * 100} % of server spans`,
    isAgent: true,
    spansPerRequest: share,
    start: (target, sink) =>
      startAgent({
        config: `${target.selection()}traces: { sampler: traceidratio, sampler_arg: ${share} }\n`,
        endpoint: sink.url,
      }),
  };
}

export const STATES: readonly State[] = [
  { name: 'nothing', spansPerRequest: 0, start: async () => null },
  { name: 'empty programs', spansPerRequest: 0, start: emptyProbes },
  { name: 'probes, records discarded', spansPerRequest: 0, start: probesOnly },
  {
    name: 'agent, metrics only',
    isAgent: true,
    spansPerRequest: 0,
    start: target => startAgent({ config: target.selection() + NO_SPANS }),
  },
  sampled(0.01),
  sampled(0.1),
  {
    name: 'agent, every server span',
    isAgent: true,
    spansPerRequest: 1,
    start: (target, sink) => startAgent({ config: target.selection(), endpoint: sink.url }),
  },
  {
    name: 'agent, server and client spans',
    isAgent: true,
    spansPerRequest: 2,
    start: (target, sink) => startAgent({ config: target.selection('wrk'), endpoint: sink.url }),
  },
];

/** One state in one round. CPU figures are microseconds per request. */
export interface Cell extends LoadResult {
  readonly serverMicros: number;
  readonly companionMicros: number;
  /** Of it: the pipeline's thread, the exporters' thread, V8's compiler and collector threads. */
  readonly workerMicros: number;
  readonly mainMicros: number;
  readonly helperMicros: number;
  readonly sinkMicros: number;
  /** Spans that reached the sink for each request, warm-up included. */
  readonly spansPerRequest: number;
  /** The agent's own account, at the end of the load. */
  readonly losses: string;
}

export class Bench {
  readonly #target: Target;
  readonly #sink: Sink;

  constructor(target: Target, sink: Sink) {
    this.#target = target;
    this.#sink = sink;
  }

  async cell(state: State): Promise<Cell> {
    const before = await this.#sink.report();
    const companion = await state.start(this.#target, this.#sink);
    try {
      const warm = await this.#target.load(state.isAgent === true ? WARM_AGENT_SECONDS : WARM_SECONDS);
      const cell = await this.#measure(companion);
      const losses = (await companion?.losses?.()) ?? '';
      await companion?.stop();
      const { spans } = await this.#sink.report();
      const spansPerRequest = (spans - before.spans) / (warm.requests + cell.requests);
      return { ...cell, spansPerRequest, losses };
    } catch (error) {
      await companion?.stop().catch(() => undefined);
      throw error;
    }
  }

  async #measure(companion: Companion | null): Promise<Omit<Cell, 'spansPerRequest' | 'losses'>> {
    const read = () => ({
      server: cpuOfTree(this.#target.child.pid),
      sink: cpuOf(this.#sink.child.pid).total,
      companion: companion === null ? null : cpuOf(companion.pid),
    });
    const from = read();
    const result = await this.#target.load(LOAD_SECONDS);
    const to = read();
    const each = (seconds: number): number => (seconds * 1e6) / result.requests;
    const server = to.server - from.server;
    const sink = to.sink - from.sink;
    const spent =
      companion === null || from.companion === null || to.companion === null
        ? { total: 0, main: 0, worker: 0, helpers: 0 }
        : cpuBetween(companion.pid, from.companion, to.companion);
    return {
      ...result,
      serverMicros: each(server),
      companionMicros: each(spent.total),
      workerMicros: each(spent.worker),
      mainMicros: each(spent.main),
      helperMicros: each(spent.helpers),
      sinkMicros: each(sink),
    };
  }
}

export async function runMacro(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const title = 'nginx under load: 2 workers, 50 connections, 612 bytes, wrk on the same cores';
  return runStates(title, await Nginx.start(), rounds, quiet, text => say(`macro, ${text}`));
}

export async function runNode(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const title = 'a node server under load: one process, 50 connections, 612 bytes, wrk beside it';
  return runStates(title, await NodeServer.start(), rounds, quiet, text => say(`node, ${text}`));
}

async function runStates(
  title: string,
  target: Target,
  rounds: number,
  quiet: Quiet,
  say: (text: string) => void,
): Promise<PartResult> {
  const sink = await Sink.start();
  const cells: Cell[][] = STATES.map(() => []);
  try {
    const bench = new Bench(target, sink);
    // Else the baseline of the first round would be that of a cold server.
    await target.load(WARM_SERVER_SECONDS);
    for (let round = 0; round < rounds; round++) {
      for (const [at, state] of STATES.entries()) {
        say(`round ${round + 1} of ${rounds}: ${state.name}`);
        cells[at]?.push(await quiet.round(() => bench.cell(state)));
      }
    }
  } finally {
    await target.stop();
    await sink.stop();
  }
  return {
    title,
    tables: [ratioTable(cells), costTable(cells)],
    warnings: warningsOf(cells),
    data: STATES.map(({ name }, at) => ({ state: name, rounds: cells[at] })),
  };
}

function column(cells: readonly Cell[], key: Exclude<keyof Cell, 'losses'>): number[] {
  return cells.map(cell => cell[key]);
}

function ratioTable(cells: readonly Cell[][]): string {
  const baseline = cells[0] as Cell[];
  const keys = ['perSecond', 'p50', 'p99', 'p999', 'serverMicros'] as const;
  const columns = ['requests/s', 'p50', 'p99', 'p99.9', 'server CPU/request'].map(title => ({
    title,
    digits: title === 'requests/s' ? 1 : 2,
    isShare: title === 'requests/s',
    hasSpread: true,
  }));
  const rows = STATES.slice(1).map(({ name }, at): Row => {
    const mine = cells[at + 1] as Cell[];
    return { name, cells: keys.map(key => ratioOf(column(mine, key), column(baseline, key))) };
  });
  return renderTable('ratio to nothing, same round', columns, rows);
}

function costTable(cells: readonly Cell[][]): string {
  const keys = [
    'perSecond',
    'p50',
    'p99',
    'serverMicros',
    'companionMicros',
    'workerMicros',
    'mainMicros',
    'helperMicros',
    'sinkMicros',
  ] as const;
  const columns = [
    { title: 'requests/s', digits: 0 },
    { title: 'p50 us', digits: 0 },
    { title: 'p99 us', digits: 0 },
    { title: 'server CPU us', digits: 1 },
    { title: 'agent CPU us', digits: 2, hasSpread: true },
    { title: 'worker', digits: 2 },
    { title: 'main', digits: 2 },
    { title: 'helpers', digits: 2 },
    { title: 'receiver', digits: 1 },
    { title: 'spans/request', digits: 4, hasSpread: true },
  ];
  const rows = STATES.map(
    ({ name }, at): Row => ({
      name,
      cells: [...keys, 'spansPerRequest' as const].map(key => spreadOf(column(cells[at] as Cell[], key))),
    }),
  );
  return renderTable('median, CPU per request', columns, rows);
}

function warningsOf(cells: readonly Cell[][]): string[] {
  const warnings: string[] = [];
  for (const [at, { name, spansPerRequest }] of STATES.entries()) {
    const mine = cells[at] as Cell[];
    const worst = mine.reduce((least, cell) => (cell.spansPerRequest < least.spansPerRequest ? cell : least));
    const tolerated = spansPerRequest < 1 ? TOLERATED_SAMPLE : TOLERATED_COVERAGE;
    if (spansPerRequest > 0 && worst.spansPerRequest < spansPerRequest * tolerated) {
      const share = worst.spansPerRequest.toFixed(4);
      warnings.push(
        `${name}: ${share} of ${spansPerRequest} spans a request arrived in the worst round:\n${worst.losses}`,
      );
    }
  }
  return warnings;
}
