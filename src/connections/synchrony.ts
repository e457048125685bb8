// Do both streams of a connection stand at positions that are understood? In: the edges of a connection that is not (yet, or
// no longer) understood, and whatever ends that understanding. Out: parsers and a matcher for a connection that begins with
// a request, and everything given up counted by its cause. A gap ends what it touches: nothing is exported from the
// connection until a request begins a run again (the record of that edge says where the response stream stands).
import { type ExchangeSink, Matcher } from '../exchanges/matcher.js';
import { detectRequest, detectResponse } from '../protocols/detect.js';
import {
  DATA_MORE,
  type DataEventCursor,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  ROLE_CLIENT,
  ROLE_SERVER,
  ROLE_UNKNOWN,
  VERDICT_EDGES,
  VERDICT_IGNORE,
  VERDICT_STREAM,
} from '../records/records.gen.js';
import type { Connection } from './connection.js';

export interface SynchronySink extends ExchangeSink {
  /** Tells the kernel a verdict. */
  setVerdict(slot: number, generation: number, verdict: number): void;
  /** Bytes of a connection that speaks no known protocol, as long as it is looked at. */
  onStrangeBytes(connection: Connection, direction: number, bytes: Uint8Array, from: number, to: number): void;
}

/** The same fields of data, state and closed records. */
interface LostCursor {
  readonly lostRecords: number;
  readonly lostEdgesIngress: number;
  readonly lostEdgesEgress: number;
}

/** Edges of no known protocol after which a connection is only counted. */
const STRANGE_EDGES_MAX = 4;
/** Messages that failed to parse after which a connection is only counted. */
const BROKEN_MESSAGES_MAX = 4;
/** The same for a connection that has spoken one: what it goes on with may be the rest of a long body. */
const LOST_EDGES_MAX = 64;

export class Synchrony {
  /** Gaps, and streams given up because of bytes that are no protocol. */
  gaps = 0;
  brokenStreams = 0;
  /** Of these, those of FastCGI. */
  brokenFastcgi = 0;
  /**
   * Bytes in which whole requests may have been, known by nothing else: of a gap, and of pipelines whose streams were not
   * understood, where answers that come together are counted as one.
   */
  readonly hiddenBytes = { gap: 0, unsynced: 0 };
  /** Connections of which only bytes are counted: no protocol was recognised; messages failed to parse too often. */
  ignored = 0;
  givenUp = 0;
  /** Requests of connections of which no more is known: no record of them told what they speak. */
  untoldRequests = 0;
  /** Those that wait for bytes the kernel does not announce: see kernel/progress.ts. */
  readonly awaited = new Set<Connection>();
  readonly #sink: SynchronySink;

  constructor(sink: SynchronySink) {
    this.#sink = sink;
  }

  /** Bytes of a connection that speaks no known protocol. */
  lookAt(connection: Connection, direction: number, bytes: Uint8Array, from: number, to: number): void {
    this.#sink.onStrangeBytes(connection, direction, bytes, from, to);
  }

  /** A run begins on a connection that is not understood: is it a request? */
  seek(
    connection: Connection,
    event: DataEventCursor,
    direction: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): void {
    if (connection.lostRecords > 0) connection.isEachSeen = false;
    this.#trySync(connection, event, direction, bytes, from, to);
    if (!connection.isSynced) this.#countUnread(connection, direction, bytes, from, to);
    else this.#missRequests(connection, connection.lostRequests);
  }

  #trySync(
    connection: Connection,
    event: DataEventCursor,
    direction: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): void {
    const requestDirection = connection.role === ROLE_UNKNOWN ? direction : requestsOf(connection);
    if (direction !== requestDirection || to === from) return;
    const protocol = detectRequest(bytes, from, to);
    if (protocol === null) {
      connection.strangeEdges++;
      if (connection.strangeEdges >= (connection.matcher === null ? STRANGE_EDGES_MAX : LOST_EDGES_MAX)) {
        this.ignore(connection);
      }
      return;
    }
    if (connection.matcher !== null && connection.matcher.owedResponses > 0) {
      connection.matcher.owedResponses--;
      return;
    }
    connection.role = direction === DIRECTION_INGRESS ? ROLE_SERVER : ROLE_CLIENT;
    connection.requestDirection = direction;
    connection.isSynced = true;
    connection.strangeEdges = 0;
    const matcher = connection.matcher ?? new Matcher(connection, this.#sink);
    connection.matcher = matcher;
    connection.protocolName = protocol.name;
    connection.requestStream.parser ??= protocol.createRequestParser(matcher.requests);
    connection.responseStream.parser ??= protocol.createResponseParser(matcher.responses);
    connection.requestStream.restart(event.seq);
    connection.responseStream.restart(event.otherSeq);
  }

  /**
   * While a connection that spoke a known protocol cannot be read, each change to the response's direction is an exchange
   * that nobody will see; the first ones answer requests that have been counted as dropped. Of a connection that has not
   * spoken yet it is one if what it answers was no request to us, and to the server a bad one.
   */
  #countUnread(connection: Connection, direction: number, bytes: Uint8Array, from: number, to: number): void {
    if (connection.matcher === null) {
      if (direction === requestsOf(connection) || connection.strangeEdges === 0) return;
      if (detectResponse(bytes, from, to) !== null) this.#sink.missExchange(connection, 'unparsed');
      return;
    }
    if (direction === connection.requestDirection) return;
    if (connection.countedAnswers > 0) connection.countedAnswers--;
    else this.#sink.missExchange(connection, 'unsynced');
  }

  /**
   * Data records of this connection found the ring full. A change to the request's direction among them is an exchange
   * that nobody will see, and its answer no other one. The kernel counts likewise where it can tell nobody: all edges
   * are in the books, each once.
   */
  noteLost(connection: Connection, event: LostCursor): void {
    if (event.lostRecords === connection.lostRecords) return;
    const ingress = (event.lostEdgesIngress - connection.lostEdgesIngress) & 0xffff;
    const egress = (event.lostEdgesEgress - connection.lostEdgesEgress) & 0xffff;
    connection.lostRecords = event.lostRecords;
    connection.lostEdgesIngress = event.lostEdgesIngress;
    connection.lostEdgesEgress = event.lostEdgesEgress;
    connection.gapCause = 'ring_full';
    if (connection.isOpaque) return;
    const [requests, answers] = requestsOf(connection) === DIRECTION_INGRESS ? [ingress, egress] : [egress, ingress];
    if (connection.matcher === null) {
      connection.lostRequests += requests;
      return;
    }
    if (connection.isSynced && ingress + egress > 0) this.lose(connection);
    this.#missRequests(connection, requests);
    connection.countedAnswers = Math.max(0, connection.countedAnswers + requests - answers);
  }

  #missRequests(connection: Connection, count: number): void {
    for (let missed = 0; missed < count; missed++) this.#sink.missExchange(connection, 'ring_full');
    connection.lostRequests = 0;
  }

  /** Nothing more comes of it. */
  forget(connection: Connection): void {
    this.unawait(connection);
    const isUnknown = connection.tls === null && !connection.isIgnored && connection.strangeEdges === 0;
    if (isUnknown) this.untoldRequests += connection.lostRequests;
  }

  /** Bytes are missing in which whole requests may have been. Of records that found the ring full, the edges are counted. */
  hide(connection: Connection, bytes: number): void {
    if (connection.gapCause === 'gap') this.hiddenBytes.gap += bytes;
  }

  /** Bytes of a connection that spoke a known protocol and is not understood. */
  pass(connection: Connection, event: DataEventCursor): void {
    if (!connection.isStreamed || event.direction !== connection.requestDirection) return;
    this.hiddenBytes.unsynced += (event.flags & DATA_MORE) === 0 ? event.callBytes : event.chunkBytes;
  }

  /** Bytes are missing at which a message may have begun or ended. */
  lose(connection: Connection): void {
    this.gaps++;
    this.end(connection);
    connection.matcher?.abandon(connection.gapCause);
  }

  /** A response began to which no request is known. */
  goAstray(connection: Connection): void {
    this.#sink.missExchange(connection, 'gap');
    this.lose(connection);
  }

  /** More requests wait than are kept: which response is whose can no longer be told. */
  giveUp(connection: Connection, matcher: Matcher): void {
    matcher.isOverfull = false;
    this.end(connection);
  }

  /** Bytes that are no message. */
  break(connection: Connection): void {
    this.brokenStreams++;
    if (connection.protocolName === 'fastcgi') this.brokenFastcgi++;
    // Of a pipeline it may be us who took the middle of a body for the beginning of a message. What nobody has asked for is
    // no message (a body behind the answer to HEAD): clients throw it away.
    if (!connection.isStreamed && connection.matcher?.isIdle !== true) connection.brokenMessages++;
    this.end(connection);
    connection.matcher?.abandon('unparsed');
    if (connection.brokenMessages < BROKEN_MESSAGES_MAX) return;
    connection.isGivenUp = true;
    this.givenUp++;
    this.leave(connection);
  }

  /** Where the streams stand is no longer understood. */
  end(connection: Connection): void {
    connection.isSynced = false;
    connection.isEachSeen = false;
    connection.countedAnswers = connection.matcher?.unansweredCount ?? 0;
    this.unawait(connection);
    connection.ingress.parser?.resync();
    connection.egress.parser?.resync();
  }

  /** From now on only its bytes are counted: it speaks no known protocol. */
  ignore(connection: Connection): void {
    if (connection.isIgnored) return;
    this.ignored++;
    this.leave(connection);
  }

  /** From now on only its bytes are counted. */
  leave(connection: Connection): void {
    if (connection.isIgnored) return;
    connection.isIgnored = true;
    this.unawait(connection);
    this.#sink.setVerdict(connection.slot, connection.generation, VERDICT_IGNORE);
  }

  /** Its messages begin anywhere in a run: the kernel captures every call from now on. */
  stream(connection: Connection): void {
    connection.isStreamed = true;
    this.#sink.setVerdict(connection.slot, connection.generation, VERDICT_STREAM);
  }

  /** It has become a tunnel, whose content tells nothing. */
  enterTunnel(connection: Connection): void {
    this.unawait(connection);
    this.#sink.setVerdict(connection.slot, connection.generation, VERDICT_EDGES);
  }

  await(connection: Connection): void {
    if (connection.isAwaited) return;
    connection.isAwaited = true;
    this.awaited.add(connection);
  }

  unawait(connection: Connection): void {
    if (!connection.isAwaited) return;
    connection.isAwaited = false;
    this.awaited.delete(connection);
  }
}

/** Which way requests go; where nobody knows, as the kernel has it. */
function requestsOf(connection: Connection): number {
  if (connection.matcher !== null) return connection.requestDirection;
  return connection.role === ROLE_CLIENT ? DIRECTION_EGRESS : DIRECTION_INGRESS;
}
