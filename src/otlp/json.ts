// OTLP/JSON (OTLP specification, "JSON Protobuf Encoding"): encoded requests in, JSON text out. It is protobuf's JSON
// mapping with two differences: ids are hex instead of base64, enums are numbers. 64-bit integers are strings, NaN and
// infinities are the strings that protobuf's mapping prescribes. Also reads the JSON form of a response.
import type { PartialSuccess } from './decode.js';
import { messageType } from './descriptor.js';

/** Fields that are base64 in protobuf's JSON mapping and hex in OTLP's. */
const ID_FIELDS: ReadonlySet<string> = new Set(['traceId', 'spanId', 'parentSpanId']);

/** An ExportTraceServiceRequest as OTLP/JSON. */
export function tracesToJson(bytes: Uint8Array): string {
  const request = toJsonObject('TracesRequest', bytes) as JsonTraces;
  for (const group of request.resourceSpans ?? []) {
    for (const scoped of group.scopeSpans ?? []) {
      for (const span of scoped.spans ?? []) {
        writeIdsAsHex(span);
        for (const link of span.links ?? []) writeIdsAsHex(link);
      }
    }
  }
  return JSON.stringify(request);
}

/** An ExportMetricsServiceRequest as OTLP/JSON. */
export function metricsToJson(bytes: Uint8Array): string {
  return JSON.stringify(toJsonObject('MetricsRequest', bytes));
}

/** Reads an OTLP/JSON export response; null if everything was taken. Throws if the text is not JSON. */
export function partialSuccessFromJson(text: string): PartialSuccess | null {
  if (text.trim() === '') return null;
  const response = JSON.parse(text) as { partialSuccess?: JsonPartialSuccess } | null;
  const partial = response?.partialSuccess;
  if (partial === undefined || partial === null) return null;
  const rejected = partial.rejectedSpans ?? partial.rejectedDataPoints ?? 0;
  return { rejected: Number(rejected), message: String(partial.errorMessage ?? '') };
}

interface JsonPartialSuccess {
  readonly rejectedSpans?: string | number;
  readonly rejectedDataPoints?: string | number;
  readonly errorMessage?: string;
}

type JsonIds = Record<string, unknown>;
interface JsonTraces {
  readonly resourceSpans?: readonly {
    readonly scopeSpans?: readonly {
      readonly spans?: readonly (JsonIds & { readonly links?: readonly JsonIds[] })[];
    }[];
  }[];
}

function toJsonObject(type: string, bytes: Uint8Array): unknown {
  const reflected = messageType(type);
  return reflected.toObject(reflected.decode(bytes), { longs: String, bytes: String, json: true });
}

function writeIdsAsHex(holder: JsonIds): void {
  for (const field of ID_FIELDS) {
    const value = holder[field];
    if (typeof value === 'string') holder[field] = Buffer.from(value, 'base64').toString('hex');
  }
}
