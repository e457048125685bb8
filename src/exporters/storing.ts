// The way from a queue's memory into its backlog: oldest first, one request at a time, behind the queue's back. What is
// in flight is stored too: it is older than what waits, and nobody knows what becomes of it. Where the disk refuses, the
// requests stay in memory, and it is asked again later.
import type { Backlog } from '../backlog/backlog.js';
import { reasonOf } from '../errors.js';

export interface Request {
  readonly bytes: Uint8Array;
  readonly itemCount: number;
  readonly offeredAtMs: number;
  /** Order of arrival. */
  readonly serial: number;
  /** The number of its first item in the backlog, once it is there. */
  keptAs: number | null;
  /** What became of it is known. */
  isSettled: boolean;
  /** To be told once when nobody reads `bytes` any more. */
  onGone: (() => void) | null;
}

export interface StoringContext {
  readonly waiting: Request[];
  readonly flying: ReadonlySet<Request>;
  /** The request is not held in memory on its own account any more. */
  readonly release: (request: Request) => void;
  /** Nobody reads its bytes any more. */
  readonly forget: (request: Request) => void;
  readonly onEnd: () => void;
  readonly log: (message: string) => void;
}

const RETRY_MS = 5000;

export class Storing {
  readonly #backlog: Backlog;
  readonly #context: StoringContext;
  /** Under way to the disk. */
  #current: Request | null = null;
  #run: Promise<void> | null = null;
  #refusedUntilMs = 0;

  constructor(backlog: Backlog, context: StoringContext) {
    this.#backlog = backlog;
    this.#context = context;
  }

  get isBusy(): boolean {
    return this.#run !== null;
  }

  /** The disk would not take anything a short while ago. */
  get isRefused(): boolean {
    return performance.now() < this.#refusedUntilMs;
  }

  has(request: Request): boolean {
    return this.#current === request;
  }

  /** Stores what is in flight and everything that waits. */
  start(): void {
    if (this.#run !== null || this.isRefused || !this.#hasWork) return;
    this.#run = this.#store().finally(() => {
      this.#run = null;
      this.#context.onEnd();
    });
  }

  /** Stores all there is, for at most `timeoutMs`. */
  async storeAll(timeoutMs: number): Promise<void> {
    this.#refusedUntilMs = 0;
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      this.start();
      const leftMs = endMs - performance.now();
      if (this.#run === null || leftMs <= 0) return;
      let timer: NodeJS.Timeout | undefined;
      const expiry = new Promise<void>(resolve => {
        timer = setTimeout(resolve, leftMs);
      });
      await Promise.race([this.#run, expiry]);
      clearTimeout(timer);
    }
  }

  get #hasWork(): boolean {
    return this.#context.waiting.length > 0 || this.#unstoredFlying().length > 0;
  }

  #unstoredFlying(): Request[] {
    return [...this.#context.flying].filter(request => request.keptAs === null);
  }

  async #store(): Promise<void> {
    for (let request = this.#takeOldest(); request !== null; request = this.#takeOldest()) {
      this.#current = request;
      const keptAs = await this.#append(request);
      this.#current = null;
      if (keptAs === null) {
        this.#refuse(request);
        return;
      }
      this.#place(request, keptAs);
    }
  }

  #takeOldest(): Request | null {
    const { waiting } = this.#context;
    const [flying] = this.#unstoredFlying().sort((a, b) => a.serial - b.serial);
    const [first] = waiting;
    if (flying !== undefined && (first === undefined || flying.serial < first.serial)) return flying;
    return waiting.shift() ?? null;
  }

  async #append({ bytes, itemCount, offeredAtMs }: Request): Promise<number | null> {
    const offeredUnixMs = Date.now() - performance.now() + offeredAtMs;
    try {
      return await this.#backlog.append({ bytes, itemCount, offeredUnixMs });
    } catch (error) {
      this.#context.log(`nothing could be stored: ${reasonOf(error)}`);
      return null;
    }
  }

  /** A request is on disk now; if it was settled meanwhile, it need not be. */
  #place(request: Request, keptAs: number): void {
    const { flying, forget, release } = this.#context;
    if (!flying.has(request)) forget(request);
    if (request.isSettled) {
      this.#backlog.forget(keptAs, request.itemCount);
      return;
    }
    request.keptAs = keptAs;
    release(request);
  }

  /** Back to where it came from; if it flies, its sender has it still. */
  #refuse(request: Request): void {
    this.#refusedUntilMs = performance.now() + RETRY_MS;
    const { waiting, flying, forget } = this.#context;
    if (flying.has(request)) return;
    if (request.isSettled) forget(request);
    else waiting.unshift(request);
  }
}
