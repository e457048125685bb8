// What decode.ts makes of OTLP bytes: plain objects for the terminal view, third-party exporters and tests. Ids are
// lower-case hex, times are bigint nanoseconds since the Unix epoch, enums are OTLP's numbers.

/** `bigint` only for integers beyond 2^53; `null` for an AnyValue without a value. */
export type DecodedValue =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | null
  | readonly DecodedValue[]
  | DecodedAttributes;
/** In the order of the wire; of a repeated key the last value. */
export type DecodedAttributes = ReadonlyMap<string, DecodedValue>;

export interface DecodedResource {
  readonly attributes: DecodedAttributes;
  readonly schemaUrl: string;
}

export interface DecodedScope {
  readonly name: string;
  readonly version: string;
  readonly attributes: DecodedAttributes;
  readonly schemaUrl: string;
}

export interface DecodedEvent {
  /** Nanoseconds since the Unix epoch, here and below. */
  readonly timeUnixNs: bigint;
  readonly name: string;
  readonly attributes: DecodedAttributes;
  readonly droppedAttributesCount: number;
}

export interface DecodedLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceState: string;
  readonly flags: number;
  readonly attributes: DecodedAttributes;
  readonly droppedAttributesCount: number;
}

export interface DecodedSpan {
  readonly resource: DecodedResource;
  readonly scope: DecodedScope;
  /** Lower-case hex, here and below. */
  readonly traceId: string;
  readonly spanId: string;
  /** '' for a root. */
  readonly parentSpanId: string;
  readonly traceState: string;
  /** SpanFlags: W3C trace flags in bits 0-7, 0x100 "is remote is known", 0x200 "parent is remote". */
  readonly flags: number;
  readonly name: string;
  /** OTLP SpanKind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly startUnixNs: bigint;
  readonly endUnixNs: bigint;
  readonly attributes: DecodedAttributes;
  readonly droppedAttributesCount: number;
  readonly events: readonly DecodedEvent[];
  readonly droppedEventsCount: number;
  readonly links: readonly DecodedLink[];
  readonly droppedLinksCount: number;
  /** OTLP StatusCode: 0 unset, 1 ok, 2 error. */
  readonly status: { readonly code: number; readonly message: string };
}

export interface DecodedHistogram {
  readonly count: bigint;
  /** null: not sent. */
  readonly sum: number | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly bounds: readonly number[];
  readonly bucketCounts: readonly bigint[];
}

export interface DecodedPoint {
  readonly attributes: DecodedAttributes;
  readonly startUnixNs: bigint;
  readonly timeUnixNs: bigint;
  /** `bigint` for as_int, `number` for as_double. */
  readonly value: number | bigint | DecodedHistogram;
}

export interface DecodedMetric {
  readonly resource: DecodedResource;
  readonly scope: DecodedScope;
  readonly name: string;
  readonly description: string;
  readonly unit: string;
  readonly type: 'gauge' | 'sum' | 'histogram' | 'other';
  /** OTLP AggregationTemporality: 0 none, 1 delta, 2 cumulative. */
  readonly temporality: number;
  readonly isMonotonic: boolean;
  readonly points: readonly DecodedPoint[];
}

/** The part of an Export...ServiceResponse that says what was not taken; null if everything was. */
export interface PartialSuccess {
  readonly rejected: number;
  readonly message: string;
}
