// Keeps the boot clock's way to the wall clock. In: pairs of readings, once a second. A small difference is slewed, so that
// times never change order by a correction of ours; a large one (the wall clock was set) is a step, and said.
import type { WallClock } from '../clock.js';

const NANOS = 1e9;
/** At most this much correction, nanoseconds per nanosecond: half a millisecond a second. */
const SLEW_RATE = 500e-6;
/** Half of a difference goes within a second: a late reading then never overshoots. */
const SLEW_SHARE = 0.5;
/** Less than what two readings differ by on a busy machine: no reason to correct anything. */
const NOISE_NS = 2000;
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
    const nowNs = this.now();
    const clock = this.#clock;
    const seconds = this.#at(2);
    const nanos = this.#at(3);
    clock.convert(nowNs);
    const difference = (seconds - clock.seconds) * NANOS + (nanos - clock.nanos);
    if (!this.#isSet || Math.abs(difference) > STEP_NS) {
      const wasSet = this.#isSet;
      this.#isSet = true;
      this.#set(seconds - this.#at(0), nanos - this.#at(1));
      return wasSet ? difference : 0;
    }
    const wanted = Math.abs(difference) <= NOISE_NS ? 0 : (difference * SLEW_SHARE) / NANOS;
    const rate = Math.max(-SLEW_RATE, Math.min(SLEW_RATE, wanted));
    if (rate !== clock.rate) clock.slew(nowNs, rate);
    return 0;
  }

  #set(seconds: number, nanos: number): void {
    const whole = Math.round(nanos);
    const carry = Math.floor(whole / NANOS);
    this.#clock.set(seconds + carry, whole - carry * NANOS);
  }
}
