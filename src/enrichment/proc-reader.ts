// Bounded reads of small files into one reused buffer. Files come from directories that other processes control, so
// nothing but a regular file is read (a FIFO would block the worker), no last symbolic link is followed where a target
// could have planted it, and a length is never believed. A file that cannot be read is counted and gives null.
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs';

const BUFFER_BYTES = 256 * 1024;
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export class ProcReader {
  /** Reads that failed because the process or the file is not there (any more). */
  gone = 0;
  /** Reads that were refused or failed otherwise. */
  refused = 0;
  /** Files longer than the buffer, of which the rest was not read. */
  truncated = 0;

  readonly #buffer = Buffer.alloc(BUFFER_BYTES);

  /**
   * Bytes of a file, at most `maxBytes`, in the reader's own buffer: valid until the next read. Null if unreadable.
   * @param isPlanted the file is in a directory that the observed process may write to
   */
  bytes(path: string, maxBytes = BUFFER_BYTES, isPlanted = false): Buffer | null {
    let file = -1;
    try {
      file = openSync(path, isPlanted ? OPEN_FLAGS | constants.O_NOFOLLOW : OPEN_FLAGS);
      if (!fstatSync(file).isFile()) return null;
      return this.#fill(file, Math.min(maxBytes, BUFFER_BYTES));
    } catch (error) {
      this.count(error);
      return null;
    } finally {
      if (file >= 0) closeSync(file);
    }
  }

  /** Text of a file (UTF-8, invalid bytes replaced), null if unreadable. */
  text(path: string, maxBytes = BUFFER_BYTES, isPlanted = false): string | null {
    return this.bytes(path, maxBytes, isPlanted)?.toString('utf8') ?? null;
  }

  /** Target of a symbolic link, '' if unreadable. */
  link(path: string): string {
    try {
      return readlinkSync(path);
    } catch (error) {
      this.count(error);
      return '';
    }
  }

  /** Overwrites what the last read left behind: for files that hold other people's secrets. */
  wipe(bytes: Buffer): void {
    bytes.fill(0);
  }

  count(error: unknown): void {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'ENOTDIR') this.gone++;
    else this.refused++;
  }

  #fill(file: number, maxBytes: number): Buffer {
    let length = 0;
    while (length < maxBytes) {
      const count = readSync(file, this.#buffer, length, maxBytes - length, null);
      if (count === 0) return this.#buffer.subarray(0, length);
      length += count;
    }
    this.truncated++;
    return this.#buffer.subarray(0, length);
  }
}
