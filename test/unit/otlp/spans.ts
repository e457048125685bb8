// Generated spans for the encoder's tests: one description, written three ways (our encoder, the SDK's ReadableSpan, and
// the objects that decoding must give).
import { createTraceState, type HrTime, type SpanContext, type TraceFlags } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import fc from 'fast-check';
import type { Attributes, AttributeValue, Service } from '../../../src/enrichment/service.js';
import { attributeKey, type TraceRequestEncoder } from '../../../src/otlp/trace-request.js';
import { TraceContext, wordToHex } from '../../../src/traces/context.js';

export type GeneratedValue = {
  readonly type: 'string' | 'int' | 'double' | 'bool' | 'array';
  readonly value: AttributeValue;
};

export interface GeneratedSpan {
  readonly service: number;
  readonly traceWords: readonly [number, number, number, number];
  readonly traceFlags: number;
  readonly traceState: string;
  readonly span: readonly [number, number];
  readonly parent: readonly [number, number];
  readonly parentIsRemote: boolean;
  readonly kind: number;
  readonly startNs: number;
  readonly endNs: number;
  readonly name: string;
  readonly attributes: readonly (readonly [string, GeneratedValue])[];
  readonly events: readonly (readonly [number, string])[];
  readonly links: readonly (readonly [number, number])[];
  readonly status: 0 | 1 | 2;
}

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const nonZeroWord = fc.integer({ min: 1, max: 2 ** 32 - 1 });
const text = fc.oneof(fc.string({ maxLength: 80 }), fc.string({ unit: 'grapheme', maxLength: 80 }));
/** A double that is no integer, so that the SDK's serializer takes it for a double too. */
const fraction = fc
  .double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 })
  .filter(value => !Number.isInteger(value));

const value: fc.Arbitrary<GeneratedValue> = fc.oneof(
  text.map(value => ({ type: 'string' as const, value })),
  fc.integer().map(value => ({ type: 'int' as const, value })),
  fc.maxSafeInteger().map(value => ({ type: 'int' as const, value })),
  fraction.map(value => ({ type: 'double' as const, value })),
  fc.boolean().map(value => ({ type: 'bool' as const, value })),
  fc.array(text, { maxLength: 5 }).map(value => ({ type: 'array' as const, value })),
);
const key = fc.string({ minLength: 1, maxLength: 150 }).filter(name => name !== '__proto__');

export const generatedSpan: fc.Arbitrary<GeneratedSpan> = fc.record({
  service: fc.integer({ min: 0, max: 3 }),
  traceWords: fc.tuple(nonZeroWord, word, word, word),
  traceFlags: fc.constantFrom(0, 1),
  traceState: fc.constantFrom('', 'vendor=value', 'a=1,b=2'),
  span: fc.tuple(nonZeroWord, word),
  parent: fc.oneof(fc.constant([0, 0] as const), fc.tuple(nonZeroWord, word)),
  parentIsRemote: fc.boolean(),
  kind: fc.integer({ min: 1, max: 5 }),
  startNs: fc.integer({ min: 0, max: 2 ** 52 }),
  endNs: fc.integer({ min: 0, max: 2 ** 52 }),
  name: text,
  attributes: fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 16 }),
  events: fc.array(fc.tuple(fc.integer({ min: 0, max: 2 ** 52 }), text), { maxLength: 3 }),
  links: fc.array(fc.tuple(nonZeroWord, word), { maxLength: 3 }),
  status: fc.constantFrom(0, 1, 2),
});

/** A service with every kind of attribute. */
export function serviceOf(id: number): Service {
  const attributes: Attributes = [
    ['service.name', `shop-${id}`],
    ['process.pid', 1000 + id],
    ['host.load', 0.5 + id],
    ['container', id % 2 === 0],
    ['process.command_args', ['node', 'sérver.js']],
  ];
  return { id, name: `shop-${id}`, namespace: '', instanceId: `instance-${id}`, attributes };
}

export function contextOf(span: GeneratedSpan): TraceContext {
  const trace = new TraceContext();
  [trace.id0, trace.id1, trace.id2, trace.id3] = span.traceWords;
  trace.flags = span.traceFlags;
  trace.state = span.traceState;
  return trace;
}

/** Writes the span with our encoder; what `beginSpan` said. */
export function writeSpan(encoder: TraceRequestEncoder, service: Service, span: GeneratedSpan): boolean {
  const trace = contextOf(span);
  const accepted = encoder.beginSpan(
    service,
    trace,
    ...span.span,
    ...span.parent,
    span.parentIsRemote,
    span.kind,
    span.startNs,
    span.endNs,
  );
  if (!accepted) return false;
  encoder.name(span.name);
  for (const [name, { type, value }] of span.attributes) {
    const key = attributeKey(name);
    if (type === 'string') encoder.string(key, value as string);
    else if (type === 'int') encoder.int(key, value as number);
    else if (type === 'double') encoder.double(key, value as number);
    else if (type === 'bool') encoder.bool(key, value as boolean);
    else encoder.stringArray(key, value as readonly string[]);
  }
  for (const link of span.links) encoder.link(trace, ...link);
  for (const [timeNs, name] of span.events) encoder.event(timeNs, name);
  encoder.status(span.status);
  encoder.endSpan();
  return true;
}

function hrTime(bootNs: number, offset: HrTime): HrTime {
  const total = BigInt(bootNs) + BigInt(offset[0]) * 1_000_000_000n + BigInt(offset[1]);
  return [Number(total / 1_000_000_000n), Number(total % 1_000_000_000n)];
}

export function hex(...words: readonly number[]): string {
  return words.map(wordToHex).join('');
}

const scope = { name: 'underspan', version: '0.1.0' };

/** The same span as the SDK's serializer takes it. */
export function readableSpan(
  span: GeneratedSpan,
  resource: ReturnType<typeof resourceOf>,
  offset: HrTime,
): ReadableSpan {
  const contextWith = (ids: readonly [number, number], isRemote?: boolean): SpanContext => ({
    traceId: hex(...span.traceWords),
    spanId: hex(...ids),
    traceFlags: span.traceFlags as TraceFlags,
    ...(span.traceState === '' ? {} : { traceState: createTraceState(span.traceState) }),
    ...(isRemote === undefined ? {} : { isRemote }),
  });
  const isRoot = span.parent[0] === 0 && span.parent[1] === 0;
  return {
    name: span.name,
    kind: span.kind - 1,
    spanContext: () => contextWith(span.span),
    ...(isRoot ? {} : { parentSpanContext: contextWith(span.parent, span.parentIsRemote) }),
    startTime: hrTime(span.startNs, offset),
    endTime: hrTime(span.endNs, offset),
    duration: [0, 0],
    ended: true,
    status: { code: span.status },
    attributes: Object.fromEntries(span.attributes.map(([name, { value }]) => [name, value as string])),
    events: span.events.map(([timeNs, name]) => ({ time: hrTime(timeNs, offset), name })),
    links: span.links.map(ids => ({ context: contextWith(ids, false) })),
    resource,
    instrumentationScope: scope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

export function resourceOf(service: Service) {
  return resourceFromAttributes(Object.fromEntries(service.attributes.map(([name, value]) => [name, value as string])));
}
