// The buffer of an unfinished line: what goes in comes out, up to the cap.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { LINE_MAX_BYTES, LineBuffer } from '../../../src/protocols/line-buffer.js';

test('pieces of any size become one line', () => {
  const line = new LineBuffer();
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 700 })), pieces => {
      line.clear();
      for (const piece of pieces) line.append(Buffer.concat([Buffer.of(1), piece]), 1, piece.length + 1);
      assert.ok(Buffer.concat(pieces).equals(line.bytes.subarray(0, line.length)));
      assert.equal(line.isOverfull, false);
    }),
  );
});

test('a line that is too long is cut, says so, and grows no further', () => {
  const line = new LineBuffer();
  const piece = new Uint8Array(1000).fill(7);
  for (let round = 0; round < 100; round++) line.append(piece, 0, 1000);
  assert.equal(line.length, LINE_MAX_BYTES);
  assert.equal(line.bytes.length, LINE_MAX_BYTES);
  assert.equal(line.isOverfull, true);
});

test('a line of exactly the cap is whole', () => {
  const line = new LineBuffer();
  line.append(new Uint8Array(LINE_MAX_BYTES), 0, LINE_MAX_BYTES);
  assert.equal(line.isOverfull, false);
  line.append(Uint8Array.of(1), 0, 1);
  assert.equal(line.isOverfull, true);
  line.clear();
  assert.deepEqual([line.length, line.isOverfull], [0, false]);
});

test('release gives the memory back', () => {
  const line = new LineBuffer();
  line.append(new Uint8Array(100), 0, 100);
  line.release();
  assert.equal(line.bytes.length, 0);
  assert.equal(line.length, 0);
});
