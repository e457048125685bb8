// What a recording may hold: heads without what they keep secret, commands without their arguments (what a process is called
// has been worked out from them: enrichment/process-facts.ts). In: slabs of the rings. Out: copies in which values of
// header fields that are not on the list, queries, credentials in targets and bodies are x, byte for byte, so that positions
// and lengths stay and a replay comes to the same spans. What is neither HTTP/1, FastCGI nor a TLS record is all x. The sizes of
// chunks stay, a line of up to eight hexadecimal digits in a body with them.
import { fastcgi } from './protocols/fastcgi.js';
import {
  DataEventCursor,
  EVENT_DATA,
  EVENT_PROCESS_EXEC,
  EventHeaderCursor,
  ProcessExecEventCursor,
} from './records/records.gen.js';
import { FastcgiMask, Turn } from './redaction-fastcgi.js';

/** Fields that spans are made of; the rest have names only. */
const KEPT_FIELDS: ReadonlySet<string> = new Set([
  'b3',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'expect',
  'host',
  'keep-alive',
  'server',
  'trailer',
  'transfer-encoding',
  'traceparent',
  'tracestate',
  'uber-trace-id',
  'upgrade',
  'user-agent',
  'x-amzn-trace-id',
  'x-b3-flags',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-spanid',
  'x-b3-traceid',
  'x-request-id',
]);

const CR = 13;
const LF = 10;
const SPACE = 32;
const MASK = 0x78;
const STREAMS_MAX = 131072;
const START_LINE = /^(?:HTTP\/1\.[01] \d{3}|[A-Z][A-Z_-]{1,31} \S+(?: HTTP\/1\.[01]|$))/;
const START_LINE_BYTES = 4096;
const SWITCHING = /^HTTP\/1\.1 101 /;
const CHUNK_SIZE = /^[0-9A-Fa-f]{1,8}(?:;[^\r\n]*)?\r?$/;
const FIELD_NAME_MAX_BYTES = 64;

/** In no message, in a head, in a body, behind an upgrade to WebSocket. */
type Place = 'start' | 'head' | 'body' | 'frames';

class StreamState {
  readonly generation: number;
  place: Place = 'start';
  /** The line under way is kept, masked, or the bytes are a query up to the next space. */
  line: 'new' | 'keep' | 'mask' = 'new';
  /** Sequence number behind a body of known length. */
  bodyEnd = 0;
  hasBodyEnd = false;
  contentLength = -1;
  /** The head is one of a 101, and names WebSocket. */
  isSwitching = false;
  isWebSocket = false;
  /** Not null: it is FastCGI. */
  records: FastcgiMask | null = null;
  /** Of FastCGI, shared by both directions. */
  turn: Turn | null = null;
  /** It has been HTTP. */
  isHttp = false;

  constructor(generation: number) {
    this.generation = generation;
  }
}

export class Redactor {
  readonly #streams = new Map<number, StreamState>();
  readonly #header = new EventHeaderCursor();
  readonly #exec = new ProcessExecEventCursor();
  readonly #event = new DataEventCursor();

  /** A slab of whole records; what cannot be walked is left out. */
  slab(records: Uint8Array): Uint8Array {
    const copy = new Uint8Array(records);
    const view = new DataView(copy.buffer);
    let at = 0;
    while (at + EventHeaderCursor.SIZE <= copy.length) {
      this.#header.seek(view, at);
      const { size, kind } = this.#header;
      if (size < EventHeaderCursor.SIZE || at + size > copy.length) break;
      if (kind === EVENT_DATA && size >= DataEventCursor.SIZE) {
        this.#event.seek(view, at);
        const from = at + DataEventCursor.SIZE;
        this.#payload(copy.subarray(from, Math.min(at + size, from + this.#event.chunkBytes)));
        copy.fill(0, Math.min(at + size, from + this.#event.chunkBytes), at + size);
      } else if (kind === EVENT_PROCESS_EXEC && size >= ProcessExecEventCursor.SIZE) {
        this.#exec.seek(view, at);
        const { argsBytes } = this.#exec;
        maskArguments(copy.subarray(at + Math.max(ProcessExecEventCursor.SIZE, size - argsBytes), at + size));
      }
      at = Math.min(copy.length, at + ((size + 7) & ~7));
    }
    return copy.subarray(0, at);
  }

  #payload(bytes: Uint8Array): void {
    if (bytes.length === 0 || isTlsRecord(bytes)) return;
    const { slot, generation, direction, seq, otherSeq } = this.#event;
    const key = slot * 2 + (direction & 1);
    let stream = this.#streams.get(key);
    if (stream === undefined || stream.generation !== generation) {
      if (this.#streams.size >= STREAMS_MAX) this.#streams.clear();
      stream = new StreamState(generation);
      this.#streams.set(key, stream);
    }
    if (stream.place !== 'head' && stream.place !== 'frames' && isStartLine(bytes, 0)) {
      stream.place = 'start';
      stream.hasBodyEnd = false;
    }
    const other = this.#streams.get(key ^ 1);
    const peer = other?.generation === generation ? other : undefined;
    if (stream.records === null && isFastcgi(bytes, stream, peer)) {
      stream.turn = peer?.turn ?? new Turn();
      stream.records = new FastcgiMask(MASK, stream.turn);
    }
    if (stream.records !== null) {
      stream.records.chunk(bytes, seq, otherSeq);
      return;
    }
    // Whoever asked for it sends frames from now on.
    if (peer?.place === 'frames') stream.place = 'frames';
    mask(bytes, stream, seq);
  }
}

/** Does a stream begin that speaks FastCGI, as the requests that it answers did? */
function isFastcgi(bytes: Uint8Array, { isHttp }: StreamState, peer: StreamState | undefined): boolean {
  if (isHttp || peer?.isHttp === true) return false;
  if (fastcgi.looksLikeRequest(bytes, 0, bytes.length)) return true;
  return peer !== undefined && peer.records !== null;
}

/** Walks the bytes line by line. */
function mask(bytes: Uint8Array, stream: StreamState, seq: number): void {
  for (let at = 0; at < bytes.length; ) {
    if (stream.place === 'frames') {
      bytes.fill(MASK, at);
      return;
    }
    if (stream.place === 'body' && stream.hasBodyEnd) {
      const left = (stream.bodyEnd - (seq + at)) | 0;
      if (left > 0) {
        const to = Math.min(bytes.length, at + left);
        bytes.fill(MASK, at, to);
        at = to;
        continue;
      }
      stream.place = 'start';
      stream.hasBodyEnd = false;
    }
    const lf = bytes.indexOf(LF, at);
    const to = lf < 0 ? bytes.length : lf + 1;
    if (stream.place === 'start') onStart(bytes, at, to, stream);
    else if (stream.place === 'head') onField(bytes, at, to, stream, seq + to);
    else onBody(bytes, at, to);
    at = to;
  }
}

function onStart(bytes: Uint8Array, at: number, to: number, stream: StreamState): void {
  if (!isStartLine(bytes, at)) {
    stream.place = 'body';
    onBody(bytes, at, to);
    return;
  }
  stream.place = 'head';
  stream.isHttp = true;
  stream.line = bytes[to - 1] === LF ? 'new' : 'mask';
  stream.contentLength = -1;
  stream.isSwitching = SWITCHING.test(textOf(bytes, at, Math.min(to, at + 13)));
  stream.isWebSocket = false;
  maskTarget(bytes, at, to);
}

function onBody(bytes: Uint8Array, at: number, to: number): void {
  const isSize = bytes[to - 1] === LF && CHUNK_SIZE.test(textOf(bytes, at, to - 1));
  if (!isSize) maskLine(bytes, at, to);
}

/** Query and credentials of a request's target. */
function maskTarget(bytes: Uint8Array, at: number, to: number): void {
  const first = bytes.indexOf(SPACE, at);
  if (first < 0 || first >= to || bytes[at] === 0x48) return; // HTTP/1.x: a response
  let end = bytes.indexOf(SPACE, first + 1);
  if (end < 0 || end > to) end = to;
  const target = textOf(bytes, first + 1, end);
  const query = target.indexOf('?');
  if (query >= 0) maskLine(bytes, first + 1 + query + 1, end);
  const scheme = target.indexOf('://');
  const path = scheme < 0 ? -1 : target.slice(scheme + 3).search(/[/?#]|$/) + scheme + 3;
  const credentials = scheme < 0 ? -1 : target.lastIndexOf('@', path);
  if (credentials > scheme) maskLine(bytes, first + 1 + scheme + 3, first + 1 + credentials);
}

function onField(bytes: Uint8Array, at: number, to: number, stream: StreamState, nextSeq: number): void {
  const isWhole = bytes[to - 1] === LF;
  if (stream.line !== 'new') {
    if (stream.line === 'mask') maskLine(bytes, at, to);
    if (isWhole) stream.line = 'new';
    return;
  }
  if (to - at <= 2 && isWhole && (bytes[at] === LF || bytes[at] === CR)) {
    if (stream.isSwitching && stream.isWebSocket) {
      stream.place = 'frames';
      return;
    }
    stream.place = stream.contentLength === 0 ? 'start' : stream.contentLength > 0 ? 'body' : 'start';
    stream.hasBodyEnd = stream.contentLength > 0;
    stream.bodyEnd = (nextSeq + Math.max(0, stream.contentLength)) >>> 0;
    return;
  }
  const colon = bytes.indexOf(58, at);
  const isNamed = colon > at && colon < to && colon - at <= FIELD_NAME_MAX_BYTES;
  const name = isNamed ? textOf(bytes, at, colon).toLowerCase() : '';
  const isKept = KEPT_FIELDS.has(name);
  if (name === 'content-length') stream.contentLength = Number.parseInt(textOf(bytes, colon + 1, to).trim(), 10) || 0;
  if (name === 'upgrade' && isNamed) stream.isWebSocket = /websocket/i.test(textOf(bytes, colon + 1, to));
  if (!isKept) maskLine(bytes, isNamed ? colon + 1 : at, to);
  stream.line = isWhole ? 'new' : isKept ? 'keep' : 'mask';
}

/** All but the ends of lines. */
function maskLine(bytes: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at++) if (bytes[at] !== CR && bytes[at] !== LF) bytes[at] = MASK;
}

function isStartLine(bytes: Uint8Array, at: number): boolean {
  const lf = bytes.indexOf(LF, at);
  const to = Math.min(lf < 0 ? bytes.length : lf, at + START_LINE_BYTES);
  return START_LINE.test(textOf(bytes, at, to));
}

function isTlsRecord(bytes: Uint8Array): boolean {
  const [type, major, minor] = bytes;
  return (type as number) >= 20 && (type as number) <= 24 && major === 3 && (minor as number) <= 4;
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, Math.max(0, to - from)).toString('latin1');
}

/** All words behind the first. */
function maskArguments(args: Uint8Array): void {
  const first = args.indexOf(0);
  if (first < 0) return;
  for (let at = first + 1; at < args.length; at++) if (args[at] !== 0) args[at] = MASK;
}
