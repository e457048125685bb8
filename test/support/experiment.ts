// The central experiment: a real server under load while the agent watches all processes, with three witnesses: the
// server's own access log, the client's own log, and the plan that says what was sent. Two phases: `load` (many
// connections, as fast as possible) and `calm` (few connections with pauses, where clocks can be compared without the
// scheduler's noise). The experiment collects; verdicts.ts judges.
import type { AccessEntry } from './access-log.js';
import { type Agent, collectSpans, startAgent } from './agent.js';
import { type Comparison, compareSpans } from './compare.js';
import type { LoadEntry, LoadSummary } from './load.js';
import { Load } from './load-client.js';
import { type PlannedRequest, planRequest } from './load-plan.js';
import { startOtlpReceiver } from './otlp-receiver.js';
import { runCommand } from './processes.js';
import type { Server } from './servers.js';
import { CLIENT, type DecodedSpan, pathOfSpan, pidOf, SERVER, startMs } from './spans.js';

export interface PhaseOptions {
  readonly connections: number;
  readonly requests: number;
  readonly pauseMs?: number;
  /** Server and client get a real-time priority: their own clocks are then hardly disturbed by other processes. */
  readonly isPunctual?: boolean;
  /** Share of the server's own durations that are not to be trusted; see ground-truth.ts. */
  readonly witnessNoise?: number;
}

/** What one phase left behind. */
export interface Phase {
  readonly name: string;
  readonly server: Server;
  readonly plans: ReadonlyMap<string, PlannedRequest>;
  readonly summary: LoadSummary;
  readonly clientLog: readonly LoadEntry[];
  readonly accessLog: readonly AccessEntry[];
  /** Against the access log. */
  readonly serverSide: Comparison<AccessEntry>;
  /** Against the client's log. */
  readonly clientSide: Comparison<LoadEntry>;
  /** What the agent says it lost. */
  readonly losses: string;
}

export async function runPhase(
  name: string,
  server: Server,
  agent: Agent,
  receiver: { spans(): readonly DecodedSpan[] },
  options: PhaseOptions & { seed: number; firstNumber: number; loggedBefore: number },
): Promise<Phase> {
  const plans = new Map<string, PlannedRequest>();
  for (let index = 0; index < options.requests; index++) {
    const plan = planRequest(server.profile, options.seed, options.firstNumber + index);
    plans.set(plan.path, plan);
  }
  if (options.isPunctual) await makePunctual(server.pids());
  const load = new Load(
    {
      ...server.target,
      isSecure: server.isSecure,
      profile: server.profile,
      seed: options.seed,
      connections: options.connections,
      requests: options.requests,
      firstNumber: options.firstNumber,
      areUploadsEchoed: server.areUploadsEchoed,
      pauseMs: options.pauseMs ?? 0,
      isWarmedUp: options.isPunctual ?? false,
    },
    options.isPunctual,
  );
  const { summary, entries } = await load.result();
  const pids = new Set(server.pids());
  const all = await server.accessLog(options.loggedBefore + options.requests);
  const accessLog = all.filter(entry => plans.has(entry.path));
  const firstMs = Math.min(...entries.map(entry => entry.startMs)) - 50;
  const isOfServer = (span: DecodedSpan) => span.kind === SERVER && pids.has(pidOf(span)) && startMs(span) >= firstMs;
  const isOfClient = (span: DecodedSpan) =>
    span.kind === CLIENT && pidOf(span) === load.pid && pathOfSpan(span) !== '/warm-up';
  const serverSpans = await collectSpans(receiver, isOfServer, accessLog.length);
  const clientSpans = await collectSpans(receiver, isOfClient, entries.length, 3000);
  return {
    name,
    server,
    plans,
    summary,
    clientLog: entries,
    accessLog,
    serverSide: compareSpans(accessLog, serverSpans),
    clientSide: compareSpans(entries, clientSpans),
    losses: await agent.losses(),
  };
}

/** Puts all threads of these processes, and those to come, before all ordinary ones. */
export async function makePunctual(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    const child = await runCommand('chrt', ['--all-tasks', '--rr', '--pid', '1', String(pid)]);
    if (child.exitCode !== 0) throw new Error(`no real-time priority for ${pid}: ${child.describe()}`);
  }
}

/** Starts everything, runs both phases, stops everything. */
export async function experiment(
  start: () => Promise<Server>,
  load: PhaseOptions,
  calm: PhaseOptions,
  seed = 1,
): Promise<{ load: Phase; calm: Phase }> {
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  const server = await start();
  try {
    // What is lost when an agent does not get its turn is another test's question (coverage.test.ts).
    const env = { UNDERSPAN_KERNEL_DATA_RING_BYTES: String(64 << 20) };
    const agent = await startAgent({ endpoint: receiver.grpcUrl, env });
    try {
      const first = await runPhase('load', server, agent, receiver, {
        ...load,
        seed,
        firstNumber: 0,
        loggedBefore: 0,
      });
      const second = await runPhase('calm', server, agent, receiver, {
        ...calm,
        seed,
        firstNumber: load.requests,
        loggedBefore: first.accessLog.length,
      });
      await agent.stop();
      return { load: first, calm: second };
    } finally {
      await agent.child.stop(1000, 'SIGKILL');
    }
  } finally {
    await server.stop();
    await receiver.close();
  }
}
