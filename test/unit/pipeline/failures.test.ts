// Exchanges that fail are spans too: what was seen, and why it went no further.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONNECTION_FIN_RECEIVED,
  CONNECTION_RESET_RECEIVED,
  CONNECTION_RESET_SENT,
  CONNECTION_TLS,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
} from '../../../src/records/records.gen.js';
import { MS, requestText, responseText, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line, phaseNs } from './harness.js';

const ECONNRESET = 104;
const EPIPE = 32;

test('closed before the response', () => {
  const client = new Harness();
  client
    .client()
    .opened()
    .wrote(requestText('GET /a'), { at: T0 + 5 * MS })
    .readEnd({ at: T0 + 9 * MS })
    .closed();
  const asked = client.finish().find(({ kind }) => kind === 3);
  assert.equal(line(asked as never), 'GET /a connection_closed');
  assert.equal(asked?.status.code, 2);
  assert.equal(phaseNs(asked, 'response.wait'), undefined);
  assert.equal(attribute(asked, 'http.response.body.size'), undefined);
  assert.equal(asked?.startUnixNs, BigInt(T0 + 5 * MS));
  assert.equal(asked?.endUnixNs, BigInt(T0 + 9 * MS));

  const server = new Harness();
  server.server().opened().read(requestText('GET /a')).closed();
  assert.deepEqual(server.finish().map(line), ['GET /a connection_closed']);
});

test('reset while the response was awaited', () => {
  const harness = new Harness();
  harness
    .client()
    .opened()
    .wrote(requestText('GET /a'))
    .finished({ flags: CONNECTION_RESET_RECEIVED, errorNumber: ECONNRESET })
    .closed({ errorNumber: ECONNRESET });
  assert.deepEqual(harness.finish().map(line), ['GET /a ECONNRESET']);
});

test('a reset that left no errno is one nevertheless', () => {
  const harness = new Harness();
  harness.server().opened().read(requestText('GET /a')).closed({ flags: CONNECTION_RESET_RECEIVED });
  assert.deepEqual(harness.finish().map(line), ['GET /a ECONNRESET']);
});

test('a call that failed names the error of the exchange that it ended', () => {
  const reading = new Harness();
  reading
    .client()
    .opened()
    .wrote(requestText('GET /a'))
    .failed(DIRECTION_INGRESS, ECONNRESET, { at: T0 + 9 * MS })
    .closed();
  assert.deepEqual(reading.finish().map(line), ['GET /a ECONNRESET']);
  const writing = new Harness();
  writing.server().opened().read(requestText('GET /a')).failed(DIRECTION_EGRESS, EPIPE).closed();
  assert.deepEqual(writing.finish().map(line), ['GET /a EPIPE']);
});

test('a reset in the middle of a response, of each framing', () => {
  const started = {
    length: responseText(200, 'x'.repeat(50)).slice(0, -10),
    chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nabc',
    close: 'HTTP/1.0 200 OK\r\n\r\npart',
  };
  for (const [framing, text] of Object.entries(started)) {
    const harness = new Harness();
    harness
      .client()
      .opened()
      .wrote(requestText('GET /a'))
      .read(text, { at: T0 + 30 * MS, arrived: T0 + 29 * MS })
      .closed({ flags: CONNECTION_RESET_RECEIVED, errorNumber: ECONNRESET, at: T0 + 75 * MS });
    const [span] = harness.finish();
    assert.equal(line(span as never), 'GET /a 200 ECONNRESET', framing);
    assert.equal(attribute(span, 'http.response.body.size'), undefined, framing);
    assert.equal(attribute(span, 'underspan.io.read_bytes'), text.length, framing);
    assert.equal(span?.endUnixNs, BigInt(T0 + 75 * MS), framing);
  }
});

test('a response cut short by the end of its stream has failed', () => {
  for (const text of [
    responseText(200, 'x'.repeat(50)).slice(0, -10),
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nabc',
  ]) {
    const harness = new Harness();
    harness.client().opened().wrote(requestText('GET /a')).read(text).readEnd().closed();
    assert.deepEqual(harness.finish().map(line), ['GET /a 200 connection_closed']);
  }
});

test("a client's TLS goodbye that is answered by a reset does not cut a response that lasted until the server's FIN", () => {
  const text = 'HTTP/1.0 200 OK\r\n\r\nwhole';
  const received = CONNECTION_RESET_RECEIVED | CONNECTION_FIN_RECEIVED;
  const [finReceivedNs, resetNs] = [T0 + 40 * MS, T0 + 41 * MS];
  for (const [what, flags, times, expected] of [
    ['the goodbye', received, { finReceivedNs, resetNs }, 'GET /a 200'],
    ['the response', CONNECTION_RESET_RECEIVED, { resetNs }, 'GET /a 200 EPIPE'],
  ] as const) {
    const harness = new Harness();
    harness
      .client({ flags: CONNECTION_TLS })
      .opened()
      .wrote(requestText('GET /a'))
      .read(text, { at: T0 + 30 * MS, arrived: T0 + 29 * MS })
      .closed({ flags, errorNumber: EPIPE, at: T0 + 42 * MS, ...times });
    assert.deepEqual(harness.finish().map(line), [expected], what);
  }
});

test('a reset after the response is nothing to the exchange', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a')).wrote(responseText());
  story.closed({ flags: CONNECTION_RESET_SENT | CONNECTION_RESET_RECEIVED, errorNumber: ECONNRESET });
  assert.deepEqual(harness.finish().map(line), ['GET /a 200']);
});

test('answers to HEAD that have a body all the same: nothing is lost, nor is the connection given up', () => {
  for (const side of ['server', 'client'] as const) {
    const harness = new Harness();
    const story = harness[side]().opened();
    const said: string[] = [];
    for (let turn = 0; turn < 8; turn++) {
      const method = turn % 4 === 3 ? 'GET' : 'HEAD';
      said.push(`${method} /${turn} 200`);
      const [request, response] = [requestText(`${method} /${turn}`), responseText(200, 'unasked')];
      if (side === 'server') story.read(request).wrote(response);
      else story.wrote(request).read(response);
    }
    story.closed();
    assert.deepEqual(harness.finish().map(line), said, side);
    assert.deepEqual(harness.drops(), {});
    assert.equal(harness.pipeline.connections.synchrony.givenUp, 0);
  }
});

test('a request cut short in its head is told with what is known; without a request line it is counted', () => {
  const known = new Harness();
  known.server().opened().read('GET /half HTTP/1.1\r\nHost: a\r\nX-').closed();
  const [span] = known.finish();
  assert.equal(line(span as never), 'GET /half connection_closed');
  assert.equal(attribute(span, 'underspan.request.head_truncated'), true);
  const unknown = new Harness();
  unknown.server().opened().read('GE').closed();
  assert.equal(unknown.finish().length, 0);
  assert.deepEqual(unknown.drops(), { unparsed: 1 });
});

test('an answer to a head that is never completed is told with what is known of it, before the connection ends', () => {
  const harness = new Harness();
  const story = harness.server().opened().read('GET /half HTTP/1.1\r\nHost: a\r\nX-').wrote(responseText(408));
  harness.pipeline.tick(T0 + 1000 * MS);
  harness.play();
  harness.pipeline.tick(T0 + 3000 * MS);
  const [span] = harness.play();
  assert.equal(line(span as never), 'GET /half 408');
  assert.equal(attribute(span, 'underspan.request.head_truncated'), true);
  story.closed();
  assert.equal(harness.finish().length, 1);
  const nameless = new Harness();
  nameless.server().opened().read('GE').wrote(responseText(408));
  nameless.pipeline.tick(T0 + 1000 * MS);
  nameless.play();
  nameless.pipeline.tick(T0 + 3000 * MS);
  assert.deepEqual(nameless.finish().map(line), []);
  assert.deepEqual(nameless.drops(), { unparsed: 1 });
});

test('what is no request, and is answered by HTTP, is in the books', () => {
  for (const side of ['server', 'client'] as const) {
    const harness = new Harness();
    const story = harness[side]().opened();
    const [asked, answered] = ['FOO BAR BAZ\r\n\r\n', responseText(400)];
    if (side === 'server') story.read(asked).wrote(answered);
    else story.wrote(asked).read(answered);
    story.closed();
    assert.deepEqual(harness.finish().map(line), []);
    assert.deepEqual([harness.pipeline.ledger.started, harness.drops()], [1, { unparsed: 1 }], side);
    // Unasked, or in another protocol: nothing.
    const other = new Harness();
    const silent = other[side]().opened();
    if (side === 'server') silent.wrote(responseText(408));
    else silent.read(responseText(408));
    other.server().opened().read('FOO BAR BAZ\r\n\r\n').wrote('+OK\r\n').closed();
    silent.closed();
    other.finish();
    assert.equal(other.pipeline.ledger.started, 0);
  }
});

test('a request cut short in its body', () => {
  const harness = new Harness();
  harness
    .server()
    .opened()
    .read(requestText('PUT /a', ['Host: a', 'Content-Length: 10'], '123'))
    .readEnd()
    .closed();
  const [span] = harness.finish();
  assert.equal(line(span as never), 'PUT /a connection_closed');
  assert.equal(attribute(span, 'http.request.body.size'), undefined);
  assert.equal(phaseNs(span, 'processing'), undefined);
});

test('heads longer than what is captured are told as truncated, and the next exchange is whole', () => {
  const cookie = `Cookie: ${'c'.repeat(9000)}`;
  for (const cuts of [[20_000], [3000, 20_000], [4096, 20_000], [4095, 4097, 20_000]]) {
    const harness = new Harness();
    const story = harness.server().opened();
    const request = requestText('DELETE /long', ['Host: a', cookie]);
    const response = responseText(200, 'abc', [`Set-${cookie}`]);
    for (const text of pieces(request, cuts)) story.read(text);
    for (const text of pieces(response, cuts)) story.wrote(text, { at: harness.tape.nowNs + MS });
    const lastWriteNs = harness.tape.nowNs;
    story.read(requestText('GET /next')).wrote(responseText(204));
    const [long, next, ...others] = harness.finish();
    assert.equal(others.length, 0);
    assert.equal(line(long as never), 'DELETE /long 200');
    assert.equal(attribute(long, 'underspan.request.head_truncated'), true);
    assert.equal(attribute(long, 'underspan.response.head_truncated'), true);
    assert.equal(long?.endUnixNs, BigInt(lastWriteNs));
    assert.equal(attribute(long, 'underspan.io.read_bytes'), request.length);
    assert.equal(attribute(long, 'underspan.io.write_bytes'), response.length);
    assert.equal(line(next as never), 'GET /next 204');
    assert.equal(attribute(next, 'underspan.request.head_truncated'), undefined);
  }
});

function pieces(text: string, cuts: readonly number[]): string[] {
  let from = 0;
  return cuts
    .map(cut => {
      const piece = text.slice(from, cut);
      from = cut;
      return piece;
    })
    .filter(piece => piece !== '');
}

test('a request without a response ends as a timeout; the late response is nobody else’s', () => {
  const harness = new Harness({ responseTimeoutNs: 10e9 });
  const story = harness
    .client()
    .opened()
    .wrote(requestText('GET /slow'), { at: T0 + 5 * MS });
  harness.play();
  harness.pipeline.tick(T0 + 9e9);
  assert.equal(harness.pipeline.activeExchanges, 1);
  harness.pipeline.tick(T0 + 11e9);
  assert.deepEqual(harness.play().map(line), ['GET /slow timeout']);
  story.read(responseText(200), { at: T0 + 12e9 });
  story.wrote(requestText('GET /b'), { at: T0 + 13e9 }).read(responseText(404), { at: T0 + 13.5e9 });
  assert.deepEqual(harness.finish().map(line), ['GET /slow timeout', 'GET /b 404 404']);
});

test('a response under way is not a request without a response: downloads and tunnels may last', () => {
  const harness = new Harness({ responseTimeoutNs: 10e9 });
  const big = 'x'.repeat(50_000);
  const download = harness.client().opened().wrote(requestText('GET /iso')).read(responseText(200, big).slice(0, 9000));
  const upgrade = requestText('GET /ws', ['Host: a', 'Connection: Upgrade', 'Upgrade: websocket']);
  const tunnel = harness.server().opened().read(upgrade);
  tunnel.wrote('HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n');
  harness.play();
  for (let second = 1; second < 30; second++) harness.pipeline.tick(T0 + second * 1e9);
  download.read(responseText(200, big).slice(9000), { at: T0 + 30e9 }).readEnd({ at: T0 + 30e9 + MS });
  tunnel.read('x', { at: T0 + 31e9 }).closed({ at: T0 + 31e9 + MS });
  const spans = harness.finish();
  assert.deepEqual(spans.map(line).sort(), ['GET /iso 200', 'GET /ws 101']);
  assert.deepEqual(spans.map(({ endUnixNs }) => endUnixNs).sort(), [BigInt(T0 + 30e9), BigInt(T0 + 31e9 + MS)]);
});

test('what is under way when the input ends is counted as unfinished', () => {
  const harness = new Harness();
  harness.server().opened().read(requestText('GET /a'));
  harness.client().opened().wrote(requestText('GET /b')).read('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1');
  assert.equal(harness.finish().length, 0);
  assert.deepEqual(harness.drops(), { unfinished: 2 });
});
