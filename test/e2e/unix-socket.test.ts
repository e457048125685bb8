// HTTP over unix sockets: both sides are seen and are one trace, though there are neither addresses nor TCP sequences.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { collectSpans, startAgent } from '../support/agent.js';
import { compareDurations, compareSpans, distribution, head, median, shareOf } from '../support/compare.js';
import { makePunctual } from '../support/experiment.js';
import { Load } from '../support/load-client.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { runCommand, temporaryDirectory } from '../support/processes.js';
import { type Server, startNginx, startNodeServer } from '../support/servers.js';
import { CLIENT, describe, number, pidOf, SERVER, startMs, takenDurationMs, text } from '../support/spans.js';

const REQUESTS = 600;
const starts: readonly (readonly [string, (socketPath: string) => Promise<Server>])[] = [
  ['nginx', socketPath => startNginx({ socketPath })],
  ['node', socketPath => startNodeServer({ socketPath })],
];

for (const [name, start] of starts) {
  test(`${name} on a unix socket`, async t => {
    const receiver = await startOtlpReceiver({ grpc: true, http: false });
    const server = await start(path.join(temporaryDirectory('socket'), 'http.sock'));
    try {
      const agent = await startAgent({ endpoint: receiver.grpcUrl });
      const child = await runCommand('curl', [
        ...['--silent', '--fail', '--output', '/dev/null', '--unix-socket', server.socketPath],
        'http://localhost/status/200/curl',
      ]);
      assert.equal(child.exitCode, 0, child.describe());
      await makePunctual(server.pids());
      const options = { ...server.target, profile: server.profile, seed: 5, connections: 8, requests: REQUESTS };
      const load = new Load({ ...options, areUploadsEchoed: server.areUploadsEchoed, pauseMs: 1 }, true);
      const { summary, entries } = await load.result();
      assert.equal(summary.failed, 0, summary.firstErrors.join('\n'));
      const pids = new Set(server.pids());
      const log = await server.accessLog(REQUESTS + 1);
      const serverSpans = await collectSpans(
        receiver,
        span => span.kind === SERVER && pids.has(pidOf(span)),
        log.length,
      );
      const clientPids = new Set([load.pid, child.pid]);
      const isClient = (pid: number) => clientPids.has(pid);
      const clientSpans = await collectSpans(
        receiver,
        span => span.kind === CLIENT && isClient(pidOf(span)),
        log.length,
      );
      const byServer = compareSpans(log, serverSpans);
      const curl = {
        method: 'GET',
        path: '/status/200/curl',
        status: 200,
        startMs: Number.NaN,
        durationMs: Number.NaN,
      };
      const byClient = compareSpans([curl, ...entries], clientSpans);

      const losses = await agent.losses();
      t.diagnostic(`losses: ${losses === '' ? 'none' : losses}`);

      await t.test('SERVER spans equal the access log', () => {
        const { missing, extra, wrong } = byServer;
        assert.equal(byServer.pairs.length, REQUESTS + 1, head(missing));
        assert.deepEqual({ missing, extra, wrong }, { missing: [], extra: [], wrong: [] });
      });
      await t.test("CLIENT spans equal the client's log", () => {
        const { missing, extra, wrong } = byClient;
        assert.deepEqual({ missing, extra, wrong }, { missing: [], extra: [], wrong: [] });
      });
      await t.test('durations', inner => {
        const report = compareDurations(byServer.pairs, server.format.resolutionMs, takenDurationMs);
        inner.diagnostic(`${name} on a unix socket, SERVER duration error in ms: ${distribution(report.errors)}`);
        const allowed = Math.floor(REQUESTS * 0.03);
        assert.ok(report.faults.length <= allowed, head(report.faults.map(fault => fault.description)));
        const errorMs = Math.abs(median(report.errors));
        assert.ok(errorMs < 0.5, `the middle is ${errorMs} ms off`);
      });
      await t.test('SERVER spans start when the request reaches the socket', inner => {
        const clients = new Map(byClient.pairs.map(pair => [pair.witness.path, pair.span]));
        const lates = byServer.pairs.map(({ witness, span }) => {
          const client = clients.get(witness.path);
          return client === undefined ? Number.NaN : startMs(span) - startMs(client);
        });
        inner.diagnostic(`SERVER start after the CLIENT's in ms: ${distribution(lates)}`);
        const waits = serverSpans.map(span => number(span, 'underspan.receive.wait'));
        inner.diagnostic(`underspan.receive.wait in s: ${distribution(waits)}`);
        assert.ok(shareOf(waits, wait => wait > 0) > 0.9, 'a request waits in the queue, if only for microseconds');
        assert.ok(shareOf(lates, late => late >= 0 && late < 1) > 0.9, 'the write puts the request into the queue');
      });
      await t.test('the transport is unix, on both sides', () => {
        const wrong = [...serverSpans, ...clientSpans].filter(span => text(span, 'network.transport') !== 'unix');
        assert.deepEqual(wrong.slice(0, 3).map(describe), []);
      });
      await t.test('client and server span are one trace', () => {
        const clients = new Map(byClient.pairs.map(pair => [pair.witness.path, pair.span]));
        const torn = byServer.pairs.filter(
          ({ witness, span }) => clients.get(witness.path)?.spanId !== span.parentSpanId,
        );
        assert.equal(torn.length, 0, `of ${byServer.pairs.length}: ${head(torn.map(pair => describe(pair.span)))}`);
      });
      await agent.stop();
    } finally {
      await server.stop();
      await receiver.close();
    }
  });
}
