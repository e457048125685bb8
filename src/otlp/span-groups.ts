// Finished spans in the encoder's slab, by service: where each begins and ends, chained per service without an object per
// span, and the cut of these chains into complete requests (ResourceSpans -> ScopeSpans -> spans). Bounded by the slab.
import type { Service } from '../enrichment/service.js';
import { varintSize } from './proto-writer.js';
import { encodeResource, encodeSchemaUrl } from './resource.js';

/** What an idle index keeps. */
const KEPT_SPANS = 4096;
/** Encoded resources kept between flushes; beyond, all are forgotten and encoded again when needed. */
const MAX_CACHED_SERVICES = 4096;
/** Tags and lengths of ResourceSpans and ScopeSpans around the spans of one service. */
const NESTING_BYTES = 12;

/** Where a request of so many bytes is put together. */
export type Allocate = (byteLength: number) => Uint8Array;

/** In an ArrayBuffer of its own (transferable). */
export const allocateOwn: Allocate = byteLength => Buffer.allocUnsafeSlow(byteLength);

/** A complete ExportTraceServiceRequest. */
export interface EncodedTraces {
  readonly bytes: Uint8Array;
  readonly spanCount: number;
}

/** What is buffered for one service; its spans are chained by their numbers. */
export class ServiceGroup {
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

export interface SpanGroupsOptions {
  /** The encoded InstrumentationScope field. */
  readonly scope: Uint8Array;
  readonly maxRequestBytes: number;
  readonly maxRequestSpans: number;
  readonly allocate: Allocate;
}

export class SpanGroups {
  readonly #scope: Uint8Array;
  readonly #schemaUrl = encodeSchemaUrl();
  readonly #maxRequestBytes: number;
  readonly #maxRequestSpans: number;
  readonly #allocate: Allocate;
  readonly #groupsById = new Map<number, ServiceGroup>();
  /** Groups with spans, in order of their first. */
  #groups: ServiceGroup[] = [];
  #spanCount = 0;
  #shift = 0;
  /** By span: where it begins (tag included) and ends in the slab, and the group's next span. */
  #starts = new Uint32Array(KEPT_SPANS);
  #ends = new Uint32Array(KEPT_SPANS);
  #next = new Int32Array(KEPT_SPANS);

  constructor(options: SpanGroupsOptions) {
    this.#scope = options.scope;
    this.#maxRequestBytes = options.maxRequestBytes;
    this.#maxRequestSpans = options.maxRequestSpans;
    this.#allocate = options.allocate;
  }

  get spanCount(): number {
    return this.#spanCount;
  }

  /**
   * How many bytes (0 to 7) behind a whole word the spans of the last request began. Those of the next one are to lie so in the slab:
   * what differs there is copied octet by octet into shared memory, at a fifth of the speed.
   */
  get shift(): number {
    return this.#shift;
  }

  /** The group of a service; another object under the same id is another group. */
  groupOf(service: Service): ServiceGroup {
    const known = this.#groupsById.get(service.id);
    if (known !== undefined && known.service === service) return known;
    const group = new ServiceGroup(service);
    this.#groupsById.set(service.id, group);
    return group;
  }

  /** Adds the span that stands at [start, end) of the slab. False if it is larger than any request. */
  add(group: ServiceGroup, start: number, end: number): boolean {
    if (this.#overhead(group) + end - start > this.#maxRequestBytes) return false;
    const index = this.#spanCount++;
    if (index === this.#starts.length) this.#growIndex();
    this.#starts[index] = start;
    this.#ends[index] = end;
    this.#next[index] = -1;
    if (group.firstSpan < 0) {
      group.firstSpan = index;
      this.#groups.push(group);
    } else {
      this.#next[group.lastSpan] = index;
    }
    group.lastSpan = index;
    return true;
  }

  /** Complete requests with all spans, copied out of the slab; empties the groups, which callers must not keep. */
  takeRequests(slab: Uint8Array): EncodedTraces[] {
    const requests = this.#plan().map(parts => this.#build(slab, parts));
    for (const group of this.#groups) {
      group.firstSpan = -1;
      group.lastSpan = -1;
    }
    this.#groups = [];
    if (this.#groupsById.size > MAX_CACHED_SERVICES) this.#groupsById.clear();
    this.#shrink();
    return requests;
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

  /** Gives back what a burst needed, by halves, so that a steady load does not pay for it each time. */
  #shrink(): void {
    if (this.#starts.length > KEPT_SPANS && this.#spanCount < this.#starts.length / 4) {
      const capacity = this.#starts.length / 2;
      this.#starts = new Uint32Array(capacity);
      this.#ends = new Uint32Array(capacity);
      this.#next = new Int32Array(capacity);
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

  #build(slab: Uint8Array, parts: readonly Part[]): EncodedTraces {
    let total = 0;
    let spanCount = 0;
    for (const part of parts) {
      const size = this.#resourceSpansBytes(part);
      total += 1 + varintSize(size) + size;
      spanCount += part.spanCount;
    }
    const bytes = this.#allocate(total);
    let at = 0;
    for (const part of parts) {
      at = putHeader(bytes, at, 0x0a, this.#resourceSpansBytes(part));
      at = put(bytes, at, part.group.resource);
      at = putHeader(bytes, at, 0x12, this.#scopeSpansBytes(part));
      at = put(bytes, at, this.#scope);
      if (part === parts[0]) this.#shift = (bytes.byteOffset + at) & 7;
      at = this.#putSpans(slab, bytes, at, part);
      at = put(bytes, at, this.#schemaUrl);
      at = put(bytes, at, this.#schemaUrl);
    }
    return { bytes, spanCount };
  }

  /** Copies the spans of a part; neighbours in the slab go in one piece. */
  #putSpans(slab: Uint8Array, target: Uint8Array, at: number, part: Part): number {
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
