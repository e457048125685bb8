// What the parsers of both directions have in common: records followed through chunks and gaps. In: the bytes of a stream in
// order, and how many were not captured. Out: calls for headers, content and missing content. A gap that ends within a record
// loses nothing of the framing. Behind one that does not, it is not known where records begin: the message under way ends where
// finish() says, and records are found again at a chunk that begins with one.
import { BROKEN, type FeedResult, LOST, type MessageParser, type MessageSink, OK } from '../protocol.js';
import { RecordReader } from './record.js';

/** Records are followed. */
const IN_RECORDS = 0;
/** Within a message, of which only the end of the run or of the stream tells that it is over. */
const IS_HIDDEN = 1;
/** Between messages, behind one that ended so. */
const IS_ADRIFT = 2;
const IS_BROKEN = 3;
const IS_LOST = 4;
/** The stream may go on at any position. */
const ANYWHERE = -1;

export abstract class RecordParser implements MessageParser {
  protected readonly sink: MessageSink;
  protected readonly record = new RecordReader();
  #state = IN_RECORDS;
  /** Where the next byte must be. */
  #position = ANYWHERE;

  constructor(sink: MessageSink) {
    this.sink = sink;
  }

  /** A message is under way. */
  protected abstract readonly isAmid: boolean;
  protected abstract readonly textBytes: number;
  /** A header was read, whose first byte was at `start`. False: it cannot stand there. */
  protected abstract onHeader(start: number): boolean;
  /** Content of the record under way; `position` is behind it. False: not this protocol. */
  protected abstract onContent(bytes: Uint8Array, from: number, to: number, position: number): boolean;
  /** The same of content that is missing. */
  protected abstract onContentGap(count: number, position: number): void;
  /** What follows is missing as far as to where no one knows: the message's head will not be completed. */
  protected abstract onHidden(position: number): void;
  /** The message is over because the caller says so. */
  protected abstract end(position: number): void;
  /** Bytes that may follow the last message without being part of the next one. */
  protected abstract readonly trailingBytes: number;
  /** Does a chunk that begins so begin with a record that may stand behind what was missing? */
  protected abstract mayGoOn(bytes: Uint8Array, from: number, to: number): boolean;
  /** A message is open whose end is known to have come, but for what belongs to nobody. */
  protected abstract readonly isOver: boolean;
  /** The head is announced as truncated. */
  protected abstract cutHead(position: number): FeedResult;
  /** A message begins of which nothing can be read. */
  protected abstract beginHidden(position: number): void;
  /** All that was under way is forgotten. */
  protected abstract drop(): void;

  get isIdle(): boolean {
    return !this.isAmid;
  }

  get isOpenEnded(): boolean {
    return this.isAmid && (this.#state === IS_HIDDEN || this.isOver);
  }

  get isEndHidden(): boolean {
    return this.isAmid && this.#state === IS_HIDDEN;
  }

  get expectedEnd(): number {
    return -1;
  }

  get heldBytes(): number {
    return this.textBytes;
  }

  feed(bytes: Uint8Array, from: number, to: number, position: number): FeedResult {
    if (this.#state >= IS_BROKEN) return this.#state === IS_BROKEN ? BROKEN : LOST;
    if (position !== this.#position && this.#position !== ANYWHERE) return this.#lose();
    this.#position = position + to - from;
    if (this.#state === IS_HIDDEN) return OK;
    if (this.#state === IS_ADRIFT) {
      if (!this.mayGoOn(bytes, from, to)) return OK;
      this.record.clear();
      this.#state = IN_RECORDS;
    }
    const base = position - from;
    const { record } = this;
    let at = from;
    while (at < to) {
      if (record.contentLeft > 0) {
        const end = Math.min(to, at + record.contentLeft);
        record.contentLeft -= end - at;
        if (!this.onContent(bytes, at, end, base + end)) return this.#break();
        at = end;
      } else if (record.paddingLeft > 0) {
        const end = Math.min(to, at + record.paddingLeft);
        record.paddingLeft -= end - at;
        at = end;
      } else {
        const start = base + at - record.headerBytes;
        at = record.readHeader(bytes, at, to);
        if (record.headerBytes === 0 && !this.onHeader(start)) return this.#break();
      }
    }
    return OK;
  }

  skip(count: number, position: number): FeedResult {
    if (this.#state >= IS_BROKEN) return this.#state === IS_BROKEN ? BROKEN : LOST;
    if (count === 0) return OK;
    if (position !== this.#position && this.#position !== ANYWHERE) return this.#lose();
    this.#position = position + count;
    if (this.#state === IS_HIDDEN) return OK;
    if (this.#state === IS_ADRIFT) return this.#lose();
    const { record } = this;
    const content = Math.min(count, record.contentLeft);
    if (content > 0) {
      record.contentLeft -= content;
      this.onContentGap(content, position + content);
    }
    const padding = Math.min(count - content, record.paddingLeft);
    record.paddingLeft -= padding;
    const rest = count - content - padding;
    if (rest === 0) return OK;
    if (!this.isAmid) {
      if (rest > this.trailingBytes) return this.#lose();
      record.clear();
      this.#state = IS_ADRIFT;
      return OK;
    }
    this.#state = IS_HIDDEN;
    this.onHidden(this.#position);
    return OK;
  }

  hidden(count: number): number {
    if (this.isAmid) return 0;
    return Math.max(0, count - this.record.left - this.trailingBytes);
  }

  giveUpHead(): FeedResult {
    if (!this.isAmid || this.#state >= IS_BROKEN) return LOST;
    const result = this.cutHead(this.#position);
    if (result === OK) this.#state = IS_HIDDEN;
    return result;
  }

  finish(position: number): void {
    if (!this.isOpenEnded) return;
    const isAdrift = this.#state === IS_HIDDEN;
    if (isAdrift) this.#position = position;
    this.end(position);
    if (isAdrift) this.#state = IS_ADRIFT;
  }

  beginUnread(position: number): void {
    if (this.isAmid || this.#state >= IS_BROKEN) return;
    this.#state = IS_HIDDEN;
    this.#position = position;
    this.beginHidden(position);
  }

  resync(): void {
    this.#state = IN_RECORDS;
    this.#position = ANYWHERE;
    this.record.clear();
    this.drop();
  }

  #lose(): FeedResult {
    this.drop();
    this.#state = IS_LOST;
    return LOST;
  }

  #break(): FeedResult {
    this.drop();
    this.#state = IS_BROKEN;
    return BROKEN;
  }
}
