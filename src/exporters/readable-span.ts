// Decoded OTLP spans in the shape that span exporters written for the OpenTelemetry SDK expect (ReadableSpan of
// @opentelemetry/sdk-trace-base 2.x). One Resource object per service and one scope object, since such exporters group
// by identity. Nothing is lost but what that shape cannot say: values that are neither text, number, boolean nor a list
// of them become text.
import { type Attributes, createTraceState, type HrTime, type Link, type SpanContext } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan, TimedEvent } from '@opentelemetry/sdk-trace-base';
import type { DecodedAttributes, DecodedResource, DecodedSpan, DecodedValue } from '../otlp/decode.js';

const NANOS_PER_SECOND = 1_000_000_000n;
/** Of OTLP's SpanFlags: the W3C trace flags, and "the parent is remote". */
const TRACE_FLAGS_MASK = 0xff;
const PARENT_IS_REMOTE = 0x200;
/** Resources kept; beyond, all are forgotten and made again. */
const MAX_RESOURCES = 1000;

/** Makes ReadableSpans; keeps resource objects from one batch to the next. */
export class ReadableSpanFactory {
  readonly #resources = new Map<string, Resource>();
  #scope: InstrumentationScope = { name: '', version: '' };

  toReadableSpans(spans: readonly DecodedSpan[]): ReadableSpan[] {
    const resources = new Map<DecodedResource, Resource>();
    return spans.map(span => {
      let resource = resources.get(span.resource);
      if (resource === undefined) {
        resource = this.#internResource(span.resource);
        resources.set(span.resource, resource);
      }
      return new OtlpReadableSpan(span, resource, this.#internScope(span));
    });
  }

  #internResource(decoded: DecodedResource): Resource {
    const attributes = toAttributes(decoded.attributes);
    const key = JSON.stringify(attributes);
    const known = this.#resources.get(key);
    if (known !== undefined) return known;
    if (this.#resources.size >= MAX_RESOURCES) this.#resources.clear();
    const resource = resourceFromAttributes(attributes, { schemaUrl: decoded.schemaUrl });
    this.#resources.set(key, resource);
    return resource;
  }

  #internScope({ scope }: DecodedSpan): InstrumentationScope {
    if (scope.name !== this.#scope.name || scope.version !== this.#scope.version) {
      this.#scope = { name: scope.name, version: scope.version, schemaUrl: scope.schemaUrl };
    }
    return this.#scope;
  }
}

class OtlpReadableSpan implements ReadableSpan {
  readonly name: string;
  readonly kind: number;
  readonly parentSpanContext?: SpanContext;
  readonly startTime: HrTime;
  readonly endTime: HrTime;
  readonly duration: HrTime;
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: Attributes;
  readonly links: Link[];
  readonly events: TimedEvent[];
  readonly ended = true;
  readonly resource: Resource;
  readonly instrumentationScope: InstrumentationScope;
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
  readonly #context: SpanContext;

  constructor(span: DecodedSpan, resource: Resource, scope: InstrumentationScope) {
    this.name = span.name;
    // OTLP counts from "unspecified", the API from "internal".
    this.kind = Math.max(0, span.kind - 1);
    this.#context = toContext(span.traceId, span.spanId, span.flags, span.traceState);
    if (span.parentSpanId !== '') {
      const isRemote = (span.flags & PARENT_IS_REMOTE) !== 0;
      this.parentSpanContext = { ...toContext(span.traceId, span.parentSpanId, span.flags, span.traceState), isRemote };
    }
    this.startTime = toHrTime(span.startUnixNs);
    this.endTime = toHrTime(span.endUnixNs);
    const duration = span.endUnixNs - span.startUnixNs;
    this.duration = toHrTime(duration > 0n ? duration : 0n);
    this.status = span.status.message === '' ? { code: span.status.code } : { ...span.status };
    this.attributes = toAttributes(span.attributes);
    this.links = span.links.map(link => ({
      context: toContext(link.traceId, link.spanId, link.flags, link.traceState),
      attributes: toAttributes(link.attributes),
    }));
    this.events = span.events.map(event => ({
      time: toHrTime(event.timeUnixNs),
      name: event.name,
      attributes: toAttributes(event.attributes),
    }));
    this.resource = resource;
    this.instrumentationScope = scope;
    this.droppedAttributesCount = span.droppedAttributesCount;
    this.droppedEventsCount = span.droppedEventsCount;
    this.droppedLinksCount = span.droppedLinksCount;
  }

  spanContext(): SpanContext {
    return this.#context;
  }

  /** What exporters written for SDK 1.x read. */
  get parentSpanId(): string | undefined {
    return this.parentSpanContext?.spanId;
  }

  get instrumentationLibrary(): InstrumentationScope {
    return this.instrumentationScope;
  }
}

function toContext(traceId: string, spanId: string, flags: number, traceState: string): SpanContext {
  const context = { traceId, spanId, traceFlags: flags & TRACE_FLAGS_MASK };
  return traceState === '' ? context : { ...context, traceState: createTraceState(traceState) };
}

function toHrTime(unixNs: bigint): HrTime {
  return [Number(unixNs / NANOS_PER_SECOND), Number(unixNs % NANOS_PER_SECOND)];
}

function toAttributes(decoded: DecodedAttributes): Attributes {
  const attributes: Attributes = {};
  for (const [key, value] of decoded) {
    if (value !== null) attributes[key] = toAttributeValue(value);
  }
  return attributes;
}

function toAttributeValue(value: Exclude<DecodedValue, null>): string | number | boolean | string[] {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Map) return JSON.stringify(Object.fromEntries(value));
  return (value as readonly DecodedValue[]).map(String);
}
