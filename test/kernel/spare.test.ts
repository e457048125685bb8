// A ring that is relieved: its records go to spare room before anybody looks at them, so that a ring which is too small for what
// happens loses nothing, and what comes out is what would have come out of the ring, in its order.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertSame, Driver, Observer, SETTLE_MS, type Side } from './observer.js';

/** Half and two thirds of what the drivers bring about together. */
const DATA_BYTES = 1 << 15;
const CONTROL_BYTES = 1 << 16;
const DRIVERS = 4;
const MOST = 64 << 20;

test('rings that are relieved lose nothing of what does not fit into them, and give it in order', async () => {
  const observer = new Observer(DATA_BYTES, CONTROL_BYTES);
  const { kernel } = observer;
  const sides: Side[] = [];
  const run = async (driver: Driver): Promise<void> => {
    await driver.ready();
    kernel.filter.setProcess(driver.pid, 1, 0);
    let isRunning = true;
    const done = driver.run().finally(() => {
      isRunning = false;
    });
    while (isRunning) {
      kernel.relieve(kernel.dataRing, MOST);
      kernel.relieve(kernel.controlRing, MOST);
      await Promise.race([done, sleep(1)]);
    }
    sides.push(...(await done));
  };
  try {
    kernel.attach();
    observer.restart();
    for (let count = 0; count < DRIVERS; count++) {
      const driver = new Driver('reuse');
      await run(driver).finally(() => driver.kill());
    }
    await sleep(SETTLE_MS); // the last sockets are taken down after their process
    assert.ok(kernel.spared(kernel.dataRing) > DATA_BYTES);
    assert.ok(kernel.spared(kernel.controlRing) > CONTROL_BYTES);
    observer.drain();
    assert.deepEqual([kernel.spared(kernel.dataRing), kernel.spared(kernel.controlRing)], [0, 0]);
    assert.equal(sides.length, DRIVERS * 40);
    for (const side of sides) assertSame(observer.lifeOf(side), side);
    assert.deepEqual(observer.losses(), {});
    kernel.settle(kernel.dataRing);
    kernel.settle(kernel.controlRing);
  } finally {
    observer.close();
  }
});
