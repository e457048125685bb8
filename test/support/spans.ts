// Reading decoded spans: attributes by name with their types checked, times as milliseconds.
import type { DecodedSpan } from '../../src/otlp/decode.js';

export type { DecodedSpan };
export const INTERNAL = 1;
export const SERVER = 2;
export const CLIENT = 3;
export const STATUS_ERROR = 2;

/** A text attribute of the span, '' if absent or of another type. */
export function text(span: DecodedSpan, key: string): string {
  const value = span.attributes.get(key);
  return typeof value === 'string' ? value : '';
}

/** A number attribute of the span, NaN if absent or of another type. */
export function number(span: DecodedSpan, key: string): number {
  const value = span.attributes.get(key);
  return typeof value === 'number' ? value : typeof value === 'bigint' ? Number(value) : Number.NaN;
}

export function flag(span: DecodedSpan, key: string): boolean | undefined {
  const value = span.attributes.get(key);
  return typeof value === 'boolean' ? value : undefined;
}

export function pidOf(span: DecodedSpan): number {
  return Number(span.resource.attributes.get('process.pid') ?? -1);
}

export function serviceOf(span: DecodedSpan): string {
  return String(span.resource.attributes.get('service.name') ?? '');
}

/** The method as it was on the wire. */
export function methodOf(span: DecodedSpan): string {
  return text(span, 'http.request.method_original') || text(span, 'http.request.method');
}

/** The path as it was on the wire: `url.path` of a SERVER span, the path of `url.full` of a CLIENT span. */
export function pathOfSpan(span: DecodedSpan): string {
  const path = text(span, 'url.path');
  if (path !== '') return path;
  const full = /^[a-z]+:\/\/[^/?]*([^?#]*)/.exec(text(span, 'url.full'));
  return full?.[1] ?? '';
}

export function statusOf(span: DecodedSpan): number {
  return number(span, 'http.response.status_code');
}

/** Milliseconds since the Unix epoch, to the microsecond or so that a double has there. */
export function startMs(span: DecodedSpan): number {
  return Number(span.startUnixNs / 1000n) / 1000;
}

export function endMs(span: DecodedSpan): number {
  return Number(span.endUnixNs / 1000n) / 1000;
}

export function durationMs(span: DecodedSpan): number {
  return Number(span.endUnixNs - span.startUnixNs) / 1e6;
}

/** Seconds of a phase as milliseconds, 0 if the span does not have it. */
export function phaseMs(span: DecodedSpan, key: string): number {
  const seconds = number(span, key);
  return Number.isNaN(seconds) ? 0 : seconds * 1000;
}

/** Duration from the read that took the request's first byte: what a server's own clock can see. */
export function takenDurationMs(span: DecodedSpan): number {
  return durationMs(span) - phaseMs(span, 'underspan.receive.wait');
}

/** Duration from the read that took the request's last byte. */
export function answeringMs(span: DecodedSpan): number {
  return takenDurationMs(span) - phaseMs(span, 'underspan.request.read');
}

/** One line for error messages. */
export function describe(span: DecodedSpan): string {
  const attributes = [...span.attributes].map(([key, value]) => `${key}=${String(value)}`).join(' ');
  return `${span.kind === SERVER ? 'SERVER' : span.kind === CLIENT ? 'CLIENT' : `kind ${span.kind}`} "${span.name}" ${serviceOf(span)}/${pidOf(span)} start=${startMs(span)} duration=${durationMs(span)}ms trace=${span.traceId} span=${span.spanId} parent=${span.parentSpanId} status=${span.status.code} ${attributes}`;
}
