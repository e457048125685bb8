// A hostile client and server of our own, on raw sockets, log every call that they make with their own clocks; each field and
// each phase of every span is held against these logs.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { BODIES, PIPELINES } from '../support/hostile-bodies.js';
import { ENDINGS, FAILURES } from '../support/hostile-failures.js';
import { FLOWS } from '../support/hostile-flow.js';
import { IO_URING, UNSEEN_BYTES } from '../support/hostile-io-uring.js';
import { Stage } from '../support/hostile-stage.js';
import { CUT_TEXTS, TEXTS } from '../support/hostile-texts.js';
import { WEBSOCKETS } from '../support/hostile-websockets.js';
import { madeUp } from '../support/hostile-wild.js';

let stage: Stage;

before(async () => {
  stage = await Stage.open();
});

after(() => stage?.close());

test('messages of all kinds', t => stage.perform(t, TEXTS));
test('the same, cut anywhere and moved by all kinds of calls', t => stage.perform(t, CUT_TEXTS));
test('pipelines', t => stage.perform(t, PIPELINES));
test('bodies', t => stage.perform(t, BODIES));
test('endings', t => stage.perform(t, ENDINGS));
test('WebSockets', t => stage.perform(t, WEBSOCKETS));
test('what goes through io_uring is not seen, and counted', async t => {
  await stage.perform(t, IO_URING);
  const missed = /^underspan_bytes_missed_bytes_total\{reason="no_call_seen"\} (\d+)/m.exec(await stage.losses())?.[1];
  // Stories may be played again.
  assert.ok(Number(missed) >= UNSEEN_BYTES, `${missed} of ${UNSEEN_BYTES}`);
});
test('what keeps TCP waiting', t => stage.perform(t, FLOWS));
test('what a seed makes up', t => stage.perform(t, madeUp(1, 150)));
test('failures', t => stage.perform(t, FAILURES));

test('instants and phases are true: half of each kind to 0.2 ms, 99 % to 2 ms', t => {
  t.diagnostic(`all together: ${stage.overallTiming()}; the goal on an idle machine is 0.2 ms at p99`);
  for (const { what, p50Ms, p99Ms, line } of stage.timingSummary()) {
    t.diagnostic(line);
    assert.ok(p50Ms < 0.2 && p99Ms < 2, `${what}: ${line}`);
  }
  assert.ok(stage.timings.length > 3000, `only ${stage.timings.length} times were compared`);
});
