// The correctness table's lists agree with each other.
import assert from 'node:assert/strict';
import test from 'node:test';
import { SCENARIOS } from '../../traces/scenarios.js';
import { TEMPTING } from '../../traces/tempting.js';

test('every scenario that tempts is one of the table, and stands under one reason', () => {
  const names = new Set(SCENARIOS.map(({ name }) => name));
  const tempting = Object.values(TEMPTING).flat();
  assert.deepEqual(
    tempting.filter(name => !names.has(name)),
    [],
  );
  assert.equal(new Set(tempting).size, tempting.length);
});
