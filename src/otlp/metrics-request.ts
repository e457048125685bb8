// Metric families (signals/metric-model.ts) into OTLP bytes (collector/metrics/v1 ExportMetricsServiceRequest,
// metrics.proto): one ResourceMetrics per service, the agent's own families under the agent's resource. Requests stay
// under a size; a family with many points is then cut into several Metric messages. Lost: a single point larger than a
// request, counted in `dropped`. Once per export interval, so written plainly.
import type { WallClock } from '../clock.js';
import type { Attributes, Service } from '../enrichment/service.js';
import type { HistogramValue, MetricFamily, MetricPoint } from '../signals/metric-model.js';
import { attributeKey, writeAttribute } from './attributes.js';
import { type MetricDelta, MetricDeltas } from './metric-deltas.js';
import { ProtoWriter } from './proto-writer.js';
import { encodeResource, encodeSchemaUrl, encodeScope } from './resource.js';

/** Below the 4 MiB that gRPC servers accept by default. */
const DEFAULT_MAX_REQUEST_BYTES = 3.5 * 1024 * 1024;
/** Tags and lengths of ResourceMetrics and ScopeMetrics around the metrics of one service. */
const NESTING_BYTES = 12;
/** Points tried in one Metric message; only above this is a family cut at all. */
const POINTS_PER_METRIC = 2000;

const METRICS = 0x12;
const GAUGE = 0x2a;
const SUM = 0x3a;
const HISTOGRAM = 0x4a;
const DATA_POINTS = 0x0a;
const NUMBER_ATTRIBUTES = 0x3a;
const HISTOGRAM_ATTRIBUTES = 0x4a;

/** OTLP AggregationTemporality. */
const DELTA = 1;
const CUMULATIVE = 2;

/**
 * OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE. `delta` concerns counters and histograms; so does `lowmemory`, whose
 * difference (observable counters) does not exist here.
 */
export type TemporalityPreference = 'cumulative' | 'delta' | 'lowmemory';

/** A complete ExportMetricsServiceRequest in an ArrayBuffer of its own. */
export interface EncodedMetrics {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly pointCount: number;
}

export interface MetricsRequestOptions {
  readonly clock: WallClock;
  readonly scopeName: string;
  readonly scopeVersion: string;
  /** Resource attributes of the agent itself, for points without a service. */
  readonly agentResource: Attributes;
  readonly temporality?: TemporalityPreference;
  readonly maxRequestBytes?: number;
}

/** One Metric message, tag and length included. */
interface EncodedMetric {
  readonly bytes: Uint8Array;
  readonly pointCount: number;
}

export class MetricsRequestEncoder {
  /** Points that did not make it into a request. */
  readonly dropped = { oversized: 0 };
  readonly #options: MetricsRequestOptions;
  readonly #scope: Uint8Array;
  readonly #schemaUrl = encodeSchemaUrl();
  readonly #agentResource: Uint8Array;
  readonly #maxRequestBytes: number;
  readonly #deltas: MetricDeltas | null;
  readonly #scratch = new ProtoWriter(4096);

  constructor(options: MetricsRequestOptions) {
    this.#options = options;
    this.#scope = encodeScope(options.scopeName, options.scopeVersion);
    this.#agentResource = encodeResource(options.agentResource);
    this.#maxRequestBytes = options.maxRequestBytes ?? DEFAULT_MAX_REQUEST_BYTES;
    this.#deltas = (options.temporality ?? 'cumulative') === 'cumulative' ? null : new MetricDeltas();
  }

  /** Encodes one snapshot taken at `nowNs` (boot-clock nanoseconds). Nothing to send gives no requests. */
  encode(families: readonly MetricFamily[], nowNs: number): EncodedMetrics[] {
    const requests: EncodedMetrics[] = [];
    let request = new ProtoWriter(16_384);
    let pointCount = 0;
    for (const [service, owned] of byService(families)) {
      const resource = service === null ? this.#agentResource : encodeResource(service.attributes);
      const overhead = NESTING_BYTES + resource.length + this.#scope.length + 2 * this.#schemaUrl.length;
      const limit = this.#maxRequestBytes - overhead;
      let pending: EncodedMetric[] = [];
      let pendingBytes = 0;
      for (const metric of this.#encodeMetrics(service, owned, nowNs, limit)) {
        if (request.at + pendingBytes + metric.bytes.length > limit) {
          pointCount += this.#append(request, resource, pending);
          if (request.at > 0) requests.push({ bytes: request.copy(), pointCount });
          request = new ProtoWriter(16_384);
          pointCount = 0;
          pending = [];
          pendingBytes = 0;
        }
        pending.push(metric);
        pendingBytes += metric.bytes.length;
      }
      pointCount += this.#append(request, resource, pending);
    }
    if (request.at > 0) requests.push({ bytes: request.copy(), pointCount });
    this.#deltas?.endExport(nowNs);
    return requests;
  }

  /** Appends one ResourceMetrics; the number of points in it. */
  #append(request: ProtoWriter, resource: Uint8Array, metrics: readonly EncodedMetric[]): number {
    if (metrics.length === 0) return 0;
    let pointCount = 0;
    const resourceMetrics = request.open(0x0a);
    request.raw(resource);
    const scopeMetrics = request.open(0x12);
    request.raw(this.#scope);
    for (const metric of metrics) {
      request.raw(metric.bytes);
      pointCount += metric.pointCount;
    }
    request.raw(this.#schemaUrl);
    request.close(scopeMetrics);
    request.raw(this.#schemaUrl);
    request.close(resourceMetrics);
    return pointCount;
  }

  *#encodeMetrics(
    service: Service | null,
    families: readonly OwnedFamily[],
    nowNs: number,
    limit: number,
  ): Generator<EncodedMetric> {
    for (const { family, points } of families) {
      const isDelta = this.#deltas !== null && (family.type === 'counter' || family.type === 'histogram');
      const changes = isDelta ? this.#deltas.take(service, family, points) : points;
      for (let from = 0; from < changes.length; from += POINTS_PER_METRIC) {
        const to = Math.min(from + POINTS_PER_METRIC, changes.length);
        yield* this.#fit(family, changes, from, to, nowNs, isDelta, limit);
      }
    }
  }

  /** Encodes points [from, to), halving until a message fits. */
  *#fit(
    family: MetricFamily,
    points: readonly (MetricPoint | MetricDelta)[],
    from: number,
    to: number,
    nowNs: number,
    isDelta: boolean,
    limit: number,
  ): Generator<EncodedMetric> {
    this.#scratch.reset(65_536);
    this.#writeMetric(family, points, from, to, nowNs, isDelta);
    if (this.#scratch.at <= limit) {
      yield { bytes: this.#scratch.copy(), pointCount: to - from };
    } else if (to - from === 1) {
      this.dropped.oversized++;
    } else {
      const middle = (from + to) >>> 1;
      yield* this.#fit(family, points, from, middle, nowNs, isDelta, limit);
      yield* this.#fit(family, points, middle, to, nowNs, isDelta, limit);
    }
  }

  #writeMetric(
    family: MetricFamily,
    points: readonly (MetricPoint | MetricDelta)[],
    from: number,
    to: number,
    nowNs: number,
    isDelta: boolean,
  ): void {
    const writer = this.#scratch;
    const metric = writer.open(METRICS);
    writer.stringField(0x0a, family.name);
    if (family.description !== '') writer.stringField(0x12, family.description);
    if (family.unit !== '') writer.stringField(0x1a, family.unit);
    const data = writer.open(family.type === 'histogram' ? HISTOGRAM : family.type === 'gauge' ? GAUGE : SUM);
    const isInteger = isCount(family.unit);
    for (let i = from; i < to; i++) {
      const point = points[i] as MetricPoint;
      if (typeof point.value === 'number') {
        // A gauge is a fact about now: its start time is optional, and meaningless here.
        this.#writeNumber(point, point.value, family.type === 'gauge' ? -1 : point.startNs, nowNs, isInteger);
      } else {
        this.#writeHistogram(point, point.value, nowNs, isDelta);
      }
    }
    if (family.type !== 'gauge') {
      writer.byte(0x10);
      writer.byte(isDelta ? DELTA : CUMULATIVE);
    }
    if (family.type === 'counter') {
      writer.byte(0x18);
      writer.byte(1);
    }
    writer.close(data);
    writer.close(metric);
  }

  #writeTimes(startNs: number, nowNs: number): void {
    const { clock } = this.#options;
    if (startNs >= 0) {
      clock.convert(startNs);
      this.#scratch.byte(0x11);
      this.#scratch.fixed64Time(clock.seconds, clock.nanos);
    }
    clock.convert(nowNs);
    this.#scratch.byte(0x19);
    this.#scratch.fixed64Time(clock.seconds, clock.nanos);
  }

  #writeNumber(point: MetricPoint, value: number, startNs: number, nowNs: number, isInteger: boolean): void {
    const writer = this.#scratch;
    const start = writer.open(DATA_POINTS);
    this.#writeTimes(startNs, nowNs);
    if (isInteger && Number.isSafeInteger(value)) {
      writer.byte(0x31);
      writer.sfixed64(value);
    } else {
      writer.byte(0x21);
      writer.double(value);
    }
    this.#writeAttributes(NUMBER_ATTRIBUTES, point.attributes);
    writer.close(start);
  }

  /** Minimum and maximum of a delta interval cannot be had from cumulative snapshots: they are left out. */
  #writeHistogram(point: MetricPoint, value: HistogramValue, nowNs: number, isDelta: boolean): void {
    const writer = this.#scratch;
    const start = writer.open(DATA_POINTS);
    this.#writeTimes(point.startNs, nowNs);
    writer.byte(0x21);
    writer.fixed64(value.count);
    writer.byte(0x29);
    writer.double(value.sum);
    const counts = writer.open(0x32);
    for (const count of value.counts) writer.fixed64(count);
    writer.close(counts);
    const bounds = writer.open(0x3a);
    for (const bound of value.bounds) writer.double(bound);
    writer.close(bounds);
    this.#writeAttributes(HISTOGRAM_ATTRIBUTES, point.attributes);
    if (!isDelta && value.count > 0) {
      writer.byte(0x59);
      writer.double(value.min);
      writer.byte(0x61);
      writer.double(value.max);
    }
    writer.close(start);
  }

  #writeAttributes(tag: number, attributes: Attributes): void {
    for (const [name, value] of attributes) writeAttribute(this.#scratch, tag, attributeKey(name), value);
  }
}

interface OwnedFamily {
  readonly family: MetricFamily;
  readonly points: MetricPoint[];
}

/** Regroups families by service, in order of appearance. */
function byService(families: readonly MetricFamily[]): Map<Service | null, OwnedFamily[]> {
  const groups = new Map<Service | null, OwnedFamily[]>();
  for (const family of families) {
    for (const point of family.points) {
      let owned = groups.get(point.service);
      if (owned === undefined) {
        owned = [];
        groups.set(point.service, owned);
      }
      const last = owned.at(-1);
      if (last?.family === family) last.points.push(point);
      else owned.push({ family, points: [point] });
    }
  }
  return groups;
}

/**
 * Whether values of that unit are counted (requests, bytes) rather than measured (seconds): only then are they sent as
 * integers, so that the type of a metric does not change from one export to the next with its value.
 */
function isCount(unit: string): boolean {
  return unit === 'By' || unit.startsWith('{');
}
