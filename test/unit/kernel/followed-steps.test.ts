// What takes more steps than may be followed is left, each kind for itself and Python's together, whenever it is probed.
import assert from 'node:assert/strict';
import test from 'node:test';
import { FollowedSteps, type StepKind } from '../../../src/kernel/followed-steps.js';
import {
  STAT_CHANNEL_VALUES,
  STAT_COUNT,
  STAT_GREENLET_SWITCHES,
  STAT_PROMISES,
  STAT_QUEUE_ITEMS,
  STAT_REQUEST_STEPS,
  STAT_TASK_STEPS,
  STAT_THREAD_PARKS,
  STAT_TOKIO_STEPS,
} from '../../../src/records/records.gen.js';

const SECOND = 1e9;
const CPUS = 3;
const STATS = {
  channels: STAT_CHANNEL_VALUES,
  queues: STAT_QUEUE_ITEMS,
  tasks: STAT_TASK_STEPS,
  greenlets: STAT_GREENLET_SWITCHES,
  promises: STAT_PROMISES,
  'wake-ups': STAT_THREAD_PARKS,
  requests: STAT_REQUEST_STEPS,
  tokio: STAT_TOKIO_STEPS,
} as const;

/** What is done when so many steps have been counted, of each kind on each CPU. */
function follow(limit: number) {
  const done: string[] = [];
  const kernel = {
    detachGroup: (name: string) => done.push(`detach ${name}`),
    filter: {
      ignoreChannels: () => done.push('ignore channels'),
      ignoreItems: () => done.push('ignore items'),
      ignoreTasks: () => done.push('ignore tasks'),
      ignoreTokio: () => done.push('ignore tokio'),
    },
  };
  const onStopped = (kinds: readonly StepKind[], text: string): void => void done.push(`${kinds}: ${text}`);
  const followed = new FollowedSteps({ kernel, limit, onStopped }, 100 * SECOND);
  return (counts: Partial<Record<StepKind, readonly number[]>>, atSeconds: number): string[] => {
    const stats = new Float64Array(CPUS * STAT_COUNT);
    for (const [kind, byCpu] of Object.entries(counts))
      for (const [cpu, count] of byCpu.entries()) stats[cpu * STAT_COUNT + STATS[kind as StepKind]] = count;
    followed.look(stats, (100 + atSeconds) * SECOND);
    return done.splice(0);
  };
}

test('up to the limit they are followed', () => {
  const look = follow(1000);
  assert.deepEqual(look({}, 1), []);
  assert.deepEqual(look({ channels: [1000], queues: [999], tasks: [1000], greenlets: [1000] }, 2), []);
  assert.deepEqual(look({ channels: [3000], queues: [2999], tasks: [3000], greenlets: [3000] }, 4), []);
  assert.deepEqual(look({ channels: [9000], queues: [9999], tasks: [9000], greenlets: [9000] }, 4), [], 'no time');
});

test('wake-ups of threads of Java are left by themselves', () => {
  const look = follow(1000);
  assert.deepEqual(look({ 'wake-ups': [1001], tasks: [10] }, 1), [
    'detach java wake-ups',
    'wake-ups: wake-ups of Java are followed no more, calls below work that they hand over have no parent: 1001 waits a second are begun by its threads on one CPU, 1000 may (kernel.max_followed_steps)',
  ]);
});

test('tasks of tokio are left by themselves, and what threads were in is believed no more', () => {
  const look = follow(1000);
  assert.deepEqual(look({ tokio: [1001], tasks: [10] }, 1), [
    'detach tokio tasks',
    'ignore tokio',
    'tokio: tasks of tokio are followed no more, their calls have no parent: 1001 turns a second are taken by them on one CPU, 1000 may (kernel.max_followed_steps)',
  ]);
});

test('requests of nginx are left by themselves', () => {
  const look = follow(1000);
  assert.deepEqual(look({ requests: [1001] }, 1), [
    'detach nginx requests',
    'requests: requests of nginx are followed no more, calls that wait for a timer, a name or a lock have no parent: 1001 times a second it goes on with one on one CPU, 1000 may (kernel.max_followed_steps)',
  ]);
});

test('each CPU has that limit: what many of them do together costs none of them more', () => {
  const look = follow(1000);
  assert.deepEqual(look({ tasks: [900, 1000, 800] }, 1), []);
  assert.equal(look({ tasks: [1000, 1000, 1801] }, 2)[0], 'detach asyncio tasks');
});

test('beyond it channels are left, and queues, and it is said with the rate', () => {
  const look = follow(1000);
  assert.deepEqual(look({ channels: [2500], queues: [10] }, 2), [
    'detach go channels',
    'ignore channels',
    'channels: channels of Go are followed no more, calls below work that they hand over have no parent: 1250 values a second go through them on one CPU, 1000 may (kernel.max_followed_steps)',
  ]);
  assert.deepEqual(look({ channels: [2500], queues: [5010] }, 4).slice(0, 2), ['detach python queues', 'ignore items']);
  assert.deepEqual(look({ channels: [2500], queues: [5010] }, 5), []);
  assert.equal(look({ queues: [9000] }, 6)[0], 'detach python queues', 'another file was probed since');
});

test('with tasks or greenlets goes all that is known of Python, once', () => {
  const look = follow(1000);
  assert.deepEqual(look({ tasks: [5000], greenlets: [5000], queues: [5000] }, 1), [
    'detach asyncio tasks',
    'detach greenlets',
    'detach python queues',
    'ignore tasks',
    'ignore items',
    'tasks,greenlets,queues: asyncio tasks are followed no more, and nothing else of Python is: calls of Python have a parent only where little is going on: 5000 steps a second are made by them on one CPU, 1000 may (kernel.max_followed_steps)',
  ]);
  const lookAgain = follow(1000);
  assert.deepEqual(lookAgain({ greenlets: [5000] }, 1).slice(0, 3), [
    'detach asyncio tasks',
    'detach greenlets',
    'detach python queues',
  ]);
});

test('0: nothing may be followed', () => {
  const look = follow(0);
  assert.deepEqual(look({}, 1), []);
  assert.equal(look({ channels: [1] }, 2)[0], 'detach go channels');
});
