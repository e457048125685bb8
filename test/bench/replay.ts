// What the pipeline costs without its kernel: real traffic is recorded once (nginx and a node server at a rate that the agent
// follows), then run through the same stages in a process of its own. Exchanges a second on one core, bytes of garbage,
// bytes of OTLP, and which functions and stages they go to.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startAgent } from '../support/agent.js';
import { runCommand, temporaryDirectory } from '../support/processes.js';
import { type PartResult, type Row, renderTable, spreadOf } from './figures.js';
import { Nginx } from './nginx.js';
import { NodeServer } from './node-server.js';
import type { Share } from './profile.js';
import type { Quiet } from './quiet.js';
import type { ReplayOrder, ReplayReport } from './replay-process.js';

const PROGRAM = fileURLToPath(new URL('./replay-process.js', import.meta.url));
const RECORD_SECONDS = 8;
/** Requests a second, each seen on both sides. */
const NGINX_RATE = 15_000;
const NODE_RATE = 4000;
const CONNECTIONS = 50;
const WHOLE_SHARE = 0.95;
/** An agent that was cold has fallen behind. */
const SETTLE_MS = 2000;

interface Replayed {
  readonly name: string;
  readonly reports: readonly ReplayReport[];
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
  url: string,
  perSecond: number,
): Promise<Traffic> {
  const file = path.join(directory, `${name}.rec`);
  const agent = await startAgent({ command: ['record', file], config: selection });
  const rate = `--rps=${perSecond / CONNECTIONS}`;
  try {
    const load = await runCommand('h2load', ['--h1', '-t1', `-c${CONNECTIONS}`, `-D${RECORD_SECONDS}`, rate, url], {
      timeoutMs: RECORD_SECONDS * 1000 + 30_000,
    });
    if (load.exitCode !== 0) throw new Error(`h2load failed: ${load.describe()}`);
    await sleep(SETTLE_MS);
  } finally {
    await agent.stop();
  }
  return { name, file };
}

async function recordNginx(directory: string): Promise<Traffic> {
  const nginx = await Nginx.start();
  try {
    return await record(directory, 'nginx', nginx.selection('h2load'), nginx.url, NGINX_RATE);
  } finally {
    await nginx.stop();
  }
}

async function recordNode(directory: string): Promise<Traffic> {
  const server = await NodeServer.start();
  try {
    return await record(directory, 'node', server.selection('h2load'), server.url, NODE_RATE);
  } finally {
    await server.stop();
  }
}

async function replay(order: ReplayOrder): Promise<ReplayReport> {
  const child = await runCommand(process.execPath, [PROGRAM, JSON.stringify(order)], { timeoutMs: 120_000 });
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
      const reports: ReplayReport[] = [];
      for (let round = 0; round < rounds; round++) {
        say(`replay, round ${round + 1} of ${rounds}: ${what}`);
        const profiles = wantsSpans && name === 'nginx' && round === 0;
        reports.push(await quiet.round(() => replay({ file, wantsSpans, profiles })));
      }
      results.push({ name: what, reports });
    }
  }
  const profiled = results.flatMap(({ reports }) => reports).find(({ cpu }) => cpu !== null);
  return {
    title: 'the pipeline alone: recorded traffic, one thread, one pipeline from its first exchange on',
    tables: [
      figures(results),
      shares('CPU time by stage (nginx, spans and metrics)', profiled?.cpu?.byStage ?? []),
      shares('CPU self time by function', profiled?.cpu?.byFunction ?? []),
      shares('allocated bytes by stage', profiled?.heap?.byStage ?? []),
      shares('allocated bytes by function', profiled?.heap?.byFunction ?? []),
    ],
    warnings: results.flatMap(warningsOf),
    data: results,
  };
}

function figures(results: readonly Replayed[]): string {
  const columns = [
    { title: 'exchanges/s', digits: 0, hasSpread: true },
    { title: 'ns/exchange', digits: 0, hasSpread: true },
    { title: 'CPU ns/exchange', digits: 0 },
    { title: 'the first 20,000', digits: 0 },
    { title: 'heap B/exchange', digits: 0 },
    { title: 'OTLP B/span', digits: 0 },
    { title: 'recorded B', digits: 0 },
    { title: 'exchanges', digits: 0 },
  ];
  const rows = results.map(({ name, reports }): Row => {
    const stretches = reports.flatMap(report => report.stretches);
    const { spans, otlpBytes, fileBytes, exchanges } = reports[0] as ReplayReport;
    return {
      name,
      cells: [
        spreadOf(stretches.map(({ wallNs }) => 1e9 / wallNs)),
        spreadOf(stretches.map(({ wallNs }) => wallNs)),
        spreadOf(stretches.map(({ cpuNs }) => cpuNs)),
        spreadOf(reports.map(({ cold }) => cold.cpuNs)),
        spreadOf(reports.map(({ heapBytes }) => heapBytes)),
        spans === 0 ? '-' : otlpBytes / spans,
        fileBytes / exchanges,
        exchanges,
      ],
    };
  });
  return renderTable('recorded traffic', columns, rows);
}

/** A record that found the ring full costs the pipeline little. */
function warningsOf({ name, reports }: Replayed): string[] {
  const { spans, exchanges } = reports[0] as ReplayReport;
  if (spans === 0 || spans >= exchanges * WHOLE_SHARE) return [];
  return [`${name}: only ${spans} of ${exchanges} exchanges were recorded whole: all figures are too low`];
}

function shares(title: string, list: readonly Share[]): string {
  const rows = list.filter(({ share }) => share >= 0.005).map(({ name, share }): Row => ({ name, cells: [share] }));
  return renderTable(title, [{ title: 'share', digits: 1, isShare: true }], rows);
}
