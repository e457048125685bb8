// Rings that are too small for what happens: of every request there is a record, or a record tells how many were lost, or the
// kernel's own count has it. Whatever found room, the sum is exact.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DATA_EDGE, ROLE_CLIENT } from '../../src/records/records.gen.js';
import { Driver, Observer, SETTLE_MS } from './observer.js';

const PAGE_BYTES = 4096;
const LARGE_BYTES = 1 << 20;
/** Of the scenario `turns`, on two sides. */
const REQUESTS = 2 * 40 * 3;

interface Books {
  readonly recorded: number;
  readonly told: number;
  readonly untold: number;
}

interface Named {
  readonly slot: number;
  readonly generation: number;
}

/** By records of edges towards the server; by what records say of connections that were announced; by the kernel's count. */
function booksOf(observer: Observer): Books {
  const { data, opened, states, closed } = observer.records;
  const recorded = data.filter(({ flags, payload }) => (flags & DATA_EDGE) !== 0 && payload.toString() === 'request');
  let told = 0;
  for (const connection of opened) {
    const isIts = (one: Named & { readonly timeNs: number }): boolean =>
      one.slot === connection.slot && one.generation === connection.generation && one.timeNs >= connection.timeNs;
    const isClient = connection.role === ROLE_CLIENT;
    const lost = [...data, ...states, ...closed]
      .filter(isIts)
      .map(one => (isClient ? one.lostEdgesEgress : one.lostEdgesIngress));
    told += Math.max(0, ...lost);
  }
  return { recorded: recorded.length, told, untold: observer.losses().requests_untold ?? 0 };
}

for (const [name, dataBytes, controlBytes, drainEveryMs] of [
  ['no room for data', PAGE_BYTES, LARGE_BYTES, 0],
  ['no room for control records', LARGE_BYTES, PAGE_BYTES, 0],
  ['no room for either', PAGE_BYTES, PAGE_BYTES, 0],
  ['room now and then', PAGE_BYTES, PAGE_BYTES, 15],
] as const) {
  test(`${name}: every request is recorded, told of, or counted`, async t => {
    const observer = new Observer(dataBytes, controlBytes);
    const driver = new Driver('turns');
    try {
      observer.kernel.attach();
      observer.restart();
      await driver.ready();
      observer.kernel.filter.setProcess(driver.pid, 1, 0);
      let isRunning = true;
      const done = driver.run().finally(() => {
        isRunning = false;
      });
      while (isRunning) {
        if (drainEveryMs > 0) observer.drain();
        await Promise.race([done, sleep(Math.max(5, drainEveryMs))]);
      }
      await done;
      await sleep(SETTLE_MS); // the last sockets are taken down after their process
      observer.drain();
      const { recorded, told, untold } = booksOf(observer);
      const text = `${recorded} recorded, ${told} told of, ${untold} counted; ${JSON.stringify(observer.losses())}`;
      t.diagnostic(text);
      assert.equal(recorded + told + untold, REQUESTS, text);
      if (dataBytes === PAGE_BYTES) assert.ok(told + untold > 0, `nothing was lost: ${text}`);
    } finally {
      driver.kill();
      observer.close();
    }
  });
}
