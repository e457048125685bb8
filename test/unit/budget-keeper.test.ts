import assert from 'node:assert/strict';
import test from 'node:test';
import { BudgetKeeper, type BudgetKeeperOptions } from '../../src/budget-keeper.js';
import { loadConfig } from '../../src/config/load.js';
import type { FromWorker } from '../../src/messages.js';
import { Counters } from '../../src/self/counters.js';

test('above the memory limit what is unused is given back first; a step follows if that was not enough', () => {
  const environment = { UNDERSPAN_LIMITS_MEMORY_BYTES: '16777216', UNDERSPAN_LIMITS_CPU: '0' };
  const { config } = loadConfig({ environment });
  const posted: FromWorker[] = [];
  const switches: boolean[] = [];
  const options = {
    config,
    kernel: { filter: { setHeadBytes: () => undefined }, setDearProbes: (isOn: boolean) => switches.push(isOn) },
    pipeline: { connections: { shortenHeads: () => undefined }, affordableShare: 1 },
    counters: new Counters(0),
    wantsSpans: true,
    post: (message: FromWorker) => posted.push(message),
  };
  const keeper = new BudgetKeeper(options as unknown as BudgetKeeperOptions, 0);
  const intervalNs = config.limits.budgetIntervalMs * 1e6;
  keeper.tick(intervalNs);
  assert.deepEqual(
    posted.map(({ type }) => type),
    ['release_memory'],
  );
  assert.deepEqual(switches, []);
  keeper.tick(2 * intervalNs);
  assert.deepEqual(
    posted.map(({ type }) => type),
    ['release_memory', 'log'],
  );
  assert.match(JSON.stringify(posted[1]), /of 16 MiB .*step 1, short_heads/);
  assert.deepEqual(switches, [true]);
});
