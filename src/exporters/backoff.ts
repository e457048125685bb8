// The pauses of a queue whose destination is unavailable: exponential with jitter, no shorter than what the receiver asks
// for (OTLP specification, "Failures", "Throttling"). One pause at a time; calls back when it is over.

/** A receiver may ask for no longer pause than this. */
const MAX_RETRY_AFTER_MS = 600_000;
/** While the agent ends, failures are followed by short pauses only. */
const HURRIED_PAUSE_MS = 250;

export class Backoff {
  readonly #minPauseMs: number;
  readonly #maxPauseMs: number;
  readonly #onEnd: () => void;
  #failures = 0;
  #sinceMs = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(minPauseMs: number, maxPauseMs: number, onEnd: () => void) {
    this.#minPauseMs = minPauseMs;
    this.#maxPauseMs = maxPauseMs;
    this.#onEnd = onEnd;
  }

  /** The last attempt failed. */
  get isFailing(): boolean {
    return this.#failures > 0;
  }

  get isPausing(): boolean {
    return this.#timer !== null;
  }

  /** Begins a longer pause than the last one. Requests that flew together fail together: that is one failure. */
  fail(retryAfterMs: number | null, isHurried: boolean): void {
    if (this.#failures === 0) this.#sinceMs = performance.now();
    if (this.#timer !== null) return;
    const grown = Math.min(this.#minPauseMs * 2 ** this.#failures, this.#maxPauseMs);
    this.#failures++;
    this.pause(
      Math.max(grown * (0.8 + 0.4 * Math.random()), Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS)),
      isHurried,
    );
  }

  pause(pauseMs: number, isHurried: boolean): void {
    this.#timer = setTimeout(() => this.end(), isHurried ? Math.min(pauseMs, HURRIED_PAUSE_MS) : pauseMs);
    this.#timer.unref();
  }

  /** For how long it had failed, in milliseconds; 0 if it had not. */
  succeed(): number {
    if (this.#failures === 0) return 0;
    this.#failures = 0;
    return performance.now() - this.#sinceMs;
  }

  end(): void {
    this.cancel();
    this.#onEnd();
  }

  cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
