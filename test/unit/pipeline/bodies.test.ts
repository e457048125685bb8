// Where messages end: bodies within and beyond the captured head of a run, and each kind of record that can show the end.
import assert from 'node:assert/strict';
import test from 'node:test';
import { MS, requestText, responseText, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line, phaseNs } from './harness.js';

const BIG = 'x'.repeat(20_000);
const upload = requestText('POST /upload', ['Host: a', `Content-Length: ${BIG.length}`]);
const CHUNKED_HEAD = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

function chunk(body: string): string {
  return `${body.length.toString(16)}\r\n${body}\r\n`;
}

test('a request body beyond the captured head ends with the last read before the response', () => {
  const harness = new Harness();
  harness
    .server()
    .opened()
    .read(upload + BIG.slice(0, 6000), { at: T0 + 10 * MS, arrived: T0 + 9 * MS })
    .read(BIG.slice(6000, 12_000), { at: T0 + 12 * MS })
    .read(BIG.slice(12_000), { at: T0 + 15 * MS })
    .wrote(responseText(201), { enter: T0 + 20 * MS, at: T0 + 21 * MS });
  const [span] = harness.finish();
  assert.equal(line(span as never), 'POST /upload 201');
  assert.equal(phaseNs(span, 'receive.wait'), MS);
  assert.equal(phaseNs(span, 'request.read'), 5 * MS);
  assert.equal(phaseNs(span, 'processing'), 5 * MS);
  assert.equal(attribute(span, 'http.request.body.size'), 20_000);
  assert.equal(attribute(span, 'underspan.io.read_calls'), 3);
  assert.equal(attribute(span, 'underspan.io.read_bytes'), upload.length + 20_000);
});

test('a response body beyond the captured head ends with its last write, seen at the next request', () => {
  const harness = new Harness();
  const story = harness.server().opened().read(requestText('GET /big'));
  story.wrote(responseText(200, BIG).slice(0, 5000), { enter: T0 + 10 * MS, at: T0 + 11 * MS });
  story.wrote(responseText(200, BIG).slice(5000), { enter: T0 + 12 * MS, at: T0 + 14 * MS });
  assert.equal(harness.play().length, 0);
  assert.ok([...harness.pipeline.connections.synchrony.awaited].some(({ slot }) => slot === story.slot));
  story.read(requestText('GET /next'), { at: T0 + 50 * MS }).wrote(responseText());
  const [big, next] = harness.finish();
  assert.equal(line(big as never), 'GET /big 200');
  assert.equal(big?.endUnixNs, BigInt(T0 + 14 * MS));
  assert.equal(phaseNs(big, 'response.write'), 4 * MS);
  assert.equal(attribute(big, 'http.response.body.size'), 20_000);
  assert.equal(attribute(big, 'underspan.io.write_calls'), 2);
  assert.equal(line(next as never), 'GET /next 200');
});

test('a progress record ends a body, and nobody is asked about the connection any more', () => {
  const harness = new Harness();
  const story = harness.client().opened().wrote(requestText('GET /big'));
  const response = responseText(200, BIG);
  story.read(response.slice(0, 9000), { at: T0 + 10 * MS, arrived: T0 + 9 * MS });
  story.read(response.slice(9000, 12_000), { at: T0 + 11 * MS }).progress({ at: T0 + 100 * MS });
  assert.deepEqual(harness.play().map(line), []);
  assert.equal(harness.pipeline.connections.synchrony.awaited.size, 1);
  story.read(response.slice(12_000), { at: T0 + 130 * MS }).progress({ at: T0 + 200 * MS });
  const [span] = harness.play();
  assert.equal(line(span as never), 'GET /big 200');
  assert.equal(span?.endUnixNs, BigInt(T0 + 130 * MS));
  assert.equal(attribute(span, 'underspan.io.read_calls'), 3);
  assert.equal(harness.pipeline.connections.synchrony.awaited.size, 0);
  harness.finish();
});

test('a body ends with its own bytes, whatever shows it: end of stream, local FIN, close', () => {
  for (const end of ['readEnd', 'finished', 'closed'] as const) {
    for (const role of ['client', 'server'] as const) {
      const harness = new Harness();
      const story = harness[role]().opened();
      const response = responseText(200, BIG);
      if (role === 'client') {
        story
          .wrote(requestText('GET /big'))
          .read(response.slice(0, 9000))
          .read(response.slice(9000), { at: T0 + 90 * MS });
      } else {
        story.read(requestText('GET /big')).wrote(response.slice(0, 9000));
        story.wrote(response.slice(9000), { enter: T0 + 80 * MS, at: T0 + 90 * MS });
      }
      story[end]({ at: T0 + 500 * MS });
      const [span] = harness.play();
      assert.equal(span === undefined ? '' : line(span), 'GET /big 200', `${role} ${end}`);
      assert.equal(span?.endUnixNs, BigInt(T0 + 90 * MS), `${role} ${end}`);
      assert.equal(attribute(span, 'http.response.body.size'), 20_000);
      harness.finish();
    }
  }
});

test('a response until close ends with the end of its stream', () => {
  const head = 'HTTP/1.0 200 OK\r\n\r\n';
  const server = new Harness();
  server
    .server()
    .opened()
    .read('GET /old HTTP/1.0\r\n\r\n')
    .wrote(head)
    .wrote(BIG, { at: T0 + 90 * MS })
    .finished();
  const [written] = server.play();
  assert.equal(line(written as never), 'GET /old 200');
  assert.equal(written?.endUnixNs, BigInt(T0 + 90 * MS));
  assert.equal(attribute(written, 'http.response.body.size'), 20_000);
  assert.equal(attribute(written, 'network.protocol.version'), '1.0');
  server.finish();

  const client = new Harness();
  const story = client
    .client()
    .opened()
    .wrote('GET /old HTTP/1.0\r\n\r\n')
    .read(head)
    .read(BIG, { at: T0 + 90 * MS });
  assert.equal(client.play().filter(({ kind }) => kind === 3).length, 0);
  story.readEnd({ at: T0 + 95 * MS });
  const [taken] = client.play();
  assert.equal(line(taken as never), 'GET /old 200');
  // Only the read that returns 0 tells the client that this was all.
  assert.equal(taken?.endUnixNs, BigInt(T0 + 95 * MS));
  assert.equal(attribute(taken, 'http.response.body.size'), 20_000);
  client.finish();

  const closing = new Harness();
  closing
    .server()
    .opened()
    .read('GET /old HTTP/1.0\r\n\r\n')
    .wrote(head)
    .wrote('abc', { at: T0 + 90 * MS })
    .closed();
  const [closed] = closing.finish();
  assert.equal(line(closed as never), 'GET /old 200');
  assert.equal(closed?.endUnixNs, BigInt(T0 + 90 * MS));
});

test('a chunked body in the captured head has its exact size', () => {
  const harness = new Harness();
  const body = `${chunk('hello')}${chunk('you')}0\r\nX-Sum: 1\r\n\r\n`;
  harness
    .server()
    .opened()
    .read(requestText('GET /c'))
    .wrote(CHUNKED_HEAD)
    .wrote(body.slice(0, 9))
    .wrote(body.slice(9));
  const [span] = harness.play();
  assert.equal(line(span as never), 'GET /c 200');
  assert.equal(attribute(span, 'http.response.body.size'), 8);
  assert.equal(attribute(span, 'underspan.io.write_calls'), 3);
  harness.finish();
});

test('a chunked body beyond the captured head ends at its last chunk once the connection is quiet', () => {
  const harness = new Harness();
  const story = harness
    .server()
    .opened()
    .read(requestText('GET /c'))
    .wrote(CHUNKED_HEAD + chunk(BIG));
  story.wrote(chunk(BIG), { at: T0 + 50 * MS }).progress({ at: T0 + 100 * MS });
  assert.equal(harness.play().length, 0);
  story.wrote('0\r\n\r\n', { enter: T0 + 110 * MS, at: T0 + 111 * MS }).progress({ at: T0 + 112 * MS });
  assert.equal(harness.play().length, 0, 'too early to tell');
  story.progress({ at: T0 + 200 * MS });
  const [span] = harness.play();
  assert.equal(line(span as never), 'GET /c 200');
  assert.equal(span?.endUnixNs, BigInt(T0 + 111 * MS));
  assert.equal(attribute(span, 'http.response.body.size'), undefined);
  story.read(requestText('GET /d')).wrote(responseText());
  assert.deepEqual(harness.finish().map(line), ['GET /c 200', 'GET /d 200']);
});

test('what only looks like a last chunk and goes on is not taken for the end of a later message', () => {
  const harness = new Harness();
  const story = harness
    .server()
    .opened()
    .read(requestText('GET /c'))
    .wrote(CHUNKED_HEAD + chunk(BIG));
  story.wrote('data\r\n0\r\n\r\n', { at: T0 + 50 * MS }).progress({ at: T0 + 100 * MS });
  story.wrote(`more${chunk(BIG)}0\r\n\r\n`, { at: T0 + 150 * MS });
  story.read(requestText('GET /d')).wrote(responseText(204));
  assert.deepEqual(harness.finish().map(line).slice(-1), ['GET /d 204']);
  assert.equal(harness.spans.length, 2);
});

test('a chunked request longer than the captured head ends when its response begins', () => {
  const harness = new Harness();
  const head = requestText('POST /up', ['Host: a', 'Transfer-Encoding: chunked']);
  const story = harness
    .server()
    .opened()
    .read(head + chunk(BIG))
    .read(chunk(BIG))
    .read('0\r\n\r\n', { at: T0 + 70 * MS });
  story.wrote(responseText(200), { at: T0 + 80 * MS });
  story.read(requestText('GET /after')).wrote(responseText(204)).closed();
  const spans = harness.finish();
  assert.deepEqual(spans.map(line), ['POST /up 200', 'GET /after 204']);
  assert.equal(phaseNs(spans[0], 'processing'), 10 * MS);
});

test('bytes that could not be read (sendfile) count as body', () => {
  const harness = new Harness();
  const head = responseText(200, BIG).slice(0, -BIG.length);
  harness
    .server()
    .opened()
    .read(requestText('GET /file'))
    .wrote(head)
    .wrote(BIG.slice(0, 8000), { hasNoContent: true, at: T0 + 30 * MS })
    .wrote(BIG.slice(8000), { hasNoContent: true, at: T0 + 40 * MS })
    .read(requestText('GET /file'));
  const [span] = harness.play();
  assert.equal(line(span as never), 'GET /file 200');
  assert.equal(span?.endUnixNs, BigInt(T0 + 40 * MS));
  assert.equal(attribute(span, 'http.response.body.size'), 20_000);
  harness.finish();
});

test('responses without a body in spite of a Content-Length: HEAD, 204, 304', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 304],
    ['DELETE', 204],
    ['GET', 200],
  ] as const) {
    const length = status === 200 && method === 'GET' ? 0 : 77;
    story.read(requestText(`${method} /a`)).wrote(`HTTP/1.1 ${status} X\r\nContent-Length: ${length}\r\n\r\n`);
  }
  assert.deepEqual(harness.finish().map(line), ['HEAD /a 200', 'GET /a 304', 'DELETE /a 204', 'GET /a 200']);
});

test('100-continue: the body follows the interim response, the final one counts; on both sides', () => {
  const head = requestText('PUT /doc', ['Host: a', 'Expect: 100-continue', 'Content-Length: 5']);
  const interim = 'HTTP/1.1 100 Continue\r\n\r\n';
  const server = new Harness();
  server
    .server()
    .opened()
    .read(head, { at: T0 + 10 * MS, arrived: T0 + 10 * MS })
    .wrote(interim, { at: T0 + 12 * MS })
    .read('hello', { at: T0 + 20 * MS })
    .wrote(responseText(201), { enter: T0 + 30 * MS, at: T0 + 31 * MS });
  const [served] = server.finish();
  assert.equal(line(served as never), 'PUT /doc 201');
  assert.equal(phaseNs(served, 'request.read'), 10 * MS);
  assert.equal(phaseNs(served, 'processing'), 10 * MS);
  assert.equal(attribute(served, 'http.request.body.size'), 5);

  const client = new Harness();
  client
    .client()
    .opened()
    .wrote(head, { at: T0 + 10 * MS })
    .read(interim, { at: T0 + 12 * MS })
    .wrote('hello', { enter: T0 + 19 * MS, at: T0 + 20 * MS })
    .read(responseText(201), { at: T0 + 31 * MS, arrived: T0 + 30 * MS });
  const asked = client.finish().find(({ kind }) => kind === 3);
  assert.equal(line(asked as never), 'PUT /doc 201');
  assert.equal(phaseNs(asked, 'request.write'), 10 * MS);
  assert.equal(phaseNs(asked, 'response.wait'), 10 * MS);
});

test('103 Early Hints before the answer, in one write or in two', () => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n';
  for (const writes of [[hints + responseText(200)], [hints, responseText(200)]]) {
    const harness = new Harness();
    const story = harness.server().opened().read(requestText('GET /a'));
    for (const text of writes) story.wrote(text);
    story.read(requestText('GET /b')).wrote(responseText(404));
    assert.deepEqual(harness.finish().map(line), ['GET /a 200', 'GET /b 404']);
  }
});

test('a response whose first bytes cannot be read has size and times, and no status', () => {
  for (const end of ['next request', 'closed'] as const) {
    const harness = new Harness();
    const story = harness
      .server()
      .opened()
      .read(requestText('GET /file'), { at: T0 + 10 * MS });
    story.wrote('h'.repeat(100), { at: T0 + 20 * MS, hasNoContent: true });
    story.wrote('b'.repeat(900), { at: T0 + 30 * MS, hasNoContent: true });
    // A response under way is no timeout, however long it lasts.
    harness.play();
    harness.pipeline.tick(T0 + 700e9);
    if (end === 'next request') {
      story.read(requestText('GET /next'), { at: T0 + 800e9 }).wrote(responseText(204), { at: T0 + 801e9 });
    }
    story.closed({ at: T0 + 802e9 });
    const [span, next] = harness.finish();
    assert.equal(line(span as never), 'GET /file', end);
    assert.equal(attribute(span, 'underspan.response.content_unread'), true);
    assert.equal(attribute(span, 'underspan.io.write_bytes'), 1000);
    assert.equal(attribute(span, 'http.response.body.size'), undefined);
    assert.equal(span?.status.code, 0);
    assert.equal(phaseNs(span, 'processing'), 10 * MS);
    assert.equal(span?.endUnixNs, BigInt(T0 + 30 * MS));
    if (end === 'next request') assert.equal(line(next as never), 'GET /next 204');
    assert.deepEqual(harness.drops(), {});
  }
});

test('of several requests that wait, it is not known which one such a response answers', () => {
  const harness = new Harness();
  const story = harness
    .server()
    .opened()
    .read(requestText('GET /a') + requestText('GET /b'));
  story.wrote('h'.repeat(100), { hasNoContent: true }).closed();
  assert.deepEqual(harness.finish().map(line), []);
  assert.deepEqual(harness.drops(), { gap: 2 });
});
