// A trace id that comes again and again is taken over only so often, and for so long.
import assert from 'node:assert/strict';
import test from 'node:test';
import { type Exchange, KIND_CLIENT, KIND_SERVER, newExchange } from '../../../src/exchanges/exchange.js';
import { TraceContext } from '../../../src/traces/context.js';
import { TraceLimits } from '../../../src/traces/trace-limits.js';
import { requestText, responseText } from '../../support/record-builder.js';
import { Harness } from '../pipeline/harness.js';

const context = (id3: number) => ({ id0: 1, id1: 2, id2: 3, id3, span0: 4, span1: 5, flags: 1, isDeferred: false });

test('by number and by age, each trace for itself', () => {
  const limits = new TraceLimits({ maxRequests: 3, maxAgeNs: 1000 });
  assert.deepEqual(
    [0, 1, 2, 3].map(ns => limits.admits(context(1), ns)),
    [true, true, true, false],
  );
  assert.equal(limits.admits(context(2), 5), true);
  assert.equal(limits.admits(context(2), 1005), true);
  assert.equal(limits.admits(context(2), 1006), false);
  assert.equal(limits.refused, 2);
});

test('headers that only decide on sampling name no trace that could grow', () => {
  const harness = new Harness({ hasConnectSpans: false, traceLimits: { maxRequests: 2, maxAgeNs: 1e18 } });
  const server = harness.server({ slot: 1 }).opened();
  for (let turn = 0; turn < 5; turn++) server.read(requestText('GET /a', ['Host: a', 'b3: 0'])).wrote(responseText());
  assert.deepEqual(harness.finish(), [], 'each one is denied, however many there are');
  assert.deepEqual(harness.drops(), { sampled: 5 });
});

test('beyond the limit a trace of its own begins on both sides, with a link to the span that the header names', () => {
  const harness = new Harness({ hasConnectSpans: false, traceLimits: { maxRequests: 2, maxAgeNs: 1e18 } });
  const [trace, span] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
  const request = requestText('GET /a', ['Host: a', `traceparent: 00-${trace}-${span}-01`]);
  const client = harness.client({ slot: 1, egressSeq: 10, ingressSeq: 20 }).opened();
  const server = harness.server({ slot: 2, ingressSeq: 10, egressSeq: 20 }).opened();
  for (let turn = 0; turn < 3; turn++) {
    client.wrote(request);
    server.read(request).wrote(responseText());
    client.read(responseText());
  }
  const spans = harness.finish();
  const inside = spans.filter(({ traceId }) => traceId === trace);
  assert.equal(inside.length, 2);
  const later = spans.filter(({ traceId }) => traceId !== trace);
  assert.equal(later.length, 4);
  for (const asked of later.filter(({ kind }) => kind === 3)) {
    assert.deepEqual(
      asked.links.map(link => [link.traceId, link.spanId]),
      [[trace, span]],
    );
    const served = later.filter(({ kind, parentSpanId }) => kind === 2 && parentSpanId === asked.spanId);
    assert.deepEqual(
      served.map(({ traceId }) => traceId),
      [asked.traceId],
    );
    assert.equal(asked.parentSpanId, '');
  }
  assert.equal(new Set(later.map(({ traceId }) => traceId)).size, 2);
});

const PEER = {
  remoteAddress: '',
  remotePort: 1,
  localAddress: '',
  localPort: 2,
  transport: 'tcp',
  networkType: '',
} as const;

function exchange(kind: typeof KIND_CLIENT | typeof KIND_SERVER, takenNs: number): Exchange {
  const made = newExchange(kind, PEER, new TraceContext(), 1, 2);
  made.requestTakenNs = takenNs;
  made.trace.sinceNs = takenNs;
  return made;
}

test('a call is no child of a request that came from it', () => {
  const limits = new TraceLimits({ maxRequests: 100, maxAgeNs: 1e18 });
  const [call, request, onward] = [exchange(KIND_CLIENT, 1), exchange(KIND_SERVER, 2), exchange(KIND_CLIENT, 3)];
  request.parentExchange = call;
  onward.parentExchange = request;
  const last = exchange(KIND_SERVER, 4);
  last.parentExchange = onward;
  assert.equal(limits.admitsCall(exchange(KIND_CLIENT, 5), last), true);
  assert.equal(limits.admitsCall(onward, last), false);
  assert.equal(limits.admitsCall(call, last), false);
});

test('a call of a trace that is too old, or has too many, begins another', () => {
  const limits = new TraceLimits({ maxRequests: 2, maxAgeNs: 1000 });
  const request = exchange(KIND_SERVER, 1);
  assert.equal(limits.admitsCall(exchange(KIND_CLIENT, 1001), request), true);
  assert.equal(limits.admitsCall(exchange(KIND_CLIENT, 1002), request), false);
  request.trace.calls = 2;
  assert.equal(limits.admitsCall(exchange(KIND_CLIENT, 2), request), false);
  assert.equal(limits.refused, 2);
});
