// Ids of our own.
import assert from 'node:assert/strict';
import test from 'node:test';
import { IdSource, TraceContext, wordToHex } from '../../../src/traces/context.js';

test('ids of our own are never zero and do not repeat, across refills of the pool', () => {
  const ids = new IdSource();
  const seen = new Set<string>();
  for (let index = 0; index < 5000; index++) {
    const trace = new TraceContext();
    trace.setRandom(ids);
    assert.notEqual(trace.id0, 0);
    seen.add([trace.id0, trace.id1, trace.id2, trace.id3].map(wordToHex).join(''));
  }
  assert.equal(seen.size, 5000);
});

function traceOf(word: number, traits: Partial<TraceContext> = {}): TraceContext {
  return Object.assign(new TraceContext(), { id3: word }, traits);
}

test('traces that others named differently stay apart; a decision to sample is no name', () => {
  assert.equal(traceOf(1, { isNamed: true }).join(traceOf(2, { isNamed: true })), false);
  assert.equal(traceOf(1, { isNamed: true }).join(traceOf(1, { isNamed: true })), true);
  assert.equal(traceOf(1, { isRemote: true }).join(traceOf(2, { isRemote: true })), true);
  assert.equal(traceOf(1, { isRemote: true }).join(traceOf(2, { isRemote: true, isNamed: true })), true);
});

test('borrowed ids go to whoever has none of its own, and of which nothing has left', () => {
  const call = traceOf(1);
  const request = traceOf(2);
  assert.equal(call.borrow(traceOf(3)), true);
  assert.equal(call.join(request), true);
  assert.equal(call.root.id3, 3);
  for (const trait of ['isNamed', 'isOut', 'isDetached', 'isBorrowed'] as const) {
    const other = traceOf(4, { [trait]: true });
    const next = traceOf(5);
    assert.equal(other.borrow(traceOf(6)), false, trait);
    assert.equal(next.borrow(traceOf(7)), true);
    assert.equal(next.join(other), true, trait);
    assert.equal(next.root.id3, 4, trait);
  }
});
