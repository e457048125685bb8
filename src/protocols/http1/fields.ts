// Header fields of an HTTP/1 head (RFC 9112 section 5). In: header lines, one at a time, without their end. Out: the
// wanted ones in a MessageHead, and what says how long the body is. Names are compared as bytes; a field that nobody
// wants is never made a string. To want another: a line in WANTED, a field in MessageHead, and the line in readField and
// writeField between them. Lost: what a value has beyond its cap, and the values of fields that appear twice though they
// may not (the first is kept).
import { type MessageHead, TraceHeaders } from '../protocol.js';
import { cutText, decodeText, StringTable } from '../text.js';

/** No Content-Length was seen. */
export const LENGTH_ABSENT = -1;
/** Content-Length was seen and is no number, or two that differ. */
export const LENGTH_INVALID = -2;

export interface WantedField {
  /** Lower case. */
  readonly name: string;
  /** Where it goes: read and written by `readField` and `writeField`, without a call that goes to one of many functions. */
  readonly id: number;
  /** Longest value that is kept, in bytes. */
  readonly maxBytes: number;
  /** Values of several lines are one list (RFC 9110 section 5.3). */
  readonly isList: boolean;
  /** Of a response nobody wants it. */
  readonly isOfRequests: boolean;
  /** Worth looking up instead of decoding: few different values. */
  readonly isRecurring: boolean;
}

/** The two that decide the framing are kept by FieldReader itself. */
const CONTENT_LENGTH = 0;
const TRANSFER_ENCODING = 1;
const HOST = 2;
const USER_AGENT = 3;
const CONTENT_TYPE = 4;
const CONNECTION = 5;
const UPGRADE = 6;
const EXPECT = 7;
const TRACEPARENT = 8;
const TRACESTATE = 9;
/** From here on: TRACE_HEADERS. */
const FIRST_TRACE_HEADER = 10;

/** Headers that name a trace. Two of them are one value that is not valid, as Trace Context wants it of a receiver. */
const TRACE_HEADERS: readonly (readonly [name: string, key: keyof TraceHeaders, maxBytes: number])[] = [
  ['b3', 'b3', 128],
  ['x-b3-traceid', 'b3TraceId', 64],
  ['x-b3-spanid', 'b3SpanId', 64],
  ['x-b3-sampled', 'b3Sampled', 16],
  ['x-b3-flags', 'b3Flags', 16],
  ['uber-trace-id', 'jaeger', 128],
  ['x-amzn-trace-id', 'xray', 512],
  ['x-request-id', 'requestId', 128],
  ['request-id', 'hierarchicalId', 1024],
];

function framing(name: string, id: number): WantedField {
  return { name, id, maxBytes: 256, isList: true, isOfRequests: false, isRecurring: false };
}

function recurringField(name: string, id: number, maxBytes: number, isList: boolean): WantedField {
  return { name, id, maxBytes, isList, isOfRequests: false, isRecurring: true };
}

function traceField(name: string, id: number, maxBytes: number): WantedField {
  return { name, id, maxBytes, isList: true, isOfRequests: true, isRecurring: false };
}

const WANTED: readonly WantedField[] = [
  framing('content-length', CONTENT_LENGTH),
  framing('transfer-encoding', TRANSFER_ENCODING),
  recurringField('host', HOST, 512, false),
  recurringField('user-agent', USER_AGENT, 512, false),
  recurringField('content-type', CONTENT_TYPE, 256, false),
  recurringField('connection', CONNECTION, 256, true),
  recurringField('upgrade', UPGRADE, 256, true),
  recurringField('expect', EXPECT, 256, true),
  traceField('traceparent', TRACEPARENT, 256),
  traceField('tracestate', TRACESTATE, 2048),
  ...TRACE_HEADERS.map(([name, , maxBytes], at) => traceField(name, FIRST_TRACE_HEADER + at, maxBytes)),
];

/** Those that are text, by whatever protocol they come. */
export const TEXT_FIELDS: readonly WantedField[] = WANTED.filter(({ id }) => id >= HOST);

function traceKey(id: number): keyof TraceHeaders {
  return (TRACE_HEADERS[id - FIRST_TRACE_HEADER] as (typeof TRACE_HEADERS)[number])[1];
}

function readField(head: MessageHead, id: number): string {
  switch (id) {
    case HOST:
      return head.host;
    case USER_AGENT:
      return head.userAgent;
    case CONTENT_TYPE:
      return head.contentType;
    case CONNECTION:
      return head.connection;
    case UPGRADE:
      return head.upgrade;
    case EXPECT:
      return head.expect;
    case TRACEPARENT:
      return head.traceparent;
    case TRACESTATE:
      return head.tracestate;
    default:
      return head.traceHeaders?.[traceKey(id)] ?? '';
  }
}

function writeField(head: MessageHead, id: number, value: string): void {
  switch (id) {
    case HOST:
      head.host = value;
      break;
    case USER_AGENT:
      head.userAgent = value;
      break;
    case CONTENT_TYPE:
      head.contentType = value;
      break;
    case CONNECTION:
      head.connection = lowerCase(value);
      break;
    case UPGRADE:
      head.upgrade = value;
      break;
    case EXPECT:
      head.expect = lowerCase(value);
      break;
    case TRACEPARENT:
      head.traceparent = value;
      break;
    case TRACESTATE:
      head.tracestate = value;
      break;
    default:
      head.traceHeaders ??= new TraceHeaders();
      head.traceHeaders[traceKey(id)] = value;
  }
}

/** The most frequent ones are lower case as they come. */
function lowerCase(value: string): string {
  return value === 'keep-alive' || value === 'close' ? value : value.toLowerCase();
}

interface Candidate {
  readonly nameBytes: Uint8Array;
  readonly field: WantedField;
}

const NAME_MAX_BYTES = Math.max(...WANTED.map(field => field.name.length));
const NO_CANDIDATES: readonly Candidate[] = [];
/** By length of the name. */
const CANDIDATES: readonly (readonly Candidate[])[] = Array.from({ length: NAME_MAX_BYTES + 1 }, (_, length) =>
  WANTED.filter(field => field.name.length === length).map(field => ({
    nameBytes: Uint8Array.from(Buffer.from(field.name, 'latin1')),
    field,
  })),
);
/** 1 for every byte, in either case, that a wanted name begins with. */
const IS_WANTED_START = new Uint8Array(256);
for (const { name } of WANTED) {
  IS_WANTED_START[name.charCodeAt(0)] = 1;
  IS_WANTED_START[name.toUpperCase().charCodeAt(0)] = 1;
}

const TAB = 9;
const SP = 32;
const COLON = 58;
const COMMA = 44;
const ZERO = 48;
const NINE = 57;
const CHUNKED = 'chunked';
const CHUNKED_BYTES = Uint8Array.from(Buffer.from(CHUNKED, 'latin1'));

const recurring = new StringTable(1024);

/** Does bytes[from, from + name.length) equal `name` (lower case), whatever its own case? */
function equalsIgnoringCase(bytes: Uint8Array, from: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) {
    const byte = bytes[from + i] as number;
    if ((byte >= 65 && byte <= 90 ? byte | 0x20 : byte) !== name[i]) return false;
  }
  return true;
}

function isBlank(byte: number | undefined): boolean {
  return byte === SP || byte === TAB;
}

/** Reads the header lines of one head after another. */
export class FieldReader {
  /** Content-Length in octets, LENGTH_ABSENT or LENGTH_INVALID. */
  contentLength = LENGTH_ABSENT;
  /** The values of Transfer-Encoding, lower case, joined with a comma; '' if absent. */
  transferEncoding = '';
  /** The field that a folded line continues. */
  #last: WantedField | null = null;

  /** Characters held. */
  get heldBytes(): number {
    return this.transferEncoding.length;
  }

  /** Before a new head. */
  reset(): void {
    this.contentLength = LENGTH_ABSENT;
    this.transferEncoding = '';
    this.#last = null;
  }

  /** Reads the header line bytes[from, to), which is not empty. Lines that are no header are passed over. */
  readLine(bytes: Uint8Array, from: number, to: number, head: MessageHead): void {
    const first = bytes[from] as number;
    if (first === SP || first === TAB) {
      if (this.#last !== null) this.#take(this.#last, bytes, from, to, head, true);
      return;
    }
    this.#last = null;
    if (IS_WANTED_START[first] === 0) return;
    const limit = Math.min(to, from + NAME_MAX_BYTES + 1);
    let colon = from + 1;
    while (colon < limit && bytes[colon] !== COLON && !isBlank(bytes[colon])) colon++;
    if (colon === limit) return;
    const candidates = CANDIDATES[colon - from] ?? NO_CANDIDATES;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i] as Candidate;
      if (!equalsIgnoringCase(bytes, from, candidate.nameBytes)) continue;
      // Blanks before the colon are an error that some receivers forgive (RFC 9112 section 5.1).
      while (colon < to && isBlank(bytes[colon])) colon++;
      if (colon === to || bytes[colon] !== COLON) return;
      if (candidate.field.isOfRequests && !head.isRequest) return;
      this.#last = candidate.field;
      this.#take(candidate.field, bytes, colon + 1, to, head, false);
      return;
    }
  }

  #take(field: WantedField, bytes: Uint8Array, from: number, to: number, head: MessageHead, isFolded: boolean): void {
    let start = from;
    let end = to;
    while (start < end && isBlank(bytes[start])) start++;
    while (end > start && isBlank(bytes[end - 1])) end--;
    if (field.id === CONTENT_LENGTH) {
      this.#takeLength(bytes, start, end, isFolded);
    } else if (field.id === TRANSFER_ENCODING) {
      this.#takeEncoding(bytes, start, end, isFolded);
    } else {
      takeText(field, bytes, start, end, head, isFolded);
    }
  }

  #takeLength(bytes: Uint8Array, from: number, to: number, isFolded: boolean): void {
    if (isFolded && from === to) return;
    let at = from;
    let isLast = isFolded;
    while (!isLast) {
      let length = 0;
      const start = at;
      while (at < to && (bytes[at] as number) >= ZERO && (bytes[at] as number) <= NINE) {
        length = length * 10 + (bytes[at] as number) - ZERO;
        at++;
      }
      const isNumber = at > start && length <= Number.MAX_SAFE_INTEGER;
      while (at < to && isBlank(bytes[at])) at++;
      isLast = at === to;
      if (!isNumber || (!isLast && bytes[at] !== COMMA)) break;
      if (this.contentLength !== LENGTH_ABSENT && this.contentLength !== length) break;
      this.contentLength = length;
      if (isLast) return;
      at++;
      while (at < to && isBlank(bytes[at])) at++;
    }
    this.contentLength = LENGTH_INVALID;
  }

  #takeEncoding(bytes: Uint8Array, from: number, to: number, isFolded: boolean): void {
    let value = CHUNKED;
    if (to - from !== CHUNKED_BYTES.length || !equalsIgnoringCase(bytes, from, CHUNKED_BYTES)) {
      // Of a longer list the end decides.
      value = decodeText(bytes, Math.max(from, to - 256), to).toLowerCase();
    }
    if (this.transferEncoding === '') this.transferEncoding = value;
    else this.transferEncoding = `${this.transferEncoding}${isFolded ? ' ' : ','}${value}`.slice(-256);
  }
}

/** Takes a value of the field: bytes[from, to), without blanks around it. */
export function takeText(
  field: WantedField,
  bytes: Uint8Array,
  from: number,
  to: number,
  head: MessageHead,
  isFolded: boolean,
): void {
  const known = readField(head, field.id);
  if (known !== '' && !field.isList && !isFolded) return;
  const room = field.maxBytes - (known === '' ? 0 : known.length + 1);
  if (from === to || room <= 0) return;
  const end = to - from > room ? cutText(bytes, from, from + room) : to;
  const value = field.isRecurring ? recurring.get(bytes, from, end) : decodeText(bytes, from, end);
  writeField(head, field.id, known === '' ? value : `${known}${isFolded ? ' ' : ','}${value}`);
}

/** Is chunked the last coding that was applied (RFC 9112 section 6.3)? */
export function endsInChunked(transferEncoding: string): boolean {
  const last = transferEncoding.slice(transferEncoding.lastIndexOf(',') + 1);
  const semicolon = last.indexOf(';');
  return (semicolon < 0 ? last : last.slice(0, semicolon)).trim() === CHUNKED;
}
