// Which spans are exported (metrics see every exchange): the SDK's samplers by their OTEL_TRACES_SAMPLER names, decided
// from the trace id alone, so that every agent and every SDK with the same ratio keeps the same traces.
import type { TraceContext } from './context.js';

export type SamplerKind =
  | 'always_on'
  | 'always_off'
  | 'traceidratio'
  | 'parentbased_always_on'
  | 'parentbased_always_off'
  | 'parentbased_traceidratio';

/** A share of all trace ids. */
export class Ratio {
  readonly #bound: number;

  /** @param ratio 0 to 1 */
  constructor(ratio: number) {
    // The SDK's bound: at a ratio of 1 the largest folded id is in, too.
    this.#bound = ratio >= 1 ? 0x100000000 : Math.floor(Math.max(0, ratio) * 0xffffffff);
  }

  /** As the SDK's TraceIdRatioBasedSampler does it: the four words of the id, folded. */
  has(trace: TraceContext): boolean {
    return (trace.id0 ^ trace.id1 ^ trace.id2 ^ trace.id3) >>> 0 < this.#bound;
  }
}

export class Sampler {
  readonly #isParentBased: boolean;
  readonly #ratio: Ratio;

  /** @param ratio 0 to 1, for the two ratio samplers */
  constructor(kind: SamplerKind, ratio: number) {
    this.#isParentBased = kind.startsWith('parentbased_');
    this.#ratio = new Ratio(kind.endsWith('always_on') ? 1 : kind.endsWith('always_off') ? 0 : ratio);
  }

  /** @param rule in place of the sampler's own ratio */
  isSampled(trace: TraceContext, rule: Ratio | null = null): boolean {
    if (this.#isParentBased && trace.isRemote) return (trace.flags & 1) === 1;
    return (rule ?? this.#ratio).has(trace);
  }
}
