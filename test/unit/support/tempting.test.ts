// The correctness table's lists agree with each other.
import assert from 'node:assert/strict';
import test from 'node:test';
import { SCENARIOS } from '../../traces/scenarios.js';
import { isKnownWrong, KNOWN_WRONG, TEMPTING, WrongCounts } from '../../traces/tempting.js';

test('every scenario that tempts, or is known to be wrong, is one of the table, and stands under one reason', () => {
  const names = new Set(SCENARIOS.map(({ name }) => name));
  const listed = [...Object.values(TEMPTING), ...Object.values(KNOWN_WRONG)].flat();
  assert.deepEqual(
    listed.filter(name => !names.has(name)),
    [],
  );
  assert.equal(new Set(listed).size, listed.length);
});

test('what is wrong fails unless it is known to be; what is known and not wrong any more, at any load, is named', () => {
  const [known = '', other = ''] = Object.values(KNOWN_WRONG).flat();
  assert.ok(isKnownWrong(known) && !isKnownWrong('node, one call'));
  const counts = new WrongCounts();
  for (const [name, wrong] of [
    [known, 0],
    [known, 2],
    [other, 0],
    [other, 0],
    ['node, one call', 0],
    ['node, a lock', 1],
  ] as const)
    counts.add(name, wrong);
  assert.deepEqual(counts.failed, ['node, a lock']);
  assert.deepEqual(counts.mended, [other]);
});
