// What happens when records are missing, late, doubled or about nobody: nothing is invented, what is given up is counted,
// and the next request edge is a new beginning.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONNECTION_FIN_RECEIVED,
  CONNECTION_PREEXISTING,
  ConnectionLostEventCursor,
  EVENT_CONNECTION_LOST,
  ROLE_UNKNOWN,
  VERDICT_IGNORE,
} from '../../../src/records/records.gen.js';
import { MS, record, requestText, responseText, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line } from './harness.js';

const LOST = { isLost: true };

test('a record missing within a head: the exchange is dropped as a gap, the next one is whole', () => {
  for (const direction of ['request', 'response'] as const) {
    const harness = new Harness();
    const story = harness.server().opened();
    const request = requestText('GET /a', ['Host: a', 'X-Long: 1234567890']);
    const response = responseText(200, 'abc', ['X-Long: 1234567890']);
    const parts = (text: string): string[] => [text.slice(0, 10), text.slice(10, 30), text.slice(30)];
    parts(request).forEach((text, index) => {
      story.read(text, { isLost: direction === 'request' && index === 1 });
    });
    parts(response).forEach((text, index) => {
      story.wrote(text, { isLost: direction === 'response' && index === 1 });
    });
    story.read(requestText('GET /b')).wrote(responseText(204)).closed();
    const spans = harness.finish();
    // A hole behind the request line only hides fields.
    assert.equal(line(spans[spans.length - 1] as never), 'GET /b 204', direction);
    for (const span of spans.slice(0, -1)) {
      const isMarked =
        attribute(span, 'underspan.request.head_truncated') === true ||
        attribute(span, 'underspan.response.head_truncated') === true;
      assert.ok(isMarked, `${direction}: ${line(span)} is told as if nothing were missing`);
    }
    assert.equal(harness.pipeline.ledger.started, 2);
  }
});

test('a record missing within a body of known length costs nothing but its time', () => {
  const harness = new Harness();
  const story = harness
    .server()
    .opened()
    .read(requestText('PUT /a', ['Host: a', 'Content-Length: 30'], '0123456789'));
  story
    .read('0123456789', LOST)
    .read('0123456789', { at: T0 + 40 * MS })
    .wrote(responseText(200));
  const [span] = harness.finish();
  assert.equal(line(span as never), 'PUT /a 200');
  assert.equal(attribute(span, 'http.request.body.size'), 30);
  assert.equal(attribute(span, 'underspan.io.read_calls'), 3);
});

test('an edge that is missing: no response is given to a request that it did not answer', () => {
  // Which of the calls of three exchanges (request, response, request, ...) has no record.
  for (let mask = 0; mask < 64; mask++) {
    const harness = new Harness();
    const story = harness.server().opened();
    for (let turn = 0; turn < 3; turn++) {
      story.read(requestText(`GET /${turn}`), { isLost: (mask & (1 << (turn * 2))) !== 0 });
      story.wrote(responseText(200 + turn, 'x'.repeat(turn)), { isLost: (mask & (2 << (turn * 2))) !== 0 });
    }
    story.read(requestText('GET /last')).wrote(responseText(404)).closed();
    const spans = harness.finish();
    const told = spans.map(line);
    assert.equal(told[told.length - 1], 'GET /last 404', `lost ${mask.toString(2)}: ${told}`);
    for (const span of spans.slice(0, -1)) {
      const turn = Number(String(attribute(span, 'url.path')).slice(1));
      assert.equal(line(span), `GET /${turn} ${200 + turn}`, `lost ${mask.toString(2)}`);
      assert.equal(attribute(span, 'http.response.body.size'), turn);
      assert.equal(attribute(span, 'error.type'), undefined);
    }
    // Both records of an exchange are there: it is told, unless the one before it hid where it begins.
    const whole = [0, 1, 2].filter(turn => (mask & (3 << (turn * 2))) === 0).length;
    assert.ok(spans.length - 1 <= whole);
    if (mask === 0) assert.equal(spans.length, 4);
    // Whatever was lost, four requests were made, and those that are not told are in the books under their cause.
    const drops = spans.length === 4 ? {} : { ring_full: 4 - spans.length };
    assert.deepEqual([harness.pipeline.ledger.started, harness.drops()], [4, drops], `lost ${mask.toString(2)}`);
  }
});

test('whatever is lost of a connection, and its end with it: each request is in the books once', () => {
  for (let mask = 0; mask < 64; mask++) {
    for (const hasEnd of [true, false]) {
      const harness = new Harness();
      const story = harness.server().opened();
      const isLost = (call: number): boolean => (mask & (1 << call)) !== 0;
      for (let turn = 0; turn < 3; turn++) {
        story.read(requestText(`GET /${turn}`), { isLost: isLost(turn * 2) });
        story.wrote(responseText(200), { isLost: isLost(turn * 2 + 1) });
      }
      story.closed({ isLost: !hasEnd });
      // The slot's next tenant shows that this one is gone.
      harness.server({ slot: story.slot, generation: 3 }).opened();
      harness.finish();
      // What no later record tells of is the kernel's to count: connection_end of bpf/connection.h.
      const lastTold = hasEnd ? 6 : [5, 4, 3, 2, 1, 0].find(call => !isLost(call));
      const untold = [0, 2, 4].filter(call => isLost(call) && call > (lastTold ?? -1)).length;
      const { ledger, connections } = harness.pipeline;
      const requests = ledger.started + connections.synchrony.untoldRequests + untold;
      assert.equal(requests, 3, `lost ${mask.toString(2)}${hasEnd ? '' : ' and the end'}`);
    }
  }
});

test('a record that was lost where nothing follows: the request is lost, it did not fail', () => {
  for (const end of ['closed', 'finished'] as const) {
    const harness = new Harness();
    const story = harness.server().opened().read(requestText('GET /a')).wrote(responseText(200), LOST);
    story[end]().closed();
    assert.deepEqual(harness.finish().map(line), [], end);
    assert.deepEqual(harness.drops(), { ring_full: 1 }, end);
  }
});

test('every record of a connection that speaks an unknown protocol lost but the last: then its requests are counted', () => {
  const harness = new Harness();
  const story = harness.client().opened();
  for (let turn = 0; turn < 70; turn++) story.wrote(requestText('GET /a'), LOST).read(responseText(), LOST);
  story.wrote(requestText('GET /b')).read(responseText(204)).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /b 204']);
  assert.deepEqual([harness.pipeline.ledger.started, harness.drops()], [71, { ring_full: 70 }]);
});

test('a body record that was lost costs nothing, and no request is made up for it', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(requestText('PUT /a', ['Host: a', 'Content-Length: 20'], '0123456789')).read('0123456789', LOST);
  story.wrote(responseText(200)).read(requestText('GET /b')).wrote(responseText(204)).closed();
  assert.deepEqual(harness.finish().map(line), ['PUT /a 200', 'GET /b 204']);
  assert.deepEqual(harness.drops(), {});
});

test('bytes that are missing although no record was lost are a gap', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a'));
  story.egressSeq += 500;
  story.wrote(responseText(200)).read(requestText('GET /b')).wrote(responseText(204)).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /b 204']);
  assert.deepEqual(harness.drops(), { gap: 1 });
});

test('a connection whose messages fail to parse again and again is counted only, and says so', () => {
  const harness = new Harness();
  const story = harness.server({ slot: 12 }).opened();
  for (let turn = 0; turn < 6; turn++) {
    story.read(requestText(`GET /${turn}`)).wrote('HTTP/1.1 abc\r\n\r\n');
    harness.play();
    if (harness.verdicts.length > 0) story.verdict = VERDICT_IGNORE;
  }
  story.closed();
  assert.deepEqual(harness.finish().map(line), []);
  assert.deepEqual(harness.drops(), { unparsed: 4 });
  assert.deepEqual(harness.verdicts, [{ slot: 12, generation: 1, verdict: VERDICT_IGNORE }]);
  const { givenUp, ignored } = harness.pipeline.connections.synchrony;
  assert.deepEqual([givenUp, ignored, harness.closed[0]?.connection.protocol], [1, 0, 'not parsed']);
});

test('sequence numbers that go backwards are an overlap: dropped, counted, resynchronised', () => {
  const harness = new Harness();
  const story = harness.server().opened().read('GET /a HTTP/1.1\r\nHost: a');
  story.ingressSeq -= 8;
  story.read('Host: abc\r\n\r\n').wrote(responseText());
  story.read(requestText('GET /b')).wrote(responseText(204));
  assert.deepEqual(harness.finish().map(line), ['GET /b 204']);
  assert.deepEqual(harness.drops(), { gap: 1 });
  assert.ok(harness.pipeline.connections.synchrony.gaps >= 1);
});

test('a slot with a new tenant: how the old one ended is not known, its late records are strays', () => {
  const harness = new Harness();
  const old = harness.server({ slot: 5, generation: 1 }).opened().read(requestText('GET /old'));
  const fresh = harness.server({ slot: 5, generation: 3 }).opened().read(requestText('GET /new'));
  old.wrote(responseText(500)).closed();
  fresh.wrote(responseText(200)).closed();
  const told = harness.finish().map(line).sort();
  assert.deepEqual(told, ['GET /new 200']);
  assert.equal(harness.pipeline.ledger.dropped.ring_full, 1);
  assert.equal(harness.pipeline.connections.strayRecords, 2);
  assert.equal(harness.pipeline.connections.open, 0);
  const open = harness
    .families()
    .find(({ name }) => name === 'underspan.connections.open' || /connection.*open/.test(name));
  assert.deepEqual(
    open?.points.map(({ value }) => value).filter(value => value !== 0),
    [],
  );
});

test('a second announcement of the same tenant changes nothing', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a'));
  story.opened().wrote(responseText(200)).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /a 200']);
});

test('a connection joined in the middle of a response is told from its next request on', () => {
  for (const role of [ROLE_UNKNOWN, 2]) {
    const harness = new Harness();
    const story = harness.server({ role, flags: CONNECTION_PREEXISTING }).opened();
    story.wrote('tail of a response').read(requestText('GET /a')).wrote(responseText(200, 'a'));
    story.read(requestText('GET /b')).wrote(responseText(404)).closed();
    assert.deepEqual(harness.finish().map(line), ['GET /a 200', 'GET /b 404']);
    assert.ok(harness.spans.every(({ kind }) => kind === 2));
  }
});

test('a role that is not known is learnt from the direction of the first request', () => {
  const harness = new Harness();
  const story = harness.server({ role: ROLE_UNKNOWN, flags: CONNECTION_PREEXISTING }).opened();
  story.read(responseText(200, 'to an older request')).wrote(requestText('GET /a')).read(responseText(201)).closed();
  const [span] = harness.finish();
  assert.equal(span?.kind, 3);
  assert.equal(line(span as never), 'GET /a 201');
});

test('bytes that are not HTTP: after a few turns only counted, and the kernel is told so', () => {
  const harness = new Harness();
  const story = harness.server({ slot: 9 }).opened();
  for (let turn = 0; turn < 6; turn++) {
    story.read(`\x00\x10SELECT ${turn}`).wrote('\x01row');
    harness.play();
    if (harness.verdicts.length > 0) story.verdict = VERDICT_IGNORE;
  }
  story.closed();
  assert.equal(harness.finish().length, 0);
  assert.deepEqual(harness.verdicts, [{ slot: 9, generation: 1, verdict: VERDICT_IGNORE }]);
  assert.equal(harness.pipeline.connections.synchrony.ignored, 1);
  assert.equal(harness.closed.length, 1);
  assert.equal(harness.pipeline.ledger.started, 0);
});

test('bytes that stop being HTTP break off the exchange, which is counted', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a')).wrote('HTTP/1.1 abc\r\n\r\n');
  story.read(requestText('GET /b')).wrote(responseText(200));
  assert.deepEqual(harness.finish().map(line), ['GET /b 200']);
  assert.deepEqual(harness.drops(), { unparsed: 1 });
  assert.equal(harness.pipeline.connections.synchrony.brokenStreams, 1);
});

test('a response that nobody asked for is no exchange, and the next one is not mistaken for it', () => {
  const harness = new Harness();
  const story = harness
    .server()
    .opened()
    .read(requestText('GET /a'))
    .wrote(responseText(200) + responseText(408));
  story.read(requestText('GET /b')).wrote(responseText(204)).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /a 200', 'GET /b 204']);
});

test('a gap while pipelined requests wait: their responses are not given to the request after it', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(requestText('GET /a') + requestText('GET /b')).wrote(responseText(200).slice(0, 8));
  story.wrote(responseText(200).slice(8, 20), LOST).wrote(responseText(200).slice(20));
  story.read(requestText('GET /c')).wrote(responseText(201)).wrote(responseText(202));
  story.read(requestText('GET /d')).wrote(responseText(203)).closed();
  const told = harness.finish().map(line);
  assert.ok(!told.includes('GET /c 201'), `/b's response was given to /c: ${told}`);
  assert.equal(told[told.length - 1], 'GET /d 203');
});

test('a closed record that was lost is made up for by nothing: the exchange is given up when the slot is used again', () => {
  const harness = new Harness();
  harness.client({ slot: 11 }).opened().wrote(requestText('GET /a')).closed(LOST);
  harness.play();
  assert.equal(harness.pipeline.activeExchanges, 1);
  harness.client({ slot: 11, generation: 3 }).opened();
  assert.deepEqual(harness.finish().map(line), []);
  assert.equal(harness.pipeline.ledger.dropped.ring_full, 1);
});

test('a closed record that was lost, and that is known: the request is lost, and never told as one that timed out', () => {
  const harness = new Harness({ responseTimeoutNs: 60e9 });
  const story = harness.client({ slot: 13 }).opened().wrote(requestText('GET /a')).closed(LOST);
  harness.tape.add(
    'progress',
    harness.tape.later(),
    record(ConnectionLostEventCursor, EVENT_CONNECTION_LOST, {
      timeNs: harness.tape.nowNs,
      slot: story.slot,
      generation: story.generation,
    }),
  );
  harness.play();
  assert.equal(harness.pipeline.connections.open, 0);
  harness.tape.nowNs += 120e9;
  assert.deepEqual(harness.finish().map(line), []);
  assert.deepEqual(harness.drops(), { ring_full: 1 });
});

test('a request of which no time is known is no span, and no room is blamed for it', () => {
  const harness = new Harness();
  harness
    .server()
    .opened({ at: 0 })
    .read(requestText('GET /a'), { at: 0 })
    .wrote(responseText(200), { at: 0, enter: 0 });
  assert.deepEqual(harness.finish().map(line), []);
  assert.deepEqual(harness.drops(), { untimed: 1 });
});

test('an answer that went through no call that was seen: the request did not fail, it is lost', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a')).wrote(responseText(200));
  story.read(requestText('GET /b')).closed({ unseenEgress: 40, flags: CONNECTION_FIN_RECEIVED });
  assert.deepEqual(harness.finish().map(line), ['GET /a 200']);
  assert.deepEqual(harness.drops(), { gap: 1 });
});

test('a body that moved inside the kernel: its size is exact, and the span says that it was not read', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a'));
  const [head = '', body = ''] = responseText(200, 'x'.repeat(9000)).split(/(?<=\r\n\r\n)/);
  story.wrote(head).wrote(body, { hasNoContent: true }).read(requestText('GET /b')).wrote(responseText(200));
  const [first, second] = harness.finish();
  assert.equal(attribute(first, 'http.response.body.size'), 9000);
  assert.equal(attribute(first, 'underspan.response.content_unread'), true);
  assert.equal(attribute(second, 'underspan.response.content_unread'), undefined);
});

test('the opened record lost: strays, and its requests are in the books', () => {
  const harness = new Harness();
  const story = harness.server().opened(LOST);
  for (let turn = 0; turn < 3; turn++) story.read(requestText('GET /a')).wrote(responseText(200));
  story.closed();
  assert.deepEqual(harness.finish(), []);
  assert.equal(harness.pipeline.connections.strayRecords, 7);
  assert.deepEqual([harness.pipeline.ledger.started, harness.drops()], [3, { ring_full: 3 }]);
});
