// What follows a 101 or a CONNECT: bytes that are no longer HTTP. They are counted, and so are the frames of a WebSocket, by
// the kernel (bpf/frames.h). In: the records of a connection that has become one. Out: positions of its streams, numbers of
// frames. No content is captured.
import { Frames, type UncountedReason } from '../exchanges/exchange.js';
import type { MessageHead } from '../protocols/protocol.js';
import {
  type ConnectionClosedEventCursor,
  DATA_MORE,
  type DataEventCursor,
  DIRECTION_INGRESS,
  FRAMES_COUNTED,
  FRAMES_STRANGE,
} from '../records/records.gen.js';
import type { Connection } from './connection.js';
import type { Stream } from './stream.js';

const SWITCHING_PROTOCOLS = 101;

export class Tunnel {
  readonly isWebSocket: boolean;
  readonly frames = new Frames();

  constructor(head: MessageHead) {
    this.isWebSocket = head.status === SWITCHING_PROTOCOLS && head.upgrade.toLowerCase() === 'websocket';
  }
}

/** Bytes up to `seq` went through. */
export function passTunnel(stream: Stream, seq: number): void {
  const count = Math.max(0, (seq - stream.nextSeq) | 0);
  stream.position += count;
  stream.nextSeq = (stream.nextSeq + count) >>> 0;
}

/** Those of a call. */
export function feedTunnel(stream: Stream, event: DataEventCursor): void {
  stream.runCalls = event.runCalls;
  if ((event.flags & DATA_MORE) === 0) passTunnel(stream, (event.seq + event.callBytes) >>> 0);
}

/** A stream's position is its bytes since the connection began; so are the kernel's own sums. */
export function endTunnel(connection: Connection, event: ConnectionClosedEventCursor): void {
  connection.lastNs = connection.requestDirection === DIRECTION_INGRESS ? event.lastWriteNs : event.lastReadNs;
  if (connection.tunnel?.isWebSocket === true) countFrames(connection.tunnel.frames, event);
  if (connection.isPreexisting) return;
  endStream(connection.ingress, event.bytesIngress, event.callsIngress);
  endStream(connection.egress, event.bytesEgress, event.callsEgress);
}

function endStream(stream: Stream, bytes: number, calls: number): void {
  stream.position = Math.max(stream.position, bytes);
  stream.runCalls = calls - stream.callsBefore;
}

function countFrames(frames: Frames, event: ConnectionClosedEventCursor): void {
  const read = reasonOf(event.framesIngressState, event.unseenIngress);
  const written = reasonOf(event.framesEgressState, event.unseenEgress);
  if (read === '') frames.read = event.framesIngress;
  if (written === '') frames.written = event.framesEgress;
  frames.uncounted = read === '' ? written : read;
}

/** `unseen`: bytes that went through no call. */
function reasonOf(state: number, unseen: number): UncountedReason {
  if (state === FRAMES_STRANGE) return 'not_frames';
  return state === FRAMES_COUNTED && unseen === 0 ? '' : 'not_captured';
}
