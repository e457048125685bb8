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
