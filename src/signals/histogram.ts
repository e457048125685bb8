// A histogram with explicit bounds, as OTLP and Prometheus have it: bucket i counts values in (bounds[i-1], bounds[i]],
// the last one what is above all bounds. Recording allocates nothing; exact but for the buckets' width.
import type { HistogramValue } from './metric-model.js';

/** Seconds of HTTP requests: the conventions' advice for http.{server,client}.request.duration. */
export const REQUEST_SECONDS_BOUNDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];
/** Seconds of waits and connects, which are mostly far below a request: from 50 microseconds up. */
export const WAIT_SECONDS_BOUNDS: readonly number[] = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
/** Bytes of bodies: empty, then powers of four up to 64 MiB. */
export const BODY_BYTES_BOUNDS: readonly number[] = [
  0, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
];

export class Histogram {
  readonly bounds: readonly number[];
  /** A plain array: a third of the memory of a typed one at this length. */
  readonly #counts: number[];
  #sum = 0;
  #count = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;

  /** `bounds`: upper bounds, ascending. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  get count(): number {
    return this.#count;
  }

  record(value: number): void {
    const bounds = this.bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
    this.#count++;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }

  /** A copy of the state. Of an empty histogram, min and max are 0. */
  value(): HistogramValue {
    const isEmpty = this.#count === 0;
    return {
      bounds: this.bounds,
      counts: this.#counts.slice(),
      sum: this.#sum,
      count: this.#count,
      min: isEmpty ? 0 : this.#min,
      max: isEmpty ? 0 : this.#max,
    };
  }
}
