// Replays pieces of a stream into an HTTP/1 parser and writes down what it says, one line an event, so that two replays
// can be compared as text. In: byte ranges and gaps. Out: the lines, the final state, the most memory held. Checks on the
// way what must hold for any input; a violation throws, and that is the only thing here that does.
import assert from 'node:assert/strict';
import { http1 } from '../../src/protocols/http1.js';
import {
  BROKEN,
  type FeedResult,
  FRAMING_LENGTH,
  LOST,
  MessageHead,
  type MessageParser,
  type MessageSink,
  OK,
} from '../../src/protocols/protocol.js';

/** Bytes, or the number of bytes that were not captured. */
export type Piece = Uint8Array | number;

/** A line of 64 KiB, the strings of a head, the framing fields (src/protocols/http1): nothing may make it hold more. */
export const HELD_MAX_BYTES = 65536 + 8192 + 64 + 2 * 512 + 5 * 256 + 2048 + 256;

const FRAMING_NAMES = ['none', 'length', 'chunked', 'until-close', 'opaque', 'unknown'] as const;

/** One message as it was announced. */
export interface LoggedMessage {
  start: number;
  head: MessageHead | null;
  /** -1: not ended. */
  end: number;
  bodyBytes: number;
}

export class MessageLog implements MessageSink {
  readonly lines: string[] = [];
  readonly messages: LoggedMessage[] = [];
  #methods: readonly string[];
  #nextMethod = 0;

  /** `methods`: what the responses answer, in order; the last one counts for all that follow. */
  constructor(methods: readonly string[]) {
    this.#methods = methods;
  }

  onMessageStart(position: number): void {
    this.lines.push(`start ${position}`);
    this.messages.push({ start: position, head: null, end: -1, bodyBytes: -1 });
  }

  onHead(head: MessageHead): void {
    const message = this.#current();
    assert.equal(message.head, null, 'a message has one head');
    assert.equal(head.start, message.start);
    assert.ok(head.headEnd > head.start);
    message.head = Object.assign(new MessageHead(), head);
    this.lines.push(describeHead(head));
  }

  onMessageEnd(position: number, bodyBytes: number): void {
    const message = this.#current();
    assert.ok(message.head !== null, 'a head comes before the end');
    assert.equal(message.end, -1, 'a message ends once');
    assert.ok(position >= message.head.headEnd);
    message.end = position;
    message.bodyBytes = bodyBytes;
    this.lines.push(`end ${position} body=${bodyBytes < 0 ? 'unknown' : bodyBytes}`);
  }

  /** From now on all responses answer this method. */
  answer(method: string): void {
    this.#methods = [method];
  }

  onOutcome(): void {}

  requestId(): number {
    return 0;
  }

  requestMethod(): string {
    const last = this.#methods.length - 1;
    const method = this.#methods[Math.min(this.#nextMethod, last)] ?? '';
    this.#nextMethod++;
    return method;
  }

  #current(): LoggedMessage {
    const message = this.messages.at(-1);
    assert.ok(message !== undefined, 'a message starts before anything else of it');
    return message;
  }
}

function describeHead(head: MessageHead): string {
  const parts = [`head ${head.start}..${head.headEnd}`];
  if (head.isRequest) parts.push(head.method, JSON.stringify(head.target));
  else parts.push(String(head.status));
  parts.push(head.version === '' ? 'HTTP/?' : `HTTP/${head.version}`);
  parts.push(head.framing === FRAMING_LENGTH ? `length=${head.contentLength}` : String(FRAMING_NAMES[head.framing]));
  const fields = {
    host: head.host,
    'user-agent': head.userAgent,
    'content-type': head.contentType,
    connection: head.connection,
    upgrade: head.upgrade,
    expect: head.expect,
    traceparent: head.traceparent,
    tracestate: head.tracestate,
    b3: head.traceHeaders?.b3 ?? '',
    'x-b3-traceid': head.traceHeaders?.b3TraceId ?? '',
    'x-b3-spanid': head.traceHeaders?.b3SpanId ?? '',
    'x-b3-sampled': head.traceHeaders?.b3Sampled ?? '',
    'x-b3-flags': head.traceHeaders?.b3Flags ?? '',
    'uber-trace-id': head.traceHeaders?.jaeger ?? '',
    'x-amzn-trace-id': head.traceHeaders?.xray ?? '',
    'x-request-id': head.traceHeaders?.requestId ?? '',
  };
  for (const [name, value] of Object.entries(fields)) {
    if (value !== '') parts.push(`${name}=${JSON.stringify(value)}`);
  }
  if (head.isTruncated) parts.push('truncated');
  return parts.join(' ');
}

export interface Replay {
  readonly log: MessageLog;
  readonly parser: MessageParser;
  readonly lines: string[];
  /** 'idle' between messages, 'open' within one, 'broken', 'lost'. */
  readonly state: string;
  readonly maxHeldBytes: number;
}

export interface ReplayOptions {
  readonly isRequest: boolean;
  readonly methods?: readonly string[];
  /** Ends the direction behind the last piece. */
  readonly isFinished?: boolean;
  /** Position of the first byte. */
  readonly start?: number;
  /** What stands before and behind each piece in the buffer it is fed from: nothing may depend on it. */
  readonly poison?: number;
}

const MARGIN = 16;

/** Feeds the pieces, each from a buffer of its own that is wiped afterwards (a parser must not keep a reference). */
export function replay(pieces: readonly Piece[], options: ReplayOptions): Replay {
  const log = new MessageLog(options.methods ?? ['GET']);
  const parser = options.isRequest ? http1.createRequestParser(log) : http1.createResponseParser(log);
  let position = options.start ?? 0;
  let result: FeedResult = OK;
  let maxHeldBytes = 0;
  for (const piece of pieces) {
    const before = log.lines.length;
    const wasDead = result !== OK;
    const next = feedPiece(parser, piece, position, options.poison ?? 0x0a);
    if (wasDead) {
      assert.equal(next, result, 'broken or lost stays so until resync');
      assert.equal(log.lines.length, before, 'nothing is announced after broken or lost');
    }
    result = next;
    position += typeof piece === 'number' ? piece : piece.length;
    checkState(parser, position);
    maxHeldBytes = Math.max(maxHeldBytes, parser.heldBytes);
  }
  if (options.isFinished === true) parser.finish(position);
  for (const message of log.messages) assert.ok(message.end <= position && message.start < position);
  return { log, parser, lines: log.lines, state: stateName(parser, result), maxHeldBytes };
}

function feedPiece(parser: MessageParser, piece: Piece, position: number, poison: number): FeedResult {
  if (typeof piece === 'number') return parser.skip(piece, position);
  const buffer = new Uint8Array(piece.length + 2 * MARGIN).fill(poison);
  buffer.set(piece, MARGIN);
  const result = parser.feed(buffer, MARGIN, MARGIN + piece.length, position);
  buffer.fill(0x0a);
  return result;
}

function checkState(parser: MessageParser, position: number): void {
  assert.ok(parser.heldBytes <= HELD_MAX_BYTES, `holds ${parser.heldBytes} bytes`);
  if (parser.isIdle) assert.equal(parser.heldBytes, 0, 'holds nothing between messages');
  if (parser.expectedEnd !== -1) assert.ok(parser.expectedEnd > position && !parser.isIdle);
}

function stateName(parser: MessageParser, result: FeedResult): string {
  if (result === BROKEN) return 'broken';
  if (result === LOST) return 'lost';
  return parser.isIdle ? 'idle' : 'open';
}

/** `count` pieces of one byte each. */
export function singleBytes(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
}

/** After whatever happened, a parser that is told to resync reads the next message as a new one would. */
export function checkResync(run: Replay, isRequest: boolean): void {
  const text = isRequest
    ? 'POST /after HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok'
    : 'HTTP/1.1 404 Gone astray\r\nContent-Length: 2\r\n\r\nok';
  const bytes = Buffer.from(text, 'latin1');
  run.parser.resync();
  run.log.answer('GET');
  assert.equal(run.parser.heldBytes, 0);
  assert.equal(run.parser.isIdle, true);
  const before = run.log.messages.length;
  assert.equal(run.parser.feed(bytes, 0, bytes.length, 1e6), OK);
  const message = run.log.messages.at(-1);
  assert.ok(message?.head);
  assert.equal(run.log.messages.length, before + 1);
  assert.equal(message.start, 1e6);
  assert.equal(message.end, 1e6 + bytes.length);
  assert.equal(message.bodyBytes, 2);
  assert.equal(message.head.target, isRequest ? '/after' : '');
}

/**
 * What a replay with gaps may say, given what the same stream says without: nothing that is not so. `gaps` are where bytes
 * begin to be missing, in order: several, if what follows the first can be understood.
 */
export function checkSound(withGap: MessageLog, whole: MessageLog, gaps: readonly number[]): void {
  const first = gaps[0] ?? Number.POSITIVE_INFINITY;
  for (const message of withGap.messages) {
    const truth = whole.messages.find(candidate => candidate.start === message.start);
    assert.ok(truth !== undefined, `no message starts at ${message.start}`);
    if (message.head === null) continue;
    if (message.head.isTruncated) checkTruncated(message.head, truth.head, gaps);
    else assert.equal(describeHead(message.head), truth.head && describeHead(truth.head));
    if (message.end === -1) continue;
    if (message.end <= first) assert.equal(message.end, truth.end);
    if (message.bodyBytes === -1 || truth.end === -1) continue;
    // A declared length holds only if no field in the gap overrules it.
    if (message.head.framing === truth.head?.framing) assert.equal(message.bodyBytes, truth.bodyBytes);
    if (!message.head.isTruncated) assert.equal(message.end, truth.end);
  }
}

function checkTruncated(head: MessageHead, truth: MessageHead | null, gaps: readonly number[]): void {
  // The stream ended, or turned out to be something else, behind the gap.
  if (truth === null) return;
  assert.equal(head.method, truth.method);
  assert.equal(head.status, truth.status);
  assert.ok(beginsOnWire(truth.target, head.target), `${head.target} begins ${truth.target}`);
  if (!truth.isTruncated) assert.ok(gaps.includes(head.headEnd), `${head.headEnd} is none of ${gaps.join(', ')}`);
}

/** As bytes: a text is UTF-8 if all of it is, and a part of it may be where the whole is not. */
function beginsOnWire(whole: string, part: string): boolean {
  const encodings = ['utf8', 'latin1'] as const;
  return encodings.some(of =>
    encodings.some(ofPart => Buffer.from(whole, of).indexOf(Buffer.from(part, ofPart)) === 0),
  );
}
