// Rings into slabs over a kernel of the test's own: a control record never overtakes an older data record, whatever comes
// into the rings between two looks or is still being written, and a flood is taken in bounded bites.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Drain } from '../../../src/kernel/drain.js';
import type { Kernel } from '../../../src/kernel/loader.js';
import { EventHeaderCursor } from '../../../src/records/records.gen.js';
import { record } from '../../support/record-builder.js';

interface FakeRing {
  bytes: Uint8Array[];
  /** Bytes that have been taken, that are there, and of these in spare room instead of the ring. */
  taken: number;
  pending: number;
  spared: number;
  /** The record that is still being written; what lies behind it is out of reach. */
  unwritten: Uint8Array | null;
}

function fakeRing(): FakeRing {
  return { bytes: [], taken: 0, pending: 0, spared: 0, unwritten: null };
}

/** Two rings of whole records; `onLook` runs before each look at one. */
class FakeKernel {
  readonly dataRing = fakeRing();
  readonly controlRing = fakeRing();
  onLook: () => void = () => {};

  put(ring: FakeRing, timeNs: number, payloadBytes = 0): void {
    const bytes = record(EventHeaderCursor, 99, { timeNs }, new Uint8Array(payloadBytes));
    ring.bytes.push(bytes);
    ring.pending += bytes.length;
  }

  /** The last record that was put there is still being written. */
  hold(ring: FakeRing): void {
    ring.unwritten = ring.bytes.at(-1) ?? null;
  }

  taken(ring: FakeRing): number {
    return ring.taken;
  }

  position(ring: FakeRing): number {
    return ring.taken + ring.pending;
  }

  fill(ring: FakeRing): number {
    return ring.pending - ring.spared;
  }

  spared(ring: FakeRing): number {
    return ring.spared;
  }

  relieve(ring: FakeRing, most: number): void {
    ring.spared = Math.max(ring.spared, Math.min(ring.pending, most));
  }

  drain(ring: FakeRing, slab: Uint8Array, upTo: number, passesUnwritten: boolean): number {
    this.onLook();
    let at = 0;
    for (let first = ring.bytes[0]; first !== undefined; first = ring.bytes[0]) {
      if (ring.taken >= upTo || at + first.length > slab.length) break;
      const isUnwritten = first === ring.unwritten;
      if (isUnwritten && !passesUnwritten) break;
      slab.set(isUnwritten ? record(EventHeaderCursor, 0, {}) : first, at);
      at += isUnwritten ? EventHeaderCursor.SIZE : first.length;
      ring.taken += first.length;
      ring.pending -= first.length;
      ring.spared = Math.max(0, ring.spared - first.length);
      ring.bytes.shift();
    }
    return at;
  }
}

const DATA_BYTES = 1 << 20;
const CONTROL_BYTES = 1 << 16;

function drainOf(kernel: FakeKernel): Drain {
  return new Drain(kernel as unknown as Kernel, DATA_BYTES, CONTROL_BYTES);
}

/** Times of the records handed over by the walk that the dispatcher does. */
function take(drain: Drain, cutNs: number, seen: string[]): void {
  for (;;) {
    const [dataNs, controlNs] = [drain.data.nextNs(), drain.control.nextNs()];
    if (Math.min(dataNs, controlNs) > cutNs) return;
    const slab = controlNs <= dataNs ? drain.control : drain.data;
    seen.push(`${slab === drain.data ? 'data' : 'control'} ${Math.min(dataNs, controlNs)}`);
    slab.at += slab.view.getUint32(slab.at + 8, true);
  }
}

test('records of both rings come in order of time, over passes between which more arrives', () => {
  const kernel = new FakeKernel();
  const drain = drainOf(kernel);
  let nowNs = 100;
  let left = 400;
  kernel.onLook = () => {
    // While one ring is emptied, both are written to.
    for (let turn = 0; turn < 3 && left > 0; turn++, left--) {
      nowNs += 7;
      kernel.put(left % 3 === 0 ? kernel.controlRing : kernel.dataRing, nowNs);
    }
  };
  const seen: string[] = [];
  for (let pass = 0; pass < 300; pass++) {
    drain.run(nowNs, ({ cutNs }) => {
      assert.ok(cutNs <= nowNs);
      take(drain, cutNs, seen);
    });
  }
  const times = seen.map(text => Number(text.split(' ')[1]));
  assert.equal(times.length, 400);
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
});

test('a flood is taken in bites: nothing lost, nothing twice, in order, and other work gets its turn', () => {
  const kernel = new FakeKernel();
  const drain = drainOf(kernel);
  const COUNT = 12_000;
  for (let index = 1; index <= COUNT; index++) {
    kernel.put(kernel.dataRing, index * 10, 4000);
    if (index % 100 === 0) kernel.put(kernel.controlRing, index * 10 + 5);
  }
  const seen: string[] = [];
  let turns = 0;
  let bytes = 0;
  while (kernel.dataRing.pending > 0 || turns === 0) {
    turns++;
    bytes += drain.run(COUNT * 100, ({ cutNs }) => take(drain, cutNs, seen));
    assert.ok(turns < 10, 'it does not come to an end');
  }
  const times = seen.map(text => Number(text.split(' ')[1]));
  assert.ok(turns > 1, 'all at once');
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
  assert.equal(times.length, COUNT + COUNT / 100);
  assert.equal(bytes, COUNT * 4016 + (COUNT / 100) * 16);
});

for (const [held, other] of [
  ['controlRing', 'dataRing'],
  ['dataRing', 'controlRing'],
] as const) {
  test(`while a record of the ${held} is being written, nothing overtakes what lies behind it`, () => {
    const kernel = new FakeKernel();
    const drain = drainOf(kernel);
    const seen: string[] = [];
    const look = (nowNs: number) => drain.run(nowNs, ({ cutNs }) => take(drain, cutNs, seen));
    kernel.put(kernel.dataRing, 10);
    kernel.put(kernel.controlRing, 11);
    look(20);
    assert.deepEqual(seen, ['data 10', 'control 11']);
    kernel.put(kernel[held], 30);
    kernel.hold(kernel[held]);
    kernel.put(kernel[held], 32);
    kernel.put(kernel[other], 33);
    look(40);
    look(50);
    assert.equal(seen.length, 2);
    kernel[held].unwritten = null;
    look(60);
    assert.deepEqual(
      seen.slice(2).map(text => Number(text.split(' ')[1])),
      [30, 32, 33],
    );
  });

  test(`the last look waits for no record of the ${held}: what lies behind it is handed over, and one cannot be read`, () => {
    const kernel = new FakeKernel();
    const drain = drainOf(kernel);
    const seen: string[] = [];
    const look = (nowNs: number, isLast = false) => drain.run(nowNs, ({ cutNs }) => take(drain, cutNs, seen), isLast);
    kernel.put(kernel[held], 30, 100);
    kernel.hold(kernel[held]);
    kernel.put(kernel[held], 32);
    kernel.put(kernel[other], 33);
    look(40);
    assert.deepEqual([seen, drain.isWaiting], [[], true]);
    look(40, true);
    assert.deepEqual(
      seen.map(text => Number(text.split(' ')[1])),
      [0, 32, 33],
    );
  });

  test('the last look passes nothing that was not waited for', () => {
    const kernel = new FakeKernel();
    const drain = drainOf(kernel);
    kernel.put(kernel[held], 30);
    kernel.hold(kernel[held]);
    drain.run(40, () => {}, true);
    assert.equal(kernel[held].taken, 0);
  });

  test(`a record of the ${held} that is never finished holds things up for a second`, () => {
    const kernel = new FakeKernel();
    const drain = drainOf(kernel);
    const seen: string[] = [];
    const look = (nowNs: number) => drain.run(nowNs, ({ cutNs }) => take(drain, cutNs, seen));
    kernel.put(kernel[held], 30);
    kernel.hold(kernel[held]);
    kernel.put(kernel[other], 33);
    look(40);
    look(0.9e9);
    assert.equal(seen.length, 0);
    look(1.1e9);
    assert.equal(seen.length, 1);
  });
}

for (const [held, flooded] of [
  ['controlRing', 'dataRing'],
  ['dataRing', 'controlRing'],
] as const) {
  test(`a flood of the ${flooded} behind a record that is being written stays within the slab, and goes on once it is written`, () => {
    const kernel = new FakeKernel();
    const drain = drainOf(kernel);
    const seen: string[] = [];
    const look = (nowNs: number) => drain.run(nowNs, ({ cutNs }) => take(drain, cutNs, seen));
    kernel.put(kernel[held], 1);
    kernel.hold(kernel[held]);
    const COUNT = 3000;
    for (let index = 1; index <= COUNT; index++) kernel.put(kernel[flooded], index * 10, 4000);
    for (let turn = 0; turn < 20; turn++) look(COUNT * 100);
    assert.equal(seen.length, 0);
    kernel[held].unwritten = null;
    for (let turn = 0; turn < 20; turn++) look(COUNT * 100);
    const times = seen.map(text => Number(text.split(' ')[1]));
    assert.equal(times.length, COUNT + 1);
    assert.deepEqual(
      times,
      [...times].sort((a, b) => a - b),
    );
  });
}

test('the fill is the largest since it was last asked for', () => {
  const kernel = new FakeKernel();
  const drain = drainOf(kernel);
  kernel.put(kernel.dataRing, 1, DATA_BYTES / 4 - 16);
  kernel.put(kernel.controlRing, 1, CONTROL_BYTES / 2 - 16);
  drain.run(10, () => {});
  drain.run(10, () => {});
  assert.deepEqual([drain.takeDataFill(), drain.takeControlFill()], [0.25, 0.5]);
  assert.deepEqual([drain.takeDataFill(), drain.takeControlFill()], [0, 0]);
});

test('a ring that fills while records are worked on is relieved; nothing is waited for meanwhile, and what was relieved comes first', () => {
  const kernel = new FakeKernel();
  const drain = drainOf(kernel);
  const seen: string[] = [];
  drain.run(1, () => {});
  kernel.put(kernel.dataRing, 10, DATA_BYTES / 8);
  drain.relieve();
  assert.equal(kernel.dataRing.spared, 0);
  kernel.put(kernel.dataRing, 20, DATA_BYTES / 4);
  kernel.put(kernel.controlRing, 30, CONTROL_BYTES / 2);
  drain.relieve();
  assert.deepEqual([kernel.fill(kernel.dataRing), kernel.fill(kernel.controlRing)], [0, 0]);
  assert.equal(drain.canWait, false);
  kernel.put(kernel.dataRing, 40);
  drain.run(50, ({ cutNs }) => take(drain, cutNs, seen));
  assert.deepEqual(seen, ['data 10', 'data 20', 'control 30', 'data 40']);
  assert.deepEqual([drain.canWait, drain.takeSpareFill() > 0, drain.takeSpareFill()], [true, true, 0]);
});

test('spare room is for a pipeline that catches up: one that stays behind gets less of it, and then none, until it has caught up', () => {
  const kernel = new FakeKernel();
  const drain = new Drain(kernel as unknown as Kernel, DATA_BYTES, CONTROL_BYTES, 1000);
  const roomAt = (seconds: number): number => {
    kernel.dataRing.spared = 0;
    drain.run(seconds * 1e9, () => {});
    kernel.dataRing.spared = 0;
    kernel.dataRing.pending = DATA_BYTES;
    drain.relieve();
    return kernel.dataRing.spared;
  };
  drain.run(100e9, () => {});
  assert.deepEqual([100, 104, 105, 110, 115, 200].map(roomAt), [1000, 1000, 1000, 500, 0, 0]);
  kernel.dataRing.pending = 0;
  assert.deepEqual([201].map(roomAt), [1000]);
});
