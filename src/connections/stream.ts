// One direction of a connection, addressed by sequence number. In: chunks and the numbers of bytes that were moved without
// being captured. Out: calls on the direction's parser, in order, gaps named. A sequence number that goes backwards is an
// overlap (two threads in one call): the stream cannot be trusted and says so.
import { LOST, type MessageParser, OK } from '../protocols/protocol.js';

export class Stream {
  parser: MessageParser | null = null;
  /** Sequence number of the next byte; valid with hasSeq. */
  nextSeq = 0;
  hasSeq = false;
  /** Bytes since the stream was first seen: the position of the next byte. */
  position = 0;
  /** Calls of runs that are over, and of the open run. */
  callsBefore = 0;
  runCalls = 0;
  /** Captured bytes of the open run, and how the kernel names it. */
  runCaptured = 0;
  runFirstNs = 0;
  /** Last 8 bytes that were captured, last byte highest, as two words: kept while a chunked body's end is looked for. */
  tailLow = 0;
  tailHigh = 0;
  /** Sequence number behind them; -1 if there are none. */
  tailSeq = -1;

  get calls(): number {
    return this.callsBefore + this.runCalls;
  }

  /** A run begins with the record at hand. */
  beginRun(firstNs: number): void {
    this.callsBefore += this.runCalls;
    this.runCalls = 0;
    this.runCaptured = 0;
    this.runFirstNs = firstNs;
  }

  /** Sets the position from which on this direction is followed. */
  restart(seq: number): void {
    if (this.hasSeq) this.position += (seq - this.nextSeq) >>> 0;
    this.nextSeq = seq >>> 0;
    this.hasSeq = true;
    this.parser?.resync();
  }

  /** Of the bytes up to `seq`, which were not captured: how many may hold whole messages. */
  hiddenUpTo(seq: number): number {
    const missing = this.hasSeq ? (seq - this.nextSeq) | 0 : 0;
    return missing > 0 && this.parser !== null ? this.parser.hidden(missing) : 0;
  }

  /** Bytes up to `seq` exist and were not captured. OK, or LOST if a boundary may be among them. */
  advance(seq: number): number {
    if (!this.hasSeq) {
      this.nextSeq = seq >>> 0;
      this.hasSeq = true;
      return OK;
    }
    const missing = (seq - this.nextSeq) | 0;
    if (missing === 0) return OK;
    if (missing < 0) return LOST;
    const at = this.position;
    this.position += missing;
    this.nextSeq = seq >>> 0;
    return this.parser === null ? OK : this.parser.skip(missing, at);
  }

  /**
   * Moves on by `count` bytes which belong to a message that is over; the next byte fed begins another.
   */
  pass(count: number): void {
    this.position += count;
    this.nextSeq = (this.nextSeq + count) >>> 0;
    this.parser?.resync();
  }

  /** Remembers how the captured bytes ended, at sequence number `endSeq`. */
  keepTail(bytes: Uint8Array, from: number, to: number, endSeq: number): void {
    if ((endSeq - (to - from)) >>> 0 !== this.tailSeq) this.tailLow = this.tailHigh = 0;
    this.tailSeq = endSeq;
    for (let at = Math.max(from, to - 8); at < to; at++) {
      this.tailLow = ((this.tailLow >>> 8) | (this.tailHigh << 24)) >>> 0;
      this.tailHigh = ((this.tailHigh >>> 8) | ((bytes[at] as number) << 24)) >>> 0;
    }
  }

  /** Captured bytes, the first at `seq`, which must be the next one. */
  feed(bytes: Uint8Array, from: number, to: number): number {
    const at = this.position;
    this.position += to - from;
    this.nextSeq = (this.nextSeq + to - from) >>> 0;
    return this.parser === null ? OK : this.parser.feed(bytes, from, to, at);
  }
}
