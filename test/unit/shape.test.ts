// One shape for life: whatever a field comes to hold, the code that was compiled for the class stays valid.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { settleShape } from '../../src/shape.js';

setFlagsFromString('--allow-natives-syntax');
const haveSameMap = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean;
setFlagsFromString('--no-allow-natives-syntax');

function thing() {
  return class Thing {
    startNs = 0;
    waitSeconds = -1;
    seq = 0;
    count = 0;
    parent: object | null = null;
    name = '';
    isDone = false;
  };
}

function used<T extends { startNs: number; waitSeconds: number; seq: number; parent: object | null }>(object: T): T {
  return Object.assign(object, { startNs: 1.5, waitSeconds: 0.25, seq: 2 ** 32 - 1, parent: { a: 1 }, count: 3 });
}

test('an object of a class whose shape is settled keeps it through its life', () => {
  const Thing = thing();
  settleShape(new Thing(), new Set(['seq']));
  const fresh = new Thing();
  assert.ok(haveSameMap(fresh, used(new Thing())));
  assert.deepEqual(
    { ...fresh },
    { startNs: 0, waitSeconds: -1, seq: 0, count: 0, parent: null, name: '', isDone: false },
  );
});

test('without that, the first fraction makes another shape', () => {
  const Thing = thing();
  const fresh = new Thing();
  assert.ok(!haveSameMap(fresh, used(new Thing())));
});
