// Keeps the one offset from boot clock to wall clock. In: pairs of readings. A small difference is slewed, so that spans of
// one trace never change order by a correction of ours; a large one (the wall clock was set) is a step, and said.
import type { WallClock } from '../clock.js';

const NANOS = 1e9;
/** At most this much correction a second. */
const SLEW_NS = 500_000;
const STEP_NS = 250e6;

export class ClockKeeper {
  readonly #clock: WallClock;
  readonly #read: (out: Float64Array) => void;
  readonly #sample = new Float64Array(5);
  #isSet = false;
  /** Boot-clock time of the last sample, nanoseconds. */
  nowNs = 0;

  constructor(clock: WallClock, read: (out: Float64Array) => void) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Reads the boot clock. */
  now(): number {
    this.#read(this.#sample);
    this.nowNs = this.#at(0) * NANOS + this.#at(1);
    return this.nowNs;
  }

  #at(index: number): number {
    return this.#sample[index] as number;
  }

  /** Once a second. Returns the size of a step in nanoseconds, 0 if there was none. */
  adjust(): number {
    this.now();
    const seconds = this.#at(2) - this.#at(0);
    const nanos = this.#at(3) - this.#at(1);
    const clock = this.#clock;
    const difference = (seconds - clock.offsetSeconds) * NANOS + (nanos - clock.offsetNanos);
    if (!this.#isSet || Math.abs(difference) > STEP_NS) {
      const wasSet = this.#isSet;
      this.#isSet = true;
      this.#put(seconds, nanos);
      return wasSet ? difference : 0;
    }
    const slew = Math.max(-SLEW_NS, Math.min(SLEW_NS, difference));
    this.#put(clock.offsetSeconds, clock.offsetNanos + slew);
    return 0;
  }

  #put(seconds: number, nanos: number): void {
    const whole = Math.round(nanos);
    const carry = Math.floor(whole / NANOS);
    this.#clock.set(seconds + carry, whole - carry * NANOS);
  }
}
