// Watches the handshake of a connection that begins with a TLS record. In: the data records of the socket. Out: a handshake
// that knows what was agreed and when. After it nothing of the ciphertext is read; only its direction is looked at.
import { HANDSHAKE_LOST, HANDSHAKE_UNDER_WAY, TlsHandshake } from '../protocols/tls/handshake.js';
import { DATA_EDGE, type DataEventCursor, DIRECTION_EGRESS, ROLE_CLIENT } from '../records/records.gen.js';
import type { Connection } from './connection.js';
import { TlsBursts } from './tls-bursts.js';

export class TlsWatch {
  readonly handshake = new TlsHandshake();
  readonly bursts = new TlsBursts();
  readonly #nextSeq = [0, 0];
  readonly #hasSeq = [false, false];

  /** Reads on; true when with this record the handshake is over. */
  onData(connection: Connection, event: DataEventCursor, bytes: Uint8Array, payload: number): boolean {
    const { handshake } = this;
    if (handshake.state !== HANDSHAKE_UNDER_WAY) {
      this.bursts.onData(connection, event);
      return false;
    }
    const { direction, seq, chunkBytes } = event;
    const isEgress = direction === DIRECTION_EGRESS;
    const isClient = isEgress === (connection.role === ROLE_CLIENT);
    // A client's handshake begins with its write, a server's when the client's hello reached it.
    const timeNs = isEgress ? event.enterNs || event.timeNs : event.arrivedNs || event.timeNs;
    const side = isEgress ? 1 : 0;
    if ((event.flags & DATA_EDGE) !== 0) {
      handshake.restart(isClient);
    }
    const missing = this.#hasSeq[side] ? (seq - (this.#nextSeq[side] as number)) | 0 : 0;
    if (missing < 0) handshake.state = HANDSHAKE_LOST;
    else if (missing > 0) handshake.skip(isClient, missing, event.timeNs);
    const firstNs = handshake.startNs === 0 ? timeNs : event.timeNs;
    handshake.feed(isClient, bytes, payload, payload + chunkBytes, firstNs);
    this.#nextSeq[side] = (seq + chunkBytes) >>> 0;
    this.#hasSeq[side] = true;
    if (handshake.state === HANDSHAKE_UNDER_WAY) return false;
    if (isClient) this.bursts.begin(timeNs);
    return true;
  }
}
