// What the kernel's TCP says of a connection becomes facts of each exchange: what grew while it was under way, what had not been
// delivered at its end, and what ended the connection before it.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONNECTION_FIN_RECEIVED,
  CONNECTION_FIN_SENT,
  CONNECTION_RESET_RECEIVED,
  CONNECTION_RESET_SENT,
} from '../../../src/records/records.gen.js';
import { MS, requestText, responseText, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line } from './harness.js';

const TCP = ['retransmits', 'rwnd_limited', 'sndbuf_limited', 'unsent', 'unacked'];

function facts(span: Parameters<typeof attribute>[0]): unknown[] {
  return TCP.map(name => attribute(span, `underspan.tcp.${name}`) ?? 0);
}

test('a server: each response has what its connection came to while it was under way', () => {
  const harness = new Harness();
  const story = harness.server();
  story.tcp = { tcpTotalRetrans: 1 };
  story.opened().read(requestText('GET /a'));
  story.tcp = {
    tcpTotalRetrans: 3,
    tcpRwndLimitedMs: 40,
    tcpSndbufLimitedMs: 8,
    tcpUnsentBytes: 7,
    tcpUnackedBytes: 9,
  };
  story.wrote(responseText(200));
  // The rest of the response is still being sent when the next request is there.
  story.tcp = { tcpTotalRetrans: 4, tcpRwndLimitedMs: 90, tcpSndbufLimitedMs: 8 };
  story.read(requestText('GET /b'));
  story.tcp = { tcpTotalRetrans: 4, tcpRwndLimitedMs: 94, tcpSndbufLimitedMs: 8, tcpUnackedBytes: 50 };
  story.wrote(responseText(204));
  const [a, b] = harness.finish();
  assert.deepEqual([line(a as never), facts(a)], ['GET /a 200', [2, 0.04, 0.008, 7, 9]]);
  assert.deepEqual([line(b as never), facts(b)], ['GET /b 204', [0, 0.004, 0, 0, 0]]);
});

test('a client: what its request met until the answer came, from the first byte of the write on', () => {
  const harness = new Harness();
  const story = harness.client();
  story.tcp = { tcpTotalRetrans: 1 };
  story.opened({ connectNs: T0, establishedNs: T0 + MS });
  story.tcp = { tcpTotalRetrans: 2, tcpRwndLimitedMs: 100, tcpUnsentBytes: 5 };
  story.wrote(requestText('PUT /a', ['Host: a', 'Content-Length: 5'], 'hello'));
  story.tcp = { tcpTotalRetrans: 5, tcpRwndLimitedMs: 700 };
  story.read(responseText(200));
  story.tcp = { tcpTotalRetrans: 5, tcpRwndLimitedMs: 700, tcpUnackedBytes: 18 };
  story.wrote(requestText('GET /b')).read(responseText(204));
  const [a, b] = harness.finish().filter(span => span.kind === 3);
  assert.deepEqual(facts(a), [4, 0.7, 0, 0, 0]);
  assert.deepEqual(facts(b), [0, 0, 0, 0, 0]);
});

test('what had not been delivered when the connection was reset', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a'));
  story.wrote(responseText(200, 'x'.repeat(50)).slice(0, 60));
  story.tcp = { tcpUnsentBytes: 20, tcpUnackedBytes: 30 };
  story.closed({ flags: CONNECTION_RESET_RECEIVED, errorNumber: 104, resetNs: T0 + 400 * MS, at: T0 + 401 * MS });
  const [span] = harness.finish();
  assert.equal(line(span as never), 'GET /a 200 ECONNRESET');
  assert.deepEqual(facts(span), [0, 0, 0, 20, 30]);
  assert.equal(attribute(span, 'underspan.connection.end'), 'reset_received');
});

test('the first FIN or reset ended the connection, whatever came after it', () => {
  const at = T0 + 900 * MS;
  const sent = { finSentNs: at - 3 };
  const received = { finReceivedNs: at - 2 };
  const both = CONNECTION_FIN_SENT | CONNECTION_FIN_RECEIVED;
  for (const [end, closed] of [
    ['fin_sent', { flags: both, ...sent, ...received }],
    ['fin_received', { flags: both, finSentNs: at - 1, ...received }],
    ['reset_received', { flags: CONNECTION_FIN_SENT | CONNECTION_RESET_RECEIVED, resetNs: at - 5, ...sent }],
    ['fin_sent', { flags: CONNECTION_FIN_SENT | CONNECTION_RESET_RECEIVED, resetNs: at - 1, ...sent }],
    ['reset_sent', { flags: CONNECTION_RESET_SENT | CONNECTION_FIN_RECEIVED, resetNs: at - 5, ...received }],
    ['fin_received', { flags: CONNECTION_RESET_SENT | CONNECTION_FIN_RECEIVED, resetNs: at - 1, ...received }],
    [undefined, { flags: 0, errorNumber: 110 }],
  ] as const) {
    const harness = new Harness();
    harness
      .server()
      .opened()
      .read(requestText('GET /a'))
      .closed({ at, ...closed });
    const [span] = harness.finish();
    assert.equal(attribute(span, 'underspan.connection.end'), end, JSON.stringify(closed));
    assert.notEqual(attribute(span, 'error.type'), undefined);
  }
});

test('a connection that ends behind a whole exchange is no fact of the exchange', () => {
  const harness = new Harness();
  const story = harness.client().opened({ connectNs: T0, establishedNs: T0 + MS });
  story
    .wrote(requestText('GET /a'))
    .read(responseText(200))
    .readEnd()
    .finished()
    .closed({ finSentNs: T0 + 500 * MS });
  const [span] = harness.finish().filter(({ kind }) => kind === 3);
  assert.equal(line(span as never), 'GET /a 200');
  assert.equal(attribute(span, 'underspan.connection.end'), undefined);
});

test('a response that lasts until the connection ends was ended by it', () => {
  const harness = new Harness();
  const story = harness.client().opened({ connectNs: T0, establishedNs: T0 + MS });
  story.wrote(requestText('GET /a')).read('HTTP/1.0 200 OK\r\n\r\nuntil close').readEnd().closed();
  const [span] = harness.finish().filter(({ kind }) => kind === 3);
  assert.equal(line(span as never), 'GET /a 200');
  assert.equal(attribute(span, 'underspan.connection.end'), 'fin_received');
});
