// SpanWriter through the real encoder, read back by the decoder: attributes, names, status and phases as the HTTP
// conventions and the timeline want them.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { WallClock } from '../../../src/clock.js';
import type { Exchange } from '../../../src/exchanges/exchange.js';
import { type DecodedSpan, decodeTraces } from '../../../src/otlp/decode.js';
import { TraceRequestEncoder } from '../../../src/otlp/trace-request.js';
import { type ConnectAttempt, type SpanOptions, SpanWriter } from '../../../src/signals/span.js';
import {
  CLIENT_PEER,
  clientExchange,
  opening,
  serverExchange,
  service,
  T0,
  TCP_PEER,
  trace,
  UNIX_PEER,
} from './exchanges.js';

function newEncoder(): TraceRequestEncoder {
  return new TraceRequestEncoder({ clock: new WallClock(), scopeName: 'underspan', scopeVersion: '0' });
}

function decodeOne(encoder: TraceRequestEncoder): DecodedSpan {
  const spans = encoder.flush().flatMap(({ bytes }) => decodeTraces(bytes));
  assert.equal(spans.length, 1);
  return spans[0] as DecodedSpan;
}

function spanOf(exchange: Exchange, route = '', options: SpanOptions = {}): DecodedSpan {
  const encoder = newEncoder();
  assert.equal(new SpanWriter(encoder, options).writeExchange(exchange, route), true);
  return decodeOne(encoder);
}

function attributes(span: DecodedSpan): Record<string, unknown> {
  return Object.fromEntries(span.attributes);
}

/** `underspan.*` attributes that are phases, rounded to microseconds. */
function phases(span: DecodedSpan): Record<string, number> {
  const names = /^underspan\.(accept|receive|request|response|connect)\.\w+$|^underspan\.processing$/;
  const found = [...span.attributes].filter(([key, value]) => names.test(key) && typeof value === 'number');
  return Object.fromEntries(found.map(([key, value]) => [key, Math.round(Number(value) * 1e6) / 1e6]));
}

test('a SERVER span has exactly the attributes of the conventions and the timeline', () => {
  const span = spanOf(serverExchange(), '/users/{id}');
  assert.equal(span.name, 'GET /users/{id}');
  assert.equal(span.kind, 2);
  assert.equal(span.status.code, 0);
  assert.equal(span.traceId, '11111111222222223333333344444444');
  assert.equal(span.spanId, 'aaaaaaaabbbbbbbb');
  assert.equal(span.startUnixNs, BigInt(T0));
  assert.equal(span.endUnixNs, BigInt(T0 + 37_000_000));
  assert.deepEqual(attributes(span), {
    'http.request.method': 'GET',
    'http.route': '/users/{id}',
    'url.scheme': 'http',
    'url.path': '/users/42',
    'server.address': 'shop.example',
    'server.port': 8080,
    'client.address': '10.0.0.9',
    'network.peer.address': '10.0.0.9',
    'network.peer.port': 40001,
    'network.transport': 'tcp',
    'network.type': 'ipv4',
    'network.protocol.version': '1.1',
    'user_agent.original': 'curl/8',
    'http.request.body.size': 0,
    'http.response.status_code': 200,
    'http.response.body.size': 512,
    'underspan.receive.wait': 0.001,
    'underspan.request.read': 0.002,
    'underspan.processing': 0.03,
    'underspan.response.write': 0.004,
    'underspan.connection.reused': true,
    'underspan.connection.request_index': 2,
    'underspan.io.read_calls': 1,
    'underspan.io.write_calls': 2,
    'underspan.io.read_bytes': 90,
    'underspan.io.write_bytes': 700,
  });
});

test('a CLIENT span has url.full, no route, and its own phases, which tile it', () => {
  const span = spanOf(clientExchange({ opening: opening({ connectSeconds: 0.002 }) }), '/ignored');
  assert.equal(span.name, 'GET');
  assert.equal(span.kind, 3);
  const found = attributes(span);
  assert.equal(found['url.full'], 'http://shop.example:8080/users/42');
  assert.equal(found['server.address'], 'shop.example');
  assert.equal(found['server.port'], 8080);
  assert.equal(found['network.peer.address'], '10.0.0.1');
  assert.equal('http.route' in found, false);
  assert.equal('client.address' in found, false);
  assert.deepEqual(phases(span), {
    'underspan.connect.duration': 0.002,
    'underspan.request.write': 0.001,
    'underspan.response.wait': 0.03,
    'underspan.receive.wait': 0.002,
    'underspan.response.read': 0.005,
  });
});

test('phases with an unknown or contradictory end are left out', () => {
  assert.deepEqual(phases(spanOf(serverExchange({ requestFirstNs: 0 }))), {
    'underspan.request.read': 0.002,
    'underspan.processing': 0.03,
    'underspan.response.write': 0.004,
  });
  // The response began before the request had been read to its end.
  const early = serverExchange({ responseFirstNs: T0 + 2_000_000, responseTakenNs: T0 + 2_000_000 });
  assert.equal('underspan.processing' in phases(spanOf(early)), false);
  const unanswered = serverExchange({ status: 0, responseFirstNs: 0, responseTakenNs: 0, responseLastNs: 0 });
  assert.deepEqual(Object.keys(phases(spanOf(unanswered))), ['underspan.receive.wait', 'underspan.request.read']);
  assert.equal(
    phases(spanOf(serverExchange({ opening: opening({ acceptWaitSeconds: 0 }) })))['underspan.accept.wait'],
    0,
  );
});

test('generated times never give a negative phase or a span that ends before it starts', () => {
  const timeNs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000_000_000 }));
  fc.assert(
    fc.property(fc.array(timeNs, { minLength: 6, maxLength: 6 }), fc.boolean(), (times, isServer) => {
      const [requestFirstNs = 0, requestTakenNs = 0, requestLastNs = 0] = times;
      const [, , , responseFirstNs = 0, responseTakenNs = 0, responseLastNs = 0] = times;
      const fields = {
        requestFirstNs,
        requestTakenNs,
        requestLastNs,
        responseFirstNs,
        responseTakenNs,
        responseLastNs,
      };
      const exchange = isServer ? serverExchange(fields) : clientExchange(fields);
      const encoder = newEncoder();
      const isWritten = new SpanWriter(encoder).writeExchange(exchange, '');
      assert.equal(
        isWritten,
        times.some(time => time > 0),
      );
      if (!isWritten) return;
      const span = decodeOne(encoder);
      assert.ok(span.endUnixNs >= span.startUnixNs);
      for (const [name, seconds] of Object.entries(phases(span))) assert.ok(seconds >= 0, name);
    }),
    { numRuns: 300 },
  );
});

test('a method that is not known is _OTHER, keeps its name as original, and the span is named HTTP', () => {
  const span = spanOf(serverExchange({ method: 'PURGE' }), '/cache/*');
  assert.equal(span.name, 'HTTP /cache/*');
  assert.equal(span.attributes.get('http.request.method'), '_OTHER');
  assert.equal(span.attributes.get('http.request.method_original'), 'PURGE');
  assert.equal(spanOf(clientExchange({ method: 'get' })).attributes.get('http.request.method'), '_OTHER');
  const lost = spanOf(serverExchange({ method: '', isRequestHeadTruncated: true }));
  assert.equal(lost.name, 'HTTP');
  assert.equal(lost.attributes.has('http.request.method_original'), false);
  assert.equal(lost.attributes.get('underspan.request.head_truncated'), true);
});

test('configured methods replace the standard ones', () => {
  const options = { knownMethods: ['PURGE'] };
  assert.equal(spanOf(serverExchange({ method: 'PURGE' }), '', options).name, 'PURGE');
  assert.equal(spanOf(serverExchange({ method: 'GET' }), '', options).name, 'HTTP');
});

test('standard methods, QUERY among them, keep their names', () => {
  for (const method of ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE']) {
    assert.equal(spanOf(serverExchange({ method })).attributes.get('http.request.method'), method);
  }
});

test('status and error.type follow the side', () => {
  const outcome = (exchange: Exchange) => {
    const span = spanOf(exchange);
    return [span.status.code, span.attributes.get('error.type')];
  };
  assert.deepEqual(outcome(serverExchange({ status: 404 })), [0, undefined]);
  assert.deepEqual(outcome(clientExchange({ status: 404 })), [2, '404']);
  assert.deepEqual(outcome(clientExchange({ status: 302 })), [0, undefined]);
  assert.deepEqual(outcome(serverExchange({ status: 503 })), [2, '503']);
  assert.deepEqual(outcome(clientExchange({ status: 503 })), [2, '503']);
  assert.deepEqual(outcome(serverExchange({ status: 200, errorType: 'ECONNRESET' })), [2, 'ECONNRESET']);
  assert.deepEqual(outcome(clientExchange({ status: 0, errorType: 'timeout' })), [2, 'timeout']);
  assert.deepEqual(outcome(clientExchange({ status: 0 })), [0, undefined]);
  assert.deepEqual(outcome(serverExchange({ status: 99 })), [2, '99']);
});

test('without a response there is neither status nor response size', () => {
  const span = spanOf(serverExchange({ status: 0, errorType: 'ECONNRESET', responseBodyBytes: 0 }));
  assert.equal(span.attributes.has('http.response.status_code'), false);
  assert.equal(span.attributes.has('http.response.body.size'), false);
});

test('sizes that are unknown are not written', () => {
  const span = spanOf(serverExchange({ requestBodyBytes: -1, responseBodyBytes: -1 }));
  assert.equal(span.attributes.has('http.request.body.size'), false);
  assert.equal(span.attributes.has('http.response.body.size'), false);
});

test('the query stays here unless asked for, and then without its secrets', () => {
  const target = '/search?q=boots&sig=topsecret&X-Amz-Signature=abc&Sig=kept';
  const off = attributes(spanOf(clientExchange({ target })));
  assert.equal(off['url.path'], '/search');
  assert.equal(off['url.full'], 'http://shop.example:8080/search');
  assert.equal('url.query' in off, false);
  const on = attributes(spanOf(clientExchange({ target }), '', { captureQuery: true }));
  const query = 'q=boots&sig=REDACTED&X-Amz-Signature=REDACTED&Sig=kept';
  assert.equal(on['url.query'], query);
  assert.equal(on['url.full'], `http://shop.example:8080/search?${query}`);
  assert.equal('url.query' in attributes(spanOf(serverExchange(), '', { captureQuery: true })), false);
});

test('request targets of all four forms', () => {
  const urls = (fields: Parameters<typeof clientExchange>[0]) => {
    const found = attributes(spanOf(clientExchange(fields)));
    return [found['url.scheme'], found['url.path'], found['url.full'], found['server.address'], found['server.port']];
  };
  assert.deepEqual(urls({ target: 'http://shop.example/a?b=c', host: 'other' }), [
    'http',
    '/a',
    'http://shop.example/a',
    'shop.example',
    80,
  ]);
  assert.deepEqual(urls({ target: 'https://shop.example:8443' }), [
    'https',
    '/',
    'https://shop.example:8443/',
    'shop.example',
    8443,
  ]);
  assert.deepEqual(urls({ target: 'https://shop.example/' }).slice(3), ['shop.example', 443]);
  assert.deepEqual(urls({ target: 'http://me:pass@shop.example/a' }), [
    'http',
    '/a',
    'http://REDACTED:REDACTED@shop.example/a',
    'shop.example',
    80,
  ]);
  assert.deepEqual(urls({ target: 'http://me@shop.example/a' })[2], 'http://REDACTED@shop.example/a');
  assert.deepEqual(urls({ method: 'OPTIONS', target: '*' }), [
    'http',
    '*',
    'http://shop.example:8080',
    'shop.example',
    8080,
  ]);
  assert.deepEqual(urls({ method: 'CONNECT', target: 'shop.example:443' }), [
    'http',
    '',
    '//shop.example:443',
    'shop.example',
    443,
  ]);
  assert.deepEqual(urls({ target: '/a://b', host: 'h' }).slice(1, 4), ['/a://b', 'http://h:8080/a://b', 'h']);
});

test('the server is what Host says, and the socket where Host says nothing', () => {
  const server = (fields: Parameters<typeof serverExchange>[0]) => {
    const found = attributes(spanOf(serverExchange(fields)));
    return [found['server.address'], found['server.port']];
  };
  assert.deepEqual(server({ host: 'shop.example' }), ['shop.example', 8080]);
  assert.deepEqual(server({ host: '[2001:db8::1]:81' }), ['2001:db8::1', 81]);
  assert.deepEqual(server({ host: '[2001:db8::1]' }), ['2001:db8::1', 8080]);
  assert.deepEqual(server({ host: '' }), ['10.0.0.1', 8080]);
  assert.deepEqual(server({ host: 'shop.example:99999' }), ['shop.example', 8080]);
  const peer = { ...CLIENT_PEER, remoteAddress: '2001:db8::2', remotePort: 80, networkType: 'ipv6' as const };
  assert.equal(attributes(spanOf(clientExchange({ host: '', peer })))['url.full'], 'http://[2001:db8::2]/users/42');
});

test('unix sockets have no ports and no network type', () => {
  const found = attributes(spanOf(clientExchange({ host: 'localhost', peer: UNIX_PEER })));
  assert.equal(found['network.peer.address'], '/run/app.sock');
  assert.equal(found['network.transport'], 'unix');
  assert.equal('network.peer.port' in found || 'network.type' in found || 'server.port' in found, false);
  assert.equal(found['url.full'], 'http://localhost/users/42');
  const hostless = attributes(spanOf(clientExchange({ host: '', peer: UNIX_PEER })));
  assert.equal(hostless['server.address'], '/run/app.sock');
  assert.equal(hostless['url.full'], 'http://%2Frun%2Fapp.sock/users/42');
  const unnamed = attributes(spanOf(clientExchange({ host: '', peer: { ...UNIX_PEER, remoteAddress: '' } })));
  assert.equal('url.full' in unnamed || 'server.address' in unnamed, false);
});

test('parents, their evidence, and the link to the connect', () => {
  const connectTrace = trace();
  const span = spanOf(
    serverExchange({
      parent0: 1,
      parent1: 2,
      parentEvidence: 'sequence',
      opening: opening({ connectTrace, connectSpan0: 0x01020304, connectSpan1: 0x05060708 }),
    }),
  );
  assert.equal(span.parentSpanId, '0000000100000002');
  assert.equal(span.flags & 0x300, 0x300);
  assert.equal(span.attributes.get('underspan.parent.evidence'), 'sequence');
  assert.deepEqual(
    span.links.map(link => link.spanId),
    ['0102030405060708'],
  );
  const root = spanOf(serverExchange());
  assert.equal(root.flags & 0x300, 0x100);
  assert.equal(root.attributes.has('underspan.parent.evidence'), false);
  assert.equal(root.links.length, 0);
});

test('round trip time in seconds and retransmits only where there are any', () => {
  const span = spanOf(serverExchange({ srttMicros: 1500, retransmits: 3, isResponseHeadTruncated: true }));
  assert.equal(span.attributes.get('underspan.tcp.srtt'), 0.0015);
  assert.equal(span.attributes.get('underspan.tcp.retransmits'), 3);
  assert.equal(span.attributes.get('underspan.response.head_truncated'), true);
  assert.equal(spanOf(serverExchange()).attributes.has('underspan.tcp.srtt'), false);
});

test('an exchange without a service or any time is refused, and so is one that finds the encoder full', () => {
  const encoder = newEncoder();
  const writer = new SpanWriter(encoder);
  assert.equal(writer.writeExchange(serverExchange({ service: null }), ''), false);
  const full = new TraceRequestEncoder({
    clock: new WallClock(),
    scopeName: 'underspan',
    scopeVersion: '0',
    maxBufferedBytes: 1,
  });
  const fullWriter = new SpanWriter(full);
  assert.equal(fullWriter.writeExchange(serverExchange(), ''), true);
  assert.equal(fullWriter.writeExchange(serverExchange(), ''), false);
  assert.equal(full.dropped.full, 1);
  assert.equal(encoder.spanCount, 0);
});

test('a span whose first byte has no time starts with the read that took it', () => {
  const span = spanOf(serverExchange({ requestFirstNs: 0 }));
  assert.equal(span.startUnixNs, BigInt(T0 + 1_000_000));
});

function connectAttempt(errorName: string): ConnectAttempt {
  return {
    service: service(),
    trace: trace(),
    span0: 7,
    span1: 8,
    parent0: 0,
    parent1: 0,
    peer: TCP_PEER,
    startNs: T0,
    endNs: T0 + 500_000,
    errorName,
  };
}

test('a connect is an INTERNAL span, an error if it failed', () => {
  const encoder = newEncoder();
  const writer = new SpanWriter(encoder);
  assert.equal(writer.writeConnect(connectAttempt('')), true);
  const established = decodeOne(encoder);
  assert.equal(established.name, 'socket connect');
  assert.equal(established.kind, 1);
  assert.equal(established.status.code, 0);
  assert.equal(established.endUnixNs - established.startUnixNs, 500_000n);
  assert.deepEqual(attributes(established), {
    'network.peer.address': '10.0.0.9',
    'network.peer.port': 40001,
    'network.transport': 'tcp',
    'network.type': 'ipv4',
  });
  assert.equal(writer.writeConnect(connectAttempt('ECONNREFUSED')), true);
  const refused = decodeOne(encoder);
  assert.equal(refused.status.code, 2);
  assert.equal(refused.attributes.get('error.type'), 'ECONNREFUSED');
  assert.equal(writer.writeConnect({ ...connectAttempt(''), startNs: 0 }), false);
});
