// Header fields that come again octet for octet: a client sends the same with each request, a server the same for a second at
// least. In: bytes behind a start line. Out: what FieldReader read of the same bytes before, or nothing. Bytes are compared,
// never hashes of them. Where heads seldom come again (each names a trace of its own), most are not even looked up.
import type { MessageHead } from '../protocol.js';
import type { FieldReader } from './fields.js';

const ENTRIES = 8;
/** Longer ones are read each time. */
const MAX_BYTES = 1024;
/** What a find is worth in misses, the most of them that are saved up, and one of how many heads is looked up without any. */
const HIT_CREDIT = 4;
const MAX_CREDIT = 64;
const SELDOM = 64;

/** All fields of a head up to the empty line, and what was read of them. */
class Entry {
  /** 0: none yet. */
  length = 0;
  readonly words = new Int32Array(MAX_BYTES / 4);
  /** The last four bytes. */
  tail = 0;
  contentLength = 0;
  transferEncoding = '';
  host = '';
  userAgent = '';
  contentType = '';
  connection = '';
  upgrade = '';
  expect = '';
}

let viewed: Uint8Array = new Uint8Array(0);
let view: DataView = new DataView(viewed.buffer);

/** Over the bytes; a drain's are the same for ever. */
function viewOf(bytes: Uint8Array): DataView {
  if (bytes === viewed) return view;
  viewed = bytes;
  view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view;
}

/** One for requests and one for responses: of these, some fields are not wanted. */
export class KnownFields {
  readonly #entries = Array.from({ length: ENTRIES }, () => new Entry());
  #newest = 0;
  /** The one that was found last. */
  #last: Entry = this.#entries[0] as Entry;
  #credit = MAX_CREDIT;
  #count = 0;

  /** Behind the empty line if the fields that begin at `from` are known, which `head` and `fields` then have; else -1. */
  find(bytes: Uint8Array, from: number, to: number, head: MessageHead, fields: FieldReader): number {
    this.#count++;
    if (this.#isSeldom) return -1;
    const source = viewOf(bytes);
    let entry = this.#last;
    for (let at = 0; !isAt(entry, source, from, to); at++) {
      if (at === ENTRIES) {
        if (this.#credit > 0) this.#credit--;
        return -1;
      }
      entry = this.#entries[at] as Entry;
    }
    this.#last = entry;
    this.#credit = Math.min(MAX_CREDIT, this.#credit + HIT_CREDIT);
    fields.contentLength = entry.contentLength;
    fields.transferEncoding = entry.transferEncoding;
    head.host = entry.host;
    head.userAgent = entry.userAgent;
    head.contentType = entry.contentType;
    head.connection = entry.connection;
    head.upgrade = entry.upgrade;
    head.expect = entry.expect;
    return from + entry.length;
  }

  /** After `find` found nothing: bytes[from, to) are all fields and the empty line, read into `head` and `fields`. */
  remember(bytes: Uint8Array, from: number, to: number, head: MessageHead, fields: FieldReader): void {
    const length = to - from;
    if (length < 4 || length > MAX_BYTES || this.#isSeldom) return;
    // Of a trace or a request of its own: that will not come again.
    if (head.traceparent !== '' || head.tracestate !== '' || head.traceHeaders !== null) return;
    this.#newest = (this.#newest + 1) % ENTRIES;
    const entry = this.#entries[this.#newest] as Entry;
    const source = viewOf(bytes);
    for (let at = 0; at < length >> 2; at++) entry.words[at] = source.getInt32(from + at * 4, true);
    entry.tail = source.getInt32(to - 4, true);
    entry.length = length;
    entry.contentLength = fields.contentLength;
    entry.transferEncoding = fields.transferEncoding;
    entry.host = head.host;
    entry.userAgent = head.userAgent;
    entry.contentType = head.contentType;
    entry.connection = head.connection;
    entry.upgrade = head.upgrade;
    entry.expect = head.expect;
    this.#last = entry;
  }

  get #isSeldom(): boolean {
    return this.#credit === 0 && this.#count % SELDOM !== 0;
  }
}

function isAt(entry: Entry, source: DataView, from: number, to: number): boolean {
  const { length, words } = entry;
  if (length === 0 || length > to - from || source.getInt32(from + length - 4, true) !== entry.tail) return false;
  for (let at = 0; at < length >> 2; at++) if (source.getInt32(from + at * 4, true) !== words[at]) return false;
  return true;
}
