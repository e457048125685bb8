import assert from 'node:assert/strict';
import test from 'node:test';
import { ConnectionMap } from '../../../src/kernel/connection-map.js';
import { ConnectionCursor } from '../../../src/records/records.gen.js';

test('what is mapped grows with the highest slot in use, up to the whole map', () => {
  const mapped: number[] = [];
  const map = new ConnectionMap(10_000, bytes => {
    mapped.push(bytes / ConnectionCursor.SIZE);
    return new ArrayBuffer(bytes);
  });
  assert.equal(map.viewOf(4095).byteLength, 4096 * ConnectionCursor.SIZE);
  assert.ok(map.viewOf(4096).byteLength > 4096 * ConnectionCursor.SIZE);
  assert.equal(map.viewOf(9999).byteLength, 10_000 * ConnectionCursor.SIZE);
  assert.equal(map.viewOf(3).byteLength, 10_000 * ConnectionCursor.SIZE);
  assert.deepEqual(mapped, [4096, 8192, 10_000]);
});

test('a slot that the kernel does not have maps nothing more', () => {
  let calls = 0;
  const map = new ConnectionMap(100, bytes => {
    calls++;
    return new ArrayBuffer(bytes);
  });
  const view = map.viewOf(4_000_000_000);
  assert.throws(() => view.getUint32(4_000_000_000 * ConnectionCursor.SIZE), RangeError);
  assert.equal(calls, 1);
});
