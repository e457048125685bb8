// What can be known of encoded spans at a glance: where each one lies, whose it is, how long it took, whether it failed. For
// those who look at many and show few (the terminal view): decoding one into objects takes ten times as long, and what is
// decoded and then thrown away keeps the garbage collector busy. Comes in: an ExportTraceServiceRequest. Goes out: a flat object
// a span, which keeps the request's bytes alive, and on demand the facts that filters look at, or the whole span.
import type protobuf from 'protobufjs/light.js';
import { decodeSpan } from './decode.js';
import type { DecodedSpan } from './decoded.js';
import { wireReader } from './descriptor.js';

/** Part of a request. */
interface Part {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly end: number;
}

export interface ScannedSpan extends Part {
  /** Its Resource message; null if there is none. */
  readonly resource: Part | null;
  /** `service.name` of the resource, '' if there is none. */
  readonly service: string;
  /** Lower-case hex. */
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  /** OTLP SpanKind. */
  readonly kind: number;
  readonly startUnixNs: bigint;
  readonly durationNs: number;
  /** Its status is ERROR. */
  readonly isFailed: boolean;
  /** Spans that this one points at, as `traceId/spanId`. */
  readonly links: readonly string[];
}

/** Attributes of a span by key, those that were asked for and are there. */
export type ScannedAttributes = Map<string, string | number>;

const STATUS_ERROR = 2;
const NO_LINKS: readonly string[] = [];
const LENGTH_DELIMITED = 2;

/** The spans of an ExportTraceServiceRequest in their order. Malformed bytes throw, before the first one is returned. */
export function scanTraces(bytes: Uint8Array): ScannedSpan[] {
  const spans: ScannedSpan[] = [];
  const reader = wireReader(bytes);
  forEachPart(reader, bytes.length, 1, end => scanResourceSpans(reader, bytes, end, spans));
  return spans;
}

/** The whole span; its scope is left out. */
export function decodeScanned({ bytes, from, end, resource }: ScannedSpan): DecodedSpan {
  const resourceBytes = resource === null ? null : resource.bytes.subarray(resource.from, resource.end);
  return decodeSpan(bytes.subarray(from, end), resourceBytes);
}

/** Keys to look for. Most others are told by their length, without making a string of them. */
export class AttributeKeys {
  readonly #keys: ReadonlySet<string>;
  readonly #lengths: ReadonlySet<number>;

  /** ASCII, as all keys of the semantic conventions are. */
  constructor(keys: readonly string[]) {
    this.#keys = new Set(keys);
    this.#lengths = new Set(keys.map(key => key.length));
  }

  hasLength(length: number): boolean {
    return this.#lengths.has(length);
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }
}

/** Of the attributes of a span those with one of the keys: texts and whole numbers. */
export function scanAttributes({ bytes, from, end }: ScannedSpan, keys: AttributeKeys): ScannedAttributes {
  return readAttributes(bytes, from, end, 9, keys);
}

const SERVICE_NAME = new AttributeKeys(['service.name']);

function scanResourceSpans(reader: protobuf.Reader, bytes: Uint8Array, end: number, out: ScannedSpan[]): void {
  const from = reader.pos;
  let resource: Part | null = null;
  let service = '';
  // In any order on the wire: the resource first, then what is its.
  forEachPart(reader, end, 1, partEnd => {
    resource = { bytes, from: reader.pos, end: partEnd };
    const name = readAttributes(bytes, reader.pos, partEnd, 1, SERVICE_NAME).get('service.name');
    service = typeof name === 'string' ? name : '';
    reader.pos = partEnd;
  });
  reader.pos = from;
  forEachPart(reader, end, 2, scopeEnd => {
    forEachPart(reader, scopeEnd, 2, spanEnd => {
      out.push(scanSpan(reader, bytes, spanEnd, resource, service));
    });
  });
}

function scanSpan(
  reader: protobuf.Reader,
  bytes: Uint8Array,
  end: number,
  resource: Part | null,
  service: string,
): ScannedSpan {
  const from = reader.pos;
  let traceId = '';
  let spanId = '';
  let name = '';
  let kind = 0;
  let startUnixNs = 0n;
  let endUnixNs = 0n;
  let isFailed = false;
  let links: string[] | null = null;
  while (reader.pos < end) {
    const tag = reader.uint32();
    switch (tag >>> 3) {
      case 1:
        traceId = readHex(reader, bytes);
        break;
      case 2:
        spanId = readHex(reader, bytes);
        break;
      case 5:
        name = reader.string();
        break;
      case 6:
        kind = reader.int32();
        break;
      case 7:
        startUnixNs = readFixed64(reader);
        break;
      case 8:
        endUnixNs = readFixed64(reader);
        break;
      case 13:
        links ??= [];
        links.push(scanLink(reader, bytes));
        break;
      case 15:
        isFailed = scanStatus(reader) === STATUS_ERROR;
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  checkEnd(reader, end);
  const durationNs = Math.max(0, Number(endUnixNs - startUnixNs));
  return {
    bytes,
    from,
    end,
    resource,
    service,
    traceId,
    spanId,
    name,
    kind,
    startUnixNs,
    durationNs,
    isFailed,
    links: links ?? NO_LINKS,
  };
}

function scanLink(reader: protobuf.Reader, bytes: Uint8Array): string {
  const end = partEnd(reader);
  let traceId = '';
  let spanId = '';
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) traceId = readHex(reader, bytes);
    else if (tag >>> 3 === 2) spanId = readHex(reader, bytes);
    else reader.skipType(tag & 7);
  }
  checkEnd(reader, end);
  return `${traceId}/${spanId}`;
}

function scanStatus(reader: protobuf.Reader): number {
  const end = partEnd(reader);
  let code = 0;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === 3) code = reader.int32();
    else reader.skipType(tag & 7);
  }
  checkEnd(reader, end);
  return code;
}

/** Reads a message from `from` to `end` whose KeyValues have the field number `field`. */
function readAttributes(
  bytes: Uint8Array,
  from: number,
  end: number,
  field: number,
  keys: AttributeKeys,
): ScannedAttributes {
  const found: ScannedAttributes = new Map();
  const reader = wireReader(bytes);
  reader.pos = from;
  forEachPart(reader, end, field, pairEnd => {
    let key = '';
    let value: string | number | null = null;
    while (reader.pos < pairEnd) {
      const tag = reader.uint32();
      if (tag >>> 3 === 1) {
        const lengthAt = reader.pos;
        const isUnlikely = !keys.hasLength(reader.uint32());
        reader.pos = lengthAt;
        key = isUnlikely ? '' : reader.string();
        if (!keys.has(key)) {
          reader.pos = pairEnd;
          return;
        }
      } else if (tag >>> 3 === 2) value = readValue(reader);
      else reader.skipType(tag & 7);
    }
    checkEnd(reader, pairEnd);
    if (value !== null && keys.has(key)) found.set(key, value);
  });
  return found;
}

/** An AnyValue: text or whole number, else null. */
function readValue(reader: protobuf.Reader): string | number | null {
  const end = partEnd(reader);
  let value: string | number | null = null;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) {
      value = reader.string();
    } else if (tag >>> 3 === 3) {
      const integer = reader.int64();
      value = typeof integer === 'number' ? integer : Number(integer.toString());
    } else reader.skipType(tag & 7);
  }
  checkEnd(reader, end);
  return value;
}

/** Calls back at the beginning of each sub-message with that field number, which reads up to the end that it is given. */
function forEachPart(reader: protobuf.Reader, end: number, field: number, read: (end: number) => void): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag !== ((field << 3) | LENGTH_DELIMITED)) {
      reader.skipType(tag & 7);
      continue;
    }
    const innerEnd = partEnd(reader);
    read(innerEnd);
    checkEnd(reader, innerEnd);
  }
  checkEnd(reader, end);
}

/** Where the sub-message ends whose length comes next. */
function partEnd(reader: protobuf.Reader): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new RangeError(`a part of ${length} bytes is longer than the request`);
  return end;
}

function checkEnd(reader: protobuf.Reader, end: number): void {
  if (reader.pos !== end) throw new RangeError(`a field reaches beyond its message at byte ${end}`);
}

function readHex(reader: protobuf.Reader, bytes: Uint8Array): string {
  const end = partEnd(reader);
  const from = reader.pos;
  reader.pos = end;
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString('hex');
}

function readFixed64(reader: protobuf.Reader): bigint {
  const low = reader.fixed32();
  return (BigInt(reader.fixed32()) << 32n) | BigInt(low);
}
