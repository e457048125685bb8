// The header of what a CGI program answers (RFC 3875 section 6): lines up to an empty one. In: the beginning of STDOUT, in
// pieces. Out: the status, and how long the body says that it is. Without a Status a redirection is 302, anything else 200.

import { readStatusLine } from '../http1/start-line.js';
import { LINE_MAX_BYTES, LineBuffer } from '../line-buffer.js';
import type { MessageHead } from '../protocol.js';

/** Bytes of header lines behind which no end is looked for any more. */
const HEAD_MAX_BYTES = 2 * LINE_MAX_BYTES;

const LF = 10;
const CR = 13;
const FOUND = 302;

const STATUS = Buffer.from('status:', 'latin1');
const LOCATION = Buffer.from('location:', 'latin1');
const CONTENT_LENGTH = Buffer.from('content-length:', 'latin1');

export class CgiHeadReader {
  /** Of Content-Length, -1 if absent. */
  contentLength = -1;
  /** A line has been read. */
  hasLines = false;
  readonly #line = new LineBuffer();
  #bytes = 0;
  #status = 0;
  #isRedirection = false;

  get heldBytes(): number {
    return this.#line.bytes.length;
  }

  begin(): void {
    this.contentLength = -1;
    this.hasLines = false;
    this.#bytes = 0;
    this.#status = 0;
    this.#isRedirection = false;
    this.#line.clear();
  }

  /** Reads lines until the head or the bytes end: the index behind the empty line, -1 if it has not come, -2 if it will not. */
  read(bytes: Uint8Array, from: number, to: number, head: MessageHead): number {
    const line = this.#line;
    let at = from;
    while (at < to) {
      let end = at;
      while (end < to && bytes[end] !== LF) end++;
      if (end === to) {
        line.append(bytes, at, to);
        this.#bytes += to - from;
        return this.#bytes > HEAD_MAX_BYTES ? -2 : -1;
      }
      let isEnd: boolean;
      if (line.length === 0) isEnd = this.#readLine(bytes, at, end, head);
      else {
        line.append(bytes, at, end);
        isEnd = this.#readLine(line.bytes, 0, line.length, head);
        line.clear();
      }
      at = end + 1;
      if (isEnd) return at;
    }
    this.#bytes += to - from;
    return this.#bytes > HEAD_MAX_BYTES ? -2 : -1;
  }

  /** The status that its lines give. `isCut`: there may be further ones. */
  end(head: MessageHead, isCut: boolean): void {
    this.#line.release();
    if (this.#status > 0) head.status = this.#status;
    else if (this.#isRedirection) head.status = FOUND;
    else head.status = isCut ? 0 : 200;
  }

  /** True if it is the empty one that ends the head. */
  #readLine(bytes: Uint8Array, from: number, to: number, head: MessageHead): boolean {
    const end = to > from && bytes[to - 1] === CR ? to - 1 : to;
    if (end === from) return true;
    if (startsWith(STATUS, bytes, from, end)) this.#status = statusOf(bytes, from + STATUS.length, end);
    else if (startsWith(LOCATION, bytes, from, end)) this.#isRedirection = true;
    else if (startsWith(CONTENT_LENGTH, bytes, from, end))
      this.contentLength = lengthOf(bytes, from + CONTENT_LENGTH.length, end);
    // As of a program that writes the whole response itself.
    else if (!this.hasLines && readStatusLine(bytes, from, end, false, head)) this.#status = head.status;
    this.hasLines = true;
    return false;
  }
}

function startsWith(name: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from < name.length) return false;
  for (let at = 0; at < name.length; at++) {
    const byte = bytes[from + at] as number;
    if ((byte >= 65 && byte <= 90 ? byte | 0x20 : byte) !== name[at]) return false;
  }
  return true;
}

/** The first number of bytes[from, to), of up to `digits`; -1 if they do not begin with one. */
function leadingNumber(bytes: Uint8Array, from: number, to: number, digits: number): number {
  let at = from;
  while (at < to && (bytes[at] === 32 || bytes[at] === 9)) at++;
  const start = at;
  let number = 0;
  while (at < to && at - start < digits && (bytes[at] as number) >= 48 && (bytes[at] as number) <= 57) {
    number = number * 10 + (bytes[at++] as number) - 48;
  }
  return at > start ? number : -1;
}

function statusOf(bytes: Uint8Array, from: number, to: number): number {
  const status = leadingNumber(bytes, from, to, 3);
  return status >= 100 ? status : 0;
}

function lengthOf(bytes: Uint8Array, from: number, to: number): number {
  return leadingNumber(bytes, from, to, 15);
}
