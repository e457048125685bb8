// Fields of a head that were seen before are not read again: what that gives must be what reading gives, whatever differs.
import assert from 'node:assert/strict';
import test from 'node:test';
import { FieldReader } from '../../../src/protocols/http1/fields.js';
import { KnownFields } from '../../../src/protocols/http1/known-fields.js';
import { MessageHead } from '../../../src/protocols/protocol.js';
import { replay, singleBytes } from '../../fuzz/http1-replay.js';

const HEADS = [
  {
    isRequest: true,
    text:
      'GET /items/1 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: test/1.0\r\nConnection: keep-alive\r\n' +
      'Content-Type: text/plain\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc',
  },
  { isRequest: true, text: 'POST / HTTP/1.1\r\nhost:a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n' },
  { isRequest: true, text: 'GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-1-2-01\r\nb3: 0\r\n\r\n' },
  {
    isRequest: false,
    text:
      'HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 27 Nov 2026 16:01:13 GMT\r\nContent-Type: text/plain\r\n' +
      'Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello',
  },
  { isRequest: false, text: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n' },
];

for (const { isRequest, text } of HEADS) {
  const title = text.slice(0, text.indexOf('\r\n'));
  const bytes = Buffer.from(text, 'latin1');
  /** A head of which the parser gets one byte at a time is never looked up. */
  const readAnew = (changed: Buffer): readonly string[] => replay(singleBytes(changed), { isRequest }).lines;
  const readWhole = (changed: Buffer): readonly string[] => replay([changed], { isRequest }).lines;

  test(`${title}: a byte that differs, anywhere, is seen`, () => {
    assert.deepEqual(readWhole(bytes), readAnew(bytes));
    assert.deepEqual(readWhole(bytes), readAnew(bytes), 'the second time');
    for (let at = 0; at < bytes.length; at++) {
      for (const byte of ['1', ':', ' ', '\r', '\n', 'x']) {
        const changed = Buffer.from(bytes);
        changed.write(byte, at, 'latin1');
        assert.deepEqual(readWhole(bytes), readAnew(bytes));
        assert.deepEqual(readWhole(changed), readAnew(changed), `${JSON.stringify(byte)} at ${at}`);
      }
    }
  });

  test(`${title}: fields that go on behind known ones, or end before`, () => {
    readWhole(bytes);
    for (let at = text.indexOf('\n') + 1; at < bytes.length; at++) {
      for (const more of ['', 'X-More: 1\r\n', '\r\n']) {
        const changed = Buffer.concat([bytes.subarray(0, at), Buffer.from(more), bytes.subarray(at + 1)]);
        assert.deepEqual(readWhole(changed), readAnew(changed), `${JSON.stringify(more)} at ${at}`);
      }
    }
  });
}

/** What a parser does with the fields of a head; true if they were known. */
function meet(known: KnownFields, text: string): boolean {
  const bytes = Buffer.from(text, 'latin1');
  const head = new MessageHead();
  const fields = new FieldReader();
  if (known.find(bytes, 0, bytes.length, head, fields) >= 0) return true;
  known.remember(bytes, 0, bytes.length, head, fields);
  return false;
}

test('fields that never come again are seldom looked up, and those that do are found again', () => {
  const known = new KnownFields();
  assert.equal(meet(known, 'Host: a\r\n\r\n'), false);
  assert.equal(meet(known, 'Host: a\r\n\r\n'), true);
  for (let at = 0; at < 500; at++) assert.equal(meet(known, `X-Request: ${at}\r\n\r\n`), false);
  const found = Array.from({ length: 400 }, () => meet(known, 'Host: b\r\n\r\n'));
  assert.ok(found.filter(Boolean).length >= 250, 'found again soon');
  assert.ok(!found.slice(0, 8).every(Boolean), 'not at once');
});

test('the same fields of several clients are known side by side', () => {
  const known = new KnownFields();
  const texts = Array.from({ length: 8 }, (_, at) => `Host: a\r\nUser-Agent: ${at}\r\n\r\n`);
  for (const text of texts) meet(known, text);
  for (const text of [...texts, ...texts]) assert.ok(meet(known, text), text);
});

test('fields that are too long to be kept are read each time', () => {
  const known = new KnownFields();
  for (let turn = 0; turn < 3; turn++) assert.equal(meet(known, `Cookie: ${'x'.repeat(1024)}\r\n\r\n`), false);
});
