// Encoded requests for the exporters' tests.
import { WallClock } from '../../../src/clock.js';
import { MetricsRequestEncoder } from '../../../src/otlp/metrics-request.js';
import { attributeKey, type EncodedTraces, TraceRequestEncoder } from '../../../src/otlp/trace-request.js';
import { TraceContext } from '../../../src/traces/context.js';
import { serviceOf } from '../otlp/spans.js';

/** Of the agent's requests most lie in memory that its threads share. */
const allocate = (byteLength: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(byteLength));

const CLOCK = new WallClock();
CLOCK.set(1_790_000_000, 0);

/** One request with `count` spans named `<name>-0`, `<name>-1` ..., each about `spanBytes` long, of two services. */
export function traceRequest(name: string, count: number, spanBytes = 100): EncodedTraces {
  const encoder = new TraceRequestEncoder({ clock: CLOCK, scopeName: 'underspan', scopeVersion: '0.1.0', allocate });
  const trace = new TraceContext();
  trace.id0 = 0xabcdef01;
  const padding = attributeKey('padding');
  const services = [serviceOf(0), serviceOf(1)];
  for (let i = 0; i < count; i++) {
    encoder.beginSpan(services[i % 2]!, trace, i + 1, 0, i === 0 ? 0 : 1, 0, i % 2 === 1, 2, 1e9 + i, 2e9 + i);
    encoder.name(`${name}-${i}`);
    encoder.string(padding, 'p'.repeat(Math.max(0, spanBytes - 100)));
    encoder.endSpan();
  }
  const [request, ...more] = encoder.flush();
  if (request === undefined || more.length > 0) throw new Error('the spans do not make one request');
  return request;
}

export function metricsRequest(name: string, value: number): Uint8Array {
  const encoder = new MetricsRequestEncoder({
    clock: CLOCK,
    scopeName: 'underspan',
    scopeVersion: '0.1.0',
    agentResource: [['service.name', 'underspan']],
  });
  const points = [{ service: null, attributes: [], startNs: 0, value }];
  const [request] = encoder.encode([{ name, unit: '{span}', description: '', type: 'counter', points }], 1e9);
  if (request === undefined) throw new Error('nothing was encoded');
  return request.bytes;
}
