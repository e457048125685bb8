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
import {
  type AttributeKey,
  type DoubleRow,
  encodeDoubleRow,
  writeBool,
  writeDouble,
  writeDoubleRow,
  writeInt,
  writeString,
  writeStringArray,
} from './attributes.js';
import { ProtoWriter, tagBytes, WIRE_FIXED32 } from './proto-writer.js';
import { encodeScope } from './resource.js';
import { type Allocate, allocateOwn, type EncodedTraces, type ServiceGroup, SpanGroups } from './span-groups.js';

export { type AttributeKey, attributeKey, type DoubleRow } from './attributes.js';
export type { Allocate, EncodedTraces } from './span-groups.js';

/** Below the 4 MiB that gRPC servers accept by default. */
const DEFAULT_MAX_REQUEST_BYTES = 3.5 * 1024 * 1024;
const DEFAULT_MAX_BUFFERED_BYTES = 32 * 1024 * 1024;
/** What an idle encoder keeps. */
const KEPT_BYTES = 1024 * 1024;
/** A burst's memory is given back, by halves, when that many flushes in a row have used less than a quarter of it. */
const FLUSHES_TO_SHRINK = 16;

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

/** Four attributes of spans for `TraceRequestEncoder.doubles`. */
export function doubleRow(keys: readonly [AttributeKey, AttributeKey, AttributeKey, AttributeKey]): DoubleRow {
  return encodeDoubleRow(ATTRIBUTES, keys);
}

export interface TraceRequestOptions {
  readonly clock: WallClock;
  readonly scopeName: string;
  readonly scopeVersion: string;
  readonly maxRequestBytes?: number;
  /** Spans in one request at most (OTEL_BSP_MAX_EXPORT_BATCH_SIZE); default unlimited. */
  readonly maxRequestSpans?: number;
  readonly maxBufferedBytes?: number;
  /** Memory for requests; default buffers of their own. */
  readonly allocate?: Allocate | undefined;
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

export class TraceRequestEncoder {
  readonly dropped: DroppedSpans = { full: 0, oversized: 0, unfinished: 0 };
  readonly #clock: WallClock;
  readonly #maxBufferedBytes: number;
  readonly #writer = new ProtoWriter(KEPT_BYTES);
  readonly #groups: SpanGroups;
  /** The group of the last span; kept because the next one is often of the same service. */
  #group: ServiceGroup | null = null;
  #isOpen = false;
  #bodyStart = 0;
  /** Where the first span begins. */
  #firstAt = 0;
  #smallFlushes = 0;

  constructor(options: TraceRequestOptions) {
    this.#clock = options.clock;
    this.#maxBufferedBytes = options.maxBufferedBytes ?? DEFAULT_MAX_BUFFERED_BYTES;
    this.#groups = new SpanGroups({
      scope: encodeScope(options.scopeName, options.scopeVersion),
      maxRequestBytes: options.maxRequestBytes ?? DEFAULT_MAX_REQUEST_BYTES,
      maxRequestSpans: options.maxRequestSpans ?? Number.POSITIVE_INFINITY,
      allocate: options.allocate ?? allocateOwn,
    });
  }

  /** Finished spans that wait for `flush`. */
  get spanCount(): number {
    return this.#groups.spanCount;
  }

  /** Bytes of these spans. */
  get byteLength(): number {
    return this.#writer.at - this.#firstAt;
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
    if (this.#group === null || this.#group.service !== service) this.#group = this.#groups.groupOf(service);
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

  /** Four doubles at once, see `doubleRow`. */
  doubles(row: DoubleRow, first: number, second: number, third: number, fourth: number): void {
    writeDoubleRow(this.#writer, row, first, second, third, fourth);
  }

  bool(key: AttributeKey, value: boolean): void {
    writeBool(this.#writer, ATTRIBUTES, key, value);
  }

  stringArray(key: AttributeKey, values: readonly string[]): void {
    writeStringArray(this.#writer, ATTRIBUTES, key, values);
  }

  /** Where the next field of the open span goes, for `since`. */
  get position(): number {
    return this.#writer.at;
  }

  /** A copy of the fields written since `position`: what many spans have in common is encoded once. */
  since(position: number): Uint8Array {
    return Buffer.from(this.#writer.bytes.subarray(position, this.#writer.at));
  }

  /** The fields that `since` copied. */
  again(fields: Uint8Array): void {
    this.#writer.raw(fields);
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
    if (!this.#groups.add(group, start, writer.at)) {
      writer.at = start;
      this.dropped.oversized++;
    }
  }

  /** Everything finished, as complete requests of at most `maxRequestBytes`; empties the encoder. */
  flush(): EncodedTraces[] {
    if (this.#isOpen) this.#abandon();
    const writer = this.#writer;
    const requests = this.#groups.takeRequests(writer.bytes);
    this.#group = null;
    // Not at the first: large flushes come between small ones, and what V8 is given it counts as a reason to collect.
    this.#smallFlushes = writer.at < writer.capacityBytes / 4 ? this.#smallFlushes + 1 : 0;
    const gives = this.#smallFlushes >= FLUSHES_TO_SHRINK;
    if (gives) this.#smallFlushes = 0;
    this.#firstAt = this.#groups.shift;
    writer.reset(gives ? Math.max(KEPT_BYTES, writer.capacityBytes / 2) : writer.capacityBytes, this.#firstAt);
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
}
