// Which of several headers counts.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Propagation } from '../../../src/traces/propagation.js';
import { head, line, SPAN, TRACE } from './headers.js';

const W3C = `00-${TRACE}-${SPAN}-01`;

test('the first valid one in the configured order', () => {
  const both = head({ traceparent: W3C, b3: '0', jaeger: '1:2:0:0' });
  assert.equal(line(new Propagation().read(both)), `${TRACE} ${SPAN} 1`);
  assert.match(line(new Propagation(['jaeger', 'tracecontext']).read(both)), /^0{31}1 0{15}2 0$/);
  assert.match(line(new Propagation(['b3', 'tracecontext']).read(both)), /^0{32} 0{16} 0$/);
  const broken = head({ traceparent: `${W3C}0`, b3TraceId: TRACE, b3SpanId: SPAN, b3Sampled: '0' });
  assert.equal(line(new Propagation().read(broken)), `${TRACE} ${SPAN} 0`);
});

test('no header, formats that nobody wants, a request id alone: no parent', () => {
  assert.equal(new Propagation().read(head({})), null);
  assert.equal(new Propagation().read(head({ requestId: 'a' })), null);
  assert.equal(new Propagation([]).read(head({ traceparent: W3C })), null);
  assert.equal(new Propagation(['b3']).read(head({ traceparent: W3C, jaeger: '1:2:0:1' })), null);
});
