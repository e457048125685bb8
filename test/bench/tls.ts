// What a user pays where requests are encrypted: nginx and a Node.js server over HTTPS under wrk, alone and with the agent that
// reads their plaintext and exports every server span, in turn. Each call into the library then runs probes in user space,
// which cost more than those at system calls.
import { startAgent } from '../support/agent.js';
import { makeCertificate } from '../support/certificate.js';
import { type Server, startNginx, startNodeServer } from '../support/servers.js';
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { cpuOf, cpuOfTree } from './machine.js';
import { type LoadResult, loadUrl } from './nginx.js';
import type { Quiet } from './quiet.js';
import { Sink } from './sink.js';

const LOAD = { connections: 50, threads: 2 };
const WARM_SECONDS = 2;
/** An agent's first seconds go to V8's compiler threads. */
const WARM_AGENT_SECONDS = 4;
const LOAD_SECONDS = 2;
const TOLERATED_COVERAGE = 0.995;

interface Cell extends LoadResult {
  /** CPU time in microseconds per request. */
  readonly serverMicros: number;
  readonly agentMicros: number;
  readonly spansPerRequest: number;
}

interface Pair {
  readonly name: string;
  readonly alone: Cell[];
  readonly observed: Cell[];
}

async function measure(server: Server, sink: Sink, isObserved: boolean): Promise<Cell> {
  const url = `${server.url}/bytes/2000/1`;
  const config = `selection: { include: [{ listen_port: ${server.port} }] }\n`;
  const agent = isObserved ? await startAgent({ config, endpoint: sink.url }) : null;
  const before = await sink.report();
  const warm = await loadUrl(url, { ...LOAD, seconds: isObserved ? WARM_AGENT_SECONDS : WARM_SECONDS }).catch(error => {
    return agent?.stop().then(() => Promise.reject(error)) ?? Promise.reject(error);
  });
  const cpu = () => [cpuOfTree(server.child.pid), agent === null ? 0 : cpuOf(agent.pid).total] as const;
  const from = cpu();
  const result = await loadUrl(url, { ...LOAD, seconds: LOAD_SECONDS });
  const to = cpu();
  await agent?.stop();
  const { spans } = await sink.report();
  const each = (seconds: number): number => (seconds * 1e6) / result.requests;
  return {
    ...result,
    serverMicros: each(to[0] - from[0]),
    agentMicros: each(to[1] - from[1]),
    // Handshakes have spans, too.
    spansPerRequest: (spans - before.spans) / (warm.requests + result.requests),
  };
}

export async function runTls(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const certificate = await makeCertificate();
  const servers: Server[] = [];
  const sink = await Sink.start();
  const pairs: Pair[] = [];
  try {
    servers.push(await startNginx({ certificate }), await startNodeServer({ certificate }));
    for (const { name } of servers) pairs.push({ name, alone: [], observed: [] });
    for (let round = 0; round < rounds; round++) {
      for (const [at, server] of servers.entries()) {
        for (const [state, isObserved] of [
          ['alone', false],
          ['observed', true],
        ] as const) {
          say(`tls, round ${round + 1} of ${rounds}: ${server.name}, ${state}`);
          pairs[at]?.[state].push(await quiet.round(() => measure(server, sink, isObserved)));
        }
      }
    }
  } finally {
    for (const server of servers) await server.stop();
    await sink.stop();
  }
  return {
    title: 'HTTPS under load: 50 connections, 2000 bytes, TLS 1.3, wrk on the same cores',
    tables: [tableOf(pairs)],
    warnings: pairs.flatMap(warningsOf),
    data: pairs,
  };
}

function tableOf(pairs: readonly Pair[]): string {
  const columns = [
    { title: 'requests/s, ratio', digits: 2, hasSpread: true },
    { title: 'p50, ratio', digits: 2 },
    { title: 'requests/s alone', digits: 0, hasSpread: true },
    { title: 'server µs/request alone', digits: 0 },
    { title: 'observed', digits: 0 },
    { title: 'agent µs/request', digits: 0 },
    { title: 'spans/request', digits: 3 },
  ];
  const rows: Row[] = pairs.map(({ name, alone, observed }) => {
    const of = (cells: readonly Cell[], key: keyof Cell) => cells.map(cell => cell[key]);
    return {
      name,
      cells: [
        ratioOf(of(observed, 'perSecond'), of(alone, 'perSecond')),
        ratioOf(of(observed, 'p50'), of(alone, 'p50')),
        spreadOf(of(alone, 'perSecond')),
        spreadOf(of(alone, 'serverMicros')),
        spreadOf(of(observed, 'serverMicros')),
        spreadOf(of(observed, 'agentMicros')),
        spreadOf(of(observed, 'spansPerRequest')),
      ],
    };
  });
  return renderTable('server', columns, rows);
}

function warningsOf({ name, observed }: Pair): string[] {
  const least = Math.min(...observed.map(cell => cell.spansPerRequest));
  if (least >= TOLERATED_COVERAGE) return [];
  return [`${name}: only ${(least * 100).toFixed(1)} % of the requests had their span in one of the rounds`];
}
