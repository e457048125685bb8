// More than one message at a time: pipelining, early responses, and connections that stop being HTTP.
import assert from 'node:assert/strict';
import test from 'node:test';
import { VERDICT_STREAM } from '../../../src/records/records.gen.js';
import { MS, requestText, responseText, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line } from './harness.js';

const PATHS = ['/a', '/b', '/c'];

test('pipelined requests in one record, responses in one record or in several', () => {
  for (const side of ['server', 'client'] as const) {
    for (const isJoined of [true, false]) {
      const harness = new Harness();
      const story = harness[side]().opened();
      const requests = PATHS.map(path => requestText(`GET ${path}`)).join('');
      const responses = PATHS.map((path, index) => responseText(200 + index, path.repeat(index + 1)));
      const taken = isJoined ? [responses.join('')] : responses;
      if (side === 'server') {
        story.read(requests);
        for (const text of taken) story.wrote(text);
      } else {
        story.wrote(requests);
        for (const text of taken) story.read(text);
      }
      const spans = harness.finish();
      assert.deepEqual(spans.map(line), ['GET /a 200', 'GET /b 201', 'GET /c 202'], `${side} ${isJoined}`);
      assert.deepEqual(
        spans.map(span => attribute(span, 'http.response.body.size')),
        [2, 4, 6],
      );
      assert.deepEqual(
        spans.map(span => attribute(span, 'underspan.connection.request_index')),
        [1, 2, 3],
      );
    }
  }
});

test('a request that arrives while the one before is being answered keeps its place', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(requestText('GET /a') + requestText('GET /b').slice(0, 9)).wrote(responseText(200, 'a'));
  story.read(requestText('GET /b').slice(9)).wrote(responseText(404, 'b')).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /a 200', 'GET /b 404']);
});

test('more pipelined requests than are kept: what is given up is counted, no response is given to a wrong request', () => {
  const COUNT = 400;
  const headBytes = 65536;
  const harness = new Harness({ headBytes });
  const story = harness.server({ headBytes }).opened();
  const requests = Array.from({ length: COUNT }, (_, index) => requestText(`GET /${index}`, ['Host: a']));
  for (let at = 0; at < COUNT; at += 50) story.read(requests.slice(at, at + 50).join(''));
  for (let index = 0; index < COUNT; index++) story.wrote(responseText(200, 'x'.repeat(index)));
  story.read(requestText('GET /after')).wrote(responseText(204));
  const spans = harness.finish();
  for (const span of spans.filter(candidate => attribute(candidate, 'url.path') !== '/after')) {
    const path = Number(String(attribute(span, 'url.path')).slice(1));
    assert.equal(attribute(span, 'http.response.body.size'), path, 'the response of another request');
  }
  assert.ok((harness.drops().evicted ?? 0) >= 256);
});

const row = (count: number, size: number): string[] =>
  Array.from({ length: count }, (_, index) => requestText(`GET /${index}`, ['Host: a', `X-Fill: ${'z'.repeat(size)}`]));

test('a pipeline in one call, longer than a head and its first on the connection, is told in full', () => {
  for (const [side, count, size] of [
    ['server', 100, 70],
    ['client', 100, 70],
    ['server', 180, 300],
    ['client', 180, 300],
  ] as const) {
    const harness = new Harness();
    const story = harness[side]().opened();
    const requests = row(count, size);
    const responses = requests.map((_, index) => responseText(200, `you asked ${index} ${'y'.repeat(size)}`));
    const [asked, answered] = [requests.join(''), responses.join('')];
    assert.ok(asked.length > 8192 && asked.length < 65_536 && answered.length > 8192 && answered.length < 65_536);
    if (side === 'server') story.read(asked).wrote(answered).closed();
    else story.wrote(asked).read(answered).closed();
    assert.equal(harness.finish().length, count, side);
    assert.deepEqual(harness.drops(), {});
    assert.deepEqual(harness.pipeline.connections.synchrony.hiddenBytes, { gap: 0, unsynced: 0 });
  }
});

test('of a pipeline in one call that is longer than what is captured, the books have the bytes', () => {
  const harness = new Harness();
  const requests = row(240, 300);
  const asked = requests.join('');
  const answered = responseText(200, 'x'.repeat(400)).repeat(240);
  harness.server().opened().read(asked).wrote(answered).closed();
  harness.finish();
  const captured = 65_536;
  const begun = requests.filter((_, index) => requests.slice(0, index).join('').length < captured).length;
  assert.equal(harness.pipeline.ledger.started, begun);
  assert.equal(harness.pipeline.connections.synchrony.hiddenBytes.gap, asked.length - captured);
});

test('answers of a pipeline that are cut by what is captured: none is given to another request', () => {
  for (const perCall of [1, 2, 3]) {
    for (let size = 330; size < 900; size += 23) {
      const harness = new Harness();
      const story = harness.server().opened();
      const statusOf = (index: number): number => 400 + (index % 97);
      for (let turn = 0; turn < 3; turn++) {
        const first = 20 * turn;
        story.read(
          row(20, 10)
            .map((one, index) => one.replace(`/${index} `, `/${first + index} `))
            .join(''),
        );
        for (let index = 0; index < 20; index += perCall) {
          const few = Array.from({ length: Math.min(perCall, 20 - index) }, (_, at) => first + index + at);
          story.wrote(few.map(one => responseText(statusOf(one), 'y'.repeat(size))).join(''));
        }
      }
      story.closed();
      const spans = harness.finish();
      for (const span of spans) {
        const index = Number(String(attribute(span, 'url.path')).slice(1));
        assert.equal(line(span), `GET /${index} ${statusOf(index)}`, `${perCall} a call of ${size}`);
      }
      // What begins with a call is always seen.
      if (perCall === 1) assert.equal(spans.length, 60, `${size}: ${JSON.stringify(harness.drops())}`);
    }
  }
});

test('bytes of a pipeline that is not understood are in the books: its answers, given together, count as one', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(row(10, 70).join(''));
  harness.play();
  story.verdict = VERDICT_STREAM;
  story.egressSeq += 500;
  story.wrote(responseText(200).repeat(10)); // a gap
  const [, second = '', third = ''] = [0, 1, 2].map(turn => row(10 + turn, 70).join(''));
  story.read(second.slice(5)).read(second).wrote(responseText(200).repeat(11));
  story.read(third).wrote(responseText(200).repeat(12)).closed();
  harness.finish();
  const { hiddenBytes } = harness.pipeline.connections.synchrony;
  assert.deepEqual([hiddenBytes.gap, hiddenBytes.unsynced > second.length], [0, true]);
});

test('a gap within a body hides no requests, one that reaches beyond it does', () => {
  for (const [length, hidden] of [
    [9000, 0],
    [8000, 1000],
  ] as const) {
    const harness = new Harness();
    const head = requestText('POST /up', ['Host: a', `Content-Length: ${length}`]);
    harness
      .server()
      .opened()
      .read(head + 'u'.repeat(9000))
      .wrote(responseText(200))
      .closed();
    harness.finish();
    assert.equal(harness.pipeline.connections.synchrony.hiddenBytes.gap, hidden, `${length}`);
  }
});

test('an early response: the exchange ends with both, and the next request is found amid a later read', () => {
  const harness = new Harness();
  const body = 'u'.repeat(30_000);
  const story = harness.server().opened();
  story.read(requestText('POST /up', ['Host: a', `Content-Length: ${body.length}`]) + body.slice(0, 6000));
  story.wrote(responseText(413), { at: T0 + 20 * MS });
  assert.equal(harness.play().length, 0);
  story.read(body.slice(6000, 20_000)).read(body.slice(20_000) + requestText('GET /next').slice(0, 10));
  story.read(requestText('GET /next').slice(10));
  story.wrote(responseText(204)).closed();
  assert.deepEqual(harness.finish().map(line), ['POST /up 413', 'GET /next 204']);
});

test('an early response to a body that is never seen to end is told soon, once, and hides no later request', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(`${requestText('POST /up', ['Host: a', 'Transfer-Encoding: chunked'])}4e20\r\n${'u'.repeat(6000)}`);
  story.wrote(responseText(413), { at: T0 + 20 * MS });
  story.read('u'.repeat(5000), { at: T0 + 25 * MS });
  assert.equal(harness.play().length, 0);
  harness.pipeline.tick(T0 + 400 * MS);
  assert.deepEqual(harness.play().map(line), [], 'its body may yet end');
  harness.pipeline.tick(T0 + 1600 * MS);
  harness.pipeline.tick(T0 + 1700 * MS);
  const [early] = harness.play();
  assert.equal(line(early as never), 'POST /up 413');
  assert.equal(attribute(early, 'http.request.body.size'), undefined);
  assert.equal(early?.endUnixNs, BigInt(T0 + 20 * MS));
  story.read(`${'u'.repeat(9000)}\r\n0\r\n\r\n${requestText('GET /next')}`, { at: T0 + 2000 * MS });
  story.wrote(responseText(204)).closed();
  assert.deepEqual(harness.finish().map(line), ['POST /up 413', 'GET /next 204']);
  assert.equal(harness.drops().gap, undefined);
});

test('after an early response the next request is found wherever calls cut the end of the body and its own beginning', () => {
  const next = requestText('PROPFIND /next', ['Host: a']);
  const rest = `${'u'.repeat(5000)}\r\n0\r\n\r\n${next}`;
  for (let cut = rest.length - next.length - 9; cut < rest.length; cut++) {
    const harness = new Harness();
    const story = harness.server().opened();
    story.read(`${requestText('POST /up', ['Host: a', 'Transfer-Encoding: chunked'])}1388\r\n${'u'.repeat(6000)}`);
    story.wrote(responseText(413), { at: T0 + 20 * MS });
    story.read(rest.slice(0, 4096), { at: T0 + 25 * MS });
    story.read(rest.slice(4096, cut)).read(rest.slice(cut));
    story.wrote(responseText(207)).closed();
    assert.deepEqual(harness.finish().map(line), ['POST /up 413', '_OTHER /next 207'], `cut at ${cut - rest.length}`);
  }
});

test('CONNECT and 101: the span lasts as long as the tunnel, whose bytes are not read as HTTP', () => {
  const upgrade = ['Host: a', 'Connection: Upgrade', 'Upgrade: websocket'];
  for (const [request, response, expected] of [
    [requestText('CONNECT db:5432', ['Host: db:5432']), 'HTTP/1.1 200 OK\r\n\r\n', 'CONNECT  200'],
    [requestText('GET /ws', upgrade), 'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n', 'GET /ws 101'],
  ] as const) {
    const harness = new Harness();
    const story = harness.server().opened();
    story.read(request).wrote(response);
    for (let turn = 0; turn < 5; turn++) story.read(requestText('GET /inside')).wrote(responseText(500));
    story.read('\x81\x05hello', { at: T0 + 800 * MS }).closed({ at: T0 + 900 * MS });
    const [span, ...others] = harness.finish();
    assert.equal(others.length, 0);
    assert.equal(line(span as never).replace('CONNECT 200', 'CONNECT  200'), expected);
    assert.equal(span?.endUnixNs, BigInt(T0 + 900 * MS));
    assert.equal(attribute(span, 'error.type'), undefined);
    assert.equal(harness.pipeline.connections.synchrony.gaps, 0);
  }
});

test('a refused CONNECT leaves HTTP behind it', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(requestText('CONNECT db:5432', ['Host: db:5432'])).wrote(responseText(403));
  story.read(requestText('GET /a')).wrote(responseText(200));
  assert.deepEqual(
    harness.finish().map(span => attribute(span, 'http.response.status_code')),
    [403, 200],
  );
});

test('a pipeline longer than what is captured: each request is told or counted, and the kernel is asked for every call', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  const one = requestText('GET /a', ['Host: a', `X-Pad: ${'p'.repeat(800)}`]);
  story.read(one.repeat(100)).wrote(responseText(200).repeat(100));
  harness.play();
  assert.deepEqual(harness.verdicts, [{ slot: story.slot, generation: 1, verdict: VERDICT_STREAM }]);
  story.verdict = VERDICT_STREAM;
  story.read(one.repeat(40)).wrote(responseText(204).repeat(40)).closed();
  const spans = harness.finish();
  assert.equal(spans.filter(span => attribute(span, 'http.response.status_code') === 204).length, 40);
  assert.equal(harness.pipeline.ledger.started, 140);
  assert.deepEqual(harness.drops(), { gap: 140 - spans.length });
  // Where one went unseen, which one it is can no longer be said.
  assert.equal(attribute(spans.at(-1), 'underspan.connection.request_index'), undefined);
});

test('a timeout that a server tells unasked is no request', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /a')).wrote(responseText(200));
  story.wrote(responseText(408)).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /a 200']);
  assert.equal(harness.pipeline.ledger.started, 1);
});
