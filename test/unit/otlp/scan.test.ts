import assert from 'node:assert/strict';
import test from 'node:test';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { ReadableSpanFactory } from '../../../src/exporters/readable-span.js';
import { decodeTraces } from '../../../src/otlp/decode.js';
import { AttributeKeys, decodeScanned, scanAttributes, scanTraces } from '../../../src/otlp/scan.js';
import { type SampleSpan, sampleSpan } from '../exporters/console-samples.js';

const SAMPLES: readonly SampleSpan[] = [
  { id: '01', service: 'shop', kind: 'server', path: '/a', status: 200, phases: [1, 2, 3, 4] },
  { id: '02', parent: '01', service: 'shop', kind: 'client', path: '/ü', status: 503, error: '503', phases: [5] },
  { id: 'c0', service: 'stock', kind: 'connect', error: 'ECONNREFUSED', durationMs: 7, startMs: 12 },
  { id: '03', trace: 'b2', service: 'stock', kind: 'client', links: ['c0', 'c1'], connectMs: 1, phases: [1, 1] },
  { id: '04', trace: 'c3', service: '', kind: 'server', more: { 'http.response.status_code': 204 } },
];

function encode(samples: readonly SampleSpan[]): Uint8Array {
  const spans = new ReadableSpanFactory().toReadableSpans(samples.map(sampleSpan));
  const bytes = ProtobufTraceSerializer.serializeRequest(spans);
  assert.ok(bytes !== undefined);
  return bytes;
}

test('a glance tells the same as decoding, of what the official encoder writes', () => {
  const bytes = encode(SAMPLES);
  const scanned = scanTraces(bytes);
  const decoded = decodeTraces(bytes);
  assert.equal(scanned.length, SAMPLES.length);
  for (const [index, span] of decoded.entries()) {
    const at = scanned[index]!;
    assert.deepEqual(
      [at.traceId, at.spanId, at.name, at.kind, at.startUnixNs, at.durationNs, at.isFailed, at.service, at.links],
      [
        span.traceId,
        span.spanId,
        span.name,
        span.kind,
        span.startUnixNs,
        Number(span.endUnixNs - span.startUnixNs),
        span.status.code === 2,
        span.resource.attributes.get('service.name'),
        span.links.map(link => `${link.traceId}/${link.spanId}`),
      ],
    );
    const { resource, scope, ...rest } = decodeScanned(at);
    const { resource: expectedResource, scope: _, ...expected } = span;
    assert.deepEqual(rest, expected);
    assert.deepEqual(resource.attributes, expectedResource.attributes);
    assert.equal(scope.name, '');
    const keys = new AttributeKeys(['url.path', 'http.response.status_code', 'server.port', 'nowhere']);
    const wanted = [...span.attributes].filter(([key]) => keys.has(key));
    assert.deepEqual(scanAttributes(at, keys), new Map(wanted));
  }
});

test('bytes that are cut anywhere throw, or hold whole spans before the cut', () => {
  const bytes = encode(SAMPLES);
  const isThrown = Array.from({ length: bytes.length }, (_, length) => {
    try {
      return scanTraces(bytes.subarray(0, length)).length > SAMPLES.length;
    } catch (error) {
      return error instanceof RangeError;
    }
  });
  // Between two groups of a service a request may end.
  assert.ok(isThrown.filter(thrown => !thrown).length <= 3, `${isThrown.filter(thrown => !thrown).length} cuts passed`);
});

test('a part that reaches beyond the one around it throws', () => {
  // ResourceSpans of 2 bytes, in it ScopeSpans of 5.
  assert.throws(() => scanTraces(Uint8Array.of(0x0a, 2, 0x12, 5, 0, 0, 0, 0, 0)), RangeError);
  assert.throws(() => scanTraces(Uint8Array.of(0x0a, 0x7f)), RangeError);
});
