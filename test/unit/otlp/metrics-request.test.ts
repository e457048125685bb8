// MetricsRequestEncoder against the families that went in and against the SDK's ProtobufMetricsSerializer, both read
// back through decode.ts; then temporality, sizes and resources.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ProtobufMetricsSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  InstrumentType,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import fc from 'fast-check';
import { WallClock } from '../../../src/clock.js';
import type { Attributes, Service } from '../../../src/enrichment/service.js';
import { type DecodedHistogram, type DecodedMetric, decodeMetrics } from '../../../src/otlp/decode.js';
import { MetricsRequestEncoder, type MetricsRequestOptions } from '../../../src/otlp/metrics-request.js';
import type { HistogramValue, MetricFamily, MetricPoint } from '../../../src/signals/metric-model.js';
import { serviceOf } from './spans.js';

const OFFSET_SECONDS = 1_790_000_000;
const NOW_NS = 5e12;
const AGENT: Attributes = [['service.name', 'underspan']];
const services = [null, serviceOf(0), serviceOf(1)];

function newEncoder(options: Partial<MetricsRequestOptions> = {}): MetricsRequestEncoder {
  const clock = new WallClock();
  clock.set(OFFSET_SECONDS, 500);
  return new MetricsRequestEncoder({
    clock,
    scopeName: 'underspan',
    scopeVersion: '0.1.0',
    agentResource: AGENT,
    ...options,
  });
}

function encode(encoder: MetricsRequestEncoder, families: readonly MetricFamily[], nowNs = NOW_NS): DecodedMetric[] {
  return encoder.encode(families, nowNs).flatMap(({ bytes, pointCount }) => {
    const metrics = decodeMetrics(bytes);
    assert.equal(
      metrics.reduce((sum, metric) => sum + metric.points.length, 0),
      pointCount,
    );
    return metrics;
  });
}

function unixNs(bootNs: number): bigint {
  return BigInt(OFFSET_SECONDS) * 1_000_000_000n + 500n + BigInt(bootNs);
}

const attributes: fc.Arbitrary<Attributes> = fc.uniqueArray(
  fc.tuple(
    fc.string({ minLength: 1, maxLength: 30 }).filter(name => name !== '__proto__'),
    fc.oneof(fc.string({ maxLength: 60 }), fc.integer(), fc.boolean()),
  ),
  { selector: ([name]) => name, maxLength: 6 },
);
const bounds = [0.005, 0.01, 0.1, 1, 10];
const histogram: fc.Arbitrary<HistogramValue> = fc
  .array(fc.nat({ max: 100_000 }), { minLength: 6, maxLength: 6 })
  .map(counts => {
    const count = counts.reduce((sum, n) => sum + n, 0);
    return { bounds, counts, sum: count * 0.25, count, min: count > 0 ? 0.001 : 0, max: count > 0 ? 12.5 : 0 };
  });
const service = fc.constantFrom(...services);
const startNs = fc.integer({ min: 0, max: 4e12 });
const points = (value: fc.Arbitrary<MetricPoint['value']>) =>
  fc.array(fc.record({ service, attributes, startNs, value }), { minLength: 1, maxLength: 8 });
const family: fc.Arbitrary<MetricFamily> = fc.oneof(
  ...(['counter', 'updowncounter', 'gauge'] as const).flatMap(type => [
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 40 }),
      unit: fc.constantFrom('{request}', 'By'),
      description: fc.string({ maxLength: 60 }),
      type: fc.constant(type),
      points: points(fc.integer({ min: type === 'counter' ? 0 : -1e9 })),
    }),
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 40 }),
      unit: fc.constantFrom('s', ''),
      description: fc.constant(''),
      type: fc.constant(type),
      points: points(fc.double({ noNaN: true, min: 0, max: 1e9 })),
    }),
  ]),
  fc.record({
    name: fc.string({ minLength: 1, maxLength: 40 }),
    unit: fc.constant('s'),
    description: fc.string({ maxLength: 60 }),
    type: fc.constant('histogram' as const),
    points: points(histogram),
  }),
);

/** One service's part of a family as the SDK describes it. */
function sdkMetric(family: MetricFamily, service: Service | null): MetricData {
  const own = family.points.filter(point => point.service === service);
  const clockOf = (bootNs: number): [number, number] => {
    const total = unixNs(bootNs);
    return [Number(total / 1_000_000_000n), Number(total % 1_000_000_000n)];
  };
  const isHistogram = family.type === 'histogram';
  return {
    descriptor: {
      name: family.name,
      description: family.description,
      unit: family.unit,
      type: InstrumentType.COUNTER,
      valueType: family.unit === '{request}' || family.unit === 'By' ? 0 : 1,
    },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPointType: isHistogram
      ? DataPointType.HISTOGRAM
      : family.type === 'gauge'
        ? DataPointType.GAUGE
        : DataPointType.SUM,
    ...(isHistogram || family.type === 'gauge' ? {} : { isMonotonic: family.type === 'counter' }),
    dataPoints: own.map(point => ({
      attributes: Object.fromEntries(point.attributes.map(([name, value]) => [name, value as string])),
      startTime: clockOf(point.startNs),
      endTime: clockOf(NOW_NS),
      value: typeof point.value === 'number' ? point.value : sdkHistogram(point.value),
    })),
  } as MetricData;
}

function sdkHistogram(value: HistogramValue) {
  return {
    buckets: { boundaries: [...value.bounds], counts: [...value.counts] },
    sum: value.sum,
    count: value.count,
    ...(value.count > 0 ? { min: value.min, max: value.max } : {}),
  };
}

function sdkBytes(families: readonly MetricFamily[], service: Service | null): Uint8Array {
  const metrics = families.filter(f => f.points.some(p => p.service === service)).map(f => sdkMetric(f, service));
  const resourceMetrics: ResourceMetrics = {
    resource: resourceFromAttributes(
      Object.fromEntries((service?.attributes ?? AGENT).map(([name, value]) => [name, value as string])),
    ),
    scopeMetrics: [{ scope: { name: 'underspan', version: '0.1.0' }, metrics }],
  };
  const bytes = ProtobufMetricsSerializer.serializeRequest(resourceMetrics);
  assert.ok(bytes !== undefined);
  return bytes;
}

/** Without schema URLs, and without the start time of gauges, which the SDK sends and we leave out. */
function meaning(metric: DecodedMetric): unknown {
  const { resource, scope, points, ...rest } = metric;
  return {
    ...rest,
    resource: resource.attributes,
    scope: { name: scope.name, version: scope.version },
    points: points.map(point => (metric.type === 'gauge' ? { ...point, startUnixNs: 0n } : point)),
  };
}

test('means what the SDK means', () => {
  fc.assert(
    fc.property(fc.uniqueArray(family, { selector: f => f.name, minLength: 1, maxLength: 5 }), families => {
      const ours = encode(newEncoder(), families);
      const seen = new Set(families.flatMap(f => f.points.map(p => p.service)));
      const sdk = [...seen].flatMap(service => decodeMetrics(sdkBytes(families, service)));
      assert.deepEqual(ours.map(meaning), sdk.map(meaning));
    }),
    { numRuns: 200 },
  );
});

const counter = (value: number, startNs = 1e12, service: Service | null = services[1]!): MetricFamily => ({
  name: 'requests',
  unit: '{request}',
  description: '',
  type: 'counter',
  points: [{ service, attributes: [['http.route', '/']], startNs, value }],
});

test('says what was given: names, times, values, attributes', () => {
  const value: HistogramValue = { bounds: [1, 2], counts: [3, 2, 1], sum: 9.5, count: 6, min: 0.25, max: 7 };
  const latency: MetricFamily = {
    name: 'http.server.request.duration',
    unit: 's',
    description: 'Duration of requests.',
    type: 'histogram',
    points: [{ service: services[2]!, attributes: [['n', 1]], startNs: 2e12, value }],
  };
  const [metric] = encode(newEncoder(), [latency]);
  assert.ok(metric !== undefined);
  assert.equal(metric.name, 'http.server.request.duration');
  assert.equal(metric.unit, 's');
  assert.equal(metric.description, 'Duration of requests.');
  assert.equal(metric.type, 'histogram');
  assert.equal(metric.temporality, 2);
  assert.equal(metric.resource.attributes.get('service.name'), 'shop-1');
  const [point] = metric.points;
  assert.equal(point!.startUnixNs, unixNs(2e12));
  assert.equal(point!.timeUnixNs, unixNs(NOW_NS));
  assert.deepEqual(point!.attributes, new Map([['n', 1]]));
  const expected: DecodedHistogram = {
    count: 6n,
    sum: 9.5,
    min: 0.25,
    max: 7,
    bounds: [1, 2],
    bucketCounts: [3n, 2n, 1n],
  };
  assert.deepEqual(point!.value, expected);
});

test('counts are integers, measurements are doubles even when they are whole', () => {
  const seconds: MetricFamily = { ...counter(3), name: 'cpu', unit: 's' };
  const metrics = encode(newEncoder(), [counter(3), seconds]);
  assert.deepEqual(
    metrics.map(metric => metric.points[0]!.value),
    [3n, 3],
  );
  assert.deepEqual(
    metrics.map(metric => [metric.type, metric.isMonotonic]),
    [
      ['sum', true],
      ['sum', true],
    ],
  );
});

test('nothing to send gives no request', () => {
  assert.deepEqual(newEncoder().encode([], NOW_NS), []);
  assert.deepEqual(newEncoder().encode([{ ...counter(1), points: [] }], NOW_NS), []);
});

test('the preference "delta" sends differences, once, from the last export on', () => {
  const encoder = newEncoder({ temporality: 'delta' });
  const [first] = encode(encoder, [counter(10)], 5e12);
  assert.equal(first!.temporality, 1);
  assert.equal(first!.points[0]!.value, 10n);
  assert.equal(first!.points[0]!.startUnixNs, unixNs(1e12));
  const [second] = encode(encoder, [counter(17)], 6e12);
  assert.equal(second!.points[0]!.value, 7n);
  assert.equal(second!.points[0]!.startUnixNs, unixNs(5e12));
  assert.equal(second!.points[0]!.timeUnixNs, unixNs(6e12));
  assert.deepEqual(encode(encoder, [counter(17)], 7e12), []);
  const [restarted] = encode(encoder, [counter(4, 7.5e12)], 8e12);
  assert.equal(restarted!.points[0]!.value, 4n);
  assert.equal(restarted!.points[0]!.startUnixNs, unixNs(7.5e12));
});

test('the preference "delta" concerns histograms too, but neither gauges nor up-down counters', () => {
  const encoder = newEncoder({ temporality: 'delta' });
  const families = (scale: number): MetricFamily[] => [
    {
      ...counter(0),
      name: 'latency',
      unit: 's',
      type: 'histogram',
      points: [
        {
          ...counter(0).points[0]!,
          value: { bounds: [1], counts: [2 * scale, scale], sum: 5 * scale, count: 3 * scale, min: 0.1, max: 4 },
        },
      ],
    },
    { ...counter(scale), name: 'open', type: 'updowncounter' },
    { ...counter(scale), name: 'fill', type: 'gauge' },
  ];
  encode(encoder, families(1));
  const [latency, open, fill] = encode(encoder, families(3), 6e12);
  assert.equal(latency!.temporality, 1);
  assert.deepEqual(latency!.points[0]!.value, {
    count: 6n,
    sum: 10,
    min: null,
    max: null,
    bounds: [1],
    bucketCounts: [4n, 2n],
  });
  assert.equal(open!.temporality, 2);
  assert.equal(open!.points[0]!.value, 3n);
  assert.equal(fill!.points[0]!.value, 3n);
});

test('a large snapshot is cut into requests under the limit, every point once', () => {
  const many: MetricFamily[] = [0, 1, 2].map(n => ({
    ...counter(0),
    name: `family-${n}`,
    points: Array.from({ length: 3000 }, (_, i) => ({
      service: services[i % 3]!,
      attributes: [['http.route', `/route/${n}/${i}`]] as const,
      startNs: 0,
      value: i,
    })),
  }));
  const encoder = newEncoder({ maxRequestBytes: 20_000 });
  const requests = encoder.encode(many, NOW_NS);
  assert.ok(requests.length > 10);
  for (const { bytes } of requests) assert.ok(bytes.length <= 20_000);
  const routes = requests.flatMap(({ bytes }) =>
    decodeMetrics(bytes).flatMap(metric => metric.points.map(point => point.attributes.get('http.route'))),
  );
  assert.equal(routes.length, 9000);
  assert.equal(new Set(routes).size, 9000);
  assert.equal(encoder.dropped.oversized, 0);
});

test('a point larger than a request is dropped and counted', () => {
  const encoder = newEncoder({ maxRequestBytes: 2000 });
  const huge = { ...counter(1).points[0]!, attributes: [['x', 'y'.repeat(3000)]] as const };
  const metrics = encode(encoder, [{ ...counter(1), points: [...counter(1).points, huge, ...counter(2).points] }]);
  assert.deepEqual(
    metrics.flatMap(metric => metric.points.map(point => point.value)),
    [1n, 2n],
  );
  assert.equal(encoder.dropped.oversized, 1);
});
