// What the kernel's records say of a connection's bytes, put in order and fed to its parsers. In: data, state, closed and
// progress records of a connection. Out: fed parsers; through them, exchanges begun and ended by the connection's matcher.
// A call behind the captured head has no record: what the next edge, end or progress record says of the run stands for it.
// What cannot be placed ends the connection's synchrony, which counts it.
import { errnoName } from '../errno.js';
import { LOST, OK } from '../protocols/protocol.js';
import {
  CONNECTION_CLOSED_EVENT_OFFSETS,
  CONNECTION_FIN_SENT,
  CONNECTION_RESET_RECEIVED,
  CONNECTION_RESET_SENT,
  type ConnectionClosedEventCursor,
  type ConnectionStateEventCursor,
  DATA_EDGE,
  DATA_EOF,
  DATA_ERROR,
  DATA_MORE,
  DATA_NO_CONTENT,
  type DataEventCursor,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  DIRECTION_NONE,
  PROGRESS_EVENT_OFFSETS,
  type ProgressEventCursor,
} from '../records/records.gen.js';
import type { Connection } from './connection.js';
import { endedChunked, findNextRequest, isChunkedEnd, isDiscarding } from './message-ends.js';
import type { Stream } from './stream.js';
import type { Synchrony } from './synchrony.js';
import { endTunnel, feedTunnel, passTunnel } from './tunnel.js';

/** A chunked body that ended so and then stays quiet for this long has ended. */
const TAIL_QUIET_NS = 20e6;

export class StreamFeeder {
  readonly #synchrony: Synchrony;
  /** Captured bytes of a run: beyond them the kernel announces nothing. */
  #headBytes: number;

  constructor(synchrony: Synchrony, headBytes: number) {
    this.#synchrony = synchrony;
    this.#headBytes = headBytes;
  }

  onData(connection: Connection, event: DataEventCursor, bytes: Uint8Array, payload: number): void {
    connection.tid = event.tid;
    connection.ioPid = event.pid;
    connection.pairTag = event.pairTag;
    connection.tcp.noteCall(event, event.direction);
    if (event.lostRecords !== connection.lostRecords) this.#synchrony.noteLost(connection, event);
    if ((event.flags & (DATA_EOF | DATA_ERROR)) !== 0) this.#onEnd(connection, event);
    else this.#onBytes(connection, event, bytes, payload);
    connection.gapCause = 'gap';
  }

  #onBytes(connection: Connection, event: DataEventCursor, bytes: Uint8Array, from: number): void {
    const { direction, flags, chunkBytes } = event;
    const to = from + chunkBytes;
    const isEdge = (flags & DATA_EDGE) !== 0;
    const stream = connection.stream(direction);
    if (isEdge) this.#onEdge(connection, event, stream, direction);
    if (connection.isOpaque) {
      this.#setTimes(connection, event, direction);
      feedTunnel(stream, event);
      return;
    }
    if (!connection.isSynced && isEdge) this.#synchrony.seek(connection, event, direction, bytes, from, to);
    if (!connection.isSynced) {
      if (connection.matcher === null) this.#synchrony.lookAt(connection, direction, bytes, from, to);
      else this.#synchrony.pass(connection, event);
      return;
    }
    // What is between the last known byte and this one was moved before, at a time that is not known better.
    if (this.#advance(connection, stream, event.seq) !== OK) {
      this.#synchrony.lose(connection);
      this.#synchrony.pass(connection, event);
      return;
    }
    if ((flags & DATA_NO_CONTENT) !== 0) connection.matcher?.noteUnread(stream === connection.requestStream);
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
    if ((flags & DATA_NO_CONTENT) !== 0 && isDue(connection, stream)) stream.parser?.beginUnread(stream.position);
    const begin = Math.max(from, next);
    if (to > begin && stream.feed(bytes, begin, to) !== OK) {
      this.#synchrony.break(connection);
      return;
    }
    if (connection.isOpaque) {
      this.#synchrony.enterTunnel(connection);
      feedTunnel(stream, event);
      return;
    }
    if (connection.matcher?.isAstray === true) {
      this.#synchrony.goAstray(connection);
      return;
    }
    if (connection.matcher?.isOverfull === true) {
      this.#synchrony.giveUp(connection, connection.matcher);
      return;
    }
    if (!connection.isStreamed && connection.matcher?.isPipelined === true) this.#synchrony.stream(connection);
    if (stream.parser?.isIdle === false) stream.keepTail(bytes, from, to, (event.seq + chunkBytes) >>> 0);
    const end = (event.seq + event.callBytes) >>> 0;
    if ((flags & DATA_MORE) === 0 && this.#advance(connection, stream, end) !== OK) {
      this.#synchrony.lose(connection);
      return;
    }
    this.#await(connection, stream);
  }

  /** Bytes up to `seq` were not captured: as Stream.advance. */
  #advance(connection: Connection, stream: Stream, seq: number): number {
    if (stream === connection.requestStream) {
      this.#synchrony.hide(connection, stream.hiddenUpTo(seq));
      return stream.advance(seq);
    }
    const result = stream.advance(seq);
    // Of the responses to come, the last bytes will be seen.
    if (isEndUnseen(connection)) this.#synchrony.stream(connection);
    // Of several answers, which one comes next can no longer be told.
    return result === OK && stream.parser?.isEndHidden === true && connection.matcher?.owesMore === true
      ? LOST
      : result;
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
    const other = stream === connection.ingress ? connection.egress : connection.ingress;
    if (connection.isOpaque) {
      if (event.prevCalls > 0) passTunnel(other, event.prevEndSeq);
    } else if (connection.isSynced && event.prevCalls > 0) {
      other.runCalls = event.prevCalls;
      connection.lastNs = event.prevLastNs;
      if (other.hasSeq && this.#advance(connection, other, event.prevEndSeq) !== OK) this.#synchrony.lose(connection);
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
    if (connection.matcher?.isRequestChunked !== true || endedChunked(event, other))
      other.parser.finish(other.position);
  }

  /** The read said end of stream, or a call failed. */
  #onEnd(connection: Connection, event: DataEventCursor): void {
    connection.endedNs = event.timeNs;
    if ((event.flags & DATA_ERROR) !== 0) {
      if (connection.errorType === '') connection.errorType = errnoName(event.errorNumber);
      if (connection.errorType === 'ECONNRESET') connection.noteEnd('reset_received', event.timeNs);
      return;
    }
    connection.noteEnd('fin_received', event.timeNs);
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
    if (connection.isOpaque) passTunnel(stream, endSeq);
    if (!stream.hasSeq || connection.isOpaque) return;
    stream.runCalls = Math.max(stream.runCalls, calls);
    connection.lastNs = lastNs;
    if (((endSeq - stream.nextSeq) | 0) < 0) return; // an older run than what is known
    if (this.#advance(connection, stream, endSeq) !== OK) this.#synchrony.lose(connection);
  }

  /** This side has finished sending: a response that lasts until then is complete. */
  onState(connection: Connection, event: ConnectionStateEventCursor): void {
    this.#synchrony.noteLost(connection, event);
    this.#settleRun(connection, event.direction, event.prevEndSeq, event.prevLastNs, event.prevCalls);
    connection.gapCause = 'gap';
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

  /** The socket is gone: a response that lasts until then is complete, unless it was cut by a reset. */
  onClosed(connection: Connection, event: ConnectionClosedEventCursor): void {
    this.#synchrony.noteLost(connection, event);
    this.#settleRun(connection, event.direction, event.prevEndSeq, event.prevLastNs, event.prevCalls);
    const wasReset =
      (connection.flags & (CONNECTION_RESET_RECEIVED | CONNECTION_RESET_SENT)) !== 0 &&
      !wasGoodbyeReset(connection, event);
    if (connection.isOpaque) endTunnel(connection, event);
    const lastNs = connection.isOpaque ? Math.max(event.lastReadNs, event.lastWriteNs) : connection.lastNs;
    if (connection.endedNs <= lastNs) connection.endedNs = endOf(event, lastNs);
    const stream = connection.responseStream;
    if (connection.isSynced) connection.requestStream.parser?.giveUpHead();
    // What the connection moved by no call that was seen may have been the answer, or the end of one.
    if (event.unseenIngress + event.unseenEgress > 0 && connection.isSynced && !connection.isOpaque) {
      this.#synchrony.lose(connection);
      return;
    }
    // Whatever cut the connection, a chunked response whose last bytes are the end of one had all been there.
    const isWhole = connection.matcher?.isResponseChunked === true && lastChunkIsIn(event, connection);
    if (connection.isSynced && (!wasReset || connection.isOpaque || isWhole)) stream.parser?.finish(stream.position);
  }

  /** How far a run has come of which nothing more is announced. */
  onProgress(connection: Connection, event: ProgressEventCursor): void {
    if (!connection.isSynced || connection.isOpaque) return;
    connection.tcp.note(event);
    // What else was lost is told by the records to come: this one is ahead of them.
    if (event.lostRecords !== connection.lostRecords) connection.gapCause = 'ring_full';
    this.#settleRun(connection, event.direction, event.endSeq, event.lastNs, event.calls);
    connection.gapCause = 'gap';
    if (!connection.isSynced) return;
    const stream = connection.stream(event.direction);
    const matcher = connection.matcher;
    const isChunked = stream === connection.requestStream ? matcher?.isRequestChunked : matcher?.isResponseChunked;
    const { view, at } = event;
    const tailAt = at + PROGRESS_EVENT_OFFSETS.tail;
    if (isChunked === true && isChunkedEnd(view.getUint32(tailAt, true), view.getUint32(tailAt + 4, true))) {
      if (event.timeNs - event.lastNs >= TAIL_QUIET_NS) stream.parser?.finish(stream.position);
    }
    if (stream.parser?.isIdle !== false || isAnnounced(connection)) this.#synchrony.unawait(connection);
  }

  /** From now on runs may be captured up to here only. Never taken back: runs of before may still be open. */
  shortenHeads(headBytes: number): void {
    this.#headBytes = Math.min(this.#headBytes, headBytes);
  }

  /** A connection whose message goes on behind the captured head, or ends where only quiet tells, is asked about. */
  #await(connection: Connection, stream: Stream): void {
    const isUnannounced = stream.runCaptured >= this.#headBytes || isDiscarding(connection);
    if (stream.parser?.isIdle === false && isUnannounced && !isAnnounced(connection)) this.#synchrony.await(connection);
    else this.#synchrony.unawait(connection);
  }
}

/**
 * Does a response go on behind what is captured of it, and nothing will tell of its end but its own last bytes? Who gives it reads
 * on when it has (PHP-FPM, the rest of the request): to capture all that is written would cost more than that tells.
 */
function isEndUnseen(connection: Connection): boolean {
  if (connection.isStreamed || connection.matcher?.isEndWithin !== true) return false;
  if (connection.requestDirection !== DIRECTION_EGRESS) return false;
  return connection.responseStream.parser?.isEndHidden === true;
}

/** Records of all calls are on their way: what the shared map says of them is ahead of these. */
function isAnnounced(connection: Connection): boolean {
  return connection.isStreamed && connection.matcher?.isEndWithin === true;
}

/** Is what begins in `stream` a response, and to which request is certain? */
function isDue(connection: Connection, stream: Stream): boolean {
  return stream === connection.responseStream && (connection.matcher?.soleRequest ?? null) !== null;
}

/**
 * Was what was reset but this side's goodbye? A TLS server that closes at once does so to the client's close_notify; all that it
 * had to say came before its FIN.
 */
function wasGoodbyeReset(connection: Connection, event: ConnectionClosedEventCursor): boolean {
  if (!connection.isSession || connection.requestDirection !== DIRECTION_EGRESS) return false;
  const isReset = (connection.flags & CONNECTION_RESET_SENT) === 0 && event.direction === DIRECTION_INGRESS;
  return isReset && event.finReceivedNs > 0 && event.finReceivedNs < event.resetNs;
}

/** Was the open run one of the response, and do its last bytes end a chunked body? */
function lastChunkIsIn(event: ConnectionClosedEventCursor, connection: Connection): boolean {
  if (event.direction === connection.requestDirection) return false;
  const tailAt = event.at + CONNECTION_CLOSED_EVENT_OFFSETS.prevTail;
  return isChunkedEnd(event.view.getUint32(tailAt, true), event.view.getUint32(tailAt + 4, true));
}

/** When a connection ended for the exchange that waited on it: the first FIN or reset after its last byte, else the close. */
function endOf(event: ConnectionClosedEventCursor, lastNs: number): number {
  let endNs = event.timeNs;
  for (const ns of [event.finReceivedNs, event.finSentNs, event.resetNs]) if (ns > lastNs && ns < endNs) endNs = ns;
  return endNs;
}
