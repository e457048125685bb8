// The hostile pair on two hosts: network namespaces joined by a veth pair and by a network that delays, loses and reorders.
import assert from 'node:assert/strict';
import test, { after, before, type TestContext } from 'node:test';
import { BODIES, PIPELINES } from '../support/hostile-bodies.js';
import { ENDINGS } from '../support/hostile-failures.js';
import { FAR_FLOWS, FLOWS } from '../support/hostile-flow.js';
import { Network } from '../support/hostile-network.js';
import { Stage } from '../support/hostile-stage.js';
import { CUT_TEXTS, TEXTS } from '../support/hostile-texts.js';
import { madeUp } from '../support/hostile-wild.js';

const DELAY_MS = 4;
let network: Network;

before(async () => {
  network = await Network.create();
});

after(() => network?.remove());

/** Both phases of a stage: what was played, and whether its clocks agree. */
function report(t: TestContext, stage: Stage): void {
  t.diagnostic(`all together: ${stage.overallTiming()}`);
  for (const { what, p50Ms, p99Ms, line } of stage.timingSummary()) {
    t.diagnostic(line);
    assert.ok(p50Ms < 0.2 && p99Ms < 2, `${what}: ${line}`);
  }
}

test('between two hosts', async t => {
  const { namespaces, directAddress: address } = network;
  const stage = await Stage.open({ namespaces, address, isRemote: true });
  try {
    const stories = [...TEXTS, ...PIPELINES, ...BODIES, ...ENDINGS, ...FLOWS].filter(story => story.family === 'ipv4');
    await stage.perform(t, stories);
    report(t, stage);
    const refusal = await network.tryNetem('delay', `${DELAY_MS}ms`);
    t.diagnostic(
      refusal === '' ? 'with tc netem' : `no tc netem in this kernel (${refusal}): the relay stands in for it`,
    );
    if (refusal === '') await stage.perform(t, stories);
  } finally {
    await stage.close();
  }
});

test('over a network that delays, loses and reorders', async t => {
  const { namespaces, badAddress: address } = network;
  await network.startRelay({ delayMs: DELAY_MS, lost: 0.02, reordered: 0.05, seed: 11 });
  const segments = async () => (await network.relayLog()).segments;
  const stage = await Stage.open({ namespaces, address, isRemote: true, segments, leastRttMs: 2 * DELAY_MS * 0.9 });
  try {
    const small = CUT_TEXTS.filter(story => /written byte by byte|vectors|thread/.test(story.name));
    await stage.perform(t, [...TEXTS, ...small, ...PIPELINES, ...FAR_FLOWS, ...madeUp(1001, 50, ['ipv4'])]);
    report(t, stage);
    const { lost, reordered, delivered } = await network.relayLog();
    t.diagnostic(`${delivered} packets delivered, ${lost} lost, ${reordered} late`);
    assert.ok(lost > 5 && reordered > 5, `the network was too good: ${lost} lost, ${reordered} late`);
  } finally {
    await stage.close();
  }
});
