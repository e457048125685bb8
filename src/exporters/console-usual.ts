// What a kind of request usually takes, so that the view can say which ones are slow. Comes in: durations by service and
// span name. Kept: a running median for each (moves 5 % towards every new value: two numbers, no history), for a bounded
// number of names; beyond it the least recently seen is forgotten. An opinion for the eye, not a metric.
/** A span, as far as it matters here. */
export interface TimedSpan {
  readonly service: string;
  readonly kind: number;
  readonly name: string;
  readonly durationNs: number;
}

interface Usual {
  medianNs: number;
  count: number;
}

const NAMES_MAX = 2000;
const STEP = 1.05;
/** Fewer than these say nothing about what is usual. */
const COUNT_MIN = 20;
const SLOW_FACTOR = 5;
/** Nothing below is worth a mark, however unusual. */
const SLOW_MIN_NS = 10e6;
/** Slow while nothing is known of what is usual. */
const SLOW_ALWAYS_NS = 1e9;

export class UsualDurations {
  readonly #usual = new Map<string, Usual>();

  /** How many times its usual duration the span took; Infinity: slow, usual not known; 0: not slow. Learns from it. */
  judge(span: TimedSpan): number {
    const key = `${span.service}\n${span.kind}\n${span.name}`;
    const known = this.#usual.get(key);
    const ns = span.durationNs;
    const slowness = judgeAgainst(known, ns);
    if (known !== undefined) {
      known.medianNs = ns > known.medianNs ? known.medianNs * STEP : known.medianNs / STEP;
      known.count++;
      this.#usual.delete(key);
    }
    this.#usual.set(key, known ?? { medianNs: Math.max(1, ns), count: 1 });
    if (this.#usual.size > NAMES_MAX) this.#usual.delete(this.#usual.keys().next().value as string);
    return slowness;
  }
}

function judgeAgainst(usual: Usual | undefined, ns: number): number {
  if (usual === undefined || usual.count < COUNT_MIN) return ns >= SLOW_ALWAYS_NS ? Number.POSITIVE_INFINITY : 0;
  return ns >= SLOW_MIN_NS && ns >= SLOW_FACTOR * usual.medianNs ? ns / usual.medianNs : 0;
}
