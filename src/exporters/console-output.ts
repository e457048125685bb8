// Lines on their way to standard output, without ever waiting for whoever reads them: Node's own stream blocks the whole
// thread while a terminal is stopped (Ctrl-S, a suspended pager) and would queue without bound for a slow pipe. Comes in:
// text of whole lines. Lost: what exceeds the bound; write() says so and the caller counts it. A line is never cut.
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import type { WriteStream } from 'node:tty';

export interface LineOutput {
  readonly columns: number;
  readonly isTerminal: boolean;
  /** Takes the text as a whole, or nothing of it: false. Never blocks, never throws. */
  write(text: string): boolean;
  /** Resolves when everything taken is written, or after `timeoutMs`. */
  flush(timeoutMs: number): Promise<void>;
  close(): void;
}

export interface OutputOptions {
  /** Bytes that may wait for the reader; default 256 KiB. */
  readonly maxPendingBytes?: number;
}

const PENDING_DEFAULT = 256 * 1024;
const RETRY_MS = 20;
/** Columns of a pipe or file, whose reader has a width that we cannot know. */
const COLUMNS_ELSEWHERE = 160;

/** The process's standard output as a LineOutput. */
export function openOutput(stream: NodeJS.WriteStream, options: OutputOptions = {}): LineOutput {
  if (!stream.isTTY) return new StreamOutput(stream, options);
  const fd = reopen(stream as WriteStream);
  return fd < 0 ? new StreamOutput(stream, options) : new TerminalOutput(stream as WriteStream, fd, options);
}

/** A file description of our own for the same terminal, non-blocking for us alone; -1 if there is none to be had. */
function reopen(stream: WriteStream & { readonly fd?: number }): number {
  try {
    return openSync(`/proc/self/fd/${stream.fd ?? 1}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // No /proc, or a terminal of another user: the blocking stream then has to do.
    return -1;
  }
}

/** A terminal, written to directly; what it does not take at once is tried again soon. */
class TerminalOutput implements LineOutput {
  readonly isTerminal = true;
  readonly #stream: WriteStream;
  readonly #fd: number;
  readonly #maxPendingBytes: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #isGone = false;

  constructor(stream: WriteStream, fd: number, options: OutputOptions) {
    this.#stream = stream;
    this.#fd = fd;
    this.#maxPendingBytes = options.maxPendingBytes ?? PENDING_DEFAULT;
  }

  get columns(): number {
    return this.#stream.columns || COLUMNS_ELSEWHERE;
  }

  write(text: string): boolean {
    const bytes = Buffer.from(text);
    if (this.#isGone || this.#pendingBytes + bytes.length > this.#maxPendingBytes) return false;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#drain();
    return true;
  }

  async flush(timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (this.#pendingBytes > 0 && !this.#isGone && performance.now() < endMs) {
      await new Promise(resolve => setTimeout(resolve, RETRY_MS));
    }
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#isGone) closeSync(this.#fd);
    this.#isGone = true;
  }

  #drain(): void {
    let first = this.#pending[0];
    while (first !== undefined) {
      const written = this.#tryWrite(first);
      this.#pendingBytes -= written;
      if (written < first.length) {
        this.#pending[0] = first.subarray(written);
        break;
      }
      this.#pending.shift();
      first = this.#pending[0];
    }
    if (first === undefined || this.#timer !== null || this.#isGone) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#drain();
    }, RETRY_MS);
  }

  /** Bytes that the terminal took; 0 if it is stopped. */
  #tryWrite(bytes: Buffer): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      // EIO: hung up. What waits, and all that follows, has no reader any more.
      this.#pending = [];
      this.#pendingBytes = 0;
      this.close();
      return bytes.length;
    }
  }
}

/** A pipe, socket or file through Node's stream, which queues for pipes: bounded here. */
class StreamOutput implements LineOutput {
  readonly isTerminal: boolean;
  readonly #stream: NodeJS.WriteStream;
  readonly #maxPendingBytes: number;

  constructor(stream: NodeJS.WriteStream, options: OutputOptions) {
    this.#stream = stream;
    this.isTerminal = stream.isTTY === true;
    this.#maxPendingBytes = options.maxPendingBytes ?? PENDING_DEFAULT;
  }

  get columns(): number {
    return this.#stream.columns || COLUMNS_ELSEWHERE;
  }

  write(text: string): boolean {
    if (!this.#stream.writable || this.#stream.writableLength + text.length > this.#maxPendingBytes) return false;
    this.#stream.write(text);
    return true;
  }

  async flush(timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (this.#stream.writable && this.#stream.writableLength > 0 && performance.now() < endMs) {
      await new Promise(resolve => setTimeout(resolve, RETRY_MS));
    }
  }

  close(): void {
    // Standard output belongs to the process.
  }
}
