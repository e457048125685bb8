// Spans straight into OTLP bytes (collector/trace/v1 ExportTraceServiceRequest, trace.proto), no object per span:
//
//   beginSpan .. name, attributes, links, events, status .. endSpan    -> one slab, in order of completion
//   flush()   -> requests of at most maxRequestBytes, spans grouped by service, one copy each
//
// Lost here, and counted in `dropped`: spans begun while the buffer is full (beginSpan says so), spans too large for any
// request, spans begun and never ended.
import type { WallClock } from '../clock.js';
import type { Service } from '../enrichment/service.js';
import type { TraceContext } from '../traces/context.js';
import { type AttributeKey, writeBool, writeDouble, writeInt, writeString, writeStringArray } from './attributes.js';
import { ProtoWriter, tagBytes, varintSize, WIRE_FIXED32 } from './proto-writer.js';
import { encodeResource, encodeSchemaUrl, encodeScope } from './resource.js';

export { type AttributeKey, attributeKey } from './attributes.js';

/** Below the 4 MiB that gRPC servers accept by default. */
const DEFAULT_MAX_REQUEST_BYTES = 3.5 * 1024 * 1024;
const DEFAULT_MAX_BUFFERED_BYTES = 32 * 1024 * 1024;
/** What an idle encoder keeps. */
const KEPT_BYTES = 1024 * 1024;
const KEPT_SPANS = 4096;
/** Encoded resources kept between flushes; beyond, all are forgotten and encoded again when needed. */
const MAX_CACHED_SERVICES = 4096;
/** Tags and lengths of ResourceSpans and ScopeSpans around the spans of one service. */
const NESTING_BYTES = 12;

const SPANS = 0x12;
const TRACE_ID = 0x0a;
const SPAN_ID = 0x12;
const TRACE_STATE = 0x1a;
const PARENT_SPAN_ID = 0x22;
const NAME = 0x2a;
const KIND = 0x30;
const START_TIME = 0x39;
const END_TIME = 0x41;
const ATTRIBUTES = 0x4a;
const EVENTS = 0x5a;
const LINKS = 0x6a;
const STATUS = 0x7a;
const STATUS_CODE = 0x18;
const LINK_FLAGS = 0x35;
const [SPAN_FLAGS_0, SPAN_FLAGS_1] = tagBytes(16, WIRE_FIXED32) as [number, number];

/** SpanFlags of trace.proto. */
const FLAG_TRACE_MASK = 0xff;
const FLAG_HAS_IS_REMOTE = 0x100;
const FLAG_IS_REMOTE = 0x200;

/** A complete ExportTraceServiceRequest in an ArrayBuffer of its own (transferable). */
export interface EncodedTraces {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly spanCount: number;
}

export interface TraceRequestOptions {
  readonly clock: WallClock;
  readonly scopeName: string;
  readonly scopeVersion: string;
  readonly maxRequestBytes?: number;
  /** Spans in one request at most (OTEL_BSP_MAX_EXPORT_BATCH_SIZE); default unlimited. */
  readonly maxRequestSpans?: number;
  readonly maxBufferedBytes?: number;
}

/** Spans that did not make it into a request, by cause. */
export interface DroppedSpans {
  /** The buffer was full: beginSpan returned false. */
  full: number;
  /** Larger than a request may be. */
  oversized: number;
  /** Begun, never ended. */
  unfinished: number;
}

/** What is buffered for one service; its spans are chained through `#next`. */
class ServiceGroup {
  readonly service: Service;
  readonly resource: Uint8Array;
  firstSpan = -1;
  lastSpan = -1;

  constructor(service: Service) {
    this.service = service;
    this.resource = encodeResource(service.attributes);
  }
}

/** Spans of one group that go into one request. */
interface Part {
  readonly group: ServiceGroup;
  readonly firstSpan: number;
  spanCount: number;
  spanBytes: number;
}

export class TraceRequestEncoder {
  readonly dropped: DroppedSpans = { full: 0, oversized: 0, unfinished: 0 };
  readonly #clock: WallClock;
  readonly #scope: Uint8Array;
  readonly #schemaUrl = encodeSchemaUrl();
  readonly #maxRequestBytes: number;
  readonly #maxRequestSpans: number;
  readonly #maxBufferedBytes: number;
  readonly #writer = new ProtoWriter(KEPT_BYTES);
  readonly #groupsById = new Map<number, ServiceGroup>();
  /** Groups with spans, in order of their first. */
  #groups: ServiceGroup[] = [];
  #group: ServiceGroup | null = null;
  #isOpen = false;
  #bodyStart = 0;
  #spanCount = 0;
  /** By span: where it begins (tag included) and ends in the slab, and the group's next span. */
  #starts = new Uint32Array(KEPT_SPANS);
  #ends = new Uint32Array(KEPT_SPANS);
  #next = new Int32Array(KEPT_SPANS);

  constructor(options: TraceRequestOptions) {
    this.#clock = options.clock;
    this.#scope = encodeScope(options.scopeName, options.scopeVersion);
    this.#maxRequestBytes = options.maxRequestBytes ?? DEFAULT_MAX_REQUEST_BYTES;
    this.#maxRequestSpans = options.maxRequestSpans ?? Number.POSITIVE_INFINITY;
    this.#maxBufferedBytes = options.maxBufferedBytes ?? DEFAULT_MAX_BUFFERED_BYTES;
  }

  /** Finished spans that wait for `flush`. */
  get spanCount(): number {
    return this.#spanCount;
  }

  /** Bytes of these spans. */
  get byteLength(): number {
    return this.#writer.at;
  }

  /**
   * Begins a span; times are boot-clock nanoseconds, ids are 32-bit words, parent 0/0 is a root. False if the buffer
   * is full (counted in `dropped.full`): then nothing else of this span may be written. The last span accepted may
   * pass `maxBufferedBytes` by its own size.
   */
  beginSpan(
    service: Service,
    trace: TraceContext,
    span0: number,
    span1: number,
    parent0: number,
    parent1: number,
    parentIsRemote: boolean,
    kind: number,
    startNs: number,
    endNs: number,
  ): boolean {
    if (this.#isOpen) this.#abandon();
    const writer = this.#writer;
    if (writer.at >= this.#maxBufferedBytes) {
      this.dropped.full++;
      return false;
    }
    if (this.#group === null || this.#group.service !== service) this.#group = this.#findGroup(service);
    this.#isOpen = true;
    writer.ensure(128);
    this.#bodyStart = writer.open(SPANS);
    this.#writeIds(trace, span0, span1);
    if (trace.state !== '') writer.stringField(TRACE_STATE, trace.state);
    if (parent0 !== 0 || parent1 !== 0) {
      writer.byte(PARENT_SPAN_ID);
      writer.byte(8);
      writer.word(parent0);
      writer.word(parent1);
    }
    writer.byte(SPAN_FLAGS_0);
    writer.byte(SPAN_FLAGS_1);
    writer.fixed32((trace.flags & FLAG_TRACE_MASK) | FLAG_HAS_IS_REMOTE | (parentIsRemote ? FLAG_IS_REMOTE : 0));
    writer.byte(KIND);
    writer.byte(kind);
    this.#writeTime(START_TIME, startNs);
    this.#writeTime(END_TIME, endNs);
    return true;
  }

  name(text: string): void {
    this.#writer.stringField(NAME, text);
  }

  string(key: AttributeKey, value: string): void {
    writeString(this.#writer, ATTRIBUTES, key, value);
  }

  /** A safe integer; anything else is written as a double. */
  int(key: AttributeKey, value: number): void {
    writeInt(this.#writer, ATTRIBUTES, key, value);
  }

  double(key: AttributeKey, value: number): void {
    writeDouble(this.#writer, ATTRIBUTES, key, value);
  }

  bool(key: AttributeKey, value: boolean): void {
    writeBool(this.#writer, ATTRIBUTES, key, value);
  }

  stringArray(key: AttributeKey, values: readonly string[]): void {
    writeStringArray(this.#writer, ATTRIBUTES, key, values);
  }

  /** A link to a span of the same process. */
  link(trace: TraceContext, span0: number, span1: number): void {
    const writer = this.#writer;
    const link = writer.open(LINKS);
    this.#writeIds(trace, span0, span1);
    if (trace.state !== '') writer.stringField(TRACE_STATE, trace.state);
    writer.byte(LINK_FLAGS);
    writer.fixed32((trace.flags & FLAG_TRACE_MASK) | FLAG_HAS_IS_REMOTE);
    writer.close(link);
  }

  /** `timeNs`: boot-clock nanoseconds. */
  event(timeNs: number, name: string): void {
    const writer = this.#writer;
    const event = writer.open(EVENTS);
    this.#writeTime(0x09, timeNs);
    writer.stringField(0x12, name);
    writer.close(event);
  }

  /** OTLP StatusCode: 0 unset, 1 ok, 2 error. */
  status(code: 0 | 1 | 2): void {
    if (code === 0) return;
    const writer = this.#writer;
    writer.byte(STATUS);
    writer.byte(2);
    writer.byte(STATUS_CODE);
    writer.byte(code);
  }

  endSpan(): void {
    const group = this.#group;
    if (!this.#isOpen || group === null) return;
    this.#isOpen = false;
    const writer = this.#writer;
    const start = this.#bodyStart - 3;
    writer.close(this.#bodyStart);
    if (this.#overhead(group) + writer.at - start > this.#maxRequestBytes) {
      writer.at = start;
      this.dropped.oversized++;
      return;
    }
    const index = this.#spanCount++;
    if (index === this.#starts.length) this.#growIndex();
    this.#starts[index] = start;
    this.#ends[index] = writer.at;
    this.#next[index] = -1;
    if (group.firstSpan < 0) {
      group.firstSpan = index;
      this.#groups.push(group);
    } else {
      this.#next[group.lastSpan] = index;
    }
    group.lastSpan = index;
  }

  /** Everything finished, as complete requests of at most `maxRequestBytes`; empties the encoder. */
  flush(): EncodedTraces[] {
    if (this.#isOpen) this.#abandon();
    const requests = this.#plan().map(parts => this.#build(parts));
    for (const group of this.#groups) {
      group.firstSpan = -1;
      group.lastSpan = -1;
    }
    this.#groups = [];
    if (this.#groupsById.size > MAX_CACHED_SERVICES) {
      this.#groupsById.clear();
      this.#group = null;
    }
    this.#shrink();
    return requests;
  }

  #writeIds(trace: TraceContext, span0: number, span1: number): void {
    const writer = this.#writer;
    writer.byte(TRACE_ID);
    writer.byte(16);
    writer.word(trace.id0);
    writer.word(trace.id1);
    writer.word(trace.id2);
    writer.word(trace.id3);
    writer.byte(SPAN_ID);
    writer.byte(8);
    writer.word(span0);
    writer.word(span1);
  }

  #writeTime(tag: number, bootNs: number): void {
    this.#clock.convert(bootNs);
    this.#writer.byte(tag);
    this.#writer.fixed64Time(this.#clock.seconds, this.#clock.nanos);
  }

  #abandon(): void {
    this.#writer.at = this.#bodyStart - 3;
    this.#isOpen = false;
    this.dropped.unfinished++;
  }

  #findGroup(service: Service): ServiceGroup {
    const known = this.#groupsById.get(service.id);
    if (known !== undefined && known.service === service) return known;
    const group = new ServiceGroup(service);
    this.#groupsById.set(service.id, group);
    return group;
  }

  /** Upper bound of what a request adds around the spans of one service. */
  #overhead(group: ServiceGroup): number {
    return NESTING_BYTES + group.resource.length + this.#scope.length + 2 * this.#schemaUrl.length;
  }

  #growIndex(): void {
    const capacity = this.#starts.length * 2;
    this.#starts = copyInto(new Uint32Array(capacity), this.#starts);
    this.#ends = copyInto(new Uint32Array(capacity), this.#ends);
    this.#next = copyInto(new Int32Array(capacity), this.#next);
  }

  /** Gives back memory that a burst needed, by halves, so that a steady load does not pay for it each time. */
  #shrink(): void {
    const usedBytes = this.#writer.at;
    const capacity = this.#writer.capacityBytes;
    this.#writer.reset(usedBytes < capacity / 4 ? Math.max(KEPT_BYTES, capacity / 2) : capacity);
    if (this.#starts.length > KEPT_SPANS && this.#spanCount < this.#starts.length / 4) {
      const spans = this.#starts.length / 2;
      this.#starts = new Uint32Array(spans);
      this.#ends = new Uint32Array(spans);
      this.#next = new Int32Array(spans);
    }
    this.#spanCount = 0;
  }

  /** Cuts the chains into requests. */
  #plan(): Part[][] {
    const requests: Part[][] = [];
    let parts: Part[] = [];
    let requestBytes = 0;
    let requestSpans = 0;
    for (const group of this.#groups) {
      let part: Part | null = null;
      for (let span = group.firstSpan; span >= 0; span = this.#next[span] as number) {
        const spanBytes = (this.#ends[span] as number) - (this.#starts[span] as number);
        const added = spanBytes + (part === null ? this.#overhead(group) : 0);
        const isFull = requestBytes + added > this.#maxRequestBytes || requestSpans >= this.#maxRequestSpans;
        if (isFull && requestSpans > 0) {
          requests.push(parts);
          parts = [];
          requestBytes = 0;
          requestSpans = 0;
          part = null;
        }
        if (part === null) {
          part = { group, firstSpan: span, spanCount: 0, spanBytes: 0 };
          parts.push(part);
          requestBytes += this.#overhead(group);
        }
        requestSpans++;
        part.spanCount++;
        part.spanBytes += spanBytes;
        requestBytes += spanBytes;
      }
    }
    if (parts.length > 0) requests.push(parts);
    return requests;
  }

  #scopeSpansBytes(part: Part): number {
    return this.#scope.length + part.spanBytes + this.#schemaUrl.length;
  }

  #resourceSpansBytes(part: Part): number {
    const inner = this.#scopeSpansBytes(part);
    return part.group.resource.length + 1 + varintSize(inner) + inner + this.#schemaUrl.length;
  }

  #build(parts: readonly Part[]): EncodedTraces {
    let total = 0;
    let spanCount = 0;
    for (const part of parts) {
      const size = this.#resourceSpansBytes(part);
      total += 1 + varintSize(size) + size;
      spanCount += part.spanCount;
    }
    const bytes = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      at = putHeader(bytes, at, 0x0a, this.#resourceSpansBytes(part));
      at = put(bytes, at, part.group.resource);
      at = putHeader(bytes, at, 0x12, this.#scopeSpansBytes(part));
      at = put(bytes, at, this.#scope);
      at = this.#putSpans(bytes, at, part);
      at = put(bytes, at, this.#schemaUrl);
      at = put(bytes, at, this.#schemaUrl);
    }
    return { bytes, spanCount };
  }

  /** Copies the spans of a part; neighbours in the slab go in one piece. */
  #putSpans(target: Uint8Array, at: number, part: Part): number {
    const slab = this.#writer.bytes;
    let span = part.firstSpan;
    let from = this.#starts[span] as number;
    let to = from;
    let end = at;
    for (let left = part.spanCount; left > 0; left--) {
      const start = this.#starts[span] as number;
      if (start !== to) {
        end = put(target, end, slab.subarray(from, to));
        from = start;
      }
      to = this.#ends[span] as number;
      span = this.#next[span] as number;
    }
    return put(target, end, slab.subarray(from, to));
  }
}

function copyInto<T extends Uint32Array | Int32Array>(target: T, source: T): T {
  target.set(source);
  return target;
}

function put(target: Uint8Array, at: number, source: Uint8Array): number {
  target.set(source, at);
  return at + source.length;
}

function putHeader(target: Uint8Array, at: number, tag: number, length: number): number {
  target[at] = tag;
  let end = at + 1;
  let rest = length;
  while (rest >= 128) {
    target[end++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  target[end++] = rest;
  return end;
}
