// OTLP/JSON: the text for one span letter by letter, and the SDK's JsonTraceSerializer on generated spans.
import assert from 'node:assert/strict';
import test from 'node:test';
import { JsonTraceSerializer } from '@opentelemetry/otlp-transformer';
import fc from 'fast-check';
import { WallClock } from '../../../src/clock.js';
import { metricsToJson, partialSuccessFromJson, tracesToJson } from '../../../src/otlp/json.js';
import { MetricsRequestEncoder } from '../../../src/otlp/metrics-request.js';
import { SCHEMA_URL } from '../../../src/otlp/resource.js';
import { TraceRequestEncoder } from '../../../src/otlp/trace-request.js';
import { type GeneratedSpan, generatedSpan, readableSpan, resourceOf, serviceOf, writeSpan } from './spans.js';

const OFFSET: [number, number] = [1_790_000_000, 123_456_789];
const service = serviceOf(0);

function clock(): WallClock {
  const clock = new WallClock();
  clock.set(...OFFSET);
  return clock;
}

function jsonOf(spans: readonly GeneratedSpan[]): unknown {
  const encoder = new TraceRequestEncoder({ clock: clock(), scopeName: 'underspan', scopeVersion: '0.1.0' });
  for (const span of spans) writeSpan(encoder, service, span);
  const [request] = encoder.flush();
  return JSON.parse(tracesToJson(request!.bytes));
}

const span: GeneratedSpan = {
  service: 0,
  traceWords: [0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f],
  traceFlags: 1,
  traceState: 'a=b',
  span: [0xfffefdfc, 0xfbfaf9f8],
  parent: [1, 2],
  parentIsRemote: true,
  kind: 2,
  startNs: 1e9,
  endNs: 2e9 + 1,
  name: 'GET /',
  attributes: [
    ['s', { type: 'string', value: 'é' }],
    ['i', { type: 'int', value: Number.MAX_SAFE_INTEGER }],
    ['zero', { type: 'int', value: 0 }],
    ['d', { type: 'double', value: 0.25 }],
    ['nan', { type: 'double', value: Number.NaN }],
    ['no', { type: 'bool', value: false }],
    ['list', { type: 'array', value: ['a', ''] }],
  ],
  events: [[1_500_000_000, 'first byte']],
  links: [[7, 8]],
  status: 2,
};

test('ids are hex, 64-bit integers are text, enums are numbers, names are lowerCamelCase', () => {
  const traceId = '000102030405060708090a0b0c0d0e0f';
  const request = jsonOf([span]) as { resourceSpans: { resource: unknown; scopeSpans: unknown; schemaUrl: string }[] };
  assert.equal(request.resourceSpans.length, 1);
  const [group] = request.resourceSpans;
  assert.deepEqual(group!.resource, {
    attributes: [
      { key: 'service.name', value: { stringValue: 'shop-0' } },
      { key: 'process.pid', value: { intValue: '1000' } },
      { key: 'host.load', value: { doubleValue: 0.5 } },
      { key: 'container', value: { boolValue: true } },
      {
        key: 'process.command_args',
        value: { arrayValue: { values: [{ stringValue: 'node' }, { stringValue: 'sérver.js' }] } },
      },
    ],
  });
  assert.equal(group!.schemaUrl, SCHEMA_URL);
  assert.deepEqual(group!.scopeSpans, [
    {
      scope: { name: 'underspan', version: '0.1.0' },
      spans: [
        {
          traceId,
          spanId: 'fffefdfcfbfaf9f8',
          traceState: 'a=b',
          parentSpanId: '0000000100000002',
          flags: 0x301,
          name: 'GET /',
          kind: 2,
          startTimeUnixNano: '1790000001123456789',
          endTimeUnixNano: '1790000002123456790',
          attributes: [
            { key: 's', value: { stringValue: 'é' } },
            { key: 'i', value: { intValue: '9007199254740991' } },
            { key: 'zero', value: { intValue: '0' } },
            { key: 'd', value: { doubleValue: 0.25 } },
            { key: 'nan', value: { doubleValue: 'NaN' } },
            { key: 'no', value: { boolValue: false } },
            { key: 'list', value: { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: '' }] } } },
          ],
          events: [{ timeUnixNano: '1790000001623456789', name: 'first byte' }],
          links: [{ traceId, spanId: '0000000700000008', traceState: 'a=b', flags: 0x101 }],
          status: { code: 2 },
        },
      ],
      schemaUrl: SCHEMA_URL,
    },
  ]);
});

/** Brings two spellings of the same JSON message together: order, defaults that may be left out, 64-bit numbers. */
function normal(value: unknown): unknown {
  if (Array.isArray(value)) {
    // The SDK's attributes are an object, which puts keys like '0' first.
    const isAttributes = value.length > 0 && typeof value[0] === 'object' && 'key' in value[0];
    return isAttributes ? value.map(normal).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)) : value.map(normal);
  }
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value)
    .filter(([key]) => key !== 'schemaUrl' && key !== 'droppedAttributesCount')
    .filter(([key, v]) => !(/^dropped|^code$/.test(key) && v === 0))
    .map(([key, v]) => [key, key === 'intValue' ? String(v) : normal(v)] as const)
    .filter(([, v]) => !(Array.isArray(v) && v.length === 0))
    .filter(([key, v]) => !(key === 'status' && JSON.stringify(v) === '{}'))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(kept);
}

function keyOf(pair: unknown): string {
  return (pair as { readonly key: string }).key;
}

test('means what the SDK means', () => {
  const resource = resourceOf(service);
  fc.assert(
    fc.property(fc.array(generatedSpan, { minLength: 1, maxLength: 5 }), generated => {
      const spans = generated.map(s => ({ ...s, parentIsRemote: s.parent[0] !== 0 && s.parentIsRemote }));
      const sdk = JsonTraceSerializer.serializeRequest(spans.map(s => readableSpan(s, resource, OFFSET)));
      // A lone surrogate is an escape in the SDK's JSON, and was replaced on our way through protobuf.
      const isWellFormed = !/\\ud[89a-f]/i.test(Buffer.from(sdk!).toString());
      fc.pre(isWellFormed);
      assert.deepEqual(normal(jsonOf(spans)), normal(JSON.parse(Buffer.from(sdk!).toString())));
    }),
    { numRuns: 100 },
  );
});

test('metrics: counts are text, buckets too', () => {
  const encoder = new MetricsRequestEncoder({
    clock: clock(),
    scopeName: 'underspan',
    scopeVersion: '0.1.0',
    agentResource: [],
  });
  const value = { bounds: [1], counts: [2, 1], sum: 3.5, count: 3, min: 0.5, max: 2 };
  const points = [{ service: null, attributes: [], startNs: 1e9, value }];
  const [request] = encoder.encode([{ name: 'h', unit: 's', description: '', type: 'histogram', points }], 2e9);
  const json = JSON.parse(metricsToJson(request!.bytes)) as {
    resourceMetrics: { scopeMetrics: { metrics: unknown[] }[] }[];
  };
  assert.deepEqual(json.resourceMetrics[0]!.scopeMetrics[0]!.metrics, [
    {
      name: 'h',
      unit: 's',
      histogram: {
        aggregationTemporality: 2,
        dataPoints: [
          {
            startTimeUnixNano: '1790000001123456789',
            timeUnixNano: '1790000002123456789',
            count: '3',
            sum: 3.5,
            bucketCounts: ['2', '1'],
            explicitBounds: [1],
            min: 0.5,
            max: 2,
          },
        ],
      },
    },
  ]);
});

test('responses: nothing, warnings, rejections', () => {
  assert.equal(partialSuccessFromJson(''), null);
  assert.equal(partialSuccessFromJson('{}'), null);
  assert.deepEqual(partialSuccessFromJson('{"partialSuccess":{"rejectedSpans":"3","errorMessage":"why"}}'), {
    rejected: 3,
    message: 'why',
  });
  assert.deepEqual(partialSuccessFromJson('{"partialSuccess":{"rejectedDataPoints":2}}'), { rejected: 2, message: '' });
  assert.throws(() => partialSuccessFromJson('<html>'));
});
