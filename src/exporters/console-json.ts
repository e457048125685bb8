// One JSON object a line for each span: made for `jq`, `grep` and scripts. Flat; attributes keep their OpenTelemetry
// names, resource attributes too, in an object of their own. JSON escapes control characters, so lines stay lines; what
// could still steer a terminal (C1 controls, bidirectional overrides) is escaped as well.
import type { DecodedAttributes, DecodedSpan, DecodedValue } from '../otlp/decoded.js';

const KIND_NAMES = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const STATUS_NAMES = ['unset', 'ok', 'error'] as const;

type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** A span as one line of JSON, without the line break. */
export function spanToJson(span: DecodedSpan): string {
  const service = span.resource.attributes.get('service.name');
  return toSafeJson({
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_span_id: span.parentSpanId,
    service: typeof service === 'string' ? service : '',
    kind: KIND_NAMES[span.kind] ?? String(span.kind),
    name: span.name,
    start: toRfc3339(span.startUnixNs),
    duration_s: Number(span.endUnixNs - span.startUnixNs) / 1e9,
    status: STATUS_NAMES[span.status.code] ?? String(span.status.code),
    attributes: toObject(span.attributes),
    resource: toObject(span.resource.attributes),
    ...(span.links.length > 0 && {
      links: span.links.map(link => ({ trace_id: link.traceId, span_id: link.spanId })),
    }),
    ...(span.events.length > 0 && {
      events: span.events.map(event => ({
        time: toRfc3339(event.timeUnixNs),
        name: event.name,
        attributes: toObject(event.attributes),
      })),
    }),
  });
}

/** JSON text in which nothing is left that a terminal obeys. */
export function toSafeJson(value: JsonValue): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f\p{Cf}\u2028\u2029]/gu, char =>
    [...Array(char.length).keys()].map(at => escapeUnit(char.charCodeAt(at))).join(''),
  );
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

/** RFC 3339 in UTC with nanoseconds. */
export function toRfc3339(unixNs: bigint): string {
  const seconds = new Date(Number(unixNs / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(unixNs % 1_000_000_000n).padStart(9, '0')}Z`;
}

function toObject(attributes: DecodedAttributes): { readonly [key: string]: JsonValue } {
  return Object.fromEntries([...attributes].map(([key, value]) => [key, toJsonValue(value)]));
}

function toJsonValue(value: DecodedValue): JsonValue {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return value instanceof Map ? toObject(value) : (value as readonly DecodedValue[]).map(toJsonValue);
}
