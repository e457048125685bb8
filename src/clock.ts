// Boot clock to wall clock: one function of time for the whole agent (DESIGN.md section 5), continuous and rising, so that
// two times never change order, whenever each of them is converted: a correction holds for times after it only, and is
// slewed in. Kernel times are CLOCK_BOOTTIME nanoseconds in a double (exact up to 104 days of uptime, then to 2 ns);
// wall-clock nanoseconds do not fit a double and stay split in seconds and nanoseconds.

const NANOS_PER_SECOND = 1e9;
/** Corrections that are remembered; times before the oldest of them are converted as it began. Power of two. */
const HISTORY = 64;

export class WallClock {
  /** CLOCK_REALTIME minus CLOCK_BOOTTIME where the latest correction began: whole seconds. */
  offsetSeconds = 0;
  /** The rest of that offset, 0 <= offsetNanos < 1e9. */
  offsetNanos = 0;

  /** Result of the last `convert`: seconds since the Unix epoch. */
  seconds = 0;
  /** Result of the last `convert`: nanoseconds within that second. */
  nanos = 0;

  /** The corrections, a ring: begin, offset there, and its growth in nanoseconds per nanosecond. */
  readonly #fromNs = new Float64Array(HISTORY);
  readonly #seconds = new Float64Array(HISTORY);
  readonly #nanos = new Float64Array(HISTORY);
  readonly #rates = new Float64Array(HISTORY);
  #count = 1;

  /** Growth of the offset at present, nanoseconds per nanosecond. */
  get rate(): number {
    return this.#rates[(this.#count - 1) % HISTORY] as number;
  }

  /** One offset for all times. */
  set(offsetSeconds: number, offsetNanos: number): void {
    this.#count = 0;
    this.#put(0, offsetSeconds, offsetNanos, 0);
  }

  /** From boot time `fromNs` on the offset grows by `rate`; not below what was set before. */
  slew(fromNs: number, rate: number): void {
    const last = (this.#count - 1) % HISTORY;
    const grown = (this.#rates[last] as number) * (fromNs - (this.#fromNs[last] as number));
    const nanos = (this.#nanos[last] as number) + grown;
    const carry = Math.floor(nanos / NANOS_PER_SECOND);
    this.#put(fromNs, (this.#seconds[last] as number) + carry, nanos - carry * NANOS_PER_SECOND, rate);
  }

  #put(fromNs: number, seconds: number, nanos: number, rate: number): void {
    const at = this.#count++ % HISTORY;
    this.#fromNs[at] = fromNs;
    this.#seconds[at] = seconds;
    this.#nanos[at] = nanos;
    this.#rates[at] = rate;
    const whole = Math.round(nanos);
    this.offsetSeconds = whole < NANOS_PER_SECOND ? seconds : seconds + 1;
    this.offsetNanos = whole < NANOS_PER_SECOND ? whole : 0;
  }

  /** Index of the correction in force at `bootNs`. */
  #find(bootNs: number): number {
    const oldest = Math.max(0, this.#count - HISTORY);
    let index = this.#count - 1;
    while (index > oldest && bootNs < (this.#fromNs[index % HISTORY] as number)) index--;
    return index % HISTORY;
  }

  /** Converts boot-clock nanoseconds; the result is in `seconds` and `nanos` (no allocation). */
  convert(bootNs: number): void {
    const at = this.#find(bootNs);
    const sinceNs = Math.max(0, bootNs - (this.#fromNs[at] as number));
    const bootSeconds = Math.floor(bootNs / NANOS_PER_SECOND);
    const offsetNanos = Math.round((this.#nanos[at] as number) + (this.#rates[at] as number) * sinceNs);
    const nanos = Math.round(bootNs - bootSeconds * NANOS_PER_SECOND) + offsetNanos;
    const carry = Math.floor(nanos / NANOS_PER_SECOND);
    this.seconds = bootSeconds + (this.#seconds[at] as number) + carry;
    this.nanos = nanos - carry * NANOS_PER_SECOND;
  }
}
