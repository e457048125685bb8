// The table of x-request-ids is bounded, and what makes room is over.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Exchange } from '../../../src/exchanges/exchange.js';
import { RequestIds } from '../../../src/traces/request-ids.js';

const MAX_IDS = 16384;

function exchange(id: number): Exchange {
  return { pid: 7, requestId: `request-${id}` } as Exchange;
}

test('requests that are over make room, the oldest first; those that are served stay', () => {
  const ids = new RequestIds();
  const served = exchange(0);
  ids.add(served);
  for (let id = 1; id < 3 * MAX_IDS; id++) {
    const request = exchange(id);
    ids.add(request);
    assert.equal(ids.find(exchange(id)), request);
    ids.remove(request);
    assert.equal(ids.find(exchange(id)), null);
  }
  assert.equal(ids.find(exchange(0)), served);
  // Still remembered: a second request with that id is not the only one. The oldest is not.
  const again = exchange(3 * MAX_IDS - 1);
  ids.add(again);
  assert.equal(ids.find(again), null);
  const forgotten = exchange(1);
  ids.add(forgotten);
  assert.equal(ids.find(forgotten), forgotten);
});

test('where all are being served, a further one is not noted', () => {
  const ids = new RequestIds();
  const all = Array.from({ length: MAX_IDS + 1 }, (_, id) => exchange(id));
  for (const request of all) ids.add(request);
  assert.equal(ids.find(exchange(MAX_IDS)), null);
  for (const request of all.slice(0, MAX_IDS)) assert.equal(ids.find(request), request);
});
