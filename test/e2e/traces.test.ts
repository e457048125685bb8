// One request, one trace through processes that nobody instruments: nginx, Node.js, gunicorn, CGI programs, each calling
// others, while Node.js also calls from a timer. Every parent that is set has to be the right one (test/traces has the whole
// table); how many are set is held by generous floors.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startAgent } from '../support/agent.js';
import { Chain, judgeSpans, type Verdict } from '../support/chain.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';

const REQUESTS = 60;

function assertMostly(verdict: Verdict | undefined, count: number, share: number): void {
  assert.ok(verdict !== undefined, 'no call was seen');
  const { right, none, wrong, unjudged, examples } = verdict;
  assert.equal(wrong, 0, examples.join('\n'));
  assert.ok(right >= share * count, `${right} right, ${none} without a parent, ${unjudged} not judged, of ${count}`);
}

test('calls become children of the request that caused them, and of no other', async context => {
  const chain = new Chain();
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  context.after(async () => {
    await chain.stop();
    await receiver.close();
  });
  await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
  await chain.add('cgi', { kind: 'cgi', calls: ['leaf'] });
  await chain.add('gunicorn', { kind: 'gunicorn', calls: ['cgi', 'leaf'] });
  await chain.add('node', { kind: 'node', calls: ['leaf', 'gunicorn'], env: { TICK_MS: '5' } });
  await chain.add('nginx', { kind: 'nginx', calls: ['node'] });
  const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
  await chain.load('nginx', 1, REQUESTS / 2, 1);
  await chain.load('nginx', 1 + REQUESTS / 2, REQUESTS / 2, 6);
  await sleep(1000);
  await agent.stop();
  const { calls, requests, background } = judgeSpans(chain, receiver.spans(), 'nginx');
  assertMostly(calls.get('nginx'), REQUESTS, 0.9);
  assertMostly(calls.get('node'), 2 * REQUESTS, 0.4);
  assertMostly(calls.get('gunicorn'), 2 * REQUESTS, 0.9);
  assertMostly(calls.get('cgi'), REQUESTS, 0.7);
  assertMostly(requests, 6 * REQUESTS, 0.9);
  assert.equal(background.wrong, 0, background.examples.join('\n'));
  assert.ok(background.right > 0, 'calls from a timer were seen');
});
