// A WebSocket through the pipeline: frames by direction, and what is said where records were lost or calls captured in part.
import assert from 'node:assert/strict';
import test from 'node:test';
import { VERDICT_TUNNEL } from '../../../src/records/records.gen.js';
import { frame } from '../../support/hostile-story.js';
import { MS, requestText, T0 } from '../../support/record-builder.js';
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

function opened() {
  const harness = new Harness();
  return { harness, story: harness.server().opened().read(UPGRADE).wrote(SWITCHING) };
}

test('frames are counted each way, also behind the captured head of a run', () => {
  const { harness, story } = opened();
  for (let turn = 0; turn < 50; turn++) story.wrote(frame('server', 200));
  for (let turn = 0; turn < 60; turn++) story.read(frame('client', 300));
  story.wrote(frame('server', 2, 8)).closed({ at: T0 + 900 * MS });
  const [span] = harness.finish();
  assert.deepEqual(framesOf(span), [60, 51, undefined]);
  assert.deepEqual([attribute(span, 'underspan.io.read_calls'), attribute(span, 'underspan.io.write_calls')], [61, 52]);
});

test('a record that was lost amid a payload costs nothing, one with a header the number', () => {
  const [inPayload, withHeader] = [false, true].map(isHeader => {
    const { harness, story } = opened();
    const bytes = frame('server', 3000);
    story.wrote(bytes.subarray(0, 1000), { isLost: isHeader }).wrote(bytes.subarray(1000, 2000), { isLost: !isHeader });
    story.wrote(bytes.subarray(2000)).read(frame('client', 5)).closed();
    return framesOf(harness.finish()[0]);
  });
  assert.deepEqual(inPayload, [1, 1, undefined]);
  assert.deepEqual(withHeader, [1, undefined, 'ring_full']);
});

test('the last record lost: there is no number', () => {
  const { harness, story } = opened();
  story.wrote(frame('server', 5)).wrote(frame('server', 5), { isLost: true }).closed();
  assert.deepEqual(framesOf(harness.finish()[0]), [0, undefined, 'ring_full']);
});

test('where no frame can be told apart any more, nothing more is captured', () => {
  const { harness, story } = opened();
  const two = Buffer.concat([frame('server', 5000), frame('server', 5)]);
  story.wrote(two).read(Buffer.concat([frame('client', 5000), frame('client', 5)]));
  harness.play();
  assert.deepEqual(harness.verdicts.at(-1)?.verdict, VERDICT_TUNNEL);
  story.closed();
  assert.deepEqual(framesOf(harness.finish()[0]), [undefined, undefined, 'not_captured']);
});
