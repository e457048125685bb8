// The OTLP messages as protobufjs reflection, for the slow paths: reading what we wrote (console, JSON, third-party
// exporters) and what receivers answer. A compact table of opentelemetry-proto 1.x: `name: [number, type]`, `*type` is
// repeated. A decoded message has a field as its own property only if the field was on the wire. What Underspan neither
// writes nor reads (exponential histograms, summaries, exemplars, logs) is left out and skipped when decoding. Loaded when
// the first message is asked for: an agent that only sends needs none, and each collection goes through all that is loaded.
import { createRequire } from 'node:module';
import type protobuf from 'protobufjs/light.js';

type FieldTable = Readonly<Record<string, readonly [number: number, type: string]>>;

const RESOURCE: FieldTable = { attributes: [1, '*KeyValue'], droppedAttributesCount: [2, 'uint32'] };
const PARTIAL_SUCCESS: FieldTable = { rejected: [1, 'int64'], errorMessage: [2, 'string'] };

const MESSAGES: Readonly<Record<string, FieldTable>> = {
  // common.proto, resource.proto
  AnyValue: {
    stringValue: [1, 'string'],
    boolValue: [2, 'bool'],
    intValue: [3, 'int64'],
    doubleValue: [4, 'double'],
    arrayValue: [5, 'ArrayValue'],
    kvlistValue: [6, 'KeyValueList'],
    bytesValue: [7, 'bytes'],
  },
  ArrayValue: { values: [1, '*AnyValue'] },
  KeyValueList: { values: [1, '*KeyValue'] },
  KeyValue: { key: [1, 'string'], value: [2, 'AnyValue'] },
  InstrumentationScope: {
    name: [1, 'string'],
    version: [2, 'string'],
    attributes: [3, '*KeyValue'],
    droppedAttributesCount: [4, 'uint32'],
  },
  Resource: RESOURCE,

  // trace.proto, collector/trace/v1
  TracesRequest: { resourceSpans: [1, '*ResourceSpans'] },
  ResourceSpans: { resource: [1, 'Resource'], scopeSpans: [2, '*ScopeSpans'], schemaUrl: [3, 'string'] },
  ScopeSpans: { scope: [1, 'InstrumentationScope'], spans: [2, '*Span'], schemaUrl: [3, 'string'] },
  Span: {
    traceId: [1, 'bytes'],
    spanId: [2, 'bytes'],
    traceState: [3, 'string'],
    parentSpanId: [4, 'bytes'],
    name: [5, 'string'],
    kind: [6, 'int32'],
    startTimeUnixNano: [7, 'fixed64'],
    endTimeUnixNano: [8, 'fixed64'],
    attributes: [9, '*KeyValue'],
    droppedAttributesCount: [10, 'uint32'],
    events: [11, '*SpanEvent'],
    droppedEventsCount: [12, 'uint32'],
    links: [13, '*SpanLink'],
    droppedLinksCount: [14, 'uint32'],
    status: [15, 'Status'],
    flags: [16, 'fixed32'],
  },
  SpanEvent: {
    timeUnixNano: [1, 'fixed64'],
    name: [2, 'string'],
    attributes: [3, '*KeyValue'],
    droppedAttributesCount: [4, 'uint32'],
  },
  SpanLink: {
    traceId: [1, 'bytes'],
    spanId: [2, 'bytes'],
    traceState: [3, 'string'],
    attributes: [4, '*KeyValue'],
    droppedAttributesCount: [5, 'uint32'],
    flags: [6, 'fixed32'],
  },
  Status: { message: [2, 'string'], code: [3, 'int32'] },

  // metrics.proto, collector/metrics/v1
  MetricsRequest: { resourceMetrics: [1, '*ResourceMetrics'] },
  ResourceMetrics: { resource: [1, 'Resource'], scopeMetrics: [2, '*ScopeMetrics'], schemaUrl: [3, 'string'] },
  ScopeMetrics: { scope: [1, 'InstrumentationScope'], metrics: [2, '*Metric'], schemaUrl: [3, 'string'] },
  Metric: {
    name: [1, 'string'],
    description: [2, 'string'],
    unit: [3, 'string'],
    gauge: [5, 'Gauge'],
    sum: [7, 'Sum'],
    histogram: [9, 'Histogram'],
  },
  Gauge: { dataPoints: [1, '*NumberDataPoint'] },
  Sum: { dataPoints: [1, '*NumberDataPoint'], aggregationTemporality: [2, 'int32'], isMonotonic: [3, 'bool'] },
  Histogram: { dataPoints: [1, '*HistogramDataPoint'], aggregationTemporality: [2, 'int32'] },
  NumberDataPoint: {
    startTimeUnixNano: [2, 'fixed64'],
    timeUnixNano: [3, 'fixed64'],
    asDouble: [4, 'double'],
    asInt: [6, 'sfixed64'],
    attributes: [7, '*KeyValue'],
    flags: [8, 'uint32'],
  },
  HistogramDataPoint: {
    startTimeUnixNano: [2, 'fixed64'],
    timeUnixNano: [3, 'fixed64'],
    count: [4, 'fixed64'],
    sum: [5, 'double'],
    bucketCounts: [6, '*fixed64'],
    explicitBounds: [7, '*double'],
    attributes: [9, '*KeyValue'],
    flags: [10, 'uint32'],
    min: [11, 'double'],
    max: [12, 'double'],
  },

  // what receivers answer; google/rpc status and error details
  ExportResponse: { partialSuccess: [1, 'PartialSuccess'] },
  PartialSuccess: PARTIAL_SUCCESS,
  RpcStatus: { code: [1, 'int32'], message: [2, 'string'], details: [3, '*Any'] },
  Any: { typeUrl: [1, 'string'], value: [2, 'bytes'] },
  RetryInfo: { retryDelay: [1, 'Duration'] },
  Duration: { seconds: [1, 'int64'], nanos: [2, 'int32'] },
};

function buildRoot({ Root, Type, Field }: typeof protobuf): protobuf.Root {
  const root = new Root();
  for (const [messageName, fields] of Object.entries(MESSAGES)) {
    const type = new Type(messageName);
    for (const [name, [number, notation]] of Object.entries(fields)) {
      const isRepeated = notation.startsWith('*');
      type.add(
        new Field(name, number, isRepeated ? notation.slice(1) : notation, isRepeated ? 'repeated' : 'optional'),
      );
    }
    root.add(type);
  }
  root.resolveAll();
  return root;
}

const load = createRequire(import.meta.url);
let library: typeof protobuf | null = null;
let built: protobuf.Root | null = null;

function loaded(): typeof protobuf {
  library ??= load('protobufjs/light.js') as typeof protobuf;
  return library;
}

/** The reflected message type of that name in the table above. */
export function messageType(name: string): protobuf.Type {
  built ??= buildRoot(loaded());
  return built.lookupType(name);
}

/** Reads the wire format field by field; every read beyond `bytes` throws. */
export function wireReader(bytes: Uint8Array): protobuf.Reader {
  return loaded().Reader.create(bytes);
}
