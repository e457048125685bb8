// Replies of Redis, whole and in pieces; what is no reply is refused.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { command, type Reply, ReplyError, ReplyReader } from '../../../src/joins/resp.js';

function readAll(pieces: readonly Buffer[]): Reply[] {
  const reader = new ReplyReader();
  const replies: Reply[] = [];
  for (const piece of pieces) {
    reader.append(piece);
    for (let reply = reader.next(); reply !== undefined; reply = reader.next()) replies.push(reply);
  }
  return replies;
}

const TEXT = '+OK\r\n$-1\r\n:42\r\n$5\r\na\r\nbc\r\n-ERR no\r\n$0\r\n\r\n';
const REPLIES: readonly Reply[] = ['OK', null, 42, 'a\r\nbc', new ReplyError('ERR no'), ''];

test('replies of every kind, split anywhere', () => {
  const bytes = Buffer.from(TEXT);
  assert.deepEqual(readAll([bytes]), REPLIES);
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(readAll([bytes.subarray(0, at), bytes.subarray(at)]), REPLIES, `split at ${at}`);
  }
  assert.deepEqual(readAll([...bytes].map(byte => Buffer.from([byte]))), REPLIES);
});

test('what is no reply of ours, or has no end, is refused', () => {
  for (const text of [
    'HTTP/1.1 400\r\n',
    '*1\r\n:1\r\n',
    '$99999999\r\n',
    '$x\r\n',
    '$-2\r\n',
    `+${'a'.repeat(5000)}`,
  ]) {
    assert.throws(() => readAll([Buffer.from(text)]), text);
  }
});

test('any bytes are replies, wait for more, or are refused', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), pieces => {
      try {
        readAll(pieces.map(piece => Buffer.from(piece)));
      } catch (error) {
        assert.match((error as Error).message, /reply/);
      }
    }),
  );
});

test('commands count bytes, not characters', () => {
  assert.equal(command('AUTH', 'é'), '*2\r\n$4\r\nAUTH\r\n$2\r\né\r\n');
});
