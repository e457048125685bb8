// Services whose requests all come with a header that says "not sampled": they have no spans here, and whoever looks for them should
// know why. In: the decisions that came with requests, with the time. Out: true, once for each service, when so many over so long
// said so, and none else.
import type { Exchange } from '../exchanges/exchange.js';

type Service = NonNullable<Exchange['service']>;

/** A caller that samples one in a hundred has sampled one before with a probability of two thirds. */
const ENOUGH = 100;
/** Spans that are exported wait longer than others do. */
const LONG_NS = 5e9;

interface Unsampled {
  count: number;
  sinceNs: number;
}

export class UnsampledServices {
  /** null: it has spans, or has been named. */
  readonly #found = new WeakMap<Service, Unsampled | null>();

  /** A request came with a decision at `ns`. */
  note(service: Service, isSampled: boolean, ns: number): boolean {
    const found = this.#found.get(service);
    if (found === null) return false;
    if (isSampled) {
      this.#found.set(service, null);
      return false;
    }
    if (found === undefined) {
      this.#found.set(service, { count: 1, sinceNs: ns });
      return false;
    }
    found.count++;
    const isEnough = found.count >= ENOUGH && ns - found.sinceNs >= LONG_NS;
    if (isEnough) this.#found.set(service, null);
    return isEnough;
  }
}
