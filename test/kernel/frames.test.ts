// Frames of WebSockets as the kernel counts them: calls of all kinds and sizes, headers that lie in several of them, more than a
// call is searched for, and what only looks like it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { FRAMES_COUNTED, FRAMES_NONE, FRAMES_STRANGE, FRAMES_UNREAD } from '../../src/records/records.gen.js';
import { assertSums, type Observer, observe, type Side } from './observer.js';

/** Whole frames by direction, -1 for no number, and what is known of them. */
function framesOf(observer: Observer, side: Side): number[] {
  const { closed } = observer.lifeOf(side);
  assert.ok(closed !== null, `${side.name} was not closed`);
  const { framesIngress, framesIngressState, framesEgress, framesEgressState } = closed;
  return [framesIngress, framesIngressState, framesEgress, framesEgressState];
}

test('frames of all kinds through calls of all kinds are counted on both sides', async () => {
  await observe('websockets', (observer, sides) => {
    assert.equal(sides.length, 80);
    for (const side of sides) {
      assertSums(observer.lifeOf(side), side);
      const wanted = [side.gotFrames, FRAMES_COUNTED, side.sentFrames, FRAMES_COUNTED];
      assert.deepEqual(framesOf(observer, side), wanted, `frames of ${side.name}`);
    }
  });
});

test('thousands of frames in a call are counted; where there are more, and where there are none, there is no number', async () => {
  await observe('bulk_frames', (observer, sides) => {
    const of = (name: string) => framesOf(observer, sides.find(side => side.name === name) as Side);
    assert.deepEqual(of('client-many'), [4000, FRAMES_COUNTED, 4000, FRAMES_COUNTED]);
    assert.deepEqual(of('server-many'), [4000, FRAMES_COUNTED, 4000, FRAMES_COUNTED]);
    assert.equal(of('server-too-many')[3], FRAMES_UNREAD);
    assert.equal(of('client-masked')[1], FRAMES_STRANGE);
    assert.equal(of('server-masked')[3], FRAMES_STRANGE);
    for (const name of ['client-plain', 'server-plain']) {
      assert.deepEqual(of(name), [0, FRAMES_NONE, 0, FRAMES_NONE], name);
    }
  });
});
