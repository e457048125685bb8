// The agent comes and goes while servers work at full load: not one request fails, what it saw in passing is true, and
// after SIGKILL nothing of it is left in the kernel.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bpfObjectsOf, collectSpans, startAgent } from '../support/agent.js';
import { compareSpans, head } from '../support/compare.js';
import { Load } from '../support/load-client.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { runCommand, until } from '../support/processes.js';
import { type Server, startNginx, startNodeServer } from '../support/servers.js';
import { type DecodedSpan, pathOfSpan, pidOf, SERVER } from '../support/spans.js';
import { countedGaps } from '../support/verdicts.js';

/** All BPF programs, maps and links in the kernel. */
async function bpfObjects(): Promise<Set<string>> {
  const child = await runCommand('/usr/bin/python3', ['test/services/bpf-ids.py']);
  assert.equal(child.exitCode, 0, child.describe());
  return new Set(child.stdout.trimEnd().split('\n'));
}

function endlessLoad(server: Server, seed: number): Load {
  return new Load({
    ...server.target,
    profile: server.profile,
    seed,
    connections: 50,
    requests: 0,
    areUploadsEchoed: server.areUploadsEchoed,
  });
}

test('attach and SIGKILL under load: no request fails, nothing stays in the kernel', async t => {
  const servers = [await startNginx(), await startNodeServer()];
  const loads = servers.map((server, index) => endlessLoad(server, index + 1));
  try {
    await sleep(500);
    for (let round = 1; round <= 2; round++) {
      const agent = await startAgent({ readyTimeoutMs: 60_000 }); // the load takes all processors
      const held = bpfObjectsOf(agent.pid);
      const before = await bpfObjects();
      assert.ok(
        held.some(id => id.startsWith('prog ')),
        `the agent holds BPF programs, not ${held.join(', ')}`,
      );
      for (const id of held) assert.ok(before.has(id), `${id} is known to the kernel`);
      await sleep(700);
      agent.child.kill('SIGKILL');
      await agent.child.exited;
      await t.test(`round ${round}: none of the ${held.length} BPF objects outlives the agent by 2 s`, async () => {
        const gone = async () => {
          const now = await bpfObjects();
          return held.some(id => now.has(id)) ? null : true;
        };
        await until('the BPF objects of the dead agent to go', 2000, gone, 100);
      });
      await sleep(300);
    }
    for (const load of loads) load.finish();
    for (const [index, load] of loads.entries()) {
      const { summary } = await load.result();
      const name = servers[index]?.name ?? '';
      t.diagnostic(
        `${name}: ${summary.requests} requests in ${summary.seconds.toFixed(1)} s, ${summary.failed} failed`,
      );
      await t.test(`${name}: not one failed request`, () => {
        assert.equal(summary.failed, 0, summary.firstErrors.join('\n'));
        assert.ok(summary.requests > 500, `only ${summary.requests} requests: no load`);
      });
    }
  } finally {
    for (const load of loads) await load.child.stop(100, 'SIGKILL');
    for (const server of servers) await server.stop();
  }
});

test('attach under load: what is seen of connections in mid-life is true and soon complete', async t => {
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  const server = await startNginx();
  const load = endlessLoad(server, 3);
  try {
    await sleep(500);
    // Others on the machine are not this test's business, nor the ring's.
    const config = `selection: { include: [{ listen_port: ${server.port} }] }`;
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config });
    const readyMs = Date.now();
    await sleep(1000);
    load.finish();
    const { summary, entries } = await load.result();
    assert.equal(summary.failed, 0, summary.firstErrors.join('\n'));
    const late = entries.filter(entry => entry.startMs > readyMs + 100);
    const latePaths = new Set(late.map(entry => entry.path));
    assert.ok(late.length > 100, `only ${late.length} requests after the agent was ready`);
    const pids = new Set(server.pids());
    const isOurs = (span: DecodedSpan) => span.kind === SERVER && pids.has(pidOf(span));
    await collectSpans(receiver, span => isOurs(span) && latePaths.has(pathOfSpan(span)), late.length);
    const spans = receiver.spans().filter(isOurs);
    const all = compareSpans(entries, spans);
    const missing = all.missing.filter(line => latePaths.has(line.split(' ')[1] ?? ''));
    const seenLate = spans.filter(span => latePaths.has(pathOfSpan(span))).length;
    t.diagnostic(`${entries.length} requests, ${late.length} after readiness, ${spans.length} spans, ${seenLate} late`);
    await t.test('every span is a request that was made, with its own status', () => {
      assert.deepEqual({ extra: all.extra.slice(0, 5), wrong: all.wrong.slice(0, 5) }, { extra: [], wrong: [] });
    });
    // nginx answers large chunked uploads early; a request that it reads with the end of such a body cannot be seen, and
    // shows as a loss (early-answer.test.ts).
    await t.test(
      'every request that began 100 ms after readiness or later has its span, or all but 1 in 1000 are counted',
      async () => {
        const losses = await agent.losses();
        const message = `of ${late.length}: ${missing.length}, ${head(missing)}\n${losses}`;
        assert.ok(missing.length <= Math.max(countedGaps(losses), 0.001 * late.length), message);
        // A machine that cannot give the agent its turn fills the ring: counted, and not what is asked here.
        if (!losses.includes('data_ring_full')) assert.ok(missing.length <= 0.01 * late.length, message);
      },
    );
    await agent.stop();
  } finally {
    await load.child.stop(100, 'SIGKILL');
    await server.stop();
    await receiver.close();
  }
});
