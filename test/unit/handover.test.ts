import assert from 'node:assert/strict';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { Handover, NO_SLOT } from '../../src/handover.js';

test('what is on its way is bounded; what has no room is counted', () => {
  const worker = new Handover(undefined, 100);
  const main = new Handover(worker.memory, 100);
  assert.equal(worker.offer(60, 3), true);
  assert.equal(worker.offer(40, 2), true);
  assert.equal(worker.offer(1, 1), false);
  assert.equal(worker.dropped, 1);
  main.taken(60);
  assert.equal(worker.byteLength, 40);
  assert.equal(worker.offer(61, 1), false);
  assert.equal(worker.offer(60, 1), true);
  main.taken(40);
  main.taken(60);
  assert.equal(worker.byteLength, 0);
  assert.equal(worker.dropped, 2);
});

test('requests lie in memory that both see, the slot that came back last first, and in their own beyond', () => {
  const worker = new Handover();
  const main = new Handover(worker.memory);
  const first = worker.allocate(100);
  first.fill(7);
  assert.equal(worker.slotOf(first), 0);
  assert.deepEqual([...main.read(0, 101)], [...Array(100).fill(7), 0]);
  const others = worker.memory.slots.map(() => worker.allocate(10));
  assert.deepEqual(
    others.map(bytes => worker.slotOf(bytes)),
    [...worker.memory.slots.keys()].map(slot => (slot + 1 < worker.memory.slots.length ? slot + 1 : NO_SLOT)),
  );
  assert.equal(others.at(-1)?.buffer.byteLength, 10);
  main.release(NO_SLOT);
  main.release(3);
  main.release(1);
  assert.equal(worker.slotOf(worker.allocate(1)), 1);
  assert.equal(worker.slotOf(worker.allocate(1)), 3);
  main.release(0);
  assert.equal(worker.slotOf(worker.allocate(64 << 20)), NO_SLOT);
});

test('something larger than the bound goes when nothing else is on its way', () => {
  const handover = new Handover(undefined, 100);
  assert.equal(handover.offer(1000, 1), true);
  assert.equal(handover.offer(1, 1), false);
});

test('who waits for room gets it when the other thread takes', async () => {
  const handover = new Handover(undefined, 100);
  assert.ok(handover.offer(100, 1));
  const url = new URL('../../src/handover.js', import.meta.url).href;
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(${JSON.stringify(url)}).then(({ Handover }) => {
      const handover = new Handover(workerData, 100);
      parentPort.postMessage('waits');
      handover.waitForRoom(50);
      parentPort.postMessage(handover.offer(50, 1) ? 'has room' : 'has none');
    });`;
  const worker = new Worker(code, { eval: true, workerData: handover.memory });
  const messages: unknown[] = [];
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', () => resolve());
    worker.on('message', message => {
      messages.push(message);
      if (message === 'waits') setTimeout(() => handover.taken(100), 50);
    });
  });
  assert.deepEqual(messages, ['waits', 'has room']);
  assert.equal(handover.byteLength, 50);
});
