// Queues that more goes through than may are left, each kind for itself, whenever they are probed.
import assert from 'node:assert/strict';
import test from 'node:test';
import { FollowedQueues } from '../../../src/kernel/followed-queues.js';
import { LOSS_COUNT, STAT_CHANNEL_VALUES, STAT_COUNT, STAT_QUEUE_ITEMS } from '../../../src/records/records.gen.js';

const SECOND = 1e9;

function follow(limit: number) {
  const done: string[] = [];
  const kernel = {
    detachGroup: (name: string) => done.push(`detach ${name}`),
    filter: { ignoreItems: () => done.push('ignore items') },
  };
  const onStopped = (kind: string, text: string): void => void done.push(`${kind}: ${text}`);
  const queues = new FollowedQueues({ kernel, limit, onStopped }, 100 * SECOND);
  const counters = new Float64Array(LOSS_COUNT + STAT_COUNT);
  const look = (channels: number, items: number, atSeconds: number): string[] => {
    counters[LOSS_COUNT + STAT_CHANNEL_VALUES] = channels;
    counters[LOSS_COUNT + STAT_QUEUE_ITEMS] = items;
    queues.look(counters, (100 + atSeconds) * SECOND);
    return done.splice(0);
  };
  return look;
}

test('up to the limit they are followed', () => {
  const look = follow(1000);
  assert.deepEqual(look(0, 0, 1), []);
  assert.deepEqual(look(1000, 999, 2), []);
  assert.deepEqual(look(3000, 2999, 4), []);
  assert.deepEqual(look(9000, 9999, 4), [], 'no time has passed');
});

test('beyond it each kind is left, and said with its rate', () => {
  const look = follow(1000);
  assert.deepEqual(look(2500, 10, 2), [
    'detach go channels',
    'channels: channels of Go are followed no more, calls below work that they hand over have no parent: 1250 values a second go through them, 1000 may (kernel.max_queue_values)',
  ]);
  assert.deepEqual(look(2500, 5010, 4).slice(0, 2), ['detach python queues', 'ignore items']);
  assert.deepEqual(look(2500, 5010, 5), []);
  assert.equal(look(2500, 9000, 6)[0], 'detach python queues', 'another file was probed since');
});

test('0: nothing may go through them', () => {
  const look = follow(0);
  assert.deepEqual(look(0, 0, 1), []);
  assert.equal(look(1, 0, 2)[0], 'detach go channels');
});
