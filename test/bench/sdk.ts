// Beside what a user would pick instead: one node server under wrk, alone, with @opentelemetry/auto-instrumentations-node in it
// (http only, OTLP by gRPC, default batching), and with our agent watching it. Same server, same load, same sink, in turn. The
// SDK is no dependency of ours: it is installed, at a stated version, where the benchmarks are built.
import { existsSync, writeFileSync } from 'node:fs';
import { buildPath } from '../../src/kernel/host.js';
import { startAgent } from '../support/agent.js';
import { Child, freePort, isListening, runCommand, until } from '../support/processes.js';
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { cpuOf } from './machine.js';
import { type LoadResult, loadUrl } from './nginx.js';
import type { Quiet } from './quiet.js';
import { Sink } from './sink.js';

const SDK = '@opentelemetry/auto-instrumentations-node';
const SDK_VERSION = '0.81.2';
const SDK_FOLDER = buildPath('bench/sdk');
/** The server is an ES module, whose imports the SDK's hook does not see: `http` is required once, and patched, before it. */
const PRELOAD = `require('${SDK}/register');\nrequire('http');\n`;
/** The SDK's and the server's code is optimised while they are warmed. */
const WARM_SECONDS = 4;
const LOAD_SECONDS = 3;
const CONNECTIONS = 32;

interface State {
  readonly name: string;
  readonly hasSdk: boolean;
  readonly hasAgent: boolean;
}

const STATES: readonly State[] = [
  { name: 'nothing', hasSdk: false, hasAgent: false },
  { name: 'SDK auto-instrumentation', hasSdk: true, hasAgent: false },
  { name: 'agent, every server span', hasSdk: false, hasAgent: true },
];

interface Cell extends LoadResult {
  readonly serverMicros: number;
  readonly agentMicros: number;
  /** Spans that reached the sink for each request, warm-up included. */
  readonly spansPerRequest: number;
}

async function installSdk(say: (text: string) => void): Promise<string> {
  if (existsSync(`${SDK_FOLDER}/preload.cjs`)) return '';
  say(`sdk: installing ${SDK}@${SDK_VERSION}`);
  const args = ['install', '--no-audit', '--no-fund', '--prefix', SDK_FOLDER, `${SDK}@${SDK_VERSION}`];
  const npm = await runCommand('npm', args, { timeoutMs: 240_000 });
  if (npm.exitCode !== 0) return `${SDK} could not be installed: ${npm.describe()}`;
  writeFileSync(`${SDK_FOLDER}/preload.cjs`, PRELOAD);
  return '';
}

function sdkEnvironment(sink: Sink): Record<string, string> {
  return {
    NODE_OPTIONS: `--require ${SDK_FOLDER}/preload.cjs`,
    OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'http',
    OTEL_NODE_RESOURCE_DETECTORS: 'none',
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    OTEL_EXPORTER_OTLP_ENDPOINT: sink.url,
  };
}

async function measure(state: State, sink: Sink): Promise<Cell> {
  const port = await freePort();
  const before = await sink.report();
  const env = state.hasSdk ? sdkEnvironment(sink) : {};
  const server = new Child(process.execPath, ['test/services/node-server.mjs', String(port), '/dev/null'], { env });
  try {
    await until('the node server', 20_000, () => isListening({ port }));
    const config = `selection: { include: [{ listen_port: ${port} }] }\n`;
    const agent = state.hasAgent ? await startAgent({ config, endpoint: sink.url }) : null;
    try {
      const load = (seconds: number) =>
        loadUrl(`http://127.0.0.1:${port}/bytes/612/1`, { seconds, connections: CONNECTIONS, threads: 1 });
      const warm = await load(WARM_SECONDS);
      const from = [cpuOf(server.pid).total, agent === null ? 0 : cpuOf(agent.pid).total] as const;
      const result = await load(LOAD_SECONDS);
      const to = [cpuOf(server.pid).total, agent === null ? 0 : cpuOf(agent.pid).total] as const;
      await agent?.stop();
      await server.stop();
      const { spans } = await sink.report();
      const each = (seconds: number): number => (seconds * 1e6) / result.requests;
      return {
        ...result,
        serverMicros: each(to[0] - from[0]),
        agentMicros: each(to[1] - from[1]),
        spansPerRequest: (spans - before.spans) / (warm.requests + result.requests),
      };
    } finally {
      await agent?.child.stop(1000, 'SIGKILL');
    }
  } finally {
    await server.stop(1000, 'SIGKILL');
  }
}

export async function runSdk(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const title = `a node server, and what watches it: ${SDK} ${SDK_VERSION} beside us`;
  const problem = await installSdk(say);
  if (problem !== '') return { title, tables: [], warnings: [`not measured: ${problem}`], data: null };
  const sink = await Sink.start();
  const cells: Cell[][] = STATES.map(() => []);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [at, state] of STATES.entries()) {
        say(`sdk, round ${round + 1} of ${rounds}: ${state.name}`);
        cells[at]?.push(await quiet.round(() => measure(state, sink)));
      }
    }
  } finally {
    await sink.stop();
  }
  return {
    title,
    tables: [tableOf(cells)],
    warnings: [],
    data: STATES.map(({ name }, at) => ({ name, rounds: cells[at] })),
  };
}

function tableOf(cells: readonly Cell[][]): string {
  const baseline = cells[0] as Cell[];
  const of = (mine: readonly Cell[], key: keyof Cell): number[] => mine.map(cell => cell[key]);
  const columns = [
    { title: 'requests/s', digits: 1, isShare: true, hasSpread: true },
    { title: 'p50', digits: 2, hasSpread: true },
    { title: 'p99', digits: 2, hasSpread: true },
    { title: 'added CPU us/request', digits: 1, hasSpread: true },
    { title: 'of it in the server', digits: 1 },
    { title: 'spans/request', digits: 3 },
    { title: 'requests/s', digits: 0 },
  ];
  const rows = STATES.map(({ name }, at): Row => {
    const mine = cells[at] as Cell[];
    const inServer = mine.map(({ serverMicros }, round) => serverMicros - (baseline[round] as Cell).serverMicros);
    return {
      name,
      cells: [
        ratioOf(of(mine, 'perSecond'), of(baseline, 'perSecond')),
        ratioOf(of(mine, 'p50'), of(baseline, 'p50')),
        ratioOf(of(mine, 'p99'), of(baseline, 'p99')),
        spreadOf(inServer.map((micros, round) => micros + (mine[round] as Cell).agentMicros)),
        spreadOf(inServer),
        spreadOf(of(mine, 'spansPerRequest')),
        spreadOf(of(mine, 'perSecond')),
      ],
    };
  });
  return renderTable('ratio to nothing, same round', columns, rows);
}
