// Contexts that come with requests: other tracers' formats, headers that a process hands on, a proxy's request id.
import assert from 'node:assert/strict';
import test from 'node:test';
import { requestText, responseText } from '../../support/record-builder.js';
import { attribute, Harness } from './harness.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const HEADER = `traceparent: 00-${TRACE}-${PARENT}-01`;
/** The process that both serves and calls. */
const PROXY = 100;

test('b3, uber-trace-id and X-Amzn-Trace-Id name the parent as traceparent does', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  const fields = [
    [`b3: ${TRACE}-${PARENT}-1`],
    [`X-B3-TraceId: ${TRACE}`, `X-B3-SpanId: ${PARENT}`, 'X-B3-Sampled: 1'],
    [`uber-trace-id: ${TRACE}:${PARENT}:0:1`],
    [`X-Amzn-Trace-Id: Root=1-${TRACE.slice(0, 8)}-${TRACE.slice(8)};Parent=${PARENT};Sampled=1`],
    ['traceparent: 00-broken', `b3: ${TRACE}-${PARENT}`, 'tracestate: of=another'],
  ];
  for (const lines of fields) story.read(requestText('GET /a', ['Host: a', ...lines])).wrote(responseText());
  const spans = harness.finish();
  assert.equal(spans.length, fields.length);
  for (const span of spans) {
    assert.deepEqual([span.traceId, span.parentSpanId], [TRACE, PARENT]);
    assert.equal(attribute(span, 'underspan.parent.evidence'), 'header');
    assert.ok(span.traceState === '' || span.traceState === 'of=another');
  }
});

test('only the configured formats count', () => {
  const harness = new Harness({ propagators: ['b3'] });
  const story = harness.server().opened();
  story.read(requestText('GET /a', ['Host: a', HEADER])).wrote(responseText());
  story.read(requestText('GET /b', ['Host: a', `b3: ${TRACE}-${PARENT}-1`])).wrote(responseText());
  const [ignored, honoured] = harness.finish();
  assert.equal(ignored?.parentSpanId, '');
  assert.equal(honoured?.parentSpanId, PARENT);
});

test('a decision to sample that comes without ids is honoured', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(requestText('GET /a', ['Host: a', 'b3: 0'])).wrote(responseText());
  story.read(requestText('GET /b', ['Host: a', 'b3: 1'])).wrote(responseText());
  const spans = harness.finish();
  assert.deepEqual(
    spans.map(span => attribute(span, 'url.path')),
    ['/b'],
  );
  assert.equal(spans[0]?.parentSpanId, '');
  assert.deepEqual(harness.drops(), { sampled: 1 });
});

test('a decision to sample without ids that is handed on does not part the trace', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const server = harness.server({ slot: 1, pid: PROXY, tid: PROXY }).opened();
  server.read(requestText('GET /in', ['Host: a', 'b3: 1']));
  const client = harness.client({ slot: 2, pid: PROXY, tid: PROXY }).opened();
  client.wrote(requestText('GET /out', ['Host: a', 'b3: 1'])).read(responseText());
  server.wrote(responseText());
  const spans = harness.finish();
  const [called, served] = [3, 2].map(kind => spans.find(span => span.kind === kind));
  assert.equal(called?.parentSpanId, served?.spanId);
  assert.equal(called?.traceId, served?.traceId);
});

test('a request id is kept', () => {
  const harness = new Harness();
  harness
    .server()
    .opened()
    .read(requestText('GET /a', ['X-Request-Id: r-17']))
    .wrote(responseText());
  const [span] = harness.finish();
  assert.deepEqual(attribute(span, 'http.request.header.x-request-id'), ['r-17']);
});

/** A proxy that serves `served` requests with HEADER at once and then calls with `field`; the call's parent, and theirs. */
function forward(served: number, field: string): { called: string | undefined; spans: string[]; parents: string[] } {
  const harness = new Harness({ hasConnectSpans: false });
  const servers = Array.from({ length: served }, (_, index) =>
    harness
      .server({ slot: 10 + index, pid: PROXY, ingressSeq: 5000 * index + 1, egressSeq: 7000 * index + 9 })
      .opened(),
  );
  for (const server of servers) server.read(requestText('GET /in', ['Host: a', HEADER]));
  const client = harness.client({ slot: 2, pid: PROXY, egressSeq: 100, ingressSeq: 200 }).opened();
  client.wrote(requestText('GET /out', ['Host: b', field])).read(responseText());
  for (const server of servers) server.wrote(responseText());
  const all = harness.finish();
  const incoming = all.filter(span => span.kind === 2);
  return {
    called: all.find(span => span.kind === 3)?.parentSpanId,
    spans: incoming.map(span => span.spanId),
    parents: incoming.map(span => span.parentSpanId),
  };
}

test('.NET before 5: a call’s Request-Id begins with that of its request, which no other one has brought', () => {
  const harness = new Harness({ hasConnectSpans: false });
  // The second and the third begin alike; two brought the fourth.
  const ids = ['|a1b2.1.', 'plain', 'plain.2.', '|c3.', '|c3.'];
  const servers = ids.map((id, index) =>
    harness
      .server({ slot: 10 + index, pid: PROXY, ingressSeq: 5000 * index + 1, egressSeq: 7000 * index + 9 })
      .opened()
      .read(requestText(`GET /in/${index}`, ['Host: a', `Request-Id: ${id}`])),
  );
  const calls = [
    '|a1b2.1.63c428c6_1.',
    '|plain.63c4_2.',
    '|plain.2.63c4_7_1.',
    '|c3.63c4_1.',
    '|a1b2.63c4_1.',
    '|other.1.',
  ];
  for (const [index, id] of calls.entries()) {
    const client = harness.client({ slot: 30 + index, pid: PROXY, egressSeq: 100 + index, ingressSeq: 200 }).opened();
    client.wrote(requestText(`GET /out/${index}`, ['Host: b', `Request-Id: ${id}`])).read(responseText());
  }
  for (const server of servers) server.wrote(responseText());
  const spans = harness.finish();
  const served = new Map(spans.map(span => [span.spanId, attribute(span, 'url.path')]));
  const parents = calls.map((_, index) => {
    const call = spans.find(span => attribute(span, 'url.full')?.toString().endsWith(`/out/${index}`));
    return served.get(call?.parentSpanId ?? '');
  });
  assert.deepEqual(parents, ['/in/0', '/in/1', '/in/2', undefined, undefined, undefined]);
});

test('a header that is handed on as it came: the request that brought it is the parent', () => {
  const { called, spans, parents } = forward(1, HEADER);
  assert.deepEqual([called], spans);
  assert.deepEqual(parents, [PARENT]);
});

test('a header that was written in between, in the trace that one request brought: nobody tells its span, so that request is the parent', () => {
  const { called, spans } = forward(1, HEADER.replace(PARENT, 'aaaaaaaaaaaaaaaa'));
  assert.deepEqual([called], spans);
});

test('where calls go on in the trace of a request that is over, none of them is known to be for it', () => {
  for (const isLate of [false, true]) {
    const harness = new Harness({ hasConnectSpans: false });
    const server = harness.server({ slot: 10, pid: PROXY }).opened();
    const call = (slot: number): void => {
      const header = HEADER.replace(PARENT, 'aaaaaaaaaaaaaaaa');
      const client = harness.client({ slot, pid: PROXY, egressSeq: 100 * slot, ingressSeq: 200 * slot }).opened();
      client.wrote(requestText('GET /out', ['Host: b', header])).read(responseText());
    };
    server.read(requestText('GET /in', ['Host: a', HEADER]));
    call(20);
    server.wrote(responseText());
    if (isLate) call(30);
    const spans = harness.finish();
    const served = spans.find(({ kind }) => kind === 2)?.spanId;
    const parents = spans.filter(({ kind }) => kind === 3).map(({ parentSpanId }) => parentSpanId);
    assert.deepEqual(parents, isLate ? ['aaaaaaaaaaaaaaaa', 'aaaaaaaaaaaaaaaa'] : [served]);
  }
});

test('a header that may be of either of two requests, or of another trace: its own span is the parent', () => {
  const other = 'aaaaaaaaaaaaaaaa';
  assert.equal(forward(2, HEADER).called, PARENT);
  assert.equal(forward(2, HEADER.replace(PARENT, other)).called, other);
  assert.equal(forward(1, HEADER.replace(TRACE, TRACE.replace('0af', '1af'))).called, PARENT);
});
