// One request and its response, from records to the decoded span: every phase to the nanosecond, sizes, calls, identity.
import assert from 'node:assert/strict';
import test from 'node:test';
import { MS, requestText, responseText, T0 } from '../../support/record-builder.js';
import { attribute, Harness, line, phaseNs } from './harness.js';

test('a server exchange: every phase is the difference of the times in the records', () => {
  const harness = new Harness();
  const request = requestText('GET /users/42?x=1', ['Host: shop.example:8080', 'User-Agent: curl/8']);
  const response = responseText(200, 'hello');
  harness
    .server()
    .opened({ establishedNs: T0 + 1_000_001, acceptedNs: T0 + 3_000_007, at: T0 + 3_000_007 })
    .read(request, { at: T0 + 5_000_000, arrived: T0 + 4_000_003 })
    .wrote(response, { enter: T0 + 35_000_011, at: T0 + 37_000_013 })
    .closed({ at: T0 + 40_000_000 });
  const [span, ...others] = harness.finish();
  assert.equal(others.length, 0);
  assert.equal(span?.kind, 2);
  assert.equal(span?.name, 'GET /users/{id}');
  assert.equal(line(span as never), 'GET /users/42 200');
  assert.equal(span?.startUnixNs, BigInt(T0 + 4_000_003));
  assert.equal(span?.endUnixNs, BigInt(T0 + 37_000_013));
  assert.equal(phaseNs(span, 'accept.wait'), 2_000_006);
  assert.equal(phaseNs(span, 'receive.wait'), 999_997);
  assert.equal(phaseNs(span, 'request.read'), 0);
  assert.equal(phaseNs(span, 'processing'), 30_000_011);
  assert.equal(phaseNs(span, 'response.write'), 2_000_002);
  assert.equal(attribute(span, 'underspan.connection.reused'), false);
  assert.equal(attribute(span, 'underspan.connection.request_index'), 1);
  assert.equal(attribute(span, 'underspan.io.read_calls'), 1);
  assert.equal(attribute(span, 'underspan.io.write_calls'), 1);
  assert.equal(attribute(span, 'underspan.io.read_bytes'), request.length);
  assert.equal(attribute(span, 'underspan.io.write_bytes'), response.length);
  assert.equal(attribute(span, 'http.request.body.size'), 0);
  assert.equal(attribute(span, 'http.response.body.size'), 5);
  assert.equal(attribute(span, 'client.address'), '10.0.0.9');
  assert.equal(attribute(span, 'network.peer.port'), 40001);
  assert.equal(attribute(span, 'server.address'), 'shop.example');
  assert.equal(attribute(span, 'user_agent.original'), 'curl/8');
  assert.equal(span?.resource.attributes.get('service.name'), 'shop');
  assert.equal(span?.status.code, 0);
});

test('a client exchange: the connect is a span of its own, linked; phases tile the span', () => {
  const harness = new Harness();
  harness
    .client()
    .opened({ connectNs: T0 + 1, establishedNs: T0 + 2_000_002, at: T0 + 2_000_002 })
    .wrote(requestText('GET /a'), { enter: T0 + 3_000_000, at: T0 + 3_100_000 })
    .read(responseText(404, 'no'), { at: T0 + 9_000_000, arrived: T0 + 8_400_000 })
    .closed();
  const spans = harness.finish();
  const connect = spans.find(span => span.kind === 1);
  const span = spans.find(candidate => candidate.kind === 3);
  assert.equal(spans.length, 2);
  assert.equal(connect?.name, 'socket connect');
  assert.equal(connect?.startUnixNs, BigInt(T0 + 1));
  assert.equal(connect?.endUnixNs, BigInt(T0 + 2_000_002));
  assert.deepEqual(
    span?.links.map(({ spanId, traceId }) => [spanId, traceId]),
    [[connect?.spanId, connect?.traceId]],
  );
  assert.equal(line(span as never), 'GET /a 404 404');
  assert.equal(span?.startUnixNs, BigInt(T0 + 3_000_000));
  assert.equal(span?.endUnixNs, BigInt(T0 + 9_000_000));
  assert.equal(phaseNs(span, 'connect.duration'), 2_000_001);
  assert.equal(phaseNs(span, 'request.write'), 100_000);
  assert.equal(phaseNs(span, 'response.wait'), 5_300_000);
  assert.equal(phaseNs(span, 'receive.wait'), 600_000);
  assert.equal(phaseNs(span, 'response.read'), 0);
  assert.equal(attribute(span, 'url.full'), 'http://shop.example:8080/a');
  assert.equal(span?.resource.attributes.get('service.name'), 'buyer');
});

test('a read whose bytes arrived at an unknown time starts the span when they were taken', () => {
  const harness = new Harness();
  harness
    .server()
    .opened()
    .read(requestText('GET /'), { at: T0 + 5 * MS, arrived: 0 })
    .wrote(responseText(), { at: T0 + 6 * MS });
  const [span] = harness.finish();
  assert.equal(span?.startUnixNs, BigInt(T0 + 5 * MS));
  assert.equal(phaseNs(span, 'receive.wait'), 0);
});

test('keep-alive: requests of one connection are numbered, and only the first has the wait of accept', () => {
  const harness = new Harness();
  const story = harness.server().opened({ establishedNs: T0, acceptedNs: T0 + MS, at: T0 + MS });
  for (const path of ['/a', '/b', '/c']) story.read(requestText(`GET ${path}`)).wrote(responseText(200, path));
  story.closed();
  const spans = harness.finish();
  assert.deepEqual(
    spans.map(span => [
      line(span),
      attribute(span, 'underspan.connection.request_index'),
      attribute(span, 'underspan.connection.reused'),
      phaseNs(span, 'accept.wait'),
    ]),
    [
      ['GET /a 200', 1, false, MS],
      ['GET /b 200', 2, true, undefined],
      ['GET /c 200', 3, true, undefined],
    ],
  );
  assert.equal(new Set(spans.map(span => span.traceId)).size, 3);
});

test('a connection older than the agent has no index, and its first request is one of a reused connection', () => {
  const harness = new Harness();
  harness.server({ flags: 1 }).opened().read(requestText('GET /a')).wrote(responseText()).closed();
  const [span] = harness.finish();
  assert.equal(attribute(span, 'underspan.connection.reused'), true);
  assert.equal(attribute(span, 'underspan.connection.request_index'), undefined);
});

test('a head that comes byte by byte is one request: first byte to last byte is its reading', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  const request = requestText('GET /slow');
  const response = responseText(200, 'x');
  [...request].forEach((byte, index) => {
    story.read(byte, { at: T0 + (10 + index) * MS, arrived: index === 0 ? T0 + 9 * MS : T0 + (10 + index) * MS });
  });
  const lastReadNs = T0 + (9 + request.length) * MS;
  [...response].forEach((byte, index) => {
    story.wrote(byte, { enter: lastReadNs + (1 + index) * MS, at: lastReadNs + (1 + index) * MS + 7 });
  });
  const [span] = harness.finish();
  assert.equal(line(span as never), 'GET /slow 200');
  assert.equal(phaseNs(span, 'receive.wait'), MS);
  assert.equal(phaseNs(span, 'request.read'), (request.length - 1) * MS);
  assert.equal(phaseNs(span, 'processing'), MS);
  assert.equal(phaseNs(span, 'response.write'), (response.length - 1) * MS + 7);
  assert.equal(attribute(span, 'underspan.io.read_calls'), request.length);
  assert.equal(attribute(span, 'underspan.io.write_calls'), response.length);
});

test('every split of a request and a response over two calls tells the same exchange', () => {
  const request = requestText('PUT /x', ['Host: a', 'Content-Length: 4'], 'abcd');
  const response = responseText(201, 'created');
  for (let at = 1; at < request.length; at++) {
    const harness = new Harness();
    const cut = Math.min(at, response.length - 1);
    harness
      .server()
      .opened()
      .read(request.slice(0, at))
      .read(request.slice(at))
      .wrote(response.slice(0, cut))
      .wrote(response.slice(cut));
    const [span, ...others] = harness.finish();
    assert.deepEqual([line(span as never), others.length], ['PUT /x 201', 0], `split at ${at}`);
    assert.equal(attribute(span, 'http.request.body.size'), 4);
    assert.equal(attribute(span, 'http.response.body.size'), 7);
    assert.equal(attribute(span, 'underspan.io.read_calls'), 2);
    assert.equal(attribute(span, 'underspan.io.write_calls'), 2);
  }
});

test('how the records are cut into batches changes nothing', () => {
  const tell = (batchRecords: number): string[] => {
    const harness = new Harness();
    const story = harness.server({ slot: 7 }).opened();
    for (const path of ['/a', '/b']) {
      story.read(requestText(`POST ${path}`, ['Host: a', 'Content-Length: 9000'])).read('b'.repeat(9000));
      story.wrote(responseText(200, 'r'.repeat(5000)));
    }
    story.closed();
    return harness
      .finish(batchRecords)
      .map(span => [line(span), span.startUnixNs, span.endUnixNs, ...span.attributes.values()].join(' '));
  };
  const whole = tell(Number.POSITIVE_INFINITY);
  assert.equal(whole.length, 2);
  for (const batchRecords of [1, 2, 3, 5]) assert.deepEqual(tell(batchRecords), whole);
});

test('a failed connect is a span with the errno as its error', () => {
  const harness = new Harness();
  harness.tape.connectFailed(200, { address: '10.0.0.1', port: 9 }, 111, T0, T0 + 2 * MS);
  const [span] = harness.finish();
  assert.equal(span?.name, 'socket connect');
  assert.equal(attribute(span, 'error.type'), 'ECONNREFUSED');
  assert.equal(attribute(span, 'network.peer.port'), 9);
  assert.equal(span?.status.code, 2);
  assert.equal(span?.endUnixNs, BigInt(T0 + 2 * MS));
  assert.equal(harness.pipeline.ledger.started, 0);
});

test('addresses: IPv6 in its short form', () => {
  const harness = new Harness();
  harness
    .server({ local: { address: '2001:db8::1', port: 80 }, remote: { address: 'fe80::1:0:0:2', port: 50000 } })
    .opened()
    .read(requestText('GET /'))
    .wrote(responseText());
  const [span] = harness.finish();
  assert.equal(attribute(span, 'network.peer.address'), 'fe80::1:0:0:2');
  assert.equal(attribute(span, 'network.type'), 'ipv6');
});

test('requests for our own admin port are not read, by either side', () => {
  const ownPeers = [{ address: '127.0.0.1', port: 9464 }];
  const harness = new Harness({ ownPeers });
  const admin = { address: '127.0.0.1', port: 9464 };
  const scraper = { address: '127.0.0.1', port: 40002 };
  harness.client({ slot: 3, local: scraper, remote: admin }).opened().wrote(requestText('GET /metrics')).closed();
  harness.server({ slot: 4, local: admin, remote: scraper }).opened().read(requestText('GET /metrics')).closed();
  assert.equal(harness.finish().filter(span => span.kind !== 1).length, 0);
  assert.equal(harness.pipeline.ledger.started, 0);
  assert.deepEqual(
    harness.verdicts.map(({ slot, verdict }) => [slot, verdict]),
    [
      [3, 2],
      [4, 2],
    ],
  );
});

test('requests that carry OTLP are counted and not exported, at any path prefix', () => {
  const harness = new Harness();
  const story = harness.client().opened();
  for (const [path, type] of [
    ['/v1/traces', 'application/x-protobuf'],
    ['/otlp/v1/metrics', 'application/json'],
    ['/v1/logs', 'application/x-protobuf'],
  ] as const) {
    const fields = ['Host: c', `Content-Type: ${type}`, 'Content-Length: 2'];
    story.wrote(requestText(`POST ${path}`, fields, '{}')).read(responseText(200, '{}'));
  }
  story.wrote(requestText('POST /v1/orders', ['Host: c', 'Content-Type: application/json', 'Content-Length: 0']));
  story.read(responseText(200));
  const spans = harness.finish();
  assert.deepEqual(spans.map(line), ['POST /v1/orders 200']);
  assert.deepEqual(harness.drops(), { otlp: 3 });
});

test('beyond max_exchanges under way, exchanges are counted as evicted', () => {
  const harness = new Harness({ maxExchanges: 2 });
  const stories = ['/a', '/b', '/c'].map(path =>
    harness
      .server()
      .opened()
      .read(requestText(`GET ${path}`)),
  );
  for (const story of stories) story.wrote(responseText());
  assert.deepEqual(harness.finish().map(line), ['GET /a 200', 'GET /b 200']);
  assert.deepEqual(harness.drops(), { evicted: 1 });
});

test('without an exporter for spans metrics still see every request', () => {
  const harness = new Harness({ wantsSpans: false });
  harness.server().opened().read(requestText('GET /a')).wrote(responseText());
  assert.equal(harness.finish().length, 0);
  assert.deepEqual(harness.drops(), { no_exporter: 1 });
  const durations = harness.families().find(({ name }) => name === 'http.server.request.duration');
  assert.deepEqual(
    durations?.points.map(({ value }) => typeof value === 'object' && value.count),
    [1],
  );
});

test('processes that come and go are handed on', () => {
  const harness = new Harness();
  harness.tape.forked(301, 100);
  harness.tape.executed(301, 100, ['/usr/bin/curl', 'http://x']);
  harness.client({ pid: 301 }).opened().wrote(requestText('GET /')).read(responseText()).closed();
  harness.tape.exited(301);
  const [span] = harness.finish();
  assert.equal(span?.resource.attributes.get('service.name'), 'curl');
  assert.deepEqual(harness.processes, ['fork 301 100', 'exec 301 100', 'exit 301 0']);
});
