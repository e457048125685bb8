// FastCGI through the pipeline: calls as nginx and PHP-FPM make them, and what comes of responses that are not captured whole.
import assert from 'node:assert/strict';
import test from 'node:test';
import { CONNECTION_FIN_SENT, CONNECTION_RESET_RECEIVED, VERDICT_STREAM } from '../../../src/records/records.gen.js';
import { begin, end, fcgi, pairs, request, type } from '../../support/fastcgi.js';
import { MS, type Story, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line, phaseNs } from './harness.js';

const GET = {
  REQUEST_METHOD: 'GET',
  REQUEST_URI: '/a?b=SECRET',
  HTTP_HOST: 'shop',
  SERVER_PORT: '8080',
  HTTP_USER_AGENT: 'me',
};
const KEEP = 1;

function response(body = 'hello', status = ''): Buffer {
  return Buffer.concat([fcgi(type.STDOUT, `${status}Content-Type: a/b\r\n\r\n${body}`, 1, 3), end()]);
}

/** As PHP-FPM takes a request: each header, and each content, by a call of its own; the last record, which is empty, later. */
function takeLikePhp(story: Story, values: Readonly<Record<string, string>>, flags = 0, body = ''): void {
  const params = pairs(values);
  const bytes = [
    begin({ flags }),
    fcgi(type.PARAMS, params),
    fcgi(type.PARAMS),
    ...(body === '' ? [] : [fcgi(type.STDIN, body)]),
  ];
  for (const record of bytes) {
    story.read(record.subarray(0, 8));
    if (record.length > 8) story.read(record.subarray(8));
  }
}

test('PHP waits for several of its calls, and is at one request all the same; another program may be at others', () => {
  for (const [pid, parent] of [
    [400, 'the request'],
    [100, 'none'],
  ] as const) {
    const harness = new Harness({ hasConnectSpans: false });
    const server = harness.server({ pid, tid: 1 }).opened();
    takeLikePhp(server, GET);
    const calls = [1, 2, 3].map(() => harness.client({ pid, tid: 1 }).opened());
    for (const [at, call] of calls.entries()) {
      harness.tape.thread(1).waited();
      call.wrote(Buffer.from(`GET /${at} HTTP/1.1\r\nHost: a\r\n\r\n`));
    }
    for (const call of calls) call.read(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
    server.wrote(response());
    const spans = harness.finish();
    const served = spans.find(span => span.kind === 2);
    const found = spans.filter(span => span.kind === 3).map(span => span.parentSpanId);
    assert.deepEqual(found, Array(3).fill(parent === 'none' ? '' : served?.spanId), parent);
  }
});

test('a GET on both sides, which are joined', () => {
  const harness = new Harness();
  const client = harness.client().opened({ at: T0 });
  const server = harness.server({ ingressSeq: client.egressSeq, egressSeq: client.ingressSeq }).opened();
  const asked = request(GET);
  client.wrote(asked, { enter: T0 + 5 * MS, at: T0 + 6 * MS });
  takeLikePhp(server, GET);
  server.wrote(response(), { enter: T0 + 20 * MS, at: T0 + 21 * MS });
  client.read(response(), { arrived: T0 + 21 * MS, at: T0 + 22 * MS }).closed();
  server.finished({ flags: CONNECTION_FIN_SENT }).read(fcgi(type.STDIN)).readEnd().closed();
  const spans = harness.finish();
  const [call, served] = [3, 2].map(kind => spans.find(span => span.kind === kind));
  assert.equal(line(call as never), 'GET /a 200');
  assert.equal(line(served as never), 'GET /a 200');
  assert.equal(served?.parentSpanId, call?.spanId);
  assert.equal(attribute(served, 'underspan.parent.evidence'), 'sequence');
  for (const span of [call, served]) {
    assert.equal(attribute(span, 'network.protocol.name'), 'fastcgi');
    assert.equal(attribute(span, 'network.protocol.version'), '1.0');
    assert.equal(attribute(span, 'http.response.body.size'), 5);
    assert.equal(attribute(span, 'user_agent.original'), 'me');
  }
  assert.equal(attribute(call, 'underspan.io.write_bytes'), asked.length);
  assert.equal(attribute(served, 'underspan.io.read_bytes'), asked.length);
  assert.equal(attribute(served, 'underspan.io.read_calls'), 5);
  assert.equal(attribute(served, 'server.address'), 'shop');
  assert.equal(attribute(served, 'server.port'), 8080);
  // To the web server, whom it calls is the application.
  assert.equal(attribute(call, 'server.port'), client.remote.port);
  assert.equal(attribute(call, 'url.full'), 'http://shop:8080/a');
  assert.equal(phaseNs(call, 'request.write'), 1 * MS);
  assert.ok((phaseNs(served, 'processing') ?? -1) > 0);
  assert.ok(!JSON.stringify(spans.map(({ attributes }) => [...attributes])).includes('SECRET'));
});

test('PHP on a kept connection reads what the request before has left together with the next one', () => {
  const harness = new Harness();
  const server = harness.server().opened();
  for (let round = 0; round < 3; round++) {
    takeLikePhp(server, { ...GET, REQUEST_URI: `/${round}` }, KEEP);
    server.wrote(response());
    server.read(fcgi(type.STDIN));
  }
  takeLikePhp(server, { ...GET, REQUEST_METHOD: 'POST', REQUEST_URI: '/post', CONTENT_LENGTH: '4' }, KEEP, 'body');
  server.wrote(response('no', 'Status: 503 No\r\n')).read(fcgi(type.STDIN)).closed();
  const spans = harness.finish();
  assert.deepEqual(spans.map(line), ['GET /0 200', 'GET /1 200', 'GET /2 200', 'POST /post 503 503']);
  assert.equal(attribute(spans[3], 'http.request.body.size'), 4);
  assert.equal(attribute(spans[3], 'underspan.connection.request_index'), 4);
  assert.equal(harness.pipeline.completedFastcgi, 4);
  assert.deepEqual(harness.drops(), {});
});

test('a connection that is older than the agent', () => {
  const harness = new Harness();
  const server = harness.server({ role: 0 }).opened();
  server.read(fcgi(type.STDIN));
  takeLikePhp(server, GET, KEEP);
  server.wrote(response()).closed();
  assert.deepEqual(harness.finish().map(line), ['GET /a 200']);
});

test('a long response on a connection that is closed', () => {
  const harness = new Harness();
  const client = harness.client().opened().wrote(request(GET));
  const long = response('x'.repeat(30_000));
  for (let at = 0; at < long.length; at += 4096) client.read(long.subarray(at, at + 4096));
  client.readEnd().closed();
  const [, span = harness.spans[0]] = [0, harness.finish().find(({ kind }) => kind === 3)];
  assert.equal(line(span as never), 'GET /a 200');
  assert.equal(attribute(span, 'underspan.io.read_bytes'), long.length);
  assert.equal(attribute(span, 'http.response.body.size'), undefined);
  assert.deepEqual(harness.drops(), {});
});

test('a long response on a kept connection: from then on each call is captured, and sizes are known', () => {
  const harness = new Harness();
  const client = harness.client().opened();
  const long = response('x'.repeat(30_000));
  const play = (): string[] => {
    client.wrote(request(GET, '', 1, KEEP));
    for (let at = 0; at < long.length; at += 4096) client.read(long.subarray(at, at + 4096));
    client.progress({ at: harness.tape.nowNs + 50 * MS });
    const told = harness.play().filter(({ kind }) => kind === 3);
    const last = harness.verdicts.at(-1);
    if (last?.slot === client.slot) client.verdict = last.verdict;
    return told.map(line);
  };
  assert.deepEqual(play(), []);
  assert.equal(client.verdict, VERDICT_STREAM);
  assert.equal(harness.pipeline.connections.synchrony.awaited.size, 0);
  // With the second request the first one is told; its own end is seen.
  assert.deepEqual(play(), ['GET /a 200', 'GET /a 200']);
  assert.deepEqual(play(), ['GET /a 200']);
  const sizes = harness.exchangeSpans().map(span => attribute(span, 'http.response.body.size'));
  assert.deepEqual(sizes, [undefined, 30_000, 30_000]);
  client.closed();
  harness.finish();
  assert.deepEqual(harness.drops(), {});
});

test('an application that ends before its answer does', () => {
  const none = new Harness();
  none.client().opened().wrote(request(GET)).readEnd().closed();
  assert.deepEqual(
    none
      .finish()
      .filter(({ kind }) => kind === 3)
      .map(line),
    ['GET /a connection_closed'],
  );
  const half = new Harness();
  half.client().opened().wrote(request(GET)).read(response().subarray(0, 40)).readEnd().closed();
  assert.deepEqual(
    half
      .finish()
      .filter(({ kind }) => kind === 3)
      .map(line),
    ['GET /a 200 connection_closed'],
  );
  const reset = new Harness();
  reset.client().opened().wrote(request(GET)).closed({ flags: CONNECTION_RESET_RECEIVED });
  assert.deepEqual(
    reset
      .finish()
      .filter(({ kind }) => kind === 3)
      .map(line),
    ['GET /a ECONNRESET'],
  );
});

test('what the protocol itself says of a failure', () => {
  const said = (...records: Buffer[]): (string | undefined)[] => {
    const harness = new Harness();
    harness.server().opened().read(request(GET)).wrote(Buffer.concat(records)).closed();
    const [span] = harness.finish();
    return [line(span as never), String(attribute(span, 'underspan.fastcgi.app_status') ?? '')];
  };
  assert.deepEqual(said(end({ status: 2 })), ['GET /a FCGI_OVERLOADED', '']);
  assert.deepEqual(said(end()), ['GET /a empty_response', '']);
  assert.deepEqual(said(fcgi(type.STDOUT, 'A: b\r\n\r\n'), end({ appStatus: 3 })), ['GET /a 200', '3']);
  const harness = new Harness();
  harness.server().opened().read(request(GET)).read(fcgi(type.ABORT_REQUEST)).wrote(end()).closed();
  assert.equal(harness.finish().map(line)[0], 'GET /a FCGI_ABORT_REQUEST');
});

test('requests under way at a time on one connection: it is read again from the next one that comes alone', () => {
  const harness = new Harness();
  const server = harness.server().opened();
  const head = (id: number): Buffer => Buffer.concat([begin({ id, flags: KEEP }), fcgi(type.PARAMS, pairs(GET), id)]);
  server.read(Buffer.concat([head(1), head(2)])).wrote(response());
  server
    .read(request(GET, '', 1, KEEP))
    .wrote(response())
    .closed();
  assert.deepEqual(harness.finish().map(line), ['GET /a 200']);
  assert.deepEqual(harness.drops(), { unparsed: 1 });
  assert.equal(harness.pipeline.connections.synchrony.brokenFastcgi, 1);
});

test('metrics say which protocol it was', () => {
  const harness = new Harness();
  harness.server().opened().read(request(GET)).wrote(response()).closed();
  harness.finish();
  const family = harness.families().find(({ name }) => name === 'http.server.request.duration');
  const attributes = new Map(family?.points[0]?.attributes);
  assert.equal(attributes.get('network.protocol.name'), 'fastcgi');
  assert.equal(attributes.get('network.protocol.version'), '1.0');
  assert.equal(attributes.get('http.response.status_code'), 200);
});
