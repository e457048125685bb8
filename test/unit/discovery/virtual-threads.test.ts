// Where a process has what tells of virtual threads is found by the names in HotSpot's table of its own fields.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import type { Executable } from '../../../src/discovery/executable.js';
import { isTraceable, javaLayout } from '../../../src/discovery/virtual-threads.js';

const TABLE = 0x2000;
const TEXTS = 0x8000;
const ID = 0x9000;
const HEAP = 0x9100;
/** From addresses to where they are in the file. */
const MOVED = 0x1000;

/** A library with a table of such fields, `Type.field`. */
function library(fields: readonly string[], idAt = ID): Executable {
  const bytes = Buffer.alloc(0xa000);
  let text = TEXTS;
  const put = (content: string): bigint => {
    const at = text;
    text += bytes.write(`${content}\0`, at, 'latin1');
    return BigInt(at);
  };
  bytes.writeBigUInt64LE(BigInt(TABLE), 0x1000);
  for (const [index, field] of fields.entries()) {
    const [type = '', name = ''] = field.split('.');
    bytes.writeBigUInt64LE(put(type), TABLE + index * 48);
    bytes.writeBigUInt64LE(put(name), TABLE + index * 48 + 8);
    if (name === '_collectedHeap') bytes.writeBigUInt64LE(BigInt(HEAP), TABLE + index * 48 + 40);
  }
  return {
    dynamicAddress: (name: string) => (name === 'gHotSpotVMStructs' ? 0x1000 : 0),
    staticAddress: () => idAt,
    section: (name: string) => (name === '.text' ? { address: 0x3000, offset: 0x3000 - MOVED } : null),
    offsetOf: (address: number) => (address > 0 ? address - MOVED : -1),
    read: (offset: number, length: number) =>
      offset < 0 ? Buffer.alloc(0) : bytes.subarray(offset + MOVED, offset + MOVED + length),
  } as unknown as Executable;
}

const STACK = ['JavaThread._stack_base', 'JavaThread._stack_size'];
const OBJECTS = ['JavaThread._threadObj', 'JavaThread._vthread'];
const HEAPS = ['CollectedHeap._is_stw_gc_active', 'Universe._collectedHeap'];
const OWNER = ['JavaThread._monitor_owner_id', 'JavaThread._cont_entry'];

test('a HotSpot that has the id of the virtual thread in its own memory, as Java 25', () => {
  const layout = javaLayout(library(['Other._stack_base', ...STACK, ...OWNER], 0));
  const at = (index: number): number => TABLE + index * 48 + 32;
  assert.deepEqual(layout, { places: [at(1), at(2), at(4), at(3), 0, 0, 0, 0, 0], codeShift: MOVED });
});

test('one where it is in an object that the collector may move, as Java 21', () => {
  const layout = javaLayout(library([...STACK, ...OBJECTS, ...HEAPS]));
  const at = (index: number): number => TABLE + index * 48 + 32;
  assert.deepEqual(layout?.places, [at(0), at(1), 0, 0, at(3), at(2), ID, at(4), HEAP]);
});

test('without one of the two, without a stack, or without the table nothing is told', () => {
  assert.equal(javaLayout(library([...STACK, ...OBJECTS, ...HEAPS], 0)), null, 'stripped');
  assert.equal(javaLayout(library([...STACK, ...OBJECTS])), null, 'as Java 17');
  assert.equal(javaLayout(library(OWNER)), null);
  assert.equal(javaLayout({ dynamicAddress: () => 0, section: () => null } as unknown as Executable), null);
});

test('objects are found by what leads to them only where that is known to lead to them', () => {
  const objects = javaLayout(library([...STACK, ...OBJECTS, ...HEAPS]));
  const owner = javaLayout(library([...STACK, ...OWNER], 0));
  assert.ok(objects !== null && owner !== null);
  const told = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', '--', '-XX:+UseZGC'], { stdio: 'ignore' });
  const pid = told.pid ?? 0;
  try {
    assert.equal(isTraceable(process.pid, objects), true);
    assert.equal(isTraceable(pid, objects), false, 'told to use ZGC');
    assert.equal(isTraceable(pid, owner), true, 'nothing leads to an object there');
  } finally {
    told.kill();
  }
  assert.equal(isTraceable(2 ** 30, objects), false, 'a process that is gone');
});
