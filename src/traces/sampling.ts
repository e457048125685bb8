// Which traces are exported, decided once for each trace on this host: by its root's rule if one matches, else by the sampler.
// A decision that came with the trace from elsewhere is honoured by the parent-based samplers, rules or not. In: exchanges
// whose trace will not change any more. Metrics see every exchange, whatever is decided here.
import type { Exchange } from '../exchanges/exchange.js';
import type { TraceContext } from './context.js';
import { firstOf } from './first-request.js';
import { Ratio, type Sampler } from './sampler.js';

export interface SamplingRule {
  /** On the service and the path of the trace's first request. */
  readonly matches: (service: string, path: string) => boolean;
  readonly ratio: number;
}

export class Sampling {
  readonly #sampler: Sampler;
  readonly #rules: readonly { readonly matches: SamplingRule['matches']; readonly ratio: Ratio }[];

  constructor(sampler: Sampler, rules: readonly SamplingRule[] = []) {
    this.#sampler = sampler;
    this.#rules = rules.map(({ matches, ratio }) => ({ matches, ratio: new Ratio(ratio) }));
  }

  isSampled(exchange: Exchange): boolean {
    const { trace } = exchange;
    // What waits may still become another trace.
    if (trace.waiting > 0) return this.#sampler.isSampled(trace, this.#ratioOf(exchange));
    trace.isSampled ??= this.#sampler.isSampled(trace, this.#ratioOf(exchange));
    return trace.isSampled;
  }

  /** Of a trace that has no request. */
  isSampledAlone(trace: TraceContext): boolean {
    return this.#sampler.isSampled(trace);
  }

  #ratioOf(exchange: Exchange): Ratio | null {
    if (this.#rules.length === 0) return null;
    const root = firstOf(exchange);
    const service = root.service?.name ?? '';
    const query = root.target.indexOf('?');
    const path = query < 0 ? root.target : root.target.slice(0, query);
    return this.#rules.find(({ matches }) => matches(service, path))?.ratio ?? null;
  }
}
