// A WebSocket through the pipeline: frames by direction as the kernel counted them, and why there is no number.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  FRAMES_COUNTED,
  FRAMES_HEAD,
  FRAMES_STRANGE,
  FRAMES_UNREAD,
  ROLE_CLIENT,
  VERDICT_EDGES,
} from '../../../src/records/records.gen.js';
import { frame } from '../../support/hostile-story.js';
import { type ClosedStory, MS, requestText, T0 } from '../../support/record-builder.js';
import type { DecodedSpan } from '../../support/spans.js';
import { attribute, Harness } from './harness.js';

const UPGRADE = requestText('GET /ws', ['Host: a', 'Connection: Upgrade', 'Upgrade: websocket']);
const SWITCHING = 'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n';

/** Frames read, frames written, the reason why not. */
function framesOf(span: DecodedSpan | undefined): unknown[] {
  return ['read_frames', 'write_frames', 'uncounted.reason'].map(name =>
    attribute(span, `underspan.websocket.${name}`),
  );
}

function opened(switching = SWITCHING) {
  const harness = new Harness();
  return { harness, story: harness.server().opened().read(UPGRADE).wrote(switching) };
}

const counted = (framesIngress: number, framesEgress: number): ClosedStory => ({
  framesIngress,
  framesEgress,
  framesIngressState: FRAMES_COUNTED,
  framesEgressState: FRAMES_COUNTED,
});

test('once it is known to be one, no content is captured; calls, bytes and frames are counted', () => {
  const { harness, story } = opened();
  harness.play();
  assert.deepEqual(harness.verdicts.at(-1)?.verdict, VERDICT_EDGES);
  story.verdict = VERDICT_EDGES;
  for (let turn = 0; turn < 50; turn++) story.wrote(frame('server', 200));
  for (let turn = 0; turn < 60; turn++) story.read(frame('client', 300));
  assert.ok(story.tape.ring('data').every(record => record.length < 200));
  story.closed({ at: T0 + 900 * MS, ...counted(60, 50) });
  const [span] = harness.finish();
  assert.deepEqual(framesOf(span), [60, 50, undefined]);
  assert.deepEqual([attribute(span, 'underspan.io.read_calls'), attribute(span, 'underspan.io.write_calls')], [61, 51]);
  const bytes = ['read_bytes', 'write_bytes'].map(name => attribute(span, `underspan.io.${name}`));
  assert.deepEqual(bytes, [UPGRADE.length + 60 * 308, SWITCHING.length + 50 * 204]);
});

test('a client reads what its server writes', () => {
  const harness = new Harness();
  const story = harness.client().opened({ connectNs: T0, establishedNs: T0 + MS });
  assert.equal(story.role, ROLE_CLIENT);
  story.wrote(UPGRADE).read(SWITCHING).read(frame('server', 5)).closed(counted(1, 0));
  assert.deepEqual(framesOf(harness.finish().find(({ name }) => name.startsWith('GET'))), [1, 0, undefined]);
});

test('records that were lost cost nothing: the kernel counts', () => {
  const { harness, story } = opened();
  story.wrote(frame('server', 5), { isLost: true }).read(frame('client', 5), { isLost: true }).closed(counted(1, 1));
  assert.deepEqual(framesOf(harness.finish()[0]), [1, 1, undefined]);
});

test('why there is no number', () => {
  for (const [closed, wanted] of [
    [{ ...counted(3, 4), framesEgressState: FRAMES_UNREAD }, [3, undefined, 'not_captured']],
    [{ ...counted(3, 4), framesIngressState: FRAMES_STRANGE }, [undefined, 4, 'not_frames']],
    [{ ...counted(3, 4), framesEgressState: FRAMES_HEAD }, [3, undefined, 'not_captured']],
    [{ ...counted(3, 4), unseenIngress: 7 }, [undefined, 4, 'not_captured']],
    [{}, [undefined, undefined, 'not_captured']],
  ] as const) {
    const { harness, story } = opened();
    story.closed(closed);
    assert.deepEqual(framesOf(harness.finish()[0]), wanted);
  }
});

test('an upgrade to something else has no frames', () => {
  const { harness, story } = opened('HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n');
  story.closed(counted(3, 4));
  assert.deepEqual(framesOf(harness.finish()[0]), [undefined, undefined, undefined]);
});
