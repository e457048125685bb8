// Gives each exchange its place in a trace: the span that an incoming header names is the parent of a root, the client's span
// is the parent of the server's span on the same host. In: exchanges at their first byte and at their head. Out: trace, parent and
// evidence set. A server's span waits a moment for its client's record, which comes later when the client was preempted
// inside its write; nothing is ever joined without the pair.
import { type Exchange, KIND_CLIENT, KIND_SERVER } from '../exchanges/exchange.js';
import type { MessageHead } from '../protocols/protocol.js';
import { type IdSource, TraceContext } from './context.js';
import { waitsForClient } from './held.js';
import { InstrumentedServices } from './instrumented.js';
import { PairTable } from './pairs.js';
import { Propagation, type RemoteParent } from './propagation.js';
import { type BroughtTrace, ReceivedContexts } from './received.js';
import { RequestIds } from './request-ids.js';
import type { TraceLimits } from './trace-limits.js';

export class Correlator {
  joined = 0;
  readonly #ids: IdSource;
  readonly #clients = new PairTable();
  readonly #servers = new PairTable();
  readonly #propagation: Propagation;
  readonly #received = new ReceivedContexts();
  readonly #requestIds = new RequestIds();
  readonly #limits: TraceLimits;
  readonly #instrumented: InstrumentedServices;

  constructor(
    ids: IdSource,
    limits: TraceLimits,
    propagation = new Propagation(),
    instrumented = new InstrumentedServices(),
  ) {
    this.#ids = ids;
    this.#limits = limits;
    this.#propagation = propagation;
    this.#instrumented = instrumented;
  }

  /** A new root. */
  newTrace(): TraceContext {
    const trace = new TraceContext();
    trace.setRandom(this.#ids);
    return trace;
  }

  /**
   * The first byte of a request was seen on one side.
   * @param requestSeq sequence number of that byte
   * @param responseSeq position of the opposite direction at that moment
   * @param tag names the socket pair of a unix socket, 0 for tcp
   */
  begin(exchange: Exchange, requestSeq: number, responseSeq: number, tag: number): void {
    exchange.pairRequestSeq = requestSeq | 0;
    exchange.pairResponseSeq = responseSeq | 0;
    exchange.pairTag = tag | 0;
    if (exchange.kind === KIND_CLIENT) {
      const server = this.#servers.take(requestSeq, responseSeq, tag);
      if (server !== null) {
        exchange.trace = server.trace;
        this.#join(server, exchange);
      } else this.#clients.add(requestSeq, responseSeq, tag, exchange);
      return;
    }
    const client = this.#clients.take(requestSeq, responseSeq, tag);
    if (client !== null) {
      exchange.trace = client.trace;
      this.#join(exchange, client);
    } else if (exchange.clientSight !== null) this.#servers.add(requestSeq, responseSeq, tag, exchange);
  }

  /** The exchange is complete: what its process sends from now on is not for it. */
  finish(exchange: Exchange): void {
    this.#received.remove(exchange);
    if (exchange.kind === KIND_SERVER) this.#requestIds.remove(exchange);
  }

  /** The exchange leaves the pipeline: whoever has not asked for it by now gets no answer. */
  end(exchange: Exchange): void {
    // One that was found has left the table, one that does not wait was never in it.
    const isIn = exchange.kind === KIND_CLIENT ? !exchange.isJoined : waitsForClient(exchange);
    if (!isIn) return;
    const table = exchange.kind === KIND_CLIENT ? this.#clients : this.#servers;
    table.remove(exchange.pairRequestSeq, exchange.pairResponseSeq, exchange.pairTag, exchange);
  }

  #join(server: Exchange, client: Exchange): void {
    server.parent0 = client.span0;
    server.parent1 = client.span1;
    server.parentEvidence = 'sequence';
    server.parentExchange = client;
    client.isJoined = true;
    server.clientSight?.see();
    // Bytes do not arrive before they are sent; an arrival is that of the oldest unread byte, which may be of something else.
    const sentNs = Math.min(client.requestFirstNs, server.requestTakenNs);
    if (server.requestFirstNs < sentNs) server.requestFirstNs = sentNs;
    this.joined++;
  }

  /** The trace that the header names has grown too long: another begins, with a link to it. */
  #detach(exchange: Exchange, parent: RemoteParent, head: MessageHead): void {
    const trace = new TraceContext();
    const { id0, id1, id2, id3, flags, span0, span1 } = parent;
    Object.assign(trace, { id0, id1, id2, id3, flags, state: head.traceparent === '' ? '' : head.tracestate });
    exchange.refusedParent = { trace, span0, span1 };
    exchange.trace.isDetached = true;
  }

  /** The head's `x-request-id` was seen. For a call: the request that brought the same one into its process, null if none. */
  onRequestId(exchange: Exchange): Exchange | null {
    if (exchange.kind === KIND_CLIENT) return this.#requestIds.find(exchange);
    this.#requestIds.add(exchange);
    return null;
  }

  /** The head's `Request-Id` was seen. For a call: what one request alone brought of it, null if none. */
  onHierarchicalId(exchange: Exchange, id: string): BroughtTrace | null {
    if (exchange.kind === KIND_SERVER) {
      this.#received.addId(exchange, id);
      return null;
    }
    if (this.#instrumented.has(exchange.service)) return null;
    const brought = this.#received.onCallId(exchange.pid, id);
    return brought?.requests.length === 1 ? brought : null;
  }

  /** The request's head may say where it belongs: the context that it names, null if none. */
  onHead(exchange: Exchange, head: MessageHead): RemoteParent | null {
    const parent = this.#propagation.read(head);
    if (parent === null) return null;
    const { trace } = exchange;
    const isNamed = (parent.id0 | parent.id1 | parent.id2 | parent.id3) !== 0;
    if (isNamed && exchange.kind === KIND_SERVER) exchange.toldContext = parent;
    if (trace.isDetached) return parent;
    if (isNamed && !this.#limits.admits(parent, exchange.requestTakenNs)) {
      this.#detach(exchange, parent, head);
      return parent;
    }
    // Its client has been told whether that is sampled.
    const isJudged = exchange.parentEvidence === 'sequence' && trace.isNamed && trace.hasIdsOf(idsOf(parent));
    if (!isJudged) {
      trace.flags = parent.flags;
      trace.isRemote = !parent.isDeferred;
    }
    if (!isNamed) return null;
    trace.isNamed = true;
    Object.assign(trace, idsOf(parent));
    trace.state = head.traceparent === '' ? '' : head.tracestate;
    if (exchange.kind === KIND_SERVER) {
      this.#received.add(exchange, parent);
      // The client's span, where we have it, stands between the header's span and the server's.
      if (exchange.parentEvidence === 'sequence') return parent;
    }
    const bringer = exchange.kind === KIND_CLIENT ? this.#received.find(exchange.pid, parent) : null;
    if (bringer !== null) decideAs(exchange, bringer);
    exchange.parent0 = bringer?.span0 ?? parent.span0 | 0;
    exchange.parent1 = bringer?.span1 ?? parent.span1 | 0;
    exchange.parentEvidence = 'header';
    exchange.parentExchange = bringer;
    if (exchange.kind === KIND_CLIENT) exchange.hasOwnHeader = bringer === null;
    return parent;
  }

  /**
   * A call goes out with a header that nobody brought as it is, from a process that tells no spans itself. Out: the trace that it is in,
   * if one request alone has brought that into the process.
   */
  onOwnHeader(call: Exchange, parent: RemoteParent): BroughtTrace | null {
    const { pid, trace } = call;
    if (this.#instrumented.isUntold(call.service)) {
      call.parent0 = call.parent1 = 0;
      call.parentEvidence = '';
    }
    const brought = this.#received.onCall(pid, parent);
    if (brought?.requests.length === 1) {
      decideAs(call, brought.requests[0] as Exchange);
      return brought;
    }
    if (brought === null && !this.#instrumented.decides(call, parent)) {
      trace.flags = 1;
      trace.isRemote = false;
    }
    return null;
  }
}

/** Whether its trace is sampled was decided for that request; its own header may say less (.NET's). */
function decideAs({ trace }: Exchange, request: Exchange): void {
  trace.flags = request.trace.flags;
  trace.isRemote = request.trace.isRemote;
}

function idsOf({ id0, id1, id2, id3 }: RemoteParent): Pick<TraceContext, 'id0' | 'id1' | 'id2' | 'id3'> {
  return { id0: id0 | 0, id1: id1 | 0, id2: id2 | 0, id3: id3 | 0 };
}
