// A recording replayed without the kernel gives the same spans as the live run: all that the server logged, with the same
// times, and twice the same.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Agent, collectSpans, spawnAgent } from '../support/agent.js';
import { compareSpans, head } from '../support/compare.js';
import { runLoad } from '../support/load-client.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { freePort, temporaryDirectory } from '../support/processes.js';
import { startNodeServer } from '../support/servers.js';
import { CLIENT, type DecodedSpan, describe, methodOf, pathOfSpan, pidOf, SERVER, statusOf } from '../support/spans.js';

const REQUESTS = 400;

/** What must not differ between two replays, or a replay and the live run. */
function essence(span: DecodedSpan): string {
  const what = `${span.kind} ${methodOf(span)} ${pathOfSpan(span)} ${statusOf(span)}`;
  const phases = [...span.attributes]
    .filter(([key]) => key.startsWith('underspan.'))
    .map(([key, value]) => `${key}=${String(value)}`)
    .sort();
  return `${what} ${span.startUnixNs} ${span.endUnixNs} ${phases.join(' ')}`;
}

test('record, then replay: the same spans', async t => {
  const directory = temporaryDirectory('recording');
  const file = path.join(directory, 'batches.bin');
  const live = await startOtlpReceiver({ grpc: true, http: false });
  const first = await startOtlpReceiver({ grpc: true, http: false });
  const second = await startOtlpReceiver({ grpc: true, http: false });
  const server = await startNodeServer();
  try {
    const port = await freePort();
    const env = { UNDERSPAN_ADMIN_PORT: String(port) };
    const child = await spawnAgent({ endpoint: live.grpcUrl, command: ['record', file], env });
    const agent = await new Agent(child, port).ready(20_000);
    const options = { profile: server.profile, seed: 7, connections: 20, requests: REQUESTS, areUploadsEchoed: true };
    const { summary } = await runLoad({ ...server.target, ...options });
    assert.equal(summary.failed, 0, summary.firstErrors.join('\n'));
    const log = await server.accessLog(REQUESTS);
    await agent.stop();
    assert.ok(statSync(file).size > REQUESTS * 100, `a recording of ${statSync(file).size} bytes`);

    const isOurs = (span: DecodedSpan) => /\/\d+$/.test(pathOfSpan(span)) && [SERVER, CLIENT].includes(span.kind);
    const replay = async (receiver: typeof first): Promise<DecodedSpan[]> => {
      const player = await spawnAgent({ endpoint: receiver.grpcUrl, command: ['replay', file] });
      await player.finished(30_000);
      assert.equal(player.exitCode, 0, player.describe());
      return collectSpans(receiver, isOurs, 2 * REQUESTS);
    };
    const replayed = await replay(first);
    const again = await replay(second);

    await t.test('the replayed SERVER spans equal the access log', () => {
      const spans = replayed.filter(span => span.kind === SERVER && pidOf(span) === server.child.pid);
      const { missing, extra, wrong } = compareSpans(log, spans);
      assert.deepEqual({ missing, extra, wrong }, { missing: [], extra: [], wrong: [] });
    });
    await t.test('a second replay gives the same', () => {
      assert.ok(replayed.length >= 2 * REQUESTS, `${replayed.length} spans`);
      assert.deepEqual(again.map(essence).sort(), replayed.map(essence).sort());
    });
    await t.test('what was exported live while recording is in the replay, identical', () => {
      const known = new Set(replayed.map(essence));
      const different = live.spans().filter(span => isOurs(span) && !known.has(essence(span)));
      assert.equal(different.length, 0, head(different.map(describe)));
    });
  } finally {
    await server.stop();
    await Promise.all([live.close(), first.close(), second.close()]);
  }
});
