// When started programs are looked at, and what happens when there are too many.
import assert from 'node:assert/strict';
import test from 'node:test';
import { LookQueue, QUEUE_MAX } from '../../../src/discovery/look-queue.js';

const none = () => assert.fail('nothing is full');

test('a program is looked at six times, later and later, and no more when it has ended', () => {
  const queue = new LookQueue();
  const looks: number[] = [];
  assert.ok(queue.add(1, 0));
  for (let ms = 0; ms < 20_000; ms++) queue.run(ms * 1e6, () => looks.push(ms) > 0, none);
  assert.deepEqual(looks, [0, 3, 23, 123, 1123, 11123]);
  assert.ok(queue.add(2, 0));
  let last = 0;
  for (let ms = 0; ms < 20_000; ms++) queue.run(ms * 1e6, () => ++last < 2, none);
  assert.equal(last, 2);
});

test('four a turn, not counting those that nobody observes', () => {
  const queue = new LookQueue();
  for (let pid = 1; pid <= 20; pid++) queue.add(pid, 0);
  const looked: number[] = [];
  queue.run(0, pid => (pid <= 10 ? null : looked.push(pid) < 0), none);
  assert.deepEqual(looked, [11, 12, 13, 14]);
});

test('what does not fit is told, by the first look and by a later one', () => {
  const queue = new LookQueue();
  for (let pid = 1; pid <= QUEUE_MAX; pid++) assert.ok(queue.add(pid, 0));
  assert.equal(queue.add(0, 0), false);
  let told = 0;
  for (let turn = 0; turn <= QUEUE_MAX / 4; turn++) {
    queue.run(
      0,
      () => true,
      () => told++,
    );
    for (let more = 0; more < 4; more++) queue.add(1, 0);
  }
  assert.ok(told > 0, 'its second look is lost, and nobody hears of it');
});
