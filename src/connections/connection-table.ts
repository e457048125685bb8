// Connections by slot: what the kernel's records say becomes bytes in order for the parsers. In: data, opened, state,
// closed and progress records. Out: fed parsers, exchanges begun and ended through each connection's matcher, connection
// events for metrics. A gap ends what it touches: the connection is unsynced, nothing is exported from it until a request
// begins a run again (the record of that edge says where the response stream stands). Everything given up is counted.

import { errnoName } from '../errno.js';
import type { Peer } from '../exchanges/exchange.js';
import { type ExchangeSink, Matcher } from '../exchanges/matcher.js';
import { detectRequest } from '../protocols/detect.js';
import { OK } from '../protocols/protocol.js';
import {
  CONNECTION_FIN_SENT,
  CONNECTION_RESET_RECEIVED,
  CONNECTION_RESET_SENT,
  type ConnectionClosedEventCursor,
  type ConnectionOpenedEventCursor,
  type ConnectionStateEventCursor,
  DATA_EDGE,
  DATA_EOF,
  DATA_ERROR,
  DATA_MORE,
  type DataEventCursor,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  DIRECTION_NONE,
  PROGRESS_EVENT_OFFSETS,
  type ProgressEventCursor,
  ROLE_CLIENT,
  ROLE_SERVER,
  VERDICT_HEAD,
  VERDICT_IGNORE,
  VERDICT_STREAM,
} from '../records/records.gen.js';
import { Connection, readPeer, unixPeer } from './connection.js';
import { endsChunked, findNextRequest, isChunkedEnd, isDiscarding } from './message-ends.js';
import type { Stream } from './stream.js';

/** What happens to connections, beside their exchanges. */
export interface ConnectionSink extends ExchangeSink {
  onConnectionOpened(connection: Connection, event: ConnectionOpenedEventCursor): void;
  onConnectionClosed(connection: Connection, event: ConnectionClosedEventCursor): void;
  /** A connection whose end has no record. */
  onConnectionLost(connection: Connection): void;
  /** Takes a slot back whose socket has gone without a record. */
  evict(slot: number, generation: number): void;
  /** Should this connection's bytes be read at all (our own admin port, for example)? */
  isWanted(connection: Connection): boolean;
  /** Tells the kernel a verdict. */
  setVerdict(slot: number, generation: number, verdict: number): void;
}

export interface ConnectionTableOptions {
  /** Captured bytes of a run: beyond them the kernel announces nothing. */
  readonly headBytes: number;
}

/** What `max_connections` may be at most: a higher slot is no kernel's (a damaged recording). */
const SLOTS_MAX = 1 << 22;
/** sun_path of sockaddr_un. */
const PATH_MAX_BYTES = 108;
/** Edges of no known protocol after which a connection is only counted. */
const STRANGE_EDGES_MAX = 4;
/** The same for a connection that has spoken one: what it goes on with may be the rest of a long body. */
const LOST_EDGES_MAX = 64;
/** A chunked body that ended so and then stays quiet for this long has ended. */
const TAIL_QUIET_NS = 20e6;

export class ConnectionTable {
  /** Data records of connections that are not known, or no longer. */
  strayRecords = 0;
  /** Gaps, and streams given up because of bytes that are no protocol. */
  gaps = 0;
  brokenStreams = 0;
  /** Connections of which only bytes are counted. */
  ignored = 0;
  open = 0;
  /** Unix connections by the process that opened them: the kernel has no record of their end when a process dies. */
  readonly #unixByPid = new Map<number, Set<Connection>>();
  /** Those that wait for bytes the kernel does not announce: see kernel/progress.ts. */
  readonly awaited = new Set<Connection>();
  readonly #slots: (Connection | null)[] = [];
  /** The same, for walks: there are fewer of them than slots. */
  readonly #live = new Set<Connection>();
  readonly #sink: ConnectionSink;
  readonly #headBytes: number;

  constructor(sink: ConnectionSink, options: ConnectionTableOptions) {
    this.#sink = sink;
    this.#headBytes = options.headBytes;
  }

  find(slot: number, generation: number): Connection | null {
    const connection = this.#slots[slot] ?? null;
    return connection !== null && connection.generation === generation ? connection : null;
  }

  onOpened(event: ConnectionOpenedEventCursor): void {
    const slot = event.slot;
    if (slot >= SLOTS_MAX) {
      this.strayRecords++;
      return;
    }
    const stale = this.#slots[slot] ?? null;
    if (stale !== null) {
      if (stale.generation === event.generation) return;
      this.#sink.onConnectionLost(stale); // its closed record was lost: how its exchanges ended is not known
      stale.matcher?.abandon('gap');
      this.#forget(stale, 'connection_closed');
    }
    const connection = new Connection(slot, event.generation);
    connection.role = event.role;
    connection.openedRole = event.role;
    connection.flags = event.flags;
    connection.pid = event.pid;
    connection.openedNs = event.timeNs;
    connection.include = event.include;
    connection.exclude = event.exclude;
    connection.createdNs = event.createdNs;
    connection.connectNs = event.connectNs;
    connection.establishedNs = event.establishedNs;
    connection.acceptedNs = event.acceptedNs;
    connection.peer = connection.isUnix
      ? readUnixPeer(event)
      : readPeer(event.view, event.at + event.addressLocalOffset);
    this.#slots[slot] = connection;
    this.#live.add(connection);
    this.open++;
    if (connection.isUnix) this.#noteUnix(connection);
    if (!this.#sink.isWanted(connection)) this.#ignore(connection);
    this.#sink.onConnectionOpened(connection, event);
  }

  onData(event: DataEventCursor, bytes: Uint8Array, payload: number): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null) {
      this.strayRecords++;
      return;
    }
    if (connection.isIgnored) return;
    const { direction, flags } = event;
    connection.tid = event.tid;
    connection.ioPid = event.pid;
    connection.pairTag = event.pairTag;
    connection.srttMicros = event.srttUs;
    connection.retransmits = event.totalRetrans;
    if ((flags & (DATA_EOF | DATA_ERROR)) !== 0) this.#onEnd(connection, event);
    else this.#onBytes(connection, event, direction, flags, bytes, payload);
  }

  #onBytes(
    connection: Connection,
    event: DataEventCursor,
    direction: number,
    flags: number,
    bytes: Uint8Array,
    payload: number,
  ): void {
    const stream = connection.stream(direction);
    if ((flags & DATA_EDGE) !== 0) this.#onEdge(connection, event, stream, direction);
    if (connection.isOpaque) {
      this.#setTimes(connection, event, direction);
      return;
    }
    const chunkBytes = event.chunkBytes;
    const from = payload;
    if (!connection.isSynced && (flags & DATA_EDGE) !== 0) {
      this.#trySync(connection, event, direction, bytes, from, from + chunkBytes);
      if (!connection.isSynced) this.#countUnread(connection, direction);
    }
    if (!connection.isSynced) return;
    // What is between the last known byte and this one was moved before, at a time that is not known better.
    if (stream.advance(event.seq) !== OK) {
      this.#lose(connection);
      return;
    }
    const to = from + chunkBytes;
    const isBody = stream === connection.requestStream && isDiscarding(connection);
    const next = isBody ? findNextRequest(connection, event, bytes, from, to) : -1;
    this.#setTimes(connection, event, direction);
    if (next >= 0) stream.parser?.finish(stream.position + next - from);
    connection.seq = event.seq;
    connection.seqPosition = stream.position;
    connection.otherSeq = event.otherSeq;
    stream.runCalls = event.runCalls;
    stream.runCaptured += chunkBytes;
    if (next > from) stream.pass(next - from);
    const begin = Math.max(from, next);
    if (to > begin && stream.feed(bytes, begin, to) !== OK) {
      this.#break(connection);
      return;
    }
    if (connection.matcher?.isAstray === true) {
      this.#sink.missExchange(connection, 'gap');
      this.#lose(connection);
      return;
    }
    if (connection.matcher?.isOverfull === true) {
      this.#giveUp(connection, connection.matcher);
      return;
    }
    if (stream.parser?.isIdle === false) stream.keepTail(bytes, from, to);
    if ((flags & DATA_MORE) === 0 && stream.advance((event.seq + event.callBytes) >>> 0) !== OK) this.#lose(connection);
    else {
      this.#await(connection, stream);
      this.#follow(connection);
    }
  }

  #setTimes(connection: Connection, event: DataEventCursor, direction: number): void {
    const timeNs = event.timeNs;
    if (direction === DIRECTION_INGRESS) {
      const arrivedNs = event.arrivedNs;
      connection.firstNs = arrivedNs > 0 && arrivedNs <= timeNs ? arrivedNs : timeNs;
      connection.takenNs = timeNs;
    } else {
      const enterNs = event.enterNs;
      connection.firstNs = enterNs > 0 ? enterNs : timeNs;
      connection.takenNs = connection.firstNs;
    }
    connection.lastNs = timeNs;
  }

  /** The direction changed: the run before is described, and a response that nothing else ends is over. */
  #onEdge(connection: Connection, event: DataEventCursor, stream: Stream, direction: number): void {
    if (connection.isSynced && !connection.isOpaque && event.prevCalls > 0) {
      const other = stream === connection.ingress ? connection.egress : connection.ingress;
      other.runCalls = event.prevCalls;
      connection.lastNs = event.prevLastNs;
      if (other.hasSeq && other.advance(event.prevEndSeq) !== OK) this.#lose(connection);
      else this.#finishAtEdge(connection, event, stream, other);
    }
    stream.beginRun(direction === DIRECTION_EGRESS ? event.enterNs : event.timeNs);
  }

  /** The direction changed from `other` to `stream`: is a message over whose end nothing else shows? */
  #finishAtEdge(connection: Connection, event: DataEventCursor, stream: Stream, other: Stream): void {
    if (connection.isOpaque || other.parser?.isIdle !== false) return;
    if (stream === connection.requestStream) {
      // The next request begins.
      if (stream.parser?.isIdle === true) other.parser.finish(other.position);
      return;
    }
    // The response begins: early, unless the request's last bytes say that it has ended.
    if (connection.matcher?.isRequestChunked !== true || endsChunked(event, other)) other.parser.finish(other.position);
  }

  /**
   * While a connection that spoke a known protocol cannot be read, each change to the response's direction is an exchange
   * that nobody will see; the first ones answer requests that have been counted as dropped.
   */
  #countUnread(connection: Connection, direction: number): void {
    if (connection.matcher === null || direction === connection.requestDirection) return;
    if (connection.countedAnswers > 0) connection.countedAnswers--;
    else this.#sink.missExchange(connection, 'unsynced');
  }

  /** A run begins on a connection that is not understood (yet): is it a request? */
  #trySync(
    connection: Connection,
    event: DataEventCursor,
    direction: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): void {
    const requestDirection =
      connection.role === ROLE_SERVER
        ? DIRECTION_INGRESS
        : connection.role === ROLE_CLIENT
          ? DIRECTION_EGRESS
          : direction;
    if (direction !== requestDirection || to === from) return;
    const protocol = detectRequest(bytes, from, to);
    if (protocol === null) {
      connection.strangeEdges++;
      if (connection.strangeEdges >= (connection.matcher === null ? STRANGE_EDGES_MAX : LOST_EDGES_MAX)) {
        this.#ignore(connection);
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
    connection.requestStream.parser ??= protocol.createRequestParser(matcher.requests);
    connection.responseStream.parser ??= protocol.createResponseParser(matcher.responses);
    connection.requestStream.restart(event.seq);
    connection.responseStream.restart(event.otherSeq);
  }

  /** The read said end of stream, or a call failed. */
  #onEnd(connection: Connection, event: DataEventCursor): void {
    connection.endedNs = event.timeNs;
    if ((event.flags & DATA_ERROR) !== 0) {
      if (connection.errorType === '') connection.errorType = errnoName(event.errorNumber);
      return;
    }
    this.#settleRun(connection, event.runDirection, event.prevEndSeq, event.prevLastNs, event.prevCalls);
    // A tunnel is over when both sides are: the closed record has its bytes.
    if (!connection.isSynced || connection.isOpaque || connection.requestDirection === event.direction) return;
    const stream = connection.ingress;
    if (connection.lastNs < event.timeNs) connection.lastNs = event.timeNs;
    stream.parser?.finish(stream.position);
  }

  /** The open run, as another record describes it. */
  #settleRun(connection: Connection, direction: number, endSeq: number, lastNs: number, calls: number): void {
    if (!connection.isSynced || calls === 0 || direction === DIRECTION_NONE) return;
    const stream = connection.stream(direction);
    if (!stream.hasSeq || connection.isOpaque) return;
    stream.runCalls = Math.max(stream.runCalls, calls);
    connection.lastNs = lastNs;
    if (((endSeq - stream.nextSeq) | 0) < 0) return; // an older run than what is known
    if (stream.advance(endSeq) !== OK) this.#lose(connection);
  }

  /** This side has finished sending: a response that lasts until then is complete. */
  onState(event: ConnectionStateEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null) return;
    connection.flags |= event.flags;
    this.#noteReset(connection, event.errorNumber);
    if (connection.isIgnored) return;
    this.#settleRun(connection, event.direction, event.prevEndSeq, event.prevLastNs, event.prevCalls);
    if ((event.flags & CONNECTION_FIN_SENT) === 0 || (event.flags & CONNECTION_RESET_SENT) !== 0) return;
    if (
      connection.isSynced &&
      !connection.isOpaque &&
      connection.requestDirection === DIRECTION_INGRESS &&
      event.direction === DIRECTION_EGRESS
    ) {
      connection.egress.parser?.finish(connection.egress.position);
    }
  }

  #noteReset(connection: Connection, errorNumber: number): void {
    if (connection.errorType !== '') return;
    if (errorNumber !== 0) connection.errorType = errnoName(errorNumber);
    else if ((connection.flags & CONNECTION_RESET_RECEIVED) !== 0) connection.errorType = 'ECONNRESET';
    else if ((connection.flags & CONNECTION_RESET_SENT) !== 0) connection.errorType = 'ECONNABORTED';
  }

  onClosed(event: ConnectionClosedEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null) {
      this.strayRecords++;
      return;
    }
    connection.flags |= event.flags;
    this.#noteReset(connection, event.errorNumber);
    if (!connection.isIgnored) {
      this.#settleRun(connection, event.direction, event.prevEndSeq, event.prevLastNs, event.prevCalls);
      const wasReset = (connection.flags & (CONNECTION_RESET_RECEIVED | CONNECTION_RESET_SENT)) !== 0;
      if (connection.isOpaque) this.#endTunnel(connection, event);
      if (connection.endedNs <= connection.lastNs) connection.endedNs = endOf(event, connection.lastNs);
      const stream = connection.responseStream;
      if (connection.isSynced) connection.requestStream.parser?.giveUpHead();
      if (connection.isSynced && (!wasReset || connection.isOpaque)) stream.parser?.finish(stream.position);
    }
    this.#sink.onConnectionClosed(connection, event);
    this.#forget(connection, connection.errorType === '' ? 'connection_closed' : connection.errorType);
  }

  /** Bytes after CONNECT or 101 were counted by the kernel only; a stream's position is its bytes since the connection began. */
  #endTunnel(connection: Connection, event: ConnectionClosedEventCursor): void {
    connection.lastNs = Math.max(event.lastReadNs, event.lastWriteNs);
    if (connection.isPreexisting) return;
    connection.ingress.position = Math.max(connection.ingress.position, event.bytesIngress);
    connection.egress.position = Math.max(connection.egress.position, event.bytesEgress);
  }

  /** How far a run has come of which nothing more is announced. */
  onProgress(event: ProgressEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null || !connection.isSynced || connection.isOpaque) return;
    this.#settleRun(connection, event.direction, event.endSeq, event.lastNs, event.calls);
    if (!connection.isSynced) return;
    const stream = connection.stream(event.direction);
    const matcher = connection.matcher;
    const isChunked = stream === connection.requestStream ? matcher?.isRequestChunked : matcher?.isResponseChunked;
    const { view, at } = event;
    const tailAt = at + PROGRESS_EVENT_OFFSETS.tail;
    if (isChunked === true && isChunkedEnd(view.getUint32(tailAt, true), view.getUint32(tailAt + 4, true))) {
      if (event.timeNs - event.lastNs >= TAIL_QUIET_NS) stream.parser?.finish(stream.position);
    }
    if (stream.parser?.isIdle !== false) this.#unawait(connection);
  }

  /**
   * A response that begins before its request has ended: the next request may follow the rest of the body without a
   * change of direction, so everything is asked for until the request has ended.
   */
  #follow(connection: Connection): void {
    const isEarly =
      connection.requestStream.parser?.isIdle === false &&
      connection.matcher?.isAnswering === true &&
      !connection.isOpaque;
    if (isEarly === connection.isStreamed) return;
    connection.isStreamed = isEarly;
    this.#sink.setVerdict(connection.slot, connection.generation, isEarly ? VERDICT_STREAM : VERDICT_HEAD);
  }

  /** Calls `visit` for every connection. */
  forEach(visit: (connection: Connection) => void): void {
    for (const connection of this.#live) visit(connection);
  }

  /** Connections whose message goes on behind the captured head are asked about. */
  #await(connection: Connection, stream: Stream): void {
    const waits = stream.parser?.isIdle === false && stream.runCaptured >= this.#headBytes;
    if (waits === connection.isAwaited) return;
    if (waits) {
      connection.isAwaited = true;
      this.awaited.add(connection);
    } else this.#unawait(connection);
  }

  #unawait(connection: Connection): void {
    if (!connection.isAwaited) return;
    connection.isAwaited = false;
    this.awaited.delete(connection);
  }

  #lose(connection: Connection): void {
    this.gaps++;
    this.#unsync(connection);
    connection.matcher?.abandon('gap');
  }

  /** More requests wait than are kept: which response is whose can no longer be told. */
  #giveUp(connection: Connection, matcher: Matcher): void {
    matcher.isOverfull = false;
    this.#unsync(connection);
  }

  #break(connection: Connection): void {
    this.brokenStreams++;
    connection.brokenMessages++;
    this.#unsync(connection);
    connection.matcher?.abandon('unparsed');
    if (connection.brokenMessages >= STRANGE_EDGES_MAX) this.#ignore(connection);
  }

  #unsync(connection: Connection): void {
    connection.isSynced = false;
    connection.countedAnswers = connection.matcher?.unansweredCount ?? 0;
    this.#unawait(connection);
    connection.ingress.parser?.resync();
    connection.egress.parser?.resync();
  }

  #ignore(connection: Connection): void {
    if (connection.isIgnored) return;
    connection.isIgnored = true;
    this.ignored++;
    this.#unawait(connection);
    this.#sink.setVerdict(connection.slot, connection.generation, VERDICT_IGNORE);
  }

  #noteUnix(connection: Connection): void {
    const known = this.#unixByPid.get(connection.pid);
    if (known === undefined) this.#unixByPid.set(connection.pid, new Set([connection]));
    else known.add(connection);
  }

  #unnoteUnix(connection: Connection): void {
    const known = this.#unixByPid.get(connection.pid);
    if (known?.delete(connection) === true && known.size === 0) this.#unixByPid.delete(connection.pid);
  }

  /** A process has ended, and its unix sockets with it (one that a child still uses is found again at its next call). */
  onProcessExit(pid: number): void {
    for (const connection of this.#unixByPid.get(pid) ?? []) {
      this.#sink.evict(connection.slot, connection.generation);
      this.#sink.onConnectionLost(connection);
      this.#forget(connection, 'connection_closed');
    }
  }

  #forget(connection: Connection, errorType: string): void {
    this.#unawait(connection);
    if (connection.isUnix) this.#unnoteUnix(connection);
    connection.matcher?.close(errorType);
    this.#slots[connection.slot] = null;
    this.#live.delete(connection);
    this.open--;
  }

  /** Ends exchanges whose request is older than `ns` and has no response; what comes later for them is not theirs. */
  expire(ns: number, nowNs: number): void {
    for (const connection of this.#live) {
      if (connection.matcher?.expire(ns, nowNs) === true) this.#unsync(connection);
    }
  }

  /** The agent stops: what is under way is told as far as it has come. Nothing is invented for it. */
  abandonAll(): void {
    for (const connection of this.#live) connection.matcher?.abandon('unfinished');
  }
}

/** When a connection ended for the exchange that waited on it: the first FIN or reset after its last byte, else the close. */
function endOf(event: ConnectionClosedEventCursor, lastNs: number): number {
  const { finReceivedNs, finSentNs, timeNs } = event;
  if (finReceivedNs > lastNs && (finSentNs <= lastNs || finReceivedNs < finSentNs)) return finReceivedNs;
  return finSentNs > lastNs ? finSentNs : timeNs;
}

function readUnixPeer(event: ConnectionOpenedEventCursor): Peer {
  const from = event.view.byteOffset + event.at + event.pathOffset;
  const path = Buffer.from(event.view.buffer, from, Math.min(event.pathBytes, PATH_MAX_BYTES)).toString('utf8');
  return unixPeer(path, event.role === ROLE_CLIENT);
}
