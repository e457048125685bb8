// What follows a 101 or a CONNECT: bytes that are no longer HTTP. They are counted, and so are the frames of a WebSocket,
// whose calls the kernel captures the beginning of. In: the records of a connection that has become one. Out: positions of
// its streams, numbers of frames; the kernel is told when their bytes are of no more use.
import type { MessageHead } from '../protocols/protocol.js';
import { FrameReader, type UncountedReason } from '../protocols/websocket.js';
import {
  type ConnectionClosedEventCursor,
  DATA_MORE,
  type DataEventCursor,
  DIRECTION_INGRESS,
} from '../records/records.gen.js';
import type { Connection } from './connection.js';
import type { Stream } from './stream.js';

const SWITCHING_PROTOCOLS = 101;

export class Tunnel {
  /** Position behind the response that opened it. */
  readonly start: number;
  /** Frames by direction of the connection's requests; null if this is no WebSocket. */
  readonly asked: FrameReader | null = null;
  readonly answered: FrameReader | null = null;
  /** Nothing more of its bytes is wanted. */
  isBlind = false;

  constructor(head: MessageHead) {
    this.start = head.headEnd;
    if (head.status !== SWITCHING_PROTOCOLS || head.upgrade.toLowerCase() !== 'websocket') return;
    this.asked = new FrameReader(true);
    this.answered = new FrameReader(false);
    if (head.isTruncated) this.answered.uncounted = 'not_captured';
  }

  /** True once: nothing is left that captured bytes could tell. */
  becomesBlind(): boolean {
    if (this.isBlind || this.asked?.uncounted === '' || this.answered?.uncounted === '') return false;
    this.isBlind = true;
    return true;
  }
}

function framesOf(connection: Connection, stream: Stream): FrameReader | null {
  const { tunnel } = connection;
  return (stream === connection.requestStream ? tunnel?.asked : tunnel?.answered) ?? null;
}

/** Bytes up to `seq` were not captured. */
export function passTunnel(connection: Connection, stream: Stream, seq: number): void {
  passBytes(connection, stream, Math.max(0, (seq - stream.nextSeq) | 0));
}

function passBytes(connection: Connection, stream: Stream, missing: number): void {
  stream.position += missing;
  stream.nextSeq = (stream.nextSeq + missing) >>> 0;
  const reason: UncountedReason = connection.gapCause === 'ring_full' ? 'ring_full' : 'not_captured';
  framesOf(connection, stream)?.skip(missing, reason);
}

/** The bytes at hand, up to `to`, had the end of the response that opened the tunnel. */
export function beginTunnel(
  connection: Connection,
  stream: Stream,
  event: DataEventCursor,
  bytes: Uint8Array,
  to: number,
): void {
  const opened = connection.tunnel as Tunnel;
  framesOf(connection, stream)?.feed(bytes, to - (stream.position - opened.start), to);
  passCall(connection, stream, event);
}

export function feedTunnel(
  connection: Connection,
  stream: Stream,
  event: DataEventCursor,
  bytes: Uint8Array,
  from: number,
  to: number,
): void {
  stream.runCalls = event.runCalls;
  const frames = framesOf(connection, stream);
  const overlap = (stream.nextSeq - event.seq) | 0;
  // Two threads in one call: what came first is not known.
  if (overlap > 0 && frames !== null && frames.uncounted === '') frames.uncounted = 'not_captured';
  passTunnel(connection, stream, event.seq);
  const fresh = Math.min(to, from + Math.max(0, overlap));
  stream.position += to - fresh;
  stream.nextSeq = (stream.nextSeq + to - fresh) >>> 0;
  frames?.feed(bytes, fresh, to);
  passCall(connection, stream, event);
}

/** The rest of the call, behind what was captured of it. */
function passCall(connection: Connection, stream: Stream, event: DataEventCursor): void {
  if ((event.flags & DATA_MORE) === 0) passTunnel(connection, stream, (event.seq + event.callBytes) >>> 0);
}

/** A stream's position is its bytes since the connection began; so are the kernel's own sums. */
export function endTunnel(connection: Connection, event: ConnectionClosedEventCursor): void {
  connection.lastNs = connection.requestDirection === DIRECTION_INGRESS ? event.lastWriteNs : event.lastReadNs;
  if (connection.isPreexisting) return;
  endStream(connection, connection.ingress, event.bytesIngress, event.callsIngress);
  endStream(connection, connection.egress, event.bytesEgress, event.callsEgress);
}

function endStream(connection: Connection, stream: Stream, bytes: number, calls: number): void {
  passBytes(connection, stream, Math.max(0, bytes - stream.position));
  stream.runCalls = calls - stream.callsBefore;
}
