// A SERVER's exchange has no memory for what only a call has, and reads what a call begins with.
import assert from 'node:assert/strict';
import test from 'node:test';
import { type Exchange, KIND_CLIENT, KIND_SERVER, newExchange } from '../../../src/exchanges/exchange.js';
import { clientExchange, serverExchange, TCP_PEER, trace } from '../signals/exchanges.js';

test('what only a call has is its own, and read of a SERVER as of a call of which nothing is known', () => {
  const call = newExchange(KIND_CLIENT, TCP_PEER, trace(), 1, 2);
  const served = newExchange(KIND_SERVER, TCP_PEER, trace(), 1, 2);
  const own = new Set(Object.keys(served));
  const onlyOfCalls = Object.keys(call).filter(field => !own.has(field)) as (keyof Exchange)[];
  assert.ok(onlyOfCalls.includes('cause') && onlyOfCalls.includes('askedFromUs'));
  for (const field of onlyOfCalls) assert.equal(served[field], call[field], field);
  assert.deepEqual(
    Object.keys(served).filter(field => !Object.hasOwn(call, field)),
    [],
  );
});

test('a call keeps its fields to itself', () => {
  const call = clientExchange();
  call.cause = serverExchange();
  call.isAnswered = true;
  for (const other of [serverExchange(), clientExchange()])
    assert.deepEqual([other.cause, other.isAnswered], [null, false]);
});
