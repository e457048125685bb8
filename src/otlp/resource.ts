// The parts that every OTLP request shares: Resource and InstrumentationScope messages (resource.proto, common.proto)
// and the schema URL. Made once per service or process; read many times.
import type { Attributes } from '../enrichment/service.js';
import { attributeKey, writeAttribute } from './attributes.js';
import { ProtoWriter } from './proto-writer.js';

/** Version of the semantic conventions that names of attributes, spans and metrics follow. */
export const SEMCONV_VERSION = '1.45.0';
export const SCHEMA_URL = `https://opentelemetry.io/schemas/${SEMCONV_VERSION}`;

/** `resource` (field 1 of ResourceSpans and ResourceMetrics), tag and length included. */
export function encodeResource(attributes: Attributes): Uint8Array<ArrayBuffer> {
  const writer = new ProtoWriter(512);
  const resource = writer.open(0x0a);
  for (const [name, value] of attributes) writeAttribute(writer, 0x0a, attributeKey(name), value);
  writer.close(resource);
  return writer.copy();
}

/** `scope` (field 1 of ScopeSpans and ScopeMetrics), tag and length included. */
export function encodeScope(name: string, version: string): Uint8Array<ArrayBuffer> {
  const writer = new ProtoWriter(128);
  const scope = writer.open(0x0a);
  writer.stringField(0x0a, name);
  if (version !== '') writer.stringField(0x12, version);
  writer.close(scope);
  return writer.copy();
}

/** `schema_url` (field 3 of the same messages), tag and length included. */
export function encodeSchemaUrl(): Uint8Array<ArrayBuffer> {
  const writer = new ProtoWriter(128);
  writer.stringField(0x1a, SCHEMA_URL);
  return writer.copy();
}
