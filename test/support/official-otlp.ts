// Holds what the receiver understood against the official OTLP definitions: code that OpenTelemetry generated from its
// .proto files (a test dependency). In: the bytes of a request and our own reading of them. A difference throws.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { DecodedMetric, DecodedSpan } from '../../src/otlp/decode.js';

interface OfficialKeyValue {
  readonly key: string;
}
interface OfficialSpan {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly parentSpanId: Uint8Array | null;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: { toString(): string };
  readonly endTimeUnixNano: { toString(): string };
  readonly attributes: readonly OfficialKeyValue[];
  readonly status: { readonly code?: number } | null;
}
interface OfficialResource {
  readonly resource: { readonly attributes: readonly OfficialKeyValue[] };
}
interface OfficialTraces {
  readonly resourceSpans: readonly (OfficialResource & {
    readonly scopeSpans: readonly { readonly spans: readonly OfficialSpan[] }[];
  })[];
}
interface OfficialMetrics {
  readonly resourceMetrics: readonly {
    readonly scopeMetrics: readonly { readonly metrics: readonly { readonly name: string; readonly unit: string }[] }[];
  }[];
}
interface Decoder<T> {
  decode(bytes: Uint8Array): T;
}

const require = createRequire(import.meta.url);
const folder = path.dirname(require.resolve('otlp-official/package.json'));
const { opentelemetry } = require(path.join(folder, 'build/src/generated/root.js')) as {
  opentelemetry: {
    proto: {
      collector: {
        trace: { v1: { ExportTraceServiceRequest: Decoder<OfficialTraces> } };
        metrics: { v1: { ExportMetricsServiceRequest: Decoder<OfficialMetrics> } };
      };
    };
  };
};
const { collector } = opentelemetry.proto;

/** The official decoder gives null for a field that is not on the wire. */
const hex = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString('hex');

/** Throws unless the official reading of a trace request says the same as ours. */
export function assertOfficialTraces(bytes: Uint8Array, spans: readonly DecodedSpan[]): void {
  const request = collector.trace.v1.ExportTraceServiceRequest.decode(bytes);
  const official = request.resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(scope => scope.spans.map(span => ({ span, resource }))),
  );
  assert.deepEqual(
    official.map(({ span, resource }) => ({
      traceId: hex(span.traceId),
      spanId: hex(span.spanId),
      parentSpanId: hex(span.parentSpanId),
      name: span.name,
      kind: span.kind,
      start: span.startTimeUnixNano.toString(),
      end: span.endTimeUnixNano.toString(),
      status: span.status?.code ?? 0,
      attributes: span.attributes.map(({ key }) => key),
      resource: resource.attributes.map(({ key }) => key),
    })),
    spans.map(span => ({
      traceId: span.traceId,
      spanId: span.spanId,
      parentSpanId: span.parentSpanId,
      name: span.name,
      kind: span.kind,
      start: span.startUnixNs.toString(),
      end: span.endUnixNs.toString(),
      status: span.status.code,
      attributes: [...span.attributes.keys()],
      resource: [...span.resource.attributes.keys()],
    })),
  );
}

/** Likewise for a metrics request: names and units. */
export function assertOfficialMetrics(bytes: Uint8Array, metrics: readonly DecodedMetric[]): void {
  const request = collector.metrics.v1.ExportMetricsServiceRequest.decode(bytes);
  const official = request.resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(scope => scope.metrics));
  assert.deepEqual(
    official.map(({ name, unit }) => ({ name, unit })),
    metrics.map(({ name, unit }) => ({ name, unit })),
  );
}
