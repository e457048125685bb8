// Encoded requests on their way to one destination: bounded in bytes and in items, sent a few at a time, in order.
//
//   offer -> waiting -> in flight -> sent | rejected by the receiver | dropped by cause
//
// A destination that is unavailable keeps its requests: after a growing pause one of them is tried, until it is taken or
// older than `maxAgeMs`. When the bounds are reached the oldest waiting request goes, since the newest spans are what an
// operator looks at. What was offered is always the sum of what waits, flies, was sent, was rejected and was dropped.
import { reasonOf } from '../errors.js';
import type { Exporter, ExportResult, Log } from './exporter.js';

export interface ExportQueueOptions {
  readonly exporter: Exporter;
  readonly log: Log;
  /** Bounds of waiting and flying requests together. */
  readonly maxBytes: number;
  readonly maxItems: number;
  /** Requests in flight at once; default 2. */
  readonly concurrency?: number;
  /** How long a request is tried again; default 5 minutes. */
  readonly maxAgeMs?: number;
  /** First pause after a failure, doubled up to `maxPauseMs`; defaults 1 s and 30 s. */
  readonly minPauseMs?: number;
  readonly maxPauseMs?: number;
}

/** Why items were lost here; all counts are items (spans or data points). */
export interface QueueDrops {
  /** The bounds were reached. */
  full: number;
  /** The receiver will not take the request. */
  refused: number;
  /** The destination was unavailable for too long. */
  expired: number;
  /** Not delivered when the agent ended; some of them may have arrived without an answer. */
  shutdown: number;
}

export interface QueueCounts {
  offered: number;
  sent: number;
  /** Rejected by the receiver out of requests that it took. */
  rejected: number;
  readonly dropped: QueueDrops;
}

interface Request {
  readonly bytes: Uint8Array;
  readonly itemCount: number;
  readonly offeredAtMs: number;
  /** Order of arrival. */
  readonly serial: number;
}

/** A receiver may ask for no longer pause than this. */
const MAX_RETRY_AFTER_MS = 600_000;
/** While the agent ends, failures are followed by short pauses only. */
const FLUSH_PAUSE_MS = 250;

export class ExportQueue {
  readonly counts: QueueCounts = {
    offered: 0,
    sent: 0,
    rejected: 0,
    dropped: { full: 0, refused: 0, expired: 0, shutdown: 0 },
  };
  readonly #exporter: Exporter;
  readonly #log: Log;
  readonly #maxBytes: number;
  readonly #maxItems: number;
  readonly #concurrency: number;
  readonly #maxAgeMs: number;
  readonly #minPauseMs: number;
  readonly #maxPauseMs: number;
  readonly #waiting: Request[] = [];
  readonly #flying = new Set<Request>();
  #heldBytes = 0;
  #heldItems = 0;
  #serial = 0;
  #failures = 0;
  #unavailableSinceMs = 0;
  #pauseTimer: NodeJS.Timeout | null = null;
  #isFlushing = false;
  #isClosed = false;
  #onIdle: (() => void)[] = [];

  constructor(options: ExportQueueOptions) {
    this.#exporter = options.exporter;
    this.#log = options.log;
    this.#maxBytes = options.maxBytes;
    this.#maxItems = options.maxItems;
    this.#concurrency = options.concurrency ?? 2;
    this.#maxAgeMs = options.maxAgeMs ?? 300_000;
    this.#minPauseMs = options.minPauseMs ?? 1000;
    this.#maxPauseMs = options.maxPauseMs ?? 30_000;
  }

  get name(): string {
    return this.#exporter.name;
  }

  /** Bytes waiting and in flight. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Items waiting and in flight. */
  get heldItems(): number {
    return this.#heldItems;
  }

  get isUnavailable(): boolean {
    return this.#failures > 0;
  }

  /** Takes a request for delivery; makes room at the expense of the oldest. Never throws, never blocks. */
  offer(bytes: Uint8Array, itemCount: number): void {
    this.counts.offered += itemCount;
    if (this.#isClosed) {
      this.counts.dropped.shutdown += itemCount;
      return;
    }
    while (!this.#hasRoom(bytes.length, itemCount)) {
      const oldest = this.#waiting.shift();
      if (oldest === undefined) {
        this.counts.dropped.full += itemCount;
        return;
      }
      this.counts.dropped.full += oldest.itemCount;
      this.#release(oldest);
    }
    this.#heldBytes += bytes.length;
    this.#heldItems += itemCount;
    this.#waiting.push({ bytes, itemCount, offeredAtMs: performance.now(), serial: this.#serial++ });
    this.#pump();
  }

  /** Resolves when nothing is held any more (true) or after `timeoutMs` (false). Pauses are cut short meanwhile. */
  async flush(timeoutMs: number): Promise<boolean> {
    if (this.#waiting.length === 0 && this.#flying.size === 0) return true;
    this.#isFlushing = true;
    this.#resume();
    const isDone = await new Promise<boolean>(resolve => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      this.#onIdle.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    this.#isFlushing = false;
    return isDone;
  }

  /** Flushes, drops and counts what is left, and shuts the exporter down, within `timeoutMs` in all. */
  async close(timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    await this.flush(timeoutMs);
    this.#isClosed = true;
    this.#cancelPause();
    for (const request of [...this.#waiting, ...this.#flying]) {
      this.counts.dropped.shutdown += request.itemCount;
      this.#release(request);
    }
    this.#waiting.length = 0;
    this.#flying.clear();
    await this.#exporter.shutdown(Math.max(0, endMs - performance.now()));
  }

  #hasRoom(bytes: number, itemCount: number): boolean {
    return this.#heldBytes + bytes <= this.#maxBytes && this.#heldItems + itemCount <= this.#maxItems;
  }

  #release(request: Request): void {
    this.#heldBytes -= request.bytes.length;
    this.#heldItems -= request.itemCount;
  }

  /** Sends what may be sent; after a failure one request alone goes ahead. */
  #pump(): void {
    if (this.#pauseTimer !== null || this.#isClosed) return;
    const limit = this.#failures > 0 ? 1 : this.#concurrency;
    while (this.#flying.size < limit) {
      const request = this.#waiting.shift();
      if (request === undefined) break;
      this.#flying.add(request);
      void this.#send(request);
    }
    if (this.#flying.size === 0 && this.#waiting.length === 0) {
      for (const resolve of this.#onIdle.splice(0)) resolve();
    }
  }

  async #send(request: Request): Promise<void> {
    let result: ExportResult;
    try {
      result = await this.#exporter.export(request.bytes, request.itemCount);
    } catch (error) {
      result = { kind: 'refused', code: 'internal', message: reasonOf(error) };
    }
    // close() has given it up and counted it meanwhile.
    if (!this.#flying.delete(request)) return;
    if (result.kind === 'unavailable') this.#keep(request, result.message, result.retryAfterMs);
    else this.#settle(request, result);
    this.#pump();
  }

  #settle(request: Request, result: Exclude<ExportResult, { kind: 'unavailable' }>): void {
    this.#release(request);
    if (this.#failures > 0) {
      const seconds = ((performance.now() - this.#unavailableSinceMs) / 1000).toFixed(1);
      this.#log('info', `${this.name}: available again after ${seconds} s`);
      this.#failures = 0;
    }
    if (result.kind === 'refused') {
      this.counts.dropped.refused += request.itemCount;
      this.#log('warn', `${this.name}: refused ${request.itemCount} items: ${result.message}`);
      return;
    }
    const rejected = result.kind === 'partial' ? Math.min(result.rejected, request.itemCount) : 0;
    this.counts.sent += request.itemCount - rejected;
    this.counts.rejected += rejected;
    if (result.kind === 'partial') {
      this.#log('warn', `${this.name}: rejected ${rejected} of ${request.itemCount} items: ${result.message}`);
    }
  }

  /** Puts a request back to its place, unless it is too old, and pauses. */
  #keep(request: Request, message: string, retryAfterMs: number | null): void {
    const nowMs = performance.now();
    if (this.#failures === 0) {
      this.#unavailableSinceMs = nowMs;
      this.#log('warn', `${this.name}: unavailable, keeping up to ${this.#maxItems} items: ${message}`);
    }
    if (nowMs - request.offeredAtMs > this.#maxAgeMs) {
      this.counts.dropped.expired += request.itemCount;
      this.#release(request);
    } else {
      const later = this.#waiting.findIndex(other => other.serial > request.serial);
      this.#waiting.splice(later < 0 ? this.#waiting.length : later, 0, request);
    }
    // Requests that flew together fail together: that is one failure.
    if (this.#pauseTimer !== null) return;
    const grown = Math.min(this.#minPauseMs * 2 ** this.#failures, this.#maxPauseMs);
    this.#failures++;
    this.#pause(Math.max(grown * (0.8 + 0.4 * Math.random()), Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS)));
  }

  #pause(pauseMs: number): void {
    const timer = setTimeout(() => this.#resume(), this.#isFlushing ? Math.min(pauseMs, FLUSH_PAUSE_MS) : pauseMs);
    timer.unref();
    this.#pauseTimer = timer;
  }

  #cancelPause(): void {
    if (this.#pauseTimer !== null) clearTimeout(this.#pauseTimer);
    this.#pauseTimer = null;
  }

  #resume(): void {
    this.#cancelPause();
    this.#pump();
  }
}
