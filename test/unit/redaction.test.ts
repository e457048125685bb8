// What a recording holds: heads as they are needed, nothing secret, every byte in its place.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  DataEventCursor,
  EVENT_DATA,
  EVENT_PROCESS_EXEC,
  ProcessExecEventCursor,
} from '../../src/records/records.gen.js';
import { Redactor } from '../../src/redaction.js';
import { record } from '../support/record-builder.js';

let seq = 100;

function dataRecord(text: string | Buffer, slot = 1, direction = 0): Buffer {
  const payload = Buffer.from(text);
  const head = Buffer.from(
    record(DataEventCursor, EVENT_DATA, {
      timeNs: 5,
      slot,
      generation: 1,
      direction,
      seq,
      callBytes: payload.length,
      chunkBytes: payload.length,
    }),
  );
  seq += payload.length;
  const bytes = Buffer.concat([head.subarray(0, DataEventCursor.SIZE), payload]);
  bytes.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
}

/** The payloads of some records after redaction. */
function redact(...texts: (string | Buffer)[]): string[] {
  const redactor = new Redactor();
  return texts.map(text => {
    const bytes = dataRecord(text);
    const out = Buffer.from(redactor.slab(bytes));
    assert.equal(out.length, bytes.length);
    return out.toString('latin1', DataEventCursor.SIZE, DataEventCursor.SIZE + Buffer.from(text).length);
  });
}

test('credentials, queries and unlisted fields are masked, what spans need is not', () => {
  const [out] = redact(
    'GET /a/b?token=s3cret&x=1 HTTP/1.1\r\nHost: shop\r\nAuthorization: Basic abc=\r\nCookie: id=77\r\n' +
      'User-Agent: curl\r\ntraceparent: 00-1-2-01\r\nX-Api-Key: k3y\r\n\r\n',
  );
  assert.equal(
    out,
    'GET /a/b?xxxxxxxxxxxxxxxx HTTP/1.1\r\nHost: shop\r\nAuthorization:xxxxxxxxxxx\r\nCookie:xxxxxx\r\n' +
      'User-Agent: curl\r\ntraceparent: 00-1-2-01\r\nX-Api-Key:xxxx\r\n\r\n',
  );
});

test('credentials in a target', () => {
  const [out] = redact('GET http://me:pw@shop/a?b HTTP/1.1\r\n\r\n');
  assert.equal(out, 'GET http://xxxxx@shop/a?x HTTP/1.1\r\n\r\n');
});

test('bodies of a known length, and the request behind one', () => {
  const [out] = redact('POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\npass=wordGET /next HTTP/1.1\r\n\r\n');
  assert.equal(out, 'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nxxxxxxxxxGET /next HTTP/1.1\r\n\r\n');
});

test('chunked bodies keep the sizes of their chunks', () => {
  const [out] = redact('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\n\r\n5\r\nhello\r\n0\r\n\r\n');
  assert.equal(out, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie:xx\r\n\r\n5\r\nxxxxx\r\n0\r\n\r\n');
});

test('wherever a head is cut into records, nothing secret comes through', () => {
  const head =
    'GET /a?q=SECRET HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer SECRET\r\nCookie: SECRET\r\nAccept: */*\r\n\r\n';
  for (let cut = 1; cut < head.length; cut++) {
    const out = redact(head.slice(0, cut), head.slice(cut)).join('');
    assert.equal(out.length, head.length);
    for (let size = 6; size >= 4; size--) {
      for (let at = 0; at + size <= 6; at++) {
        assert.ok(!out.includes('SECRET'.slice(at, at + size)), `cut at ${cut}: ${JSON.stringify(out)}`);
      }
    }
  }
});

test('what is no HTTP is masked whole, but for TLS records', () => {
  assert.deepEqual(redact('secret protocol\n'), ['xxxxxxxxxxxxxxx\n']);
  const hello = Buffer.from([22, 3, 1, 0, 3, 1, 2, 3]);
  assert.deepEqual(redact(hello), [hello.toString('latin1')]);
});

test('a damaged slab is cut where it can no longer be walked', () => {
  const bytes = dataRecord('GET / HTTP/1.1\r\n\r\n');
  bytes.writeUInt32LE(0xffffff, 8);
  assert.equal(new Redactor().slab(bytes).length, 0);
});

test('nothing of the frames of a WebSocket is kept', () => {
  const redactor = new Redactor();
  const through = (bytes: Buffer, direction: number) => {
    const out = Buffer.from(redactor.slab(dataRecord(bytes, 1, direction)));
    return out.toString('latin1', DataEventCursor.SIZE, DataEventCursor.SIZE + bytes.length);
  };
  through(Buffer.from('GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n'), 0);
  const head = 'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n';
  const secret = Buffer.from('\x81\x06SECRET\x81\x06SEC', 'latin1');
  assert.equal(through(Buffer.concat([Buffer.from(head), secret]), 1), `${head}${'x'.repeat(13)}`);
  assert.equal(through(Buffer.from('\x81\x83keysSEC\n', 'latin1'), 0), 'x'.repeat(10));
});

test('of a command line the first word is kept', () => {
  const args = Buffer.from('curl\0-H\0Authorization: SECRET\0https://u:SECRET@shop\0');
  const exec = record(ProcessExecEventCursor, EVENT_PROCESS_EXEC, { argsBytes: args.length, pid: 7 }, args);
  const out = Buffer.from(new Redactor().slab(exec));
  const kept = `curl\0xx\0${'x'.repeat(21)}\0${'x'.repeat(21)}\0`;
  assert.equal(out.toString('latin1', ProcessExecEventCursor.SIZE), kept);
  assert.deepEqual(
    out.subarray(0, ProcessExecEventCursor.SIZE),
    Buffer.from(exec.subarray(0, ProcessExecEventCursor.SIZE)),
  );
});
