// Encoded requests on their way to one destination, in order: a bounded line in memory, and behind it (ahead of it in
// order) a backlog on disk for as long as the destination is away or slower than what comes in.
//
//   offer -> waiting ---------------------> in flight -> sent | rejected by the receiver | dropped by cause
//               '-> storing -> backlog -----'
//
// Healthy: nothing touches the disk. Unavailable: after a growing pause one request is tried, until it is taken; meanwhile
// everything, also what is in flight, is stored. Then the backlog is sent at its own pace, and what comes in is stored
// behind it until nothing is left. Without a backlog the line keeps what it can until it is older than `maxAgeMs`. When the
// bounds are reached the oldest request goes. What was offered, or found on disk, is always the sum of what waits, flies, is
// kept, was sent, was rejected and was dropped.
import type { Backlog, Handed } from '../backlog/backlog.js';
import { reasonOf } from '../errors.js';
import { Backoff } from './backoff.js';
import type { Exporter, ExportResult, Log } from './exporter.js';
import { Pace } from './pace.js';
import { type Request, Storing } from './storing.js';

export interface ExportQueueOptions {
  readonly exporter: Exporter;
  readonly log: Log;
  /** Bounds of waiting and flying requests together. */
  readonly maxBytes: number;
  readonly maxItems: number;
  /** The queue closes it. */
  readonly backlog?: Backlog | null;
  /** Requests in flight at once; default 2. */
  readonly concurrency?: number;
  /** How long a request is tried again without a backlog; default 5 minutes. */
  readonly maxAgeMs?: number;
  /** First pause after a failure, doubled up to `maxPauseMs`; defaults 1 s and 30 s. */
  readonly minPauseMs?: number;
  readonly maxPauseMs?: number;
  /** Of the backlog, besides twice of what comes in; default 4 MiB. */
  readonly catchUpBytesPerSecond?: number;
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
  /** Attempts (not items) that found the destination unavailable. */
  failures: number;
  readonly dropped: QueueDrops;
}

type Final = Exclude<ExportResult, { kind: 'unavailable' }>;

/** Of the time to close, for deliveries; the rest is for the disk. */
const FLUSH_SHARE = 0.7;

export class ExportQueue {
  readonly counts: QueueCounts = {
    offered: 0,
    sent: 0,
    rejected: 0,
    failures: 0,
    dropped: { full: 0, refused: 0, expired: 0, shutdown: 0 },
  };
  readonly #exporter: Exporter;
  readonly #log: Log;
  readonly #maxBytes: number;
  readonly #maxItems: number;
  readonly #concurrency: number;
  readonly #maxAgeMs: number;
  readonly #backoff: Backoff;
  readonly #pace: Pace;
  readonly #backlog: Backlog | null;
  readonly #storing: Storing | null;
  readonly #waiting: Request[] = [];
  readonly #flying = new Set<Request>();
  /** Requests of the backlog. */
  #flyingKept = 0;
  /** One is being read from it, or waits for its time. */
  #isTaking = false;
  /** Asked to pump while it was taking. */
  #isPumpDue = false;
  #heldBytes = 0;
  #heldItems = 0;
  #serial = 0;
  #isFlushing = false;
  #isClosed = false;
  #onIdle: ((isDone: boolean) => void)[] = [];

  constructor(options: ExportQueueOptions) {
    this.#exporter = options.exporter;
    this.#log = options.log;
    this.#maxBytes = options.maxBytes;
    this.#maxItems = options.maxItems;
    this.#concurrency = options.concurrency ?? 2;
    this.#maxAgeMs = options.maxAgeMs ?? 300_000;
    this.#backoff = new Backoff(options.minPauseMs ?? 1000, options.maxPauseMs ?? 30_000, () => this.#pump());
    this.#pace = new Pace(options.catchUpBytesPerSecond ?? 4 << 20);
    this.#backlog = options.backlog ?? null;
    this.#storing =
      this.#backlog === null
        ? null
        : new Storing(this.#backlog, {
            waiting: this.#waiting,
            flying: this.#flying,
            release: request => this.#release(request),
            forget,
            onEnd: () => this.#pump(),
            log: message => this.#log('warn', `${this.name}: ${message}`),
          });
    const keptItems = this.#backlog?.itemCount ?? 0;
    if (keptItems > 0) {
      this.#log('info', `${this.name}: ${keptItems} items were kept on disk and will be sent`);
      setImmediate(() => this.#pump());
    }
  }

  get name(): string {
    return this.#exporter.name;
  }

  /** What is offered may be read after it is gone. */
  get keepsBytes(): boolean {
    return this.#exporter.keepsBytes;
  }

  /** Bytes waiting and in flight. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Items waiting and in flight. */
  get heldItems(): number {
    return this.#heldItems;
  }

  /** What is on disk; null if nothing ever will be. */
  get keptIn(): Pick<Backlog, 'itemCount' | 'byteLength' | 'recovered' | 'dropped'> | null {
    return this.#backlog;
  }

  get isUnavailable(): boolean {
    return this.#backoff.isFailing;
  }

  /**
   * Takes a request for delivery; makes room at the expense of the oldest. Never throws, never blocks. `onGone` is called
   * once, when `bytes` are not read any more.
   */
  offer(bytes: Uint8Array, itemCount: number, onGone: (() => void) | null = null): void {
    this.counts.offered += itemCount;
    if (this.#isClosed) {
      this.counts.dropped.shutdown += itemCount;
      onGone?.();
      return;
    }
    while (!this.#hasRoom(bytes.length, itemCount)) {
      const oldest = this.#waiting.shift();
      if (oldest === undefined) {
        this.#dropFull(itemCount);
        onGone?.();
        return;
      }
      this.#dropFull(oldest.itemCount);
      this.#release(oldest);
      forget(oldest);
    }
    this.#heldBytes += bytes.length;
    this.#heldItems += itemCount;
    const nowMs = performance.now();
    this.#pace.observe(bytes.length, nowMs);
    this.#waiting.push({
      bytes,
      itemCount,
      offeredAtMs: nowMs,
      serial: this.#serial++,
      keptAs: null,
      isSettled: false,
      onGone,
    });
    this.#pump();
  }

  /** Resolves when nothing is held in memory any more (true) or after `timeoutMs` (false). Pauses are cut short meanwhile. */
  async flush(timeoutMs: number): Promise<boolean> {
    if (this.#isIdle) return true;
    this.#isFlushing = true;
    this.#backoff.end();
    const isDone = await new Promise<boolean>(resolve => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      this.#onIdle.push(done => {
        clearTimeout(timer);
        resolve(done);
      });
    });
    this.#isFlushing = false;
    return isDone;
  }

  /** Flushes, stores or drops and counts what is left, and shuts the exporter down, within `timeoutMs` in all. */
  async close(timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    if (this.#storing === null) await this.flush(timeoutMs);
    else {
      if (!this.#isKeeping) await this.flush(timeoutMs * FLUSH_SHARE);
      await this.#storing.storeAll(Math.max(0, endMs - performance.now()));
    }
    this.#isClosed = true;
    this.#backoff.cancel();
    for (const request of [...this.#waiting, ...this.#flying]) {
      if (request.keptAs !== null) continue;
      this.counts.dropped.shutdown += request.itemCount;
      this.#release(request);
    }
    this.#waiting.length = 0;
    this.#flying.clear();
    await this.#exporter.shutdown(Math.max(0, endMs - performance.now()));
    await this.#backlog?.close();
  }

  /** The way leads through the disk. */
  get #isKeeping(): boolean {
    if (this.#backlog === null || this.#storing === null) return false;
    return this.#storing.isBusy || this.#backlog.itemCount > 0 || (this.#backoff.isFailing && !this.#storing.isRefused);
  }

  get #isSlow(): boolean {
    return this.#heldBytes > this.#maxBytes / 2 || this.#heldItems > this.#maxItems / 2;
  }

  get #isIdle(): boolean {
    return this.#waiting.length === 0 && this.#flying.size === 0 && this.#storing?.isBusy !== true;
  }

  #hasRoom(bytes: number, itemCount: number): boolean {
    return this.#heldBytes + bytes <= this.#maxBytes && this.#heldItems + itemCount <= this.#maxItems;
  }

  #dropFull(itemCount: number): void {
    this.counts.dropped.full += itemCount;
    this.#log('warn', `${this.name}: slower than what comes in: what waits longest is dropped (reason queue_full)`);
  }

  #release(request: Request): void {
    this.#heldBytes -= request.bytes.length;
    this.#heldItems -= request.itemCount;
  }

  /** Stores what must be stored, sends what may be sent; after a failure one request alone goes ahead. */
  #pump(): void {
    if (this.#isClosed) return;
    if (this.#isTaking) this.#isPumpDue = true;
    const isKeeping = this.#isKeeping || (this.#backlog !== null && this.#isSlow);
    if (isKeeping) this.#storing?.start();
    if (!this.#backoff.isPausing) {
      const limit = this.#backoff.isFailing ? 1 : this.#concurrency;
      while (this.#flying.size + this.#flyingKept < limit) {
        if (this.#backlog !== null && this.#isKeeping) {
          // What flies was offered before what is kept.
          if (this.#isTaking || this.#flying.size > 0 || this.#backlog.itemCount === 0) break;
          void this.#takeKept(this.#backlog);
        } else {
          const request = this.#waiting.shift();
          if (request === undefined) break;
          this.#flying.add(request);
          void this.#send(request);
        }
      }
    }
    if (this.#isIdle) for (const resolve of this.#onIdle.splice(0)) resolve(true);
  }

  async #send(request: Request): Promise<void> {
    const result = await this.#export(request.bytes, request.itemCount);
    // close() has given it up and counted it meanwhile.
    if (!this.#flying.delete(request)) {
      forget(request);
      return;
    }
    if (result.kind === 'unavailable') this.#keep(request, result.message, result.retryAfterMs);
    else {
      request.isSettled = true;
      // Its copy on disk may have made room for others and been counted.
      const isCounted = request.keptAs !== null && this.#backlog?.forget(request.keptAs, request.itemCount) === false;
      if (request.keptAs === null) this.#release(request);
      this.#settle(isCounted ? 0 : request.itemCount, result);
      if (!this.#isStoring(request)) forget(request);
    }
    this.#pump();
  }

  /** It is under way to the disk, and read there. */
  #isStoring(request: Request): boolean {
    return this.#storing?.has(request) ?? false;
  }

  /** Takes the oldest of the backlog in its own time, and sends it. */
  async #takeKept(backlog: Backlog): Promise<void> {
    this.#isTaking = true;
    this.#isPumpDue = false;
    const handed = await backlog.next();
    const waitMs = handed === null ? 0 : this.#pace.take(handed.bytes.length, performance.now());
    if (waitMs > 0) await new Promise(resolve => setTimeout(resolve, waitMs).unref());
    this.#isTaking = false;
    if (this.#isClosed) return;
    if (handed !== null) void this.#sendKept(backlog, handed);
    // Without a request all of it may be in flight; or something came, or came back, while it was asked for.
    if (handed !== null || backlog.itemCount === 0 || this.#isPumpDue) this.#pump();
  }

  async #sendKept(backlog: Backlog, handed: Handed): Promise<void> {
    this.#flyingKept++;
    const result = await this.#export(handed.bytes, handed.itemCount);
    this.#flyingKept--;
    if (this.#isClosed) return;
    if (result.kind === 'unavailable') {
      backlog.putBack(handed);
      this.#fail(result.message, result.retryAfterMs);
    } else {
      this.#settle(handed.itemCount, result);
      void backlog.settle(handed);
    }
    this.#pump();
  }

  async #export(bytes: Uint8Array, itemCount: number): Promise<ExportResult> {
    try {
      return await this.#exporter.export(bytes, itemCount);
    } catch (error) {
      return { kind: 'refused', code: 'internal', message: reasonOf(error) };
    }
  }

  #settle(itemCount: number, result: Final): void {
    const failedMs = this.#backoff.succeed();
    if (failedMs > 0) this.#log('info', `${this.name}: available again after ${(failedMs / 1000).toFixed(1)} s`);
    if (result.kind === 'refused') {
      this.counts.dropped.refused += itemCount;
      this.#log('warn', `${this.name}: refused ${itemCount} items: ${result.message}`);
      return;
    }
    const rejected = result.kind === 'partial' ? Math.min(result.rejected, itemCount) : 0;
    this.counts.sent += itemCount - rejected;
    this.counts.rejected += rejected;
    if (result.kind === 'partial') {
      this.#log('warn', `${this.name}: rejected ${rejected} of ${itemCount} items: ${result.message}`);
    }
  }

  /** Puts a request back to its place, unless it is stored or too old, and pauses. */
  #keep(request: Request, message: string, retryAfterMs: number | null): void {
    if (request.keptAs !== null) forget(request);
    else if (!this.#isStoring(request)) {
      if (this.#backlog === null && performance.now() - request.offeredAtMs > this.#maxAgeMs) {
        this.counts.dropped.expired += request.itemCount;
        this.#release(request);
        forget(request);
      } else {
        const later = this.#waiting.findIndex(other => other.serial > request.serial);
        this.#waiting.splice(later < 0 ? this.#waiting.length : later, 0, request);
      }
    }
    this.#fail(message, retryAfterMs);
  }

  #fail(message: string, retryAfterMs: number | null): void {
    this.counts.failures++;
    if (!this.#backoff.isFailing) {
      const room = this.#backlog === null ? `keeping up to ${this.#maxItems} items` : 'keeping everything on disk';
      this.#log('warn', `${this.name}: unavailable, ${room}: ${message}`);
    }
    this.#backoff.fail(retryAfterMs, this.#isFlushing);
    // With a backlog nobody needs to wait for a destination that is away.
    if (this.#backlog !== null) for (const resolve of this.#onIdle.splice(0)) resolve(false);
  }
}

/** Nobody reads its bytes any more: it neither waits, flies nor is under way to the disk. */
function forget(request: Request): void {
  request.onGone?.();
  request.onGone = null;
}
