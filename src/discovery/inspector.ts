// Reads large executables in a thread of their own, so that the rings are emptied meanwhile: the tables of a Go program of
// 100 MB take up to a second from a cold disk, the data ring holds a quarter of a second at full load. The thread
// lives while there is something to read. In: files, one at a time. Out: what is to be probed in them, or why
// nothing is.
import { Worker } from 'node:worker_threads';
import { reasonOf } from '../errors.js';
import type { Executable } from './executable.js';
import type { Inspected, Question } from './inspector-thread.js';

const IDLE_MS = 10_000;

interface Request {
  readonly done: (inspected: Inspected) => void;
}

export class Inspector {
  #thread: Worker | null = null;
  #request: Request | null = null;
  #idleTimer: NodeJS.Timeout | null = null;

  get isBusy(): boolean {
    return this.#request !== null;
  }

  /** The file has to stay open until `done` is called, which happens in any case but `close`. */
  inspect(executable: Executable, about: Question['about'], done: (inspected: Inspected) => void): void {
    if (this.#request !== null) throw new Error('one file at a time');
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#request = { done };
    this.#thread ??= this.#startThread();
    const question: Question = { descriptor: executable.descriptor, about };
    this.#thread.postMessage(question);
  }

  close(): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#request = null;
    void this.#thread?.terminate();
    this.#thread = null;
  }

  #startThread(): Worker {
    const thread = new Worker(new URL('./inspector-thread.js', import.meta.url));
    thread.unref();
    thread.on('message', (inspected: Inspected) => this.#onAnswer(inspected));
    thread.on('error', error => {
      if (this.#thread !== thread) return;
      this.#thread = null;
      this.#onAnswer({ targets: [], opacity: null, detail: reasonOf(error) });
    });
    return thread;
  }

  #onAnswer(inspected: Inspected): void {
    const request = this.#request;
    this.#request = null;
    this.#idleTimer = setTimeout(() => this.close(), IDLE_MS).unref();
    request?.done(inspected);
  }
}
