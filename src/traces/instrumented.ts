// Services that tell their traces themselves: a process that sends traces by OTLP has an SDK, unless it only hands on what
// others send it (a collector, a proxy). In: OTLP requests and calls, by the process that sends or takes them. Out: whether a
// span would tell again what the process's SDK tells. Known from its first export on; nothing is kept of a service that ended.
// Some SDKs know the calls of a process and not its server (a library without instrumentation). It shows in the headers that
// they write: the trace that a request came with is not continued, or two calls for one request are in two traces.
// A header is no sign that anybody tells anything: .NET writes them since 5, by itself, and says in each that its trace is not sampled.
import { type Exchange, KIND_SERVER } from '../exchanges/exchange.js';
import type { RemoteParent } from './propagation.js';

type Service = NonNullable<Exchange['service']>;

/** So many calls that go on in no known trace, and none that does, show that the SDK does not tell what is served. */
const APART_ENOUGH = 3;

/** Calls whose header goes on in their request's trace, and those whose does not. */
interface Continuity {
  together: number;
  apart: number;
}

export class InstrumentedServices {
  readonly #exporters = new WeakSet<Service>();
  readonly #relays = new WeakSet<Service>();
  readonly #continuities = new WeakMap<Service, Continuity>();
  /** Their SDKs tell calls only. For good: spans may already name what they serve as their parent. */
  readonly #callers = new WeakSet<Service>();
  /** They have begun traces that are sampled. */
  readonly #deciders = new WeakSet<Service>();
  readonly #writesByItself: (service: Service) => boolean;
  /** Most hosts have none, and every exchange asks. */
  #hasAny = false;

  /** @param writesByItself does its runtime put a header into calls, sampled by nobody? */
  constructor(writesByItself: (service: Service) => boolean = () => false) {
    this.#writesByItself = writesByItself;
  }

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

  /** A call's header begins a trace that no request brought. Did who wrote it decide whether it is sampled, or is that never so? */
  decides({ service }: Exchange, header: RemoteParent): boolean {
    if (service === null || this.has(service) || !this.#writesByItself(service)) return true;
    if ((header.flags & 1) === 1) this.#deciders.add(service);
    return this.#deciders.has(service);
  }

  /** Is the span that its headers name told by nobody? */
  isUntold(service: Service | null): boolean {
    return service !== null && this.#writesByItself(service) && !this.has(service) && !this.#deciders.has(service);
  }

  /** The header of a call that the SDK wrote. True where it shows, and is news, that the SDK does not tell what is served. */
  noteCall(call: Exchange, header: RemoteParent): boolean {
    const { service, cause } = call;
    if (service === null || cause === null || !this.has(service) || this.#callers.has(service)) return false;
    if (cause.toldContext === null) {
      cause.toldContext = header;
      return false;
    }
    const continuity = this.#continuities.get(service) ?? { together: 0, apart: 0 };
    this.#continuities.set(service, continuity);
    if (isSameTrace(cause.toldContext, header)) continuity.together++;
    else continuity.apart++;
    if (continuity.together > 0 || continuity.apart < APART_ENOUGH) return false;
    this.#callers.add(service);
    return true;
  }

  /** Is what the process serves not told by its SDK, which tells calls? */
  tellsCallsOnly(service: Service | null): boolean {
    return service !== null && this.#callers.has(service);
  }

  /**
   * Does the process's SDK tell this exchange? What it serves, and the calls that it wrote a header into; a call without
   * one is not known to the SDK.
   */
  tells(exchange: Exchange): boolean {
    const { service } = exchange;
    if (exchange.kind === KIND_SERVER) return this.has(service) && !this.tellsCallsOnly(service);
    return exchange.hasOwnHeader && this.has(service);
  }
}

function isSameTrace(one: RemoteParent, other: RemoteParent): boolean {
  return one.id0 === other.id0 && one.id1 === other.id1 && one.id2 === other.id2 && one.id3 === other.id3;
}
