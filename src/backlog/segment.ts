// A file of frames, one after the other: written at its end by the agent that made it, read from the front, deleted
// whole. After damage the next frame is found by its magic and its header's CRC.
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { decodeHeader, type FrameHeader, HEADER_BYTES, MAGIC_BYTES } from './frame.js';

/** How much is looked through at once for the next frame. */
const SEARCH_BYTES = 64 * 1024;

export interface Found {
  readonly at: number;
  readonly header: FrameHeader;
}

export class Segment {
  readonly number: number;
  readonly path: string;
  /** Bytes of whole frames, and of damage between them. */
  bytes: number;
  /** Number of the first item in it. */
  firstItem: number;
  /** When its last frame was offered, Unix milliseconds. */
  lastOfferedUnixMs = 0;
  readonly #handle: FileHandle;
  #isSynced = true;

  private constructor(number: number, path: string, handle: FileHandle, bytes: number, firstItem: number) {
    this.number = number;
    this.path = path;
    this.#handle = handle;
    this.bytes = bytes;
    this.firstItem = firstItem;
  }

  static async create(number: number, path: string, firstItem: number): Promise<Segment> {
    return new Segment(number, path, await open(path, 'wx+', 0o600), 0, firstItem);
  }

  /** One of an earlier agent; `firstItem` is set by who walks through it. */
  static async openExisting(number: number, path: string): Promise<Segment> {
    const handle = await open(path, 'r');
    return new Segment(number, path, handle, (await handle.stat()).size, Number.NaN);
  }

  /** Appends a frame whole, or leaves the file as it was and rejects. */
  async append(frame: Buffer, offeredUnixMs: number): Promise<void> {
    const start = this.bytes;
    try {
      for (let done = 0; done < frame.length; ) {
        const { bytesWritten } = await this.#handle.write(frame, done, frame.length - done, start + done);
        done += bytesWritten;
      }
    } catch (error) {
      await this.#handle.truncate(start).catch(() => undefined);
      throw error;
    }
    this.bytes = start + frame.length;
    this.lastOfferedUnixMs = Math.max(this.lastOfferedUnixMs, offeredUnixMs);
    this.#isSynced = false;
  }

  async sync(): Promise<void> {
    if (this.#isSynced) return;
    this.#isSynced = true;
    await this.#handle.datasync();
  }

  /** The first frame at or behind `from`; null if none follows. */
  async find(from: number): Promise<Found | null> {
    const header = await this.#headerAt(from);
    if (header !== null) return { at: from, header };
    for (let base = from + 1; base < this.bytes; base += SEARCH_BYTES) {
      const part = await this.read(base, Math.min(SEARCH_BYTES + HEADER_BYTES, this.bytes - base));
      let index = part.indexOf(MAGIC_BYTES);
      for (; index >= 0 && index < SEARCH_BYTES; index = part.indexOf(MAGIC_BYTES, index + 1)) {
        const found = await this.#headerAt(base + index);
        if (found !== null) return { at: base + index, header: found };
      }
    }
    return null;
  }

  /** What is stored of a frame; shorter than its header says if the file ends before. */
  payload({ at, header }: Found): Promise<Buffer> {
    return this.read(at + HEADER_BYTES, Math.min(header.storedBytes, Math.max(0, this.bytes - at - HEADER_BYTES)));
  }

  async read(at: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(buffer, done, length - done, at + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return buffer.subarray(0, done);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async remove(): Promise<void> {
    await this.#handle.close();
    await unlink(this.path);
  }

  async #headerAt(at: number): Promise<FrameHeader | null> {
    if (at + HEADER_BYTES > this.bytes) return null;
    return decodeHeader(await this.read(at, HEADER_BYTES));
  }
}
