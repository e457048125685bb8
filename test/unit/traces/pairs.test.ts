import assert from 'node:assert/strict';
import test from 'node:test';
import type { Exchange } from '../../../src/exchanges/exchange.js';
import { PairTable } from '../../../src/traces/pairs.js';
import { serverExchange } from '../signals/exchanges.js';

function exchangeAt(requestTakenNs: number): Exchange {
  return serverExchange({ requestTakenNs });
}

test('an entry is found by all of its key, once', () => {
  const table = new PairTable();
  const exchange = exchangeAt(1);
  table.add(0xffff_fff0, 7, 3, exchange);
  for (const [client, server, tag] of [
    [0xffff_fff0, 7, 0],
    [0xffff_fff0, 8, 3],
    [0xffff_ffef, 7, 3],
    [7, 0xffff_fff0, 3],
  ] as const) {
    assert.equal(table.take(client, server, tag), null);
  }
  assert.equal(table.take(0xffff_fff0, 7, 3), exchange);
  assert.equal(table.take(0xffff_fff0, 7, 3), null);
});

test('a key of zeros is a key like others, and is not there unless it was added', () => {
  const table = new PairTable();
  assert.equal(table.take(0, 0, 0), null);
  const exchange = exchangeAt(1);
  table.add(0, 0, 0, exchange);
  assert.equal(table.take(0, 0, 0), exchange);
});

test('an exchange that is over is not found any more; another one with its key is', () => {
  const table = new PairTable();
  const [first, second] = [exchangeAt(1), exchangeAt(2)];
  table.add(1, 2, 0, first);
  table.remove(1, 2, 0, first);
  assert.equal(table.take(1, 2, 0), null);
  table.add(1, 2, 0, second);
  table.remove(1, 2, 0, first);
  assert.equal(table.take(1, 2, 0), second);
});

test('ten thousand waiting requests of keep-alive connections find each other; a full table drops the oldest and counts', () => {
  const table = new PairTable();
  const entries = Array.from({ length: 10_000 }, (_, index) => {
    const [client, server] = [Math.imul(index, 0x9e37_79b9) >>> 0, Math.imul(index, 0x85eb_ca6b) >>> 0];
    const exchange = exchangeAt(1e9 + index);
    table.add(client, server, 0, exchange);
    return { client, server, exchange };
  });
  const found = entries.filter(({ client, server, exchange }) => table.take(client, server, 0) === exchange).length;
  assert.equal(found + table.overwritten, 10_000);
  assert.ok(found > 9800, `${found} of 10000`);
  for (let index = 0; index < 100_000; index++) table.add(index, index * 3, 0, exchangeAt(2e9 + index));
  assert.ok(table.overwritten > 50_000);
  let left = 0;
  for (let index = 0; index < 100_000; index++) if (table.take(index, index * 3, 0) !== null) left++;
  assert.ok(left <= 32_768 && left > 25_000, `${left} left`);
});

test('what is pushed out after a minute is no loss', () => {
  const table = new PairTable();
  for (let index = 0; index < 40_000; index++) table.add(index, index * 3, 0, exchangeAt(1e9));
  const before = table.overwritten;
  for (let index = 0; index < 1000; index++) table.add(index + 1e6, index, 0, exchangeAt(100e9));
  assert.equal(table.overwritten, before);
});
