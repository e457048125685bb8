// The books under overload and after it: rings and tables at their smallest, drained once a second, an exporter that is
// slow and then refuses. Whatever is lost then, no span is wrong and the sums are exact; under an ordinary load afterwards,
// by the same agent, nothing is lost. What `underspan coverage` prints is what the receiver got.
import assert from 'node:assert/strict';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Coverage, ServiceCoverage } from '../../src/cli/coverage.js';
import { parseSamples, readCoverage } from '../../src/cli/coverage.js';
import { type Agent, get, runUnderspan, startAgent } from '../support/agent.js';
import { compareSpans, head } from '../support/compare.js';
import type { LoadEntry } from '../support/load.js';
import { Load, type LoadResult } from '../support/load-client.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { until } from '../support/processes.js';
import { type Server, startNodeServer } from '../support/servers.js';
import { CLIENT, type DecodedSpan, pidOf, SERVER, serviceOf } from '../support/spans.js';

const config = (port: number): string => `
selection: { include: [{ listen_port: ${port} }, { peer_port: ${port} }] }
kernel: { data_ring_bytes: 1048576, max_connections: 300, drain_interval_ms: 250 }
limits: { max_exchanges: 256 }
traces: { connect_spans: false, max_queue_size: 512, max_queue_bytes: 1048576, max_export_batch_size: 128 }
`;
const OVERLOAD = { connections: 160, requests: 9000, seed: 21 };
const REFUSED = { connections: 2, requests: 100, seed: 23, firstNumber: 50_000 };
const ORDINARY = { connections: 4, requests: 300, seed: 22, pauseMs: 40, firstNumber: 100_000 };

async function booksOf(agent: Agent): Promise<Coverage> {
  const coverage = readCoverage(parseSamples((await get(`${agent.adminUrl}/metrics`)).body));
  assert.ok(coverage !== null);
  return coverage;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** The books once nothing is open, waiting or still in a ring. They balance at every look. */
async function settled(agent: Agent): Promise<Coverage> {
  let books = await booksOf(agent);
  let quietLooks = 0;
  await until(
    'the books to settle',
    15_000,
    async () => {
      const before = books;
      books = await booksOf(agent);
      assert.ok(books.isBalanced, JSON.stringify(books));
      const isSame = isDeepStrictEqual(books.services, before.services);
      const isQuiet = isSame && books.open === 0 && sum(books.queueBytes) === 0;
      quietLooks = isQuiet ? quietLooks + 1 : 0;
      return quietLooks > 3 ? true : null;
    },
    250,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(books)}`);
  });
  return books;
}

function serviceNamed(books: Coverage, name: string): ServiceCoverage {
  const found = books.services.find(({ service }) => service === name);
  assert.ok(found, `${name} in ${JSON.stringify(books.services)}`);
  return found;
}

async function loadOf(server: Server, options: typeof OVERLOAD): Promise<LoadResult & { readonly pid: number }> {
  const load = new Load({ ...server.target, profile: server.profile, areUploadsEchoed: true, ...options });
  const result = await load.result();
  assert.equal(result.summary.failed, 0, result.summary.firstErrors.join('\n'));
  return { ...result, pid: load.pid };
}

/** Each span against the client's log: what is missing, and what is not true. */
function judge(spans: readonly DecodedSpan[], pid: number, kind: number, entries: readonly LoadEntry[]) {
  const own = spans.filter(span => pidOf(span) === pid && span.kind === kind);
  const { missing, extra, wrong } = compareSpans(entries, own);
  return { count: own.length, missing, untrue: [...extra, ...wrong] };
}

test('overload: no wrong span, the books balance; afterwards everything is exact again', async t => {
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  const server = await startNodeServer();
  const agent = await startAgent({ endpoint: receiver.grpcUrl, config: config(server.port) });
  try {
    receiver.setFault({ kind: 'slow', delayMs: 500 });
    const flood = await loadOf(server, OVERLOAD);
    // Until spans have met it: a request of metrics may be the first, and the queue may be empty by now.
    receiver.setFault({ kind: 'refuse', message: 'no' });
    const refused = await loadOf(server, REFUSED);
    await receiver.waitFor(() =>
      receiver.requests().some(({ signal, fault }) => signal === 'traces' && fault === 'refuse'),
    );
    receiver.setFault(null);
    const after = await settled(agent);
    const arrived = [...receiver.spans()];

    await t.test('something was lost in the kernel, and by the exporter', inner => {
      inner.diagnostic(JSON.stringify(after));
      assert.ok(sum(after.recordsDropped) > 0);
      assert.ok(sum(after.connectionsDropped) > 0);
      assert.ok((after.spansDropped.queue_full ?? 0) > 0);
      assert.ok((after.spansDropped.queue_refused ?? 0) > 0);
    });
    for (const [name, pid, kind, entries] of [
      ['SERVER', server.child.pid, SERVER, [...flood.entries, ...refused.entries]],
      ['CLIENT', flood.pid, CLIENT, flood.entries],
    ] as const) {
      await t.test(`no ${name} span is wrong`, inner => {
        const { count, missing, untrue } = judge(arrived, pid, kind, entries);
        inner.diagnostic(`${count} spans, ${missing.length} of ${entries.length} requests without one`);
        assert.ok(count > 50, 'enough to judge');
        assert.equal(untrue.length, 0, head(untrue));
      });
    }
    await t.test('exported = arrived + dropped by the exporter', () => {
      assert.equal(after.total.exported, arrived.length + sum(after.spansDropped));
      assert.equal(sum(after.spansExported), arrived.length);
    });
    await t.test('no service has more spans than its books say', () => {
      for (const { service, exported, seen } of after.services) {
        const count = arrived.filter(span => serviceOf(span) === service).length;
        assert.ok(count <= exported && exported <= seen, `${service}: ${count}, ${exported}, ${seen}`);
      }
      for (const span of arrived) serviceNamed(after, serviceOf(span));
    });

    receiver.clear();
    const calm = await loadOf(server, ORDINARY);
    const end = await settled(agent);
    const spans = [...receiver.spans()];
    await t.test('an ordinary load afterwards is told in full', () => {
      for (const [pid, kind] of [
        [server.child.pid, SERVER],
        [calm.pid, CLIENT],
      ] as const) {
        const { missing, untrue } = judge(spans, pid, kind, calm.entries);
        assert.equal(missing.length, 0, head(missing));
        assert.equal(untrue.length, 0, head(untrue));
      }
    });
    await t.test('and every service has exactly the spans that its books say', () => {
      assert.equal(sum(end.spansDropped), sum(after.spansDropped));
      assert.equal(end.recordsDropped.data_ring_full, after.recordsDropped.data_ring_full);
      for (const { service, seen, exported } of end.services) {
        const before = after.services.find(other => other.service === service);
        const count = spans.filter(span => serviceOf(span) === service).length;
        assert.equal(exported - (before?.exported ?? 0), count, service);
        if (service === 'node-server') assert.equal(seen - (before?.seen ?? 0), ORDINARY.requests);
      }
    });
    await t.test('underspan coverage prints these books', async () => {
      const table = await runUnderspan(['coverage', '--url', agent.adminUrl]);
      assert.equal(table.exitCode, 0, table.describe());
      const row = serviceNamed(end, 'node-server');
      assert.match(table.stdout, new RegExp(`^node-server +${row.seen} +${row.exported} +${row.lost} `, 'm'));
      const json = await runUnderspan(['coverage', '--json', '--url', agent.adminUrl]);
      assert.equal((JSON.parse(json.stdout) as { balanced: boolean }).balanced, true);
    });
    await agent.stop();
    const gone = await runUnderspan(['coverage', '--url', agent.adminUrl]);
    assert.equal(gone.exitCode, 3, gone.describe());
  } finally {
    await agent.child.stop(100, 'SIGKILL');
    await server.stop();
    await receiver.close();
  }
});
