// Services whose requests all come with a header that says "not sampled": they have no spans here, and whoever looks for them should
// know why. In: the decisions that came with requests. Out: true, once for each service, when so many in a row said so, and none before.
import type { Exchange } from '../exchanges/exchange.js';

type Service = NonNullable<Exchange['service']>;

/** In a row: a caller that samples one in a hundred has sampled one before with a probability of two thirds. */
const ENOUGH = 100;

export class UnsampledServices {
  readonly #counts = new WeakMap<Service, number>();

  /** A request came with a decision. */
  note(service: Service, isSampled: boolean): boolean {
    const count = this.#counts.get(service) ?? 0;
    if (count > ENOUGH) return false;
    const next = isSampled ? ENOUGH + 1 : count + 1;
    this.#counts.set(service, next);
    return next === ENOUGH;
  }
}
