// Connections by slot: which there are, from their opened to their closed record. In: opened, data, state, closed and
// progress records. Out: connections for the feeder of their streams, connection events for metrics. Records of connections
// that are not known are counted; a connection whose end has no record is ended by what shows it.

import { errnoName } from '../errno.js';
import type { Peer } from '../exchanges/exchange.js';
import { detectRequest } from '../protocols/detect.js';
import { HANDSHAKE_DONE, HANDSHAKE_UNDER_WAY, looksLikeHandshake } from '../protocols/tls/handshake.js';
import {
  CONNECTION_FIN_RECEIVED,
  CONNECTION_FIN_SENT,
  CONNECTION_RESET_RECEIVED,
  CONNECTION_RESET_SENT,
  type ConnectionClosedEventCursor,
  type ConnectionLostEventCursor,
  type ConnectionOpenedEventCursor,
  type ConnectionStateEventCursor,
  DATA_EDGE,
  type DataEventCursor,
  type ProgressEventCursor,
  ROLE_CLIENT,
  ROLE_UNKNOWN,
  VERDICT_EDGES,
} from '../records/records.gen.js';
import { Connection, readPeer, unixPeer } from './connection.js';
import { Owners } from './owners.js';
import { StreamFeeder } from './stream-feeder.js';
import { Synchrony, type SynchronySink } from './synchrony.js';
import { TlsWatch } from './tls-watch.js';

/** What happens to connections, beside their exchanges. */
export interface ConnectionSink extends SynchronySink {
  onConnectionOpened(connection: Connection, event: ConnectionOpenedEventCursor): void;
  onConnectionClosed(connection: Connection, event: ConnectionClosedEventCursor): void;
  /** It begins with a TLS record. */
  onTlsBegun(connection: Connection): void;
  /** Its handshake is over, well or not, or can be followed no longer. */
  onTlsHandshake(connection: Connection): void;
  /** A request on a connection that is not known. */
  onStrayRequest(event: DataEventCursor): void;
  /** A connection whose end has no record. */
  onConnectionLost(connection: Connection): void;
  /** Takes a slot back whose socket has gone without a record. */
  evict(slot: number, generation: number): void;
  /** Should this connection's bytes be read at all (our own admin port, for example)? */
  isWanted(connection: Connection): boolean;
}

export interface ConnectionTableOptions {
  /** Captured bytes of a run: beyond them the kernel announces nothing. */
  readonly headBytes: number;
}

/** What `max_connections` may be at most: a higher slot is no kernel's (a damaged recording). */
const SLOTS_MAX = 1 << 22;
/** sun_path of sockaddr_un. */
const PATH_MAX_BYTES = 108;
/** A request that is answered and does not end is told this long after its answer: it may never be seen to end. */
const ANSWERED_QUIET_NS = 250e6;

export class ConnectionTable {
  /** Data records of connections that are not known, or no longer. */
  strayRecords = 0;
  /** Bytes of connections that have ended, moved by no call that was seen. */
  unseenBytes = 0;
  open = 0;
  readonly synchrony: Synchrony;
  readonly #feeder: StreamFeeder;
  readonly #slots: (Connection | null)[] = [];
  /** The same, for walks: there are fewer of them than slots. */
  readonly #live = new Set<Connection>();
  readonly #owners = new Owners();
  readonly #sink: ConnectionSink;

  constructor(sink: ConnectionSink, options: ConnectionTableOptions) {
    this.#sink = sink;
    this.synchrony = new Synchrony(sink);
    this.#feeder = new StreamFeeder(this.synchrony, options.headBytes);
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
      if (stale.generation === event.generation) {
        if (stale.isSession && stale.carrier === null) this.#bind(stale, event);
        return;
      }
      this.#lose(stale);
    }
    const connection = new Connection(slot, event.generation);
    connection.role = event.role;
    connection.openedRole = event.role;
    connection.flags = event.flags;
    connection.pid = event.pid;
    connection.openedNs = event.timeNs;
    describe(connection, event);
    connection.tcp.note(event);
    if (connection.isSession) this.#bind(connection, event);
    this.#slots[slot] = connection;
    this.#live.add(connection);
    this.open++;
    if (endsUnseen(connection)) this.#owners.add(connection);
    if (!this.#sink.isWanted(connection)) this.synchrony.ignore(connection);
    this.#sink.onConnectionOpened(connection, event);
  }

  /** The socket of a TLS session has become known: what goes through it is this session's ciphertext. */
  #bind(session: Connection, event: ConnectionOpenedEventCursor): void {
    const carrier = event.carrierGeneration === 0 ? null : this.find(event.carrierSlot, event.carrierGeneration);
    if (carrier === null) return;
    describe(session, event);
    session.carrier = carrier;
    if (session.role === ROLE_UNKNOWN) session.role = event.role;
    session.connectTrace = carrier.connectTrace;
    session.connectSpan0 = carrier.connectSpan0;
    session.connectSpan1 = carrier.connectSpan1;
    session.takeConnect(carrier);
    session.tls = carrier.tls;
    session.matcher?.setPeer(session.peer);
    carrier.isCarrier = true;
    this.#owners.remove(session);
    this.synchrony.leave(carrier);
  }

  onData(event: DataEventCursor, bytes: Uint8Array, payload: number): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null) this.#onStray(event, bytes, payload);
    else if (connection.isIgnored) return;
    else if (connection.tls !== null && !connection.isSession) this.#watch(connection, event, bytes, payload);
    else if (beginsTls(connection, event, bytes, payload)) {
      connection.tls = new TlsWatch();
      this.#sink.onTlsBegun(connection);
      this.#watch(connection, event, bytes, payload);
    } else this.#feeder.onData(connection, event, bytes, payload);
  }

  /** The opened record of its connection found the control ring full: a request is in the books all the same. */
  #onStray(event: DataEventCursor, bytes: Uint8Array, payload: number): void {
    this.strayRecords++;
    if ((event.flags & DATA_EDGE) === 0) return;
    if (detectRequest(bytes, payload, payload + event.chunkBytes) !== null) this.#sink.onStrayRequest(event);
  }

  /** Ciphertext is read until the handshake is over; from then on, unless its plaintext is read, only which way it goes. */
  #watch(connection: Connection, event: DataEventCursor, bytes: Uint8Array, payload: number): void {
    const { tls, slot, generation } = connection;
    if (tls?.onData(connection, event, bytes, payload) !== true) return;
    this.#sink.onTlsHandshake(connection);
    if (connection.isCarrier || tls.handshake.state !== HANDSHAKE_DONE) this.synchrony.leave(connection);
    else this.#sink.setVerdict(slot, generation, VERDICT_EDGES);
  }

  onState(event: ConnectionStateEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null) return;
    noteFlags(connection, event);
    noteReset(connection, event.errorNumber);
    if (!connection.isIgnored) this.#feeder.onState(connection, event);
  }

  /** The kernel captures less of each run from now on. */
  shortenHeads(headBytes: number): void {
    this.#feeder.shortenHeads(headBytes);
  }

  onProgress(event: ProgressEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection !== null) this.#feeder.onProgress(connection, event);
  }

  onClosed(event: ConnectionClosedEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection === null) {
      this.strayRecords++;
      return;
    }
    this.unseenBytes += event.unseenIngress + event.unseenEgress;
    noteEnd(connection, event);
    noteFlags(connection, event);
    noteReset(connection, event.errorNumber);
    const { tls } = connection;
    if (tls?.handshake.state === HANDSHAKE_UNDER_WAY && !connection.isSession) {
      tls.handshake.close(event.timeNs);
      this.#sink.onTlsHandshake(connection);
    }
    tls?.bursts.close(event.prevLastNs);
    if (!connection.isIgnored) this.#feeder.onClosed(connection, event);
    this.#sink.onConnectionClosed(connection, event);
    this.#forget(connection, connection.errorType === '' ? 'connection_closed' : connection.errorType);
  }

  /** A connection has ended and its record found the ring full. */
  onLost(event: ConnectionLostEventCursor): void {
    const connection = this.find(event.slot, event.generation);
    if (connection !== null) this.#lose(connection);
  }

  /** Its closed record was lost: how its exchanges ended is not known. */
  #lose(connection: Connection): void {
    this.#sink.onConnectionLost(connection);
    connection.matcher?.abandon('ring_full');
    this.#forget(connection, 'connection_closed');
  }

  /**
   * A process has ended, and its unix sockets with it (one that a child still uses is found again at its next call), and TLS
   * sessions whose socket is not known.
   */
  onProcessExit(pid: number): void {
    for (const connection of this.#owners.of(pid)) {
      this.#sink.evict(connection.slot, connection.generation);
      this.#sink.onConnectionLost(connection);
      this.#forget(connection, 'connection_closed');
    }
  }

  #forget(connection: Connection, errorType: string): void {
    this.synchrony.forget(connection);
    this.#owners.remove(connection);
    connection.matcher?.close(errorType);
    this.#slots[connection.slot] = null;
    this.#live.delete(connection);
    this.open--;
  }

  /** Calls `visit` for every connection. */
  forEach(visit: (connection: Connection) => void): void {
    for (const connection of this.#live) visit(connection);
  }

  /**
   * Ends exchanges whose request is older than `ns` and has no response; what comes later for them is not theirs. Tells
   * those that have had their whole response for a while, and whose request was not seen to end.
   */
  expire(ns: number, nowNs: number): void {
    for (const connection of this.#live) {
      if (connection.matcher === null) continue;
      connection.matcher.tellAnswered(nowNs - ANSWERED_QUIET_NS);
      if (connection.matcher.expire(ns, nowNs)) this.synchrony.end(connection);
    }
  }

  /** The agent stops: what is under way is told as far as it has come. Nothing is invented for it. */
  abandonAll(): void {
    for (const connection of this.#live) {
      connection.matcher?.abandon('unfinished');
      this.synchrony.forget(connection);
    }
  }
}

/** Is there nothing in the kernel that tells of its end when its process dies? */
function endsUnseen(connection: Connection): boolean {
  return connection.isUnix || (connection.isSession && connection.carrier === null);
}

/** Where a connection is and how it began. */
function describe(connection: Connection, event: ConnectionOpenedEventCursor): void {
  connection.include = event.include;
  connection.exclude = event.exclude;
  connection.createdNs = event.createdNs;
  connection.connectNs = event.connectNs;
  connection.establishedNs = event.establishedNs;
  connection.acceptedNs = event.acceptedNs;
  connection.peer = connection.isUnix ? readUnixPeer(event) : readPeer(event.view, event.at + event.addressLocalOffset);
}

/** Is this the first record of a TLS connection? Roles are known by then, but for connections older than the agent. */
function beginsTls(connection: Connection, event: DataEventCursor, bytes: Uint8Array, payload: number): boolean {
  if (connection.matcher !== null || connection.isSession || connection.role === ROLE_UNKNOWN) return false;
  return (event.flags & DATA_EDGE) !== 0 && looksLikeHandshake(bytes, payload, payload + event.chunkBytes);
}

/** The first of FIN and reset began the end. */
function noteEnd(connection: Connection, event: ConnectionClosedEventCursor): void {
  const { finSentNs, finReceivedNs, resetNs } = event;
  const resetEnd = (event.flags & CONNECTION_RESET_SENT) !== 0 ? 'reset_sent' : 'reset_received';
  const first = Math.min(...[finSentNs, finReceivedNs, resetNs].filter(ns => ns > 0));
  if (!Number.isFinite(first)) return;
  connection.end = first === resetNs ? resetEnd : first === finSentNs ? 'fin_sent' : 'fin_received';
  connection.endNs = first;
}

function noteFlags(connection: Connection, event: ConnectionStateEventCursor | ConnectionClosedEventCursor): void {
  const { flags } = event;
  connection.tcp.note(event);
  connection.flags |= flags;
  if ((flags & CONNECTION_RESET_SENT) !== 0) connection.noteEnd('reset_sent', event.timeNs);
  else if ((flags & CONNECTION_RESET_RECEIVED) !== 0) connection.noteEnd('reset_received', event.timeNs);
  else if ((flags & CONNECTION_FIN_RECEIVED) !== 0) connection.noteEnd('fin_received', event.timeNs);
  else if ((flags & CONNECTION_FIN_SENT) !== 0) connection.noteEnd('fin_sent', event.timeNs);
}

function noteReset(connection: Connection, errorNumber: number): void {
  if (connection.errorType !== '') return;
  if (errorNumber !== 0) connection.errorType = errnoName(errorNumber);
  else if ((connection.flags & CONNECTION_RESET_RECEIVED) !== 0) connection.errorType = 'ECONNRESET';
  else if ((connection.flags & CONNECTION_RESET_SENT) !== 0) connection.errorType = 'ECONNABORTED';
}

function readUnixPeer(event: ConnectionOpenedEventCursor): Peer {
  const from = event.view.byteOffset + event.at + event.pathOffset;
  const path = Buffer.from(event.view.buffer, from, Math.min(event.pathBytes, PATH_MAX_BYTES)).toString('utf8');
  return unixPeer(path, event.role === ROLE_CLIENT);
}
