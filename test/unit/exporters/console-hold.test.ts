import assert from 'node:assert/strict';
import test from 'node:test';
import { TraceHold } from '../../../src/exporters/console-hold.js';
import { type SpanView, toSpanView } from '../../../src/exporters/console-span.js';
import { type SampleSpan, sampleSpan } from './console-samples.js';

function view(sample: Partial<SampleSpan> & { readonly id: string }): SpanView {
  return toSpanView(sampleSpan({ service: 'shop', kind: 'server', phases: [1], ...sample }));
}

test('a trace goes out when no span came for holdMs, and only then', () => {
  const hold = new TraceHold({ holdMs: 300 });
  hold.add(view({ id: '01' }), 0);
  hold.add(view({ id: '02', parent: '01' }), 250);
  assert.deepEqual(hold.takeComplete(549), []);
  const [trace] = hold.takeComplete(550);
  assert.equal(trace?.spans.length, 2);
  assert.equal(trace?.isContinuation, false);
  assert.equal(hold.spanCount, 0);
});

test('what comes later is a continuation', () => {
  const hold = new TraceHold({ holdMs: 300 });
  hold.add(view({ id: '01' }), 0);
  hold.takeComplete(300);
  hold.add(view({ id: '02', parent: '01' }), 400);
  assert.equal(hold.takeComplete(700)[0]?.isContinuation, true);
});

test('a trace that never pauses goes out after ten times holdMs', () => {
  const hold = new TraceHold({ holdMs: 100 });
  let released = 0;
  for (let nowMs = 0; nowMs <= 1000; nowMs += 50) {
    hold.add(view({ id: String(nowMs) }), nowMs);
    released += hold.takeComplete(nowMs).length;
  }
  assert.equal(released, 1);
});

test('a connect alone waits for its request, which takes it along from another trace', () => {
  const hold = new TraceHold({ holdMs: 300 });
  hold.add(view({ id: 'c0', trace: 'a1', kind: 'connect' }), 0);
  assert.deepEqual(hold.takeComplete(1000), []);
  const request = view({ id: '01', trace: 'b2', kind: 'client', connectMs: 1 });
  hold.add({ ...request, links: [`${'a1'.padEnd(32, '0')}/${'c0'.padEnd(16, '0')}`] }, 1000);
  const traces = hold.takeComplete(1300);
  assert.equal(traces.length, 1);
  assert.equal(traces[0]?.spans.length, 2);
  assert.equal(hold.spanCount, 0);
});

test('a connect that failed waits no longer than others', () => {
  const hold = new TraceHold({ holdMs: 300 });
  hold.add(view({ id: 'c0', kind: 'connect', error: 'ECONNREFUSED' }), 0);
  assert.equal(hold.takeComplete(300).length, 1);
});

test('at a bound the oldest goes out early, and nothing is lost', () => {
  const hold = new TraceHold({ maxTraces: 10, maxSpans: 25, maxSpansPerTrace: 5 });
  let out = 0;
  for (let index = 0; index < 1000; index++) {
    const trace = index % 3 === 0 ? 'ff' : String(index);
    for (const released of hold.add(view({ id: String(index), trace }), index)) out += released.spans.length;
    assert.ok(hold.traceCount <= 10 && hold.spanCount <= 25);
  }
  for (const released of hold.takeAll()) out += released.spans.length;
  assert.equal(out, 1000);
});
