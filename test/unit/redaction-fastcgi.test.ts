// What a recording holds of FastCGI: what spans need of it, nothing secret, every byte in its place, wherever it is cut and
// whatever is missing.
import assert from 'node:assert/strict';
import test from 'node:test';
import { DataEventCursor, EVENT_DATA } from '../../src/records/records.gen.js';
import { Redactor } from '../../src/redaction.js';
import {
  end,
  fcgi,
  type RecordedConversation,
  read,
  recordedConversations,
  request,
  type,
} from '../support/fastcgi.js';
import { record } from '../support/record-builder.js';

const SECRETS = ['hidden', 'c2VjcmV0', 'pw=secret', 'secretvalue', '4111', 'xxsecret'];
const BASE = 100;

interface Chunk {
  readonly isRequest: boolean;
  readonly bytes: Buffer;
  /** It is not captured. */
  readonly isMissing?: boolean;
}

/** Both directions after redaction; what is missing is left out of them. */
function redact(chunks: readonly Chunk[]): { requests: Buffer; responses: Buffer; text: string } {
  const redactor = new Redactor();
  const at = { true: BASE, false: BASE };
  const out = { true: [] as Buffer[], false: [] as Buffer[] };
  for (const { isRequest, bytes, isMissing } of chunks) {
    const side = `${isRequest}` as const;
    const head = Buffer.from(
      record(DataEventCursor, EVENT_DATA, {
        timeNs: 5,
        slot: 1,
        generation: 1,
        direction: isRequest ? 0 : 1,
        seq: at[side],
        otherSeq: at[`${!isRequest}` as const],
        callBytes: bytes.length,
        chunkBytes: bytes.length,
      }),
    );
    at[side] += bytes.length;
    if (isMissing === true) continue;
    const whole = Buffer.concat([head.subarray(0, DataEventCursor.SIZE), bytes]);
    whole.writeUInt32LE(whole.length, 8);
    const slab = redactor.slab(Buffer.concat([whole, Buffer.alloc((8 - (whole.length % 8)) % 8)]));
    out[side].push(Buffer.from(slab).subarray(DataEventCursor.SIZE, DataEventCursor.SIZE + bytes.length));
  }
  const requests = Buffer.concat(out.true);
  const responses = Buffer.concat(out.false);
  return { requests, responses, text: `${requests.toString('latin1')} ${responses.toString('latin1')}` };
}

function assertNoSecret(text: string, where: string): void {
  for (const secret of SECRETS) {
    for (let from = 0; from + 4 <= secret.length; from++) {
      const part = secret.slice(from, from + 4);
      // `secr` is in no name that is kept.
      assert.ok(!text.includes(part), `${where}: ${part}`);
    }
  }
}

/** Each turn in pieces of `size`. */
function cut({ turns }: RecordedConversation, size: number): Chunk[] {
  return turns.flatMap(({ isRequest, bytes }) => {
    const chunks: Chunk[] = [];
    for (let from = 0; from < bytes.length; from += size)
      chunks.push({ isRequest, bytes: bytes.subarray(from, from + size) });
    return chunks;
  });
}

test('recorded conversations: spans come out the same, secrets do not', () => {
  for (const conversation of recordedConversations()) {
    const { requests, responses, text } = redact(conversation.turns);
    assertNoSecret(text, conversation.title);
    assert.equal(requests.length, conversation.requests.length);
    assert.equal(responses.length, conversation.responses.length);
    const before = read(true, [conversation.requests]).sink;
    const after = read(true, [requests]).sink;
    const masked = before.lines.map(line =>
      line.replace(/(\?)(\S*)/, (_, mark, query) => mark + 'x'.repeat(query.length)),
    );
    assert.deepEqual(after.lines, masked, conversation.title);
    assert.deepEqual(
      after.heads.map(({ host, traceparent, userAgent }) => [host, traceparent, userAgent]),
      before.heads.map(({ host, traceparent, userAgent }) => [host, traceparent, userAgent]),
    );
    const due = [1, 1, 1];
    assert.deepEqual(read(false, [responses], due).sink.lines, read(false, [conversation.responses], due).sink.lines);
  }
});

test('cut into pieces of any size', () => {
  for (const conversation of recordedConversations()) {
    const whole = redact(conversation.turns);
    for (const size of [1, 2, 3, 5, 7, 8, 11, 16, 50, 333]) {
      if (size < 8) {
        // Which protocol it is shows in the first eight bytes; before, nothing is kept.
        const { text } = redact(cut(conversation, size));
        assertNoSecret(text, `${conversation.title}, pieces of ${size}`);
        continue;
      }
      const pieces = redact(cut(conversation, size));
      assert.ok(pieces.requests.equals(whole.requests), `${conversation.title}, pieces of ${size}`);
      assert.ok(pieces.responses.equals(whole.responses), `${conversation.title}, pieces of ${size}`);
    }
  }
});

test('with a piece missing anywhere', () => {
  for (const conversation of recordedConversations()) {
    for (const size of [24, 64, 200]) {
      const pieces = cut(conversation, size);
      for (let missing = 0; missing < pieces.length; missing++) {
        const chunks = pieces.map((piece, index) => ({ ...piece, isMissing: index === missing }));
        assertNoSecret(redact(chunks).text, `${conversation.title}, piece ${missing} of ${size} bytes`);
      }
    }
  }
});

test('a body that looks like a header is none', () => {
  const body = 'secretvalue: a\r\nStatus: 4111\r\n\r\n';
  const head = 'Status: 200 OK\r\nSet-Cookie: hidden\r\n\r\n';
  const [first, second] = [fcgi(type.STDOUT, head + body), fcgi(type.STDOUT, body)];
  const asked = request({ REQUEST_METHOD: 'GET', REQUEST_URI: 'http://me:hidden@shop/' });
  const chunks = [
    { isRequest: true, bytes: asked },
    { isRequest: false, bytes: first },
    { isRequest: false, bytes: second },
    { isRequest: false, bytes: end() },
  ];
  const { text } = redact(chunks);
  assertNoSecret(text, 'all there');
  assert.ok(text.includes('Status: 200 OK') && text.includes('Set-Cookie:x'));
  // The response's beginning was lost: what comes next is no header, though it begins a record.
  assertNoSecret(redact(chunks.map((chunk, index) => ({ ...chunk, isMissing: index === 1 }))).text, 'the head missing');
});

test('values of other parameters, also those that PHP obeys', () => {
  const { requests } = redact([
    {
      isRequest: true,
      bytes: request({
        REQUEST_METHOD: 'GET',
        PHP_VALUE: 'pw=secret',
        REMOTE_USER: 'hidden',
        HTTP_COOKIE: '4111',
        QUERY_STRING: 'hidden',
      }),
    },
  ]);
  assertNoSecret(requests.toString('latin1'), 'parameters');
  assert.ok(requests.includes('REQUEST_METHODGET') && requests.includes('PHP_VALUExxxxxxxxx'));
});
