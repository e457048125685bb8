// What a recording may hold of FastCGI. In: the bytes of one direction, in order, with their sequence numbers. Out: the same in
// place: framing, names of parameters and of header fields, and the values that spans are made of; the rest is x. Where bytes are
// missing and it is not known where records begin, all is x until one begins a chunk.
import { PairReader, type PairSink } from './protocols/fastcgi/pairs.js';
import { WANTED_NAMES } from './protocols/fastcgi/params.js';
import * as record from './protocols/fastcgi/record.js';

const KEPT_PARAMETERS: ReadonlySet<string> = new Set(WANTED_NAMES);
/** Of the header that an application answers with. */
const KEPT_FIELDS: ReadonlySet<string> = new Set(['status', 'content-length', 'content-type']);
const FIELD_NAME_MAX_BYTES = 64;

const LF = 10;
const CR = 13;
const COLON = 58;
const SLASH = 47;
const QUESTION_MARK = 63;

/** Values of parameters. */
class ParameterMask implements PairSink {
  readonly #mask: number;
  #isKept = false;
  #isTarget = false;
  /** A target: nothing of it has come. */
  #isNew = false;

  constructor(mask: number) {
    this.#mask = mask;
  }

  onName(bytes: Uint8Array, from: number, to: number): void {
    const name = textOf(bytes, from, to);
    this.#isKept = KEPT_PARAMETERS.has(name);
    this.#isTarget = this.#isNew = name === 'REQUEST_URI';
  }

  onValue(bytes: Uint8Array, from: number, to: number): void {
    if (!this.#isKept) {
      bytes.fill(this.#mask, from, to);
      return;
    }
    if (!this.#isTarget || from === to) return;
    // One that is no path may hold credentials.
    if (this.#isNew && bytes[from] !== SLASH) this.#isKept = false;
    this.#isNew = false;
    const query = this.#isKept ? bytes.subarray(from, to).indexOf(QUESTION_MARK) : -1;
    if (query >= 0) this.#isKept = false;
    if (!this.#isKept) bytes.fill(this.#mask, query < 0 ? from : from + query + 1, to);
  }

  /** The rest of a value that is cut would be another one. */
  onCut(): void {
    this.#isKept = false;
  }
}

/** The header in STDOUT, and the body behind it. */
class OutputMask {
  readonly #mask: number;
  #isBody = true;
  #isFirst = true;
  #name = '';
  #length = 0;
  #isKept = false;
  #isNamed = false;

  constructor(mask: number) {
    this.#mask = mask;
  }

  begin(): void {
    this.#isBody = false;
    this.#isFirst = true;
    this.#beginLine();
  }

  #beginLine(): void {
    this.#name = '';
    this.#length = 0;
    this.#isKept = false;
    this.#isNamed = false;
  }

  /** What is missing may have ended the header. */
  cut(): void {
    this.#isBody = true;
  }

  read(bytes: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at++) {
      if (this.#isBody) {
        bytes.fill(this.#mask, at, to);
        return;
      }
      this.#readByte(bytes, at);
    }
  }

  #readByte(bytes: Uint8Array, at: number): void {
    const byte = bytes[at] as number;
    if (byte === LF) {
      if (this.#length === 0) this.#isBody = true;
      this.#isFirst = false;
      this.#beginLine();
      return;
    }
    if (byte === CR) return;
    this.#length++;
    if (this.#isNamed) {
      if (!this.#isKept) bytes[at] = this.#mask;
      return;
    }
    if (byte === COLON) {
      this.#isNamed = true;
      this.#isKept = KEPT_FIELDS.has(this.#name.toLowerCase());
      return;
    }
    this.#name += String.fromCharCode(byte);
    if (this.#isFirst && this.#name === 'HTTP/1.') this.#isNamed = this.#isKept = true;
    else if (this.#length > FIELD_NAME_MAX_BYTES) this.#isNamed = true;
  }
}

/** Where the response to the last request that was seen begins: only there is a header looked for. */
export class Turn {
  isDue = false;
  responseSeq = 0;
}

export class FastcgiMask {
  readonly #mask: number;
  readonly #turn: Turn;
  readonly #record = new record.RecordReader();
  readonly #pairs: PairReader;
  readonly #output: OutputMask;
  /** Parameters of a request whose beginning was seen. */
  #hasPairs = false;
  #isAdrift = true;
  #nextSeq = 0;
  #otherSeq = 0;

  /** `turn`: shared by the two directions of a connection. */
  constructor(mask: number, turn: Turn) {
    this.#mask = mask;
    this.#turn = turn;
    this.#pairs = new PairReader(new ParameterMask(mask));
    this.#output = new OutputMask(mask);
  }

  /** Masks the bytes of a chunk, the first at `seq`; `otherSeq`: the position of the other direction. */
  chunk(bytes: Uint8Array, seq: number, otherSeq: number): void {
    if (!this.#isAdrift && seq !== this.#nextSeq) this.#skip((seq - this.#nextSeq) | 0);
    this.#nextSeq = (seq + bytes.length) >>> 0;
    this.#otherSeq = otherSeq;
    if (this.#isAdrift) {
      if (!beginsRecord(bytes)) {
        bytes.fill(this.#mask);
        return;
      }
      this.#record.clear();
      this.#isAdrift = false;
    }
    for (let at = 0; at < bytes.length; ) {
      at = this.#next(bytes, at, seq);
      if (!this.#isAdrift) continue;
      bytes.fill(this.#mask, Math.max(0, at - record.HEADER_BYTES));
      return;
    }
  }

  #next(bytes: Uint8Array, at: number, seq: number): number {
    const { contentLeft, paddingLeft } = this.#record;
    if (contentLeft > 0) {
      const end = Math.min(bytes.length, at + contentLeft);
      this.#record.contentLeft -= end - at;
      this.#content(bytes, at, end);
      return end;
    }
    if (paddingLeft > 0) {
      const end = Math.min(bytes.length, at + paddingLeft);
      this.#record.paddingLeft -= end - at;
      bytes.fill(this.#mask, at, end);
      return end;
    }
    const end = this.#record.readHeader(bytes, at, bytes.length);
    if (this.#record.headerBytes === 0) this.#begin((seq + end - record.HEADER_BYTES) >>> 0);
    return end;
  }

  /** A record begins, at `seq`. */
  #begin(seq: number): void {
    const { type, contentLeft } = this.#record;
    const hasBody = type === record.BEGIN_REQUEST || type === record.END_REQUEST;
    if (type === 0 || type > record.UNKNOWN_TYPE || (hasBody && contentLeft !== record.BODY_BYTES)) {
      this.#lose();
      return;
    }
    const turn = this.#turn;
    if (type === record.BEGIN_REQUEST) {
      this.#pairs.reset();
      this.#hasPairs = true;
      turn.isDue = true;
      turn.responseSeq = this.#otherSeq;
    } else if (type === record.PARAMS) this.#hasPairs &&= contentLeft > 0;
    else if (type === record.STDOUT || type === record.STDERR) {
      if (turn.isDue && seq === turn.responseSeq) this.#output.begin();
      turn.isDue = false;
    } else if (type === record.END_REQUEST) this.#output.cut();
  }

  #content(bytes: Uint8Array, from: number, to: number): void {
    const { type } = this.#record;
    if (type === record.BEGIN_REQUEST || type === record.END_REQUEST) return;
    if (type === record.PARAMS && this.#hasPairs && !this.#pairs.isLost) this.#pairs.read(bytes, from, to);
    else if (type === record.STDOUT) this.#output.read(bytes, from, to);
    else bytes.fill(this.#mask, from, to);
  }

  /** `count` bytes are missing, or come again. */
  #skip(count: number): void {
    const { contentLeft, left, type } = this.#record;
    if (count < 0 || count > left) {
      this.#lose();
      return;
    }
    const content = Math.min(count, contentLeft);
    this.#record.contentLeft -= content;
    this.#record.paddingLeft -= count - content;
    if (content > 0 && type === record.PARAMS) this.#pairs.skip(content);
    if (content > 0 && type === record.STDOUT) this.#output.cut();
  }

  #lose(): void {
    this.#isAdrift = true;
    this.#hasPairs = false;
    this.#output.cut();
  }
}

function beginsRecord(bytes: Uint8Array): boolean {
  const { length } = bytes;
  if (record.beginsRequest(bytes, 0, length) || record.endsStream(record.STDIN, bytes, 0, length)) return true;
  const isOutput =
    record.isHeaderOf(record.STDOUT, bytes, 0, length) || record.isHeaderOf(record.STDERR, bytes, 0, length);
  return isOutput || record.isHeaderOf(record.END_REQUEST, bytes, 0, length);
}

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
}
