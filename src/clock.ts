// Boot clock to wall clock: one offset for the whole agent (DESIGN.md section 5), so that two times taken from one
// record can never change order. Kernel times are CLOCK_BOOTTIME nanoseconds in a double (exact up to 104 days of
// uptime, then to 2 ns); wall-clock nanoseconds do not fit a double and stay split in seconds and nanoseconds.

const NANOS_PER_SECOND = 1e9;

export class WallClock {
  /** CLOCK_REALTIME minus CLOCK_BOOTTIME, whole seconds. */
  offsetSeconds = 0;
  /** The rest of the offset, 0 <= offsetNanos < 1e9. */
  offsetNanos = 0;

  /** Result of the last `convert`: seconds since the Unix epoch. */
  seconds = 0;
  /** Result of the last `convert`: nanoseconds within that second. */
  nanos = 0;

  set(offsetSeconds: number, offsetNanos: number): void {
    this.offsetSeconds = offsetSeconds;
    this.offsetNanos = offsetNanos;
  }

  /** Converts boot-clock nanoseconds; the result is in `seconds` and `nanos` (no allocation). */
  convert(bootNs: number): void {
    const bootSeconds = Math.floor(bootNs / NANOS_PER_SECOND);
    let nanos = Math.round(bootNs - bootSeconds * NANOS_PER_SECOND) + this.offsetNanos;
    let seconds = bootSeconds + this.offsetSeconds;
    if (nanos >= NANOS_PER_SECOND) {
      nanos -= NANOS_PER_SECOND;
      seconds += 1;
    }
    this.seconds = seconds;
    this.nanos = nanos;
  }
}
