// Contexts that requests brought into a process. A request that goes out of the same process with the very same trace and
// span ids was forwarded with that header (a proxy hands on what it got): then its parent is the request that came in, which
// stands between the two tracers on either side. In: server exchanges with their header's ids. Out: the one exchange of a
// process that brought these ids; none if there are several, since any of them may be it. Bounded: beyond MAX_CONTEXTS
// nothing is noted, and what goes out stays a child of the header's span.
import type { Exchange } from '../exchanges/exchange.js';
import type { RemoteParent } from './propagation.js';

const MAX_CONTEXTS = 65536;

function keyOf(pid: number, { id0, id1, id2, id3, span0, span1 }: RemoteParent): string {
  return `${pid} ${id0} ${id1} ${id2} ${id3} ${span0} ${span1}`;
}

export class ReceivedContexts {
  readonly #byKey = new Map<string, Exchange[]>();
  readonly #keys = new Map<Exchange, string>();

  /** A server exchange came with this header. */
  add(exchange: Exchange, parent: RemoteParent): void {
    if (this.#keys.size >= MAX_CONTEXTS || this.#keys.has(exchange)) return;
    const key = keyOf(exchange.pid, parent);
    const known = this.#byKey.get(key);
    if (known === undefined) this.#byKey.set(key, [exchange]);
    else known.push(exchange);
    this.#keys.set(exchange, key);
  }

  /** Who brought this header into the process; null if nobody, or more than one. */
  find(pid: number, parent: RemoteParent): Exchange | null {
    if (this.#keys.size === 0) return null;
    const known = this.#byKey.get(keyOf(pid, parent));
    return known?.length === 1 ? (known[0] as Exchange) : null;
  }

  /** The exchange is over. */
  remove(exchange: Exchange): void {
    const key = this.#keys.get(exchange);
    if (key === undefined) return;
    this.#keys.delete(exchange);
    const others = (this.#byKey.get(key) ?? []).filter(other => other !== exchange);
    if (others.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, others);
  }
}
