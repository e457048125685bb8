// What the pipeline costs without its kernel: real traffic is recorded once (nginx and a node server under wrk), then run
// through the same stages in a process of its own. Exchanges a second on one core, bytes of garbage, bytes of OTLP, and
// which functions and stages they go to.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startAgent } from '../support/agent.js';
import { Child, freePort, isListening, runCommand, temporaryDirectory, until } from '../support/processes.js';
import { type PartResult, type Row, renderTable, spreadOf } from './figures.js';
import { Nginx } from './nginx.js';
import type { Share } from './profile.js';
import type { Quiet } from './quiet.js';
import type { ReplayOrder, ReplayReport } from './replay-process.js';

const PROGRAM = fileURLToPath(new URL('./replay-process.js', import.meta.url));
const RECORD_SECONDS = 1;
const PASSES_PER_ROUND = 3;
/** A full ring is behind a saturated server, and an agent that is told to stop has two seconds for it. */
const SETTLE_MS = 4000;

interface Replayed {
  readonly name: string;
  readonly exchanges: number;
  readonly report: ReplayReport;
}

interface Traffic {
  readonly name: string;
  readonly file: string;
}

/** A recording of one load; the agent sees the server's and the client's side. */
async function record(
  directory: string,
  name: string,
  selection: string,
  load: () => Promise<unknown>,
): Promise<Traffic> {
  const file = path.join(directory, `${name}.rec`);
  const agent = await startAgent({ command: ['record', file], config: selection });
  try {
    await load();
    await sleep(SETTLE_MS);
  } finally {
    await agent.stop();
  }
  return { name, file };
}

async function recordNginx(directory: string): Promise<Traffic> {
  const nginx = await Nginx.start();
  try {
    return await record(directory, 'nginx', nginx.selection('wrk'), () => nginx.load(RECORD_SECONDS));
  } finally {
    await nginx.stop();
  }
}

async function recordNode(directory: string): Promise<Traffic> {
  const port = await freePort();
  const server = new Child(process.execPath, ['test/services/node-server.mjs', String(port), '/dev/null']);
  try {
    await until('the node server', 10_000, () => isListening({ port }));
    const load = () =>
      runCommand('wrk', ['-t1', '-c50', `-d${RECORD_SECONDS}s`, `http://127.0.0.1:${port}/bytes/612/1`]);
    const selection = `selection: { include: [{ listen_port: ${port} }, { peer_port: ${port} }] }\n`;
    return await record(directory, 'node', selection, load);
  } finally {
    await server.stop();
  }
}

async function replay(order: ReplayOrder): Promise<ReplayReport> {
  const command = ['--expose-gc', PROGRAM, JSON.stringify(order)];
  const child = await runCommand(process.execPath, command, { timeoutMs: 120_000 });
  if (child.exitCode !== 0) throw new Error(`the replay failed: ${child.describe()}`);
  return JSON.parse(child.stdout) as ReplayReport;
}

export async function runReplay(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const directory = temporaryDirectory('replay');
  say('replay: recording');
  const traffics = [await recordNginx(directory), await recordNode(directory)];
  const results: Replayed[] = [];
  for (const { name, file } of traffics) {
    for (const wantsSpans of [true, false]) {
      const what = `${name}, ${wantsSpans ? 'spans and metrics' : 'metrics only'}`;
      say(`replay: ${what}`);
      const profiles = wantsSpans && name === 'nginx';
      const order = { file, wantsSpans, passes: PASSES_PER_ROUND * rounds, profiles };
      const report = await quiet.round(() => replay(order));
      // Without spans nothing leaves, but it is the same recording.
      const exchanges = wantsSpans ? report.spans : (results.at(-1)?.exchanges ?? 0);
      if (exchanges === 0) throw new Error(`the recording of ${name} holds no exchange`);
      results.push({ name: what, exchanges, report });
    }
  }
  const profiled = results.find(({ report }) => report.cpu !== null)?.report;
  return {
    title: 'the pipeline alone: recorded traffic, one thread, warm code (each pass with a pipeline of its own)',
    tables: [
      figures(results),
      shares('CPU time by stage (nginx, spans and metrics)', profiled?.cpu?.byStage ?? []),
      shares('CPU self time by function', profiled?.cpu?.byFunction ?? []),
      shares('allocated bytes by stage', profiled?.heap?.byStage ?? []),
      shares('allocated bytes by function', profiled?.heap?.byFunction ?? []),
    ],
    warnings: [],
    data: results,
  };
}

function figures(results: readonly Replayed[]): string {
  const columns = [
    { title: 'exchanges/s', digits: 0, hasSpread: true },
    { title: 'ns/exchange', digits: 0, hasSpread: true },
    { title: 'CPU ns/exchange', digits: 0, hasSpread: true },
    { title: 'heap B/exchange', digits: 0 },
    { title: 'OTLP B/span', digits: 0 },
    { title: 'recorded B', digits: 0 },
    { title: 'exchanges', digits: 0 },
  ];
  const rows = results.map(({ name, exchanges, report }): Row => {
    const { passes, spans, otlpBytes, fileBytes, heapBytes } = report;
    return {
      name,
      cells: [
        spreadOf(passes.map(({ wallMs }) => (exchanges / wallMs) * 1000)),
        spreadOf(passes.map(({ wallMs }) => (wallMs * 1e6) / exchanges)),
        spreadOf(passes.map(({ cpuMs }) => (cpuMs * 1e6) / exchanges)),
        heapBytes / exchanges,
        spans === 0 ? '-' : otlpBytes / spans,
        fileBytes / exchanges,
        exchanges,
      ],
    };
  });
  return renderTable('recorded traffic', columns, rows);
}

function shares(title: string, list: readonly Share[]): string {
  const rows = list.filter(({ share }) => share >= 0.005).map(({ name, share }): Row => ({ name, cells: [share] }));
  return renderTable(title, [{ title: 'share', digits: 1, isShare: true }], rows);
}
