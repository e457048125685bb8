// How far a backlog has been delivered: a small file that is written over after every answer of the receiver. If it is
// damaged or behind the truth, requests are delivered a second time; none is lost by it.
import { constants, type FileHandle, open } from 'node:fs/promises';
import { crc32 } from './crc32.js';

const BYTES = 28;
const MAGIC = 0x31705355;

export interface Position {
  readonly segment: number;
  readonly offset: number;
  /** Number of the first item that is not delivered. */
  readonly item: number;
}

export class PositionFile {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  static async open(path: string): Promise<PositionFile> {
    return new PositionFile(await open(path, constants.O_RDWR | constants.O_CREAT, 0o600));
  }

  async read(): Promise<Position | null> {
    const bytes = Buffer.alloc(BYTES);
    const { bytesRead } = await this.#handle.read(bytes, 0, BYTES, 0);
    if (bytesRead < BYTES || bytes.readUInt32LE(0) !== MAGIC) return null;
    if (bytes.readUInt32LE(24) !== crc32(bytes.subarray(0, 24))) return null;
    return { segment: bytes.readUInt32LE(4), offset: bytes.readDoubleLE(8), item: bytes.readDoubleLE(16) };
  }

  async write({ segment, offset, item }: Position): Promise<void> {
    const bytes = Buffer.alloc(BYTES);
    bytes.writeUInt32LE(MAGIC, 0);
    bytes.writeUInt32LE(segment, 4);
    bytes.writeDoubleLE(offset, 8);
    bytes.writeDoubleLE(item, 16);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 24)), 24);
    await this.#handle.write(bytes, 0, BYTES, 0);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
