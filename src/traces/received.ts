// Contexts that requests brought into a process. A request that goes out of the same process with the very same trace and
// span ids was forwarded with that header (a proxy hands on what it got): then its parent is the request that came in, which
// stands between the two tracers on either side. One that goes out in the same trace with another span id was given that by something in
// the process that keeps traces and does not tell them (.NET, since 5, by itself; an agent that tells somebody else). .NET before 5 writes
// a `Request-Id` instead, which begins with the one that the request came with. In: server exchanges with their header's ids. Out: the
// one exchange of a process that brought these ids, or that trace; none if there are several, since any of them may be it. Bounded:
// beyond MAX_CONTEXTS nothing is noted, and what goes out stays a child of the header's span.
import type { Exchange } from '../exchanges/exchange.js';
import type { RemoteParent } from './propagation.js';

const MAX_CONTEXTS = 65536;
/** Traces that are remembered when their requests are over. */
const MAX_OVER = 4096;

/** Levels of a Request-Id that the process may have added. */
const MAX_LEVELS = 16;

function keyOf(pid: number, { id0, id1, id2, id3 }: RemoteParent): string {
  return `${pid} ${id0} ${id1} ${id2} ${id3}`;
}

/** A trace that requests brought into a process. */
export interface BroughtTrace {
  /** Those that are not over. */
  requests: Exchange[];
  /** Something in the process went on with it when they were: what it is for then, nobody knows. */
  hasLateCalls: boolean;
}

export class ReceivedContexts {
  readonly #traces = new Map<string, BroughtTrace>();
  readonly #keys = new Map<Exchange, string>();
  /** Of traces whose requests are over. */
  readonly #over = new Set<string>();

  /** A server exchange came with this header, which is its `toldContext`. */
  add(exchange: Exchange, parent: RemoteParent): void {
    this.#add(exchange, keyOf(exchange.pid, parent));
  }

  /** It came with this Request-Id. */
  addId(exchange: Exchange, id: string): void {
    this.#add(exchange, `${exchange.pid} ${rootedId(id)}`);
  }

  #add(exchange: Exchange, key: string): void {
    if (this.#keys.size >= MAX_CONTEXTS || this.#keys.has(exchange)) return;
    const known = this.#traces.get(key);
    if (known === undefined) this.#traces.set(key, { requests: [exchange], hasLateCalls: false });
    else known.requests.push(exchange);
    this.#over.delete(key);
    this.#keys.set(exchange, key);
  }

  /** Who brought this header into the process; null if nobody, or more than one. */
  find(pid: number, parent: RemoteParent): Exchange | null {
    if (this.#keys.size === 0) return null;
    const requests = this.#traces.get(keyOf(pid, parent))?.requests ?? [];
    const same = requests.filter(({ toldContext }) => isSameSpan(toldContext, parent));
    return same.length === 1 ? (same[0] as Exchange) : null;
  }

  /** A call goes out in this trace, with a span id that nobody brought; null if no request brought the trace. */
  onCall(pid: number, parent: RemoteParent): BroughtTrace | null {
    const trace = this.#traces.get(keyOf(pid, parent));
    return trace === undefined ? null : noteCall(trace);
  }

  /** A call goes out with this Request-Id: what the one that it begins with belongs to; null if no request brought such. */
  onCallId(pid: number, id: string): BroughtTrace | null {
    if (this.#traces.size === 0) return null;
    let end = id.length;
    for (let level = 0; level < MAX_LEVELS && end > 1; level++) {
      end = Math.max(id.lastIndexOf('.', end - 2), id.lastIndexOf('_', end - 2)) + 1;
      const trace = this.#traces.get(`${pid} ${id.slice(0, end)}`);
      if (trace !== undefined) return noteCall(trace);
    }
    return null;
  }

  /** The exchange is over. */
  remove(exchange: Exchange): void {
    const key = this.#keys.get(exchange);
    if (key === undefined) return;
    this.#keys.delete(exchange);
    const trace = this.#traces.get(key);
    if (trace === undefined) return;
    trace.requests = trace.requests.filter(other => other !== exchange);
    if (trace.requests.length > 0) return;
    this.#over.add(key);
    if (this.#over.size > MAX_OVER) this.#forget(this.#over.values().next().value as string);
  }

  #forget(key: string): void {
    this.#over.delete(key);
    this.#traces.delete(key);
  }
}

function isSameSpan(told: RemoteParent | null, { span0, span1 }: RemoteParent): boolean {
  return told !== null && told.span0 === span0 && told.span1 === span1;
}

function noteCall(trace: BroughtTrace): BroughtTrace {
  if (trace.requests.length === 0) trace.hasLateCalls = true;
  return trace;
}

/** As System.Diagnostics.Activity takes it on: it begins with `|`, and ends with a level's end. */
function rootedId(id: string): string {
  const rooted = id.startsWith('|') ? id : `|${id}`;
  return /[._]$/.test(rooted) ? rooted : `${rooted}.`;
}
