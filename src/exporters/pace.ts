// How fast a backlog is sent once its destination is back: a steady rate plus twice of what comes in meanwhile. So an hour's
// backlog neither floods a receiver that has just come back, nor grows.

const WINDOW_MS = 10_000;
const LIVE_FACTOR = 2;

export class Pace {
  readonly #bytesPerSecond: number;
  #liveBytesPerSecond = 0;
  #windowBytes = 0;
  #windowStartMs = performance.now();
  /** When the next request may be sent. */
  #nextMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Bytes have come in. */
  observe(bytes: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#windowStartMs;
    if (elapsedMs >= WINDOW_MS) {
      this.#liveBytesPerSecond = (this.#windowBytes / elapsedMs) * 1000;
      this.#windowBytes = 0;
      this.#windowStartMs = nowMs;
    }
    this.#windowBytes += bytes;
  }

  /** Takes the place of a request; how long it has to wait for it, in milliseconds. */
  take(bytes: number, nowMs: number): number {
    const rate = this.#bytesPerSecond + LIVE_FACTOR * this.#liveBytesPerSecond;
    const waitMs = Math.max(0, this.#nextMs - nowMs);
    this.#nextMs = Math.max(nowMs, this.#nextMs) + (bytes / rate) * 1000;
    return waitMs;
  }
}
