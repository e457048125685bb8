import assert from 'node:assert/strict';
import test from 'node:test';
import { crc32 } from '../../../src/backlog/crc32.js';

test('the check value of the catalogue, and that of nothing', () => {
  assert.equal(crc32(Buffer.from('123456789')), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
});
