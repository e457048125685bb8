// OTLP bytes back into plain objects, for everything off the hot path: the terminal view, third-party exporters, tests,
// and what receivers answer. Spans come out flat, each with its resource and scope (one object per ResourceSpans and
// ScopeSpans, so identity groups them). Lost: fields that descriptor.ts leaves out. Malformed bytes throw.
import type {
  DecodedAttributes,
  DecodedHistogram,
  DecodedMetric,
  DecodedResource,
  DecodedScope,
  DecodedSpan,
  DecodedValue,
  PartialSuccess,
} from './decoded.js';
import { messageType } from './descriptor.js';

export type * from './decoded.js';

// -- what protobufjs gives; only fields that were on the wire are there

interface WireLong {
  readonly low: number;
  readonly high: number;
}
interface WireValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: WireLong;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values?: readonly WireValue[] };
  readonly kvlistValue?: { readonly values?: readonly WirePair[] };
  readonly bytesValue?: Uint8Array;
}
interface WirePair {
  readonly key?: string;
  readonly value?: WireValue;
}
interface WireAttributes {
  readonly attributes?: readonly WirePair[];
  readonly droppedAttributesCount?: number;
}
interface WireScope extends WireAttributes {
  readonly name?: string;
  readonly version?: string;
}
interface WireEvent extends WireAttributes {
  readonly timeUnixNano?: WireLong;
  readonly name?: string;
}
interface WireLink extends WireAttributes {
  readonly traceId?: Uint8Array;
  readonly spanId?: Uint8Array;
  readonly traceState?: string;
  readonly flags?: number;
}
interface WireSpan extends WireLink {
  readonly parentSpanId?: Uint8Array;
  readonly name?: string;
  readonly kind?: number;
  readonly startTimeUnixNano?: WireLong;
  readonly endTimeUnixNano?: WireLong;
  readonly events?: readonly WireEvent[];
  readonly droppedEventsCount?: number;
  readonly links?: readonly WireLink[];
  readonly droppedLinksCount?: number;
  readonly status?: { readonly code?: number; readonly message?: string };
}
interface WirePoint extends WireAttributes {
  readonly startTimeUnixNano?: WireLong;
  readonly timeUnixNano?: WireLong;
  readonly asDouble?: number;
  readonly asInt?: WireLong;
  readonly count?: WireLong;
  readonly sum?: number;
  readonly min?: number;
  readonly max?: number;
  readonly bucketCounts?: readonly WireLong[];
  readonly explicitBounds?: readonly number[];
}
interface WireData {
  readonly dataPoints?: readonly WirePoint[];
  readonly aggregationTemporality?: number;
  readonly isMonotonic?: boolean;
}
interface WireMetric {
  readonly name?: string;
  readonly description?: string;
  readonly unit?: string;
  readonly gauge?: WireData;
  readonly sum?: WireData;
  readonly histogram?: WireData;
}
interface WireScoped {
  readonly scope?: WireScope;
  readonly schemaUrl?: string;
  readonly spans?: readonly WireSpan[];
  readonly metrics?: readonly WireMetric[];
}
interface WireResourced {
  readonly resource?: WireAttributes;
  readonly schemaUrl?: string;
  readonly scopeSpans?: readonly WireScoped[];
  readonly scopeMetrics?: readonly WireScoped[];
}

function decodeAs<T>(type: string, bytes: Uint8Array): T {
  const reflected = messageType(type);
  // The message itself would show defaults through its prototype, and so hide which AnyValue was sent.
  return reflected.toObject(reflected.decode(bytes)) as T;
}

/** Decodes an ExportTraceServiceRequest. */
export function decodeTraces(bytes: Uint8Array): DecodedSpan[] {
  const request = decodeAs<{ readonly resourceSpans?: readonly WireResourced[] }>('TracesRequest', bytes);
  const spans: DecodedSpan[] = [];
  for (const group of request.resourceSpans ?? []) {
    const resource = toResource(group);
    for (const scoped of group.scopeSpans ?? []) {
      const scope = toScope(scoped);
      for (const span of scoped.spans ?? []) spans.push(toSpan(span, resource, scope));
    }
  }
  return spans;
}

const NO_SCOPE: DecodedScope = { name: '', version: '', attributes: new Map(), schemaUrl: '' };

/** Decodes a Span and the Resource that it belongs to, which may be absent. */
export function decodeSpan(span: Uint8Array, resource: Uint8Array | null): DecodedSpan {
  const attributes = resource === null ? undefined : decodeAs<WireAttributes>('Resource', resource);
  return toSpan(decodeAs<WireSpan>('Span', span), { attributes: toAttributes(attributes), schemaUrl: '' }, NO_SCOPE);
}

/** Decodes an ExportMetricsServiceRequest. */
export function decodeMetrics(bytes: Uint8Array): DecodedMetric[] {
  const request = decodeAs<{ readonly resourceMetrics?: readonly WireResourced[] }>('MetricsRequest', bytes);
  const metrics: DecodedMetric[] = [];
  for (const group of request.resourceMetrics ?? []) {
    const resource = toResource(group);
    for (const scoped of group.scopeMetrics ?? []) {
      const scope = toScope(scoped);
      for (const metric of scoped.metrics ?? []) metrics.push(toMetric(metric, resource, scope));
    }
  }
  return metrics;
}

/** Decodes an ExportTraceServiceResponse or ExportMetricsServiceResponse (same fields). */
export function decodePartialSuccess(bytes: Uint8Array): PartialSuccess | null {
  const response = decodeAs<{
    readonly partialSuccess?: { readonly rejected?: WireLong; readonly errorMessage?: string };
  }>('ExportResponse', bytes);
  const partial = response.partialSuccess;
  if (partial === undefined) return null;
  return { rejected: Number(toSigned(partial.rejected)), message: partial.errorMessage ?? '' };
}

/**
 * Milliseconds that a google.rpc.Status (gRPC's `grpc-status-details-bin`) asks to wait in a RetryInfo detail;
 * null if it has none.
 */
export function decodeRetryDelayMs(status: Uint8Array): number | null {
  const { details = [] } = decodeAs<{ details?: readonly { typeUrl?: string; value?: Uint8Array }[] }>(
    'RpcStatus',
    status,
  );
  const detail = details.find(any => any.typeUrl?.endsWith('/google.rpc.RetryInfo'));
  if (detail?.value === undefined) return null;
  const info = decodeAs<{ retryDelay?: { seconds?: WireLong; nanos?: number } }>('RetryInfo', detail.value);
  return Number(toSigned(info.retryDelay?.seconds)) * 1000 + (info.retryDelay?.nanos ?? 0) / 1e6;
}

/** The message of a google.rpc.Status, '' if it has none. */
export function decodeStatusMessage(status: Uint8Array): string {
  return decodeAs<{ message?: string }>('RpcStatus', status).message ?? '';
}

function toResource(group: WireResourced): DecodedResource {
  return { attributes: toAttributes(group.resource), schemaUrl: group.schemaUrl ?? '' };
}

function toScope(scoped: WireScoped): DecodedScope {
  return {
    name: scoped.scope?.name ?? '',
    version: scoped.scope?.version ?? '',
    attributes: toAttributes(scoped.scope),
    schemaUrl: scoped.schemaUrl ?? '',
  };
}

function toSpan(span: WireSpan, resource: DecodedResource, scope: DecodedScope): DecodedSpan {
  return {
    resource,
    scope,
    traceId: toHex(span.traceId),
    spanId: toHex(span.spanId),
    parentSpanId: toHex(span.parentSpanId),
    traceState: span.traceState ?? '',
    flags: span.flags ?? 0,
    name: span.name ?? '',
    kind: span.kind ?? 0,
    startUnixNs: toUnsigned(span.startTimeUnixNano),
    endUnixNs: toUnsigned(span.endTimeUnixNano),
    attributes: toAttributes(span),
    droppedAttributesCount: span.droppedAttributesCount ?? 0,
    events: (span.events ?? []).map(event => ({
      timeUnixNs: toUnsigned(event.timeUnixNano),
      name: event.name ?? '',
      attributes: toAttributes(event),
      droppedAttributesCount: event.droppedAttributesCount ?? 0,
    })),
    droppedEventsCount: span.droppedEventsCount ?? 0,
    links: (span.links ?? []).map(link => ({
      traceId: toHex(link.traceId),
      spanId: toHex(link.spanId),
      traceState: link.traceState ?? '',
      flags: link.flags ?? 0,
      attributes: toAttributes(link),
      droppedAttributesCount: link.droppedAttributesCount ?? 0,
    })),
    droppedLinksCount: span.droppedLinksCount ?? 0,
    status: { code: span.status?.code ?? 0, message: span.status?.message ?? '' },
  };
}

function toMetric(metric: WireMetric, resource: DecodedResource, scope: DecodedScope): DecodedMetric {
  const data = metric.gauge ?? metric.sum ?? metric.histogram;
  return {
    resource,
    scope,
    name: metric.name ?? '',
    description: metric.description ?? '',
    unit: metric.unit ?? '',
    type: metric.gauge ? 'gauge' : metric.sum ? 'sum' : metric.histogram ? 'histogram' : 'other',
    temporality: data?.aggregationTemporality ?? 0,
    isMonotonic: data?.isMonotonic ?? false,
    points: (data?.dataPoints ?? []).map(point => ({
      attributes: toAttributes(point),
      startUnixNs: toUnsigned(point.startTimeUnixNano),
      timeUnixNs: toUnsigned(point.timeUnixNano),
      value: metric.histogram ? toHistogram(point) : point.asInt ? toSigned(point.asInt) : (point.asDouble ?? 0),
    })),
  };
}

function toHistogram(point: WirePoint): DecodedHistogram {
  return {
    count: toUnsigned(point.count),
    sum: point.sum ?? null,
    min: point.min ?? null,
    max: point.max ?? null,
    bounds: point.explicitBounds ?? [],
    bucketCounts: (point.bucketCounts ?? []).map(toUnsigned),
  };
}

function toAttributes(holder: WireAttributes | undefined): DecodedAttributes {
  return toMap(holder?.attributes);
}

function toMap(pairs: readonly WirePair[] | undefined): DecodedAttributes {
  return new Map((pairs ?? []).map(pair => [pair.key ?? '', toValue(pair.value)]));
}

function toValue(value: WireValue | undefined): DecodedValue {
  if (value === undefined) return null;
  if (value.stringValue !== undefined) return value.stringValue;
  if (value.boolValue !== undefined) return value.boolValue;
  if (value.intValue !== undefined) {
    const integer = toSigned(value.intValue);
    return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
  }
  if (value.doubleValue !== undefined) return value.doubleValue;
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(toValue);
  if (value.kvlistValue !== undefined) return toMap(value.kvlistValue.values);
  return value.bytesValue ?? null;
}

function toHex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

function toUnsigned(value: WireLong | undefined): bigint {
  return value === undefined ? 0n : (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0);
}

function toSigned(value: WireLong | undefined): bigint {
  return BigInt.asIntN(64, toUnsigned(value));
}
