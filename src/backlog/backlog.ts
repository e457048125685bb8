// What waits on disk for one destination, oldest first: a log of segments, the number of the first item that is not
// delivered yet, and bounds in bytes, free space and age. What exceeds them goes from the front and is counted.
//
//   append -> segment segment segment -> next -> (in flight) -> settle
//                                        ^ position             or putBack
//
// Everything accepted is in the file system before `append` resolves, so that it survives the agent's end in any form;
// it is made to survive the machine's (fdatasync) once a second, when a segment is full, and at the end. Operations
// follow each other: at most one thread of libuv's is in use, whatever the disk does.
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../errors.js';
import type { DiskRoom } from './disk-room.js';
import { compressRequest, encodeFrame, HEADER_BYTES, openFrame } from './frame.js';
import { type Position, PositionFile } from './position.js';
import { type Found, Segment } from './segment.js';

const SYNC_MS = 1000;
const TOO_LARGE = -1;
const SEGMENT_NAME = /^(\d{10})\.log$/;

export interface BacklogOptions {
  readonly folder: string;
  readonly room: DiskRoom;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly warn: (message: string) => void;
  /** Unix milliseconds; never goes back. */
  readonly now: () => number;
}

/** A request as it is offered; the same as it comes back. */
export interface KeptRequest {
  readonly bytes: Uint8Array;
  readonly itemCount: number;
  readonly offeredUnixMs: number;
}

/** A request that was handed out, until it is settled. */
export interface Handed extends KeptRequest {
  readonly start: Position;
}

interface Outstanding {
  readonly handed: Handed;
  isFlying: boolean;
  isSettled: boolean;
}

/** Items that were kept and will not be delivered, by cause. */
export interface BacklogDrops {
  /** The bounds were reached: the oldest went. */
  full: number;
  expired: number;
  /** Damaged on disk, or deleted by someone. */
  damaged: number;
}

export class Backlog {
  readonly dropped: BacklogDrops = { full: 0, expired: 0, damaged: 0 };
  /** Items that an earlier agent had left. */
  recovered = 0;
  readonly #options: BacklogOptions;
  readonly #segmentBytes: number;
  readonly #positionFile: PositionFile;
  readonly #segments: Segment[] = [];
  /** The last segment, if it may be appended to. */
  #writing: Segment | null = null;
  #nextNumber = 1;
  #nextItem = 0;
  /** Where the next frame is expected: in this segment (null: whatever comes), at this offset, with this number. */
  #reading: Segment | null = null;
  #readOffset = 0;
  #readItem = 0;
  /** Of the request that is being read. */
  #openingItems = 0;
  readonly #outstanding: Outstanding[] = [];
  /** Delivered by other ways before they were read back; first item -> items. */
  readonly #forgotten = new Map<number, number>();
  #forgottenItems = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #syncTimer: NodeJS.Timeout | null = null;

  private constructor(options: BacklogOptions, positionFile: PositionFile) {
    this.#options = options;
    this.#positionFile = positionFile;
    this.#segmentBytes = Math.max(64 * 1024, Math.min(4 << 20, options.maxBytes / 8));
  }

  /** Opens a folder that exists, and finds what an earlier agent left there. */
  static async open(options: BacklogOptions): Promise<Backlog> {
    const backlog = new Backlog(options, await PositionFile.open(join(options.folder, 'position')));
    await backlog.#recover();
    return backlog;
  }

  /** Items that are kept, those handed out included. */
  get itemCount(): number {
    let handedOut = this.#openingItems;
    for (const { handed, isSettled } of this.#outstanding) if (!isSettled) handedOut += handed.itemCount;
    return this.#nextItem - this.#readItem - this.#forgottenItems + handedOut;
  }

  /** Bytes of the files. */
  get byteLength(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /**
   * Keeps a request behind all others. Returns the number of its first item (TOO_LARGE if it is larger than all room, which
   * is counted); null if the disk would not take it, which is said.
   */
  append({ bytes, itemCount, offeredUnixMs }: KeptRequest): Promise<number | null> {
    return this.#alone(async () => {
      const firstItem = this.#nextItem;
      const frame = encodeFrame(await compressRequest(bytes), bytes.length, itemCount, firstItem, offeredUnixMs);
      if (frame.length > this.#options.maxBytes) {
        this.dropped.full += itemCount;
        return TOO_LARGE;
      }
      if (!(await this.#write(frame, offeredUnixMs))) return null;
      this.#nextItem += itemCount;
      this.#syncSoon();
      return firstItem;
    });
  }

  /** The oldest request that nobody has in hand; null if there is none. */
  next(): Promise<Handed | null> {
    return this.#alone(async () => {
      const limitMs = this.#options.now() - this.#options.maxAgeMs;
      for (const entry of this.#outstanding) {
        if (entry.isFlying || entry.isSettled) continue;
        if (entry.handed.offeredUnixMs < limitMs) {
          entry.isSettled = true;
          this.dropped.expired += entry.handed.itemCount;
          continue;
        }
        entry.isFlying = true;
        return entry.handed;
      }
      const handed = await this.#readNext(limitMs);
      this.#openingItems = 0;
      if (handed !== null) this.#outstanding.push({ handed, isFlying: true, isSettled: false });
      else await this.#trim();
      return handed;
    });
  }

  /** What became of a request is known: it needs no keeping any more. */
  settle(handed: Handed): Promise<void> {
    const entry = this.#outstanding.find(one => one.handed === handed);
    if (entry !== undefined) entry.isSettled = true;
    return this.#alone(() => this.#trim());
  }

  /** Nobody has this request in hand any more; it will be handed out again. */
  putBack(handed: Handed): void {
    const entry = this.#outstanding.find(one => one.handed === handed);
    if (entry !== undefined) entry.isFlying = false;
  }

  /**
   * A request that was appended, and not handed out, has been settled by other ways. False if it was not kept any more:
   * then it is in the counts of what was dropped.
   */
  forget(firstItem: number, itemCount: number): boolean {
    if (firstItem < this.#readItem) return false;
    this.#forgotten.set(firstItem, itemCount);
    this.#forgottenItems += itemCount;
    return true;
  }

  /** Makes everything survive the machine's end too, and closes the files. What is kept stays. */
  close(): Promise<void> {
    return this.#alone(async () => {
      if (this.#syncTimer !== null) clearTimeout(this.#syncTimer);
      this.#syncTimer = null;
      await this.#trim();
      await this.#writing?.sync();
      for (const segment of this.#segments) await segment.close();
      await this.#positionFile.close();
    });
  }

  /** One operation at a time. */
  #alone<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(operation);
    this.#tail = result.catch(() => undefined);
    return result;
  }

  // -- recovery

  async #recover(): Promise<void> {
    const { folder } = this.#options;
    const position = await this.#positionFile.read();
    const names = (await readdir(folder)).filter(name => SEGMENT_NAME.test(name)).sort();
    for (const name of names) {
      const number = Number(SEGMENT_NAME.exec(name)?.[1]);
      this.#nextNumber = number + 1;
      if (position !== null && number < position.segment) {
        await unlink(join(folder, name));
        continue;
      }
      const segment = await Segment.openExisting(number, join(folder, name));
      await this.#walk(segment);
      this.#segments.push(segment);
    }
    const first = this.#segments[0];
    this.#nextItem = Math.max(this.#nextItem, position?.item ?? 0);
    this.#readItem = position?.item ?? first?.firstItem ?? 0;
    this.#reading = first ?? null;
    this.#readOffset = position !== null && position.segment === first?.number ? position.offset : 0;
    this.recovered = this.#nextItem - this.#readItem;
    await this.#trim();
  }

  /** Finds the numbers of a segment's items, and where its last whole frame ends. */
  async #walk(segment: Segment): Promise<void> {
    let end = 0;
    segment.firstItem = this.#nextItem;
    for (let found = await segment.find(0); found !== null; found = await segment.find(end)) {
      if (end === 0) segment.firstItem = found.header.firstItem;
      const next = found.at + HEADER_BYTES + found.header.storedBytes;
      // The agent or the machine ended while it was written.
      if (next > segment.bytes) break;
      end = next;
      this.#nextItem = Math.max(this.#nextItem, found.header.firstItem + found.header.itemCount);
      segment.lastOfferedUnixMs = Math.max(segment.lastOfferedUnixMs, found.header.offeredUnixMs);
    }
    if (end < segment.bytes) {
      this.#options.warn(`${segment.path}: the last ${segment.bytes - end} bytes are no whole request: left out`);
      segment.bytes = end;
    }
  }

  // -- writing

  /** False if the disk does not take the frame, even where older ones make room. */
  async #write(frame: Buffer, offeredUnixMs: number): Promise<boolean> {
    const { maxBytes, room, warn } = this.#options;
    for (;;) {
      try {
        const allowed = Math.min(maxBytes, await room.allows(this.byteLength));
        if (this.byteLength + frame.length > allowed) {
          if (await this.#dropOldest()) continue;
          warn('no room on disk: the bounds of the queue, or the free space to be left to others');
          return false;
        }
        const segment = await this.#segmentFor(frame.length);
        await segment.append(frame, offeredUnixMs);
        return true;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? '';
        if ((code === 'ENOSPC' || code === 'EDQUOT') && (await this.#dropOldest())) continue;
        warn(`cannot write: ${reasonOf(error)}`);
        return false;
      }
    }
  }

  async #segmentFor(frameBytes: number): Promise<Segment> {
    const current = this.#writing;
    if (current !== null && (current.bytes === 0 || current.bytes + frameBytes <= this.#segmentBytes)) return current;
    await current?.sync();
    const number = this.#nextNumber++;
    const path = join(this.#options.folder, `${String(number).padStart(10, '0')}.log`);
    const made = await Segment.create(number, path, this.#nextItem);
    this.#segments.push(made);
    this.#writing = made;
    this.#reading ??= made;
    return made;
  }

  /** Gives up the oldest segment; false if nothing is on disk. */
  async #dropOldest(): Promise<boolean> {
    const oldest = this.#segments.shift();
    if (oldest === undefined) return false;
    if (oldest === this.#writing) this.#writing = null;
    const next = this.#segments[0] ?? null;
    const nextItem = next?.firstItem ?? this.#nextItem;
    if (oldest === this.#reading) {
      this.#reading = next;
      this.#readOffset = 0;
    }
    this.dropped.full += this.#passOver(nextItem);
    await this.#remove(oldest);
    await this.#savePosition();
    return oldest.bytes > 0 || next !== null;
  }

  #syncSoon(): void {
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = null;
      this.#alone(async () => this.#writing?.sync()).catch((error: unknown) =>
        this.#options.warn(`cannot make it durable: ${reasonOf(error)}`),
      );
    }, SYNC_MS).unref();
  }

  // -- reading

  async #readNext(limitMs: number): Promise<Handed | null> {
    for (let segment = this.#reading; segment !== null; segment = this.#reading) {
      const found = await this.#find(segment);
      if (found === null) {
        if (!this.#leave(segment)) return null;
        continue;
      }
      this.#countDamage(segment, found.header.firstItem);
      const { itemCount, firstItem, offeredUnixMs } = found.header;
      const start = { segment: segment.number, offset: found.at, item: firstItem };
      const isForgotten = this.#forgotten.has(firstItem);
      this.#readOffset = found.at + HEADER_BYTES + found.header.storedBytes;
      const passed = this.#passOver(firstItem + itemCount);
      if (isForgotten) continue;
      if (offeredUnixMs < limitMs) {
        this.dropped.expired += passed;
        continue;
      }
      this.#openingItems = passed;
      const bytes = await this.#open(segment, found);
      if (bytes !== null) return { bytes, itemCount, offeredUnixMs, start };
      this.#openingItems = 0;
      this.dropped.damaged += passed;
      this.#options.warn(`${segment.path}: a request of ${itemCount} items is damaged`);
    }
    return null;
  }

  /** The next frame of a segment. What cannot be read is damaged. */
  async #find(segment: Segment): Promise<Found | null> {
    try {
      return await segment.find(this.#readOffset);
    } catch (error) {
      this.#options.warn(`${segment.path}: cannot be read: ${reasonOf(error)}`);
      return null;
    }
  }

  async #open(segment: Segment, found: Found): Promise<Buffer | null> {
    try {
      return await openFrame(found.header, await segment.payload(found));
    } catch (error) {
      this.#options.warn(`${segment.path}: cannot be read: ${reasonOf(error)}`);
      return null;
    }
  }

  /** Nothing more is in this segment; false if none follows. What should have been in the last one is damaged. */
  #leave(segment: Segment): boolean {
    const next = this.#segments[this.#segments.indexOf(segment) + 1];
    if (next === undefined) {
      this.#countDamage(segment, this.#nextItem);
      this.#readOffset = segment.bytes;
      return false;
    }
    this.#reading = next;
    this.#readOffset = 0;
    return true;
  }

  /** Frames that should have come before this item are gone. */
  #countDamage(segment: Segment, firstItem: number): void {
    if (firstItem <= this.#readItem) return;
    const lost = this.#passOver(firstItem);
    if (lost === 0) return;
    this.dropped.damaged += lost;
    this.#options.warn(`${segment.path}: requests with ${lost} items are damaged or missing`);
  }

  /** Goes on to an item; how many before it were still awaited. */
  #passOver(item: number): number {
    let count = Math.max(0, item - this.#readItem);
    this.#readItem = Math.max(this.#readItem, item);
    for (const [firstItem, itemCount] of this.#forgotten) {
      if (firstItem >= item) continue;
      this.#forgotten.delete(firstItem);
      this.#forgottenItems -= itemCount;
      count -= itemCount;
    }
    return count;
  }

  /** Deletes what is delivered, and notes how far that is. */
  async #trim(): Promise<void> {
    while (this.#outstanding[0]?.isSettled === true) this.#outstanding.shift();
    const oldest = this.#outstanding[0]?.handed.start.segment ?? this.#reading?.number ?? 0;
    while ((this.#segments[0]?.number ?? oldest) < oldest) await this.#remove(this.#segments.shift());
    // Nothing is left: no file either.
    if (this.#outstanding.length === 0 && this.#readItem === this.#nextItem && this.#segments.length > 0) {
      for (const segment of this.#segments.splice(0)) await this.#remove(segment);
      this.#writing = null;
      this.#reading = null;
      this.#readOffset = 0;
    }
    await this.#savePosition();
  }

  async #savePosition(): Promise<void> {
    const start = this.#outstanding[0]?.handed.start;
    const segment = this.#reading?.number ?? this.#nextNumber;
    try {
      await this.#positionFile.write(start ?? { segment, offset: this.#readOffset, item: this.#readItem });
    } catch (error) {
      this.#options.warn(`cannot note what is delivered, it may be sent twice: ${reasonOf(error)}`);
    }
  }

  async #remove(segment: Segment | undefined): Promise<void> {
    try {
      await segment?.remove();
    } catch (error) {
      this.#options.warn(`${segment?.path}: cannot be deleted: ${reasonOf(error)}`);
    }
  }
}
