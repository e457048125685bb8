import assert from 'node:assert/strict';
import test from 'node:test';
import { ConnectionMap, connectionAt } from '../../../src/kernel/connection-map.js';
import { ConnectionCursor } from '../../../src/records/records.gen.js';

const PIECE_BYTES = 1024 * ConnectionCursor.SIZE;

function mapOf(slots: number): { readonly map: ConnectionMap; readonly mapped: number[] } {
  const whole = slots * ConnectionCursor.SIZE;
  const mapped: number[] = [];
  const map = new ConnectionMap(slots, (from, bytes) => {
    mapped.push(from);
    return new ArrayBuffer(Math.min(bytes, whole - from));
  });
  return { map, mapped };
}

test('what is mapped grows with the highest slot in use, piece by piece, up to the whole map', () => {
  const { map, mapped } = mapOf(2500);
  assert.deepEqual(mapped, []);
  assert.equal(map.viewOf(1023).byteLength, PIECE_BYTES);
  assert.deepEqual(mapped, [0]);
  assert.notEqual(map.viewOf(1024), map.viewOf(1023));
  assert.equal(map.viewOf(2499).byteLength, 452 * ConnectionCursor.SIZE);
  assert.deepEqual(mapped, [0, PIECE_BYTES, 2 * PIECE_BYTES]);
  assert.equal(map.viewOf(3), map.viewOf(1023));
  assert.equal(mapped.length, 3);
});

test('each slot has a place of its own, whole within its piece', () => {
  const { map } = mapOf(4096);
  const places = new Set<string>();
  for (let slot = 0; slot < 4096; slot++) {
    const view = map.viewOf(slot);
    const at = connectionAt(slot);
    assert.ok(at + ConnectionCursor.SIZE <= view.byteLength);
    view.setUint32(at, slot, true);
    places.add(`${Math.floor(slot / 1024)} ${at}`);
  }
  assert.equal(places.size, 4096);
  for (let slot = 0; slot < 4096; slot++) assert.equal(map.viewOf(slot).getUint32(connectionAt(slot), true), slot);
});

test('a slot that the kernel does not have maps nothing more', () => {
  const { map, mapped } = mapOf(100);
  const view = map.viewOf(4_000_000_000);
  assert.throws(() => view.getUint32(connectionAt(4_000_000_000)), RangeError);
  assert.deepEqual(mapped, []);
});
