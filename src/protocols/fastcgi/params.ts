// The parameters of a FastCGI request: CGI's variables (RFC 3875 section 4.1), header fields among them as HTTP_NAME. In: the
// content of PARAMS records. Out: the wanted ones in a MessageHead; no other is made a string, or kept. Of a value that comes in
// pieces, VALUE_MAX_BYTES are kept until it is whole.
import { TEXT_FIELDS, takeText, type WantedField } from '../http1/fields.js';
import { TARGET_MAX_BYTES } from '../http1/start-line.js';
import { LineBuffer } from '../line-buffer.js';
import type { MessageHead } from '../protocol.js';
import { cutText, StringTable } from '../text.js';
import { PairReader, type PairSink } from './pairs.js';

/** No CONTENT_LENGTH, or one that is no number. */
export const LENGTH_ABSENT = -1;
const VALUE_MAX_BYTES = 8192;
const METHOD_MAX_BYTES = 64;
const HOST_MAX_BYTES = 255;

/** What a parameter is for. */
const METHOD = 1;
const REQUEST_URI = 2;
const SCRIPT_NAME = 3;
const PATH_INFO = 4;
const SERVER_NAME = 5;
const SERVER_PORT = 6;
const CONTENT_LENGTH = 7;
const HTTPS = 8;
const REQUEST_SCHEME = 9;
const TRANSFER_ENCODING = 10;
/** A header field. */
const FIELD = 11;

interface Candidate {
  readonly name: Uint8Array;
  readonly use: number;
  readonly field: WantedField | null;
}

function candidate(name: string, use: number, field: WantedField | null = null): Candidate {
  return { name: Uint8Array.from(Buffer.from(name, 'latin1')), use, field };
}

/** The one header field, beside CONTENT_LENGTH, that has its own name in CGI. */
function parameterOf({ name }: WantedField): string {
  const upper = name.toUpperCase().replaceAll('-', '_');
  return upper === 'CONTENT_TYPE' ? upper : `HTTP_${upper}`;
}

const WANTED: readonly Candidate[] = [
  candidate('REQUEST_METHOD', METHOD),
  candidate('REQUEST_URI', REQUEST_URI),
  candidate('SCRIPT_NAME', SCRIPT_NAME),
  candidate('PATH_INFO', PATH_INFO),
  candidate('SERVER_NAME', SERVER_NAME),
  candidate('SERVER_PORT', SERVER_PORT),
  candidate('CONTENT_LENGTH', CONTENT_LENGTH),
  candidate('HTTPS', HTTPS),
  candidate('REQUEST_SCHEME', REQUEST_SCHEME),
  candidate('HTTP_TRANSFER_ENCODING', TRANSFER_ENCODING),
  ...TEXT_FIELDS.map(field => candidate(parameterOf(field), FIELD, field)),
];

/** Names of parameters that spans are made of. */
export const WANTED_NAMES: readonly string[] = WANTED.map(({ name }) => Buffer.from(name).toString('latin1'));

const LONGEST = Math.max(...WANTED.map(({ name }) => name.length));
const NONE: readonly Candidate[] = [];
const BY_LENGTH: readonly (readonly Candidate[])[] = Array.from({ length: LONGEST + 1 }, (_, length) =>
  WANTED.filter(({ name }) => name.length === length),
);

const texts = new StringTable(1024);

export class ParamsReader implements PairSink {
  contentLength = LENGTH_ABSENT;
  /** The body has no length that is known beforehand. */
  isChunked = false;
  readonly #pairs = new PairReader(this);
  readonly #value = new LineBuffer();
  #head: MessageHead | null = null;
  #wanted: Candidate | null = null;
  #scriptName = '';
  #pathInfo = '';
  #serverName = '';
  #serverPort = '';

  get heldBytes(): number {
    return this.#value.bytes.length;
  }

  /** Before the parameters of `head`. */
  begin(head: MessageHead): void {
    this.contentLength = LENGTH_ABSENT;
    this.isChunked = false;
    this.#head = head;
    this.#wanted = null;
    this.#scriptName = this.#pathInfo = this.#serverName = this.#serverPort = '';
    this.#pairs.reset();
  }

  read(bytes: Uint8Array, from: number, to: number): void {
    this.#pairs.read(bytes, from, to);
  }

  /** `count` bytes of them are missing. */
  skip(count: number): void {
    this.#pairs.skip(count);
    if (this.#head !== null) this.#head.isTruncated = true;
  }

  /** There are no more, or no more will be seen. */
  end(): void {
    const head = this.#head;
    if (head === null) return;
    this.onCut();
    // Where a web server is told to leave out REQUEST_URI.
    if (head.target === '') head.target = this.#scriptName + this.#pathInfo;
    head.host = authorityOf(head.host === '' ? nameOf(this.#serverName) : head.host, this.#serverPort);
    this.#head = null;
    this.#value.release();
  }

  onName(bytes: Uint8Array, from: number, to: number): void {
    this.#wanted = find(bytes, from, to);
  }

  onValue(bytes: Uint8Array, from: number, to: number, isLast: boolean): void {
    const wanted = this.#wanted;
    if (wanted === null) return;
    const value = this.#value;
    if (!isLast) {
      value.append(bytes, from, Math.min(to, from + Math.max(0, VALUE_MAX_BYTES - value.length)));
      return;
    }
    this.#wanted = null;
    if (value.length === 0) {
      this.#take(wanted, bytes, from, to);
      return;
    }
    value.append(bytes, from, Math.min(to, from + Math.max(0, VALUE_MAX_BYTES - value.length)));
    this.#take(wanted, value.bytes, 0, value.length);
    value.clear();
  }

  /** Of the target, what was seen has to do; of anything else it would be another value. */
  onCut(): void {
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted?.use === REQUEST_URI && this.#value.length > 0) {
      const { bytes, length } = this.#value;
      this.#take(wanted, bytes, 0, cutText(bytes, 0, length));
    }
    this.#value.clear();
  }

  #take({ use, field }: Candidate, bytes: Uint8Array, from: number, to: number): void {
    const head = this.#head;
    if (head === null || from === to) return;
    switch (use) {
      case FIELD:
        if (field !== null) takeText(field, bytes, from, to, head, false);
        return;
      case METHOD:
        if (to - from <= METHOD_MAX_BYTES) head.method = texts.get(bytes, from, to);
        return;
      case REQUEST_URI:
        this.#takeTarget(head, bytes, from, to);
        return;
      case CONTENT_LENGTH:
        this.contentLength = numberOf(bytes, from, to);
        return;
      case TRANSFER_ENCODING:
        this.isChunked = true;
        return;
      case HTTPS:
        // Some servers say `off`.
        if (texts.get(bytes, from, Math.min(to, from + 3)).toLowerCase() !== 'off') head.isSecure = true;
        return;
      case REQUEST_SCHEME:
        if (texts.get(bytes, from, Math.min(to, from + 6)) === 'https') head.isSecure = true;
        return;
      default:
        this.#takePart(use, texts.get(bytes, from, Math.min(to, from + TARGET_MAX_BYTES)));
    }
  }

  #takeTarget(head: MessageHead, bytes: Uint8Array, from: number, to: number): void {
    const isLong = to - from > TARGET_MAX_BYTES;
    if (isLong) head.isTruncated = true;
    head.target = texts.get(bytes, from, isLong ? cutText(bytes, from, from + TARGET_MAX_BYTES) : to);
  }

  #takePart(use: number, text: string): void {
    if (use === SCRIPT_NAME) this.#scriptName = text;
    else if (use === PATH_INFO) this.#pathInfo = text;
    else if (use === SERVER_NAME) this.#serverName = text;
    else this.#serverPort = text;
  }
}

function find(bytes: Uint8Array, from: number, to: number): Candidate | null {
  const candidates = BY_LENGTH[to - from] ?? NONE;
  for (let i = 0; i < candidates.length; i++) {
    const known = candidates[i] as Candidate;
    if (isSame(known.name, bytes, from)) return known;
  }
  return null;
}

function isSame(name: Uint8Array, bytes: Uint8Array, from: number): boolean {
  for (let at = 0; at < name.length; at++) {
    if (name[at] !== bytes[from + at]) return false;
  }
  return true;
}

function numberOf(bytes: Uint8Array, from: number, to: number): number {
  let number = 0;
  for (let at = from; at < to; at++) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) return LENGTH_ABSENT;
    number = number * 10 + digit;
  }
  return number <= Number.MAX_SAFE_INTEGER ? number : LENGTH_ABSENT;
}

/** nginx's name of a server that catches all is `_`: it names nobody. */
function nameOf(serverName: string): string {
  return serverName === '_' || serverName.length > HOST_MAX_BYTES ? '' : serverName;
}

/** With the web server's port, where the host names none: that of the socket is the application's. */
function authorityOf(host: string, port: string): string {
  if (host === '' || /:\d{1,5}$/.test(host)) return host;
  return /^\d{1,5}$/.test(port) ? `${host}:${port}` : host;
}
