// A process that exports traces itself: its own are left to it, and what hangs on them hangs on what it told others.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { PipelineOptions } from '../../../src/pipeline.js';
import { requestText, responseText } from '../../support/record-builder.js';
import { attribute, Harness } from './harness.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SDK_SPAN = 'b7ad6b7169203331';
const SHOP = 100;
const BUYER = 200;
const DOTNET = 300;
const HEADER = ['Host: a', `traceparent: 00-${TRACE}-${SDK_SPAN}-01`];
const EXPORT = requestText('POST /v1/traces', ['Content-Type: application/x-protobuf', 'Content-Length: 0']);

function harness(options: Partial<PipelineOptions> = {}): Harness {
  return new Harness({ hasConnectSpans: false, ...options });
}

/** The buyer exports traces, then calls the shop, with `fields`. */
function tell(made: Harness, fields: readonly string[]): void {
  made.client({ slot: 1, pid: BUYER }).opened().wrote(EXPORT).read(responseText());
  const request = requestText('GET /a', fields);
  const client = made.client({ slot: 2, pid: BUYER, egressSeq: 100, ingressSeq: 200 }).opened().wrote(request);
  made.server({ slot: 3, pid: SHOP, ingressSeq: 100, egressSeq: 200 }).opened().read(request).wrote(responseText());
  client.read(responseText());
}

test('its call is left to it; the server’s parent is the span that the header names', () => {
  const made = harness();
  tell(made, HEADER);
  const [served, ...others] = made.finish();
  assert.equal(others.length, 0);
  assert.deepEqual([served?.kind, served?.traceId, served?.parentSpanId], [2, TRACE, SDK_SPAN]);
  assert.equal(attribute(served, 'underspan.parent.evidence'), 'header');
  assert.deepEqual(made.drops(), { otlp: 1, instrumented: 1 });
  assert.deepEqual(made.instrumented, ['buyer']);
  assert.ok(made.pipeline.ledger.total.lost === 0);
  const [point] = made.families().find(({ name }) => name === 'http.client.request.duration')?.points ?? [];
  assert.equal(typeof point?.value === 'object' && point.value.count, 1, 'metrics see it all the same');
});

test('a call that its SDK does not know is told, and is the parent', () => {
  const made = harness();
  tell(made, ['Host: a']);
  const spans = made.finish();
  assert.deepEqual(spans.map(span => span.kind).sort(), [2, 3]);
  const [asked, served] = [3, 2].map(kind => spans.find(span => span.kind === kind));
  assert.equal(served?.parentSpanId, asked?.spanId);
});

test('what it serves is left to it', () => {
  const made = harness();
  made.client({ slot: 1, pid: SHOP }).opened().wrote(EXPORT).read(responseText());
  made.server({ slot: 3, pid: SHOP }).opened().read(requestText('GET /a')).wrote(responseText());
  assert.equal(made.finish().length, 0);
  assert.deepEqual(made.drops(), { otlp: 1, instrumented: 1 });
});

test('metrics alone, or what others sent it, are no sign of an SDK; nor where everything is to be traced', () => {
  const metrics = harness();
  const post = requestText('POST /v1/metrics', ['Content-Type: application/json', 'Content-Length: 0']);
  metrics.client({ slot: 1, pid: SHOP }).opened().wrote(post).read(responseText());
  const relay = harness();
  relay.server({ slot: 5, pid: SHOP }).opened().read(EXPORT).wrote(responseText());
  relay.client({ slot: 1, pid: SHOP }).opened().wrote(EXPORT).read(responseText());
  const all = harness({ skipsInstrumented: false });
  all.client({ slot: 1, pid: SHOP }).opened().wrote(EXPORT).read(responseText());
  for (const made of [metrics, relay, all]) {
    made.server({ slot: 3, pid: SHOP }).opened().read(requestText('GET /a')).wrote(responseText());
    assert.equal(made.finish().length, 1);
    assert.deepEqual(made.instrumented, []);
  }
});

test('an export over gRPC is a sign, too', () => {
  const made = harness();
  const call = `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\0'.repeat(30)}/opentelemetry.proto.collector.trace.v1.TraceService/Export`;
  made.client({ slot: 1, pid: SHOP }).opened().wrote(call);
  made.server({ slot: 3, pid: SHOP }).opened().read(requestText('GET /a')).wrote(responseText());
  assert.equal(made.finish().length, 0);
  assert.deepEqual(made.instrumented, ['shop']);
});

/** The shop exports traces and serves `count` requests; `callTraces` gives the trace of each call that one makes. */
function serve(
  made: Harness,
  count: number,
  incoming: readonly string[],
  callTraces: (index: number) => string[],
): void {
  made.client({ slot: 1, pid: SHOP }).opened().wrote(EXPORT).read(responseText());
  for (let index = 0; index < count; index++) {
    const server = made.server({ slot: 10 + index, pid: SHOP, tid: SHOP }).opened();
    server.read(requestText(`GET /order/${index}`, ['Host: a', ...incoming]));
    for (const [call, trace] of callTraces(index).entries()) {
      const header = `traceparent: 00-${trace}-000000000000000${call + 1}-01`;
      const client = made.client({ slot: 100 + 10 * index + call, pid: SHOP, tid: SHOP }).opened();
      client.wrote(requestText(`GET /stock/${index}.${call}`, ['Host: a', header])).read(responseText());
    }
    server.wrote(responseText());
  }
}

const FORWARDED = [`traceparent: 00-${TRACE}-${SDK_SPAN}-01`];
const ofIts = (index: number): string => (index + 1).toString(16).padStart(32, '0');

test('what a service’s SDK does not tell of what it serves is told: the trace of the request is not continued', () => {
  const made = harness();
  serve(made, 5, FORWARDED, index => [ofIts(index)]);
  const spans = made.finish();
  // Known by the third request, when the first ones have not left yet; calls are the SDK's from first to last.
  assert.deepEqual(
    spans.map(span => [span.kind, attribute(span, 'url.path'), span.traceId, span.parentSpanId]),
    [0, 1, 2, 3, 4].map(index => [2, `/order/${index}`, TRACE, SDK_SPAN]),
  );
  assert.deepEqual(made.instrumented, ['shop', 'shop: calls']);
});

test('the same without a header: two calls for one request are in two traces', () => {
  const made = harness();
  serve(made, 4, [], index => [ofIts(2 * index), ofIts(2 * index + 1)]);
  assert.deepEqual(
    made.finish().map(span => [span.kind, attribute(span, 'url.path')]),
    [0, 1, 2, 3].map(index => [2, `/order/${index}`]),
  );
});

test('an SDK that continues a trace, or says nothing, tells what its service serves', () => {
  for (const [incoming, calls] of [
    [FORWARDED, () => [TRACE]],
    [FORWARDED, (index: number) => (index === 0 ? [TRACE] : [ofIts(index)])],
    [[], (index: number) => [ofIts(index), ofIts(index)]],
    [[], (index: number) => [ofIts(index)]],
    [FORWARDED, () => []],
  ] as const) {
    const made = harness();
    serve(made, 6, incoming, index => [...calls(index)]);
    assert.deepEqual(made.finish(), []);
    assert.deepEqual(made.instrumented, ['shop']);
  }
});

/** The buyer calls the shop, which exports traces, with these fields; on thread `tid` the shop calls with a header of its own. */
function chain(made: Harness, incoming: readonly string[], flags = '01', tid = SHOP): void {
  made.client({ slot: 1, pid: SHOP }).opened().wrote(EXPORT).read(responseText());
  const request = requestText('GET /order', ['Host: a', ...incoming]);
  const asked = made.client({ slot: 2, pid: BUYER, egressSeq: 100, ingressSeq: 200 }).opened().wrote(request);
  const served = made.server({ slot: 3, pid: SHOP, tid: SHOP, ingressSeq: 100, egressSeq: 200 }).opened();
  served.read(request);
  const header = `traceparent: 00-${TRACE}-${SDK_SPAN}-${flags}`;
  const call = made.client({ slot: 4, pid: SHOP, tid }).opened();
  call.wrote(requestText('GET /stock', ['Host: a', header])).read(responseText());
  served.wrote(responseText());
  asked.read(responseText());
}

test('a request that came without a header has the trace that the SDK of its server began for it', () => {
  const made = harness();
  chain(made, []);
  const [asked, ...others] = made.finish();
  assert.equal(others.length, 0);
  assert.deepEqual([asked?.kind, asked?.traceId, asked?.parentSpanId], [3, TRACE, '']);
  assert.deepEqual(asked?.links, []);
  assert.equal(made.pipeline.causes.found.none, 1, 'the header is the call’s parent: only the export had none');
});

test('the same where everything is told', () => {
  const made = harness({ skipsInstrumented: false });
  chain(made, []);
  const spans = made.finish();
  assert.deepEqual(spans.map(span => [span.kind, span.traceId, attribute(span, 'underspan.parent.evidence')]).sort(), [
    [2, TRACE, 'sequence'],
    [3, TRACE, undefined],
    [3, TRACE, 'header'],
  ]);
});

test('a trace that has a name keeps it, and has a link to the one that the SDK began; one that was not sampled is let be', () => {
  const named = 'f'.repeat(32);
  const made = harness();
  chain(made, [`traceparent: 00-${named}-${'e'.repeat(16)}-01`]);
  const [asked] = made.finish();
  assert.equal(asked?.traceId, named);
  assert.deepEqual(
    asked?.links.map(link => [link.traceId, link.spanId]),
    [[TRACE, SDK_SPAN]],
  );
  const unsampled = harness();
  chain(unsampled, [], '00');
  const [alone, ...others] = unsampled.finish();
  assert.equal(others.length, 0);
  assert.notEqual(alone?.traceId, TRACE);
  assert.deepEqual(alone?.links, []);
});

test('a call of another thread, at nobody’s request, says nothing of the trace', () => {
  const made = harness();
  chain(made, [], '01', SHOP + 1);
  const [span, ...others] = made.finish();
  assert.equal(others.length, 0);
  assert.notEqual(span?.traceId, TRACE);
});

/** A .NET program asks the shop on one connection, each time with one of these headers; kind and trace of what is told. */
function askFromDotnet(headers: readonly string[], incoming: readonly string[] = []): string[] {
  const made = harness();
  const till = made.server({ slot: 1, pid: DOTNET }).opened();
  if (incoming.length > 0) till.read(requestText('GET /pay', ['Host: a', ...incoming]));
  const client = made.client({ slot: 2, pid: DOTNET, egressSeq: 100, ingressSeq: 200 }).opened();
  const shop = made.server({ slot: 3, pid: SHOP, ingressSeq: 100, egressSeq: 200 }).opened();
  for (const header of headers) {
    const request = requestText('GET /a', ['Host: a', `traceparent: ${header}`]);
    client.wrote(request);
    shop.read(request).wrote(responseText());
    client.read(responseText());
  }
  if (incoming.length > 0) till.wrote(responseText());
  return made.finish().map(({ kind, traceId }) => `${kind} ${traceId}`);
}

const UNSAMPLED = `00-${TRACE}-${SDK_SPAN}-00`;
const OTHER = ofIts(16);

test('.NET writes a header by itself, and that it is not sampled is nobody’s decision', () => {
  assert.deepEqual(askFromDotnet([UNSAMPLED]).sort(), [`2 ${TRACE}`, `3 ${TRACE}`]);
});

test('the span that .NET’s header names is told by nobody: a call of which no request is known has no parent', () => {
  const made = harness();
  const client = made.client({ slot: 2, pid: DOTNET }).opened();
  client.wrote(requestText('GET /a', ['Host: a', `traceparent: ${UNSAMPLED}`])).read(responseText());
  const [asked] = made.finish();
  assert.deepEqual([asked?.kind, asked?.traceId, asked?.parentSpanId], [3, TRACE, '']);
});

test('where it has begun a trace that is sampled, somebody decides', () => {
  const sampled = `00-${OTHER}-${SDK_SPAN}-01`;
  assert.deepEqual(askFromDotnet([sampled, UNSAMPLED]).sort(), [`2 ${OTHER}`, `3 ${OTHER}`]);
});

test('what a request brought is the decision of who sent that', () => {
  assert.deepEqual(askFromDotnet([UNSAMPLED.replace(SDK_SPAN, 'aaaaaaaaaaaaaaaa')], [`traceparent: ${UNSAMPLED}`]), []);
});

test('nor is it where a proxy hands that header on', () => {
  const made = harness();
  const request = requestText('GET /a', ['Host: a', `traceparent: ${UNSAMPLED}`]);
  const till = made.client({ slot: 2, pid: DOTNET, egressSeq: 100, ingressSeq: 200 }).opened().wrote(request);
  const proxy = made.server({ slot: 3, pid: SHOP, ingressSeq: 100, egressSeq: 200 }).opened().read(request);
  const onward = made.client({ slot: 4, pid: SHOP, egressSeq: 300, ingressSeq: 400 }).opened().wrote(request);
  const called = made.server({ slot: 5, pid: BUYER, ingressSeq: 300, egressSeq: 400 }).opened();
  called.read(request).wrote(responseText());
  onward.read(responseText());
  proxy.wrote(responseText());
  till.read(responseText());
  assert.equal(made.finish().filter(({ traceId }) => traceId === TRACE).length, 4);
});
