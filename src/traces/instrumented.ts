// Services that tell their traces themselves: a process that sends traces by OTLP has an SDK, unless it only hands on what
// others send it (a collector, a proxy). In: OTLP requests and calls, by the process that sends or takes them. Out: whether a
// span would tell again what the process's SDK tells. Known from its first export on; nothing is kept of a service that ended.
import { type Exchange, KIND_SERVER } from '../exchanges/exchange.js';

type Service = NonNullable<Exchange['service']>;

export class InstrumentedServices {
  readonly #exporters = new WeakSet<Service>();
  readonly #relays = new WeakSet<Service>();
  /** Most hosts have none, and every exchange asks. */
  #hasAny = false;

  /** The process sends traces. True where that is news. */
  sends(service: Service): boolean {
    if (this.#exporters.has(service) || this.#relays.has(service)) return false;
    this.#exporters.add(service);
    this.#hasAny = true;
    return true;
  }

  /** The process takes OTLP from others: what it sends is theirs. */
  receives(service: Service): void {
    this.#relays.add(service);
    this.#exporters.delete(service);
  }

  has(service: Service | null): boolean {
    return this.#hasAny && service !== null && this.#exporters.has(service);
  }

  /**
   * Does the process's SDK tell this exchange? What it serves, and the calls that it wrote a header into; a call without
   * one is not known to the SDK.
   */
  tells(exchange: Exchange): boolean {
    return this.has(exchange.service) && (exchange.kind === KIND_SERVER || exchange.hasOwnHeader);
  }
}
