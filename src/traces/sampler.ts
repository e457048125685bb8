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

export class Sampler {
  readonly #kind: SamplerKind;
  readonly #bound: number;

  /** @param ratio 0 to 1, for the two ratio samplers */
  constructor(kind: SamplerKind, ratio: number) {
    this.#kind = kind;
    // The SDK's bound: at a ratio of 1 the largest folded id is in, too.
    this.#bound = ratio >= 1 ? 0x100000000 : Math.floor(Math.max(0, ratio) * 0xffffffff);
  }

  isSampled(trace: TraceContext): boolean {
    switch (this.#kind) {
      case 'always_on':
        return true;
      case 'always_off':
        return false;
      case 'traceidratio':
        return this.#byRatio(trace);
      case 'parentbased_always_on':
        return trace.isRemote ? (trace.flags & 1) === 1 : true;
      case 'parentbased_always_off':
        return trace.isRemote ? (trace.flags & 1) === 1 : false;
      case 'parentbased_traceidratio':
        return trace.isRemote ? (trace.flags & 1) === 1 : this.#byRatio(trace);
    }
  }

  /** As the SDK's TraceIdRatioBasedSampler does it: the four words of the id, folded. */
  #byRatio(trace: TraceContext): boolean {
    return (trace.id0 ^ trace.id1 ^ trace.id2 ^ trace.id3) >>> 0 < this.#bound;
  }
}
