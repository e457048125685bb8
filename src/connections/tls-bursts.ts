// What goes to and fro on a connection whose plaintext is out of reach: a burst is a run of the client's bytes and the run of
// the server's that follows. In: the edges of the socket after the handshake. Out: how many bursts there were and how long
// they took. An approximation: a burst is a request only if the protocol takes turns.
import { DATA_EDGE, type DataEventCursor, DIRECTION_EGRESS, ROLE_CLIENT } from '../records/records.gen.js';
import type { Connection } from './connection.js';

/** What a client's Finished and ChangeCipherSpec may have at most: a longer run has a request behind them. */
const FINISHED_MAX_BYTES = 96;
/** What an alert has at most: a goodbye is answered, too. */
const ALERT_MAX_BYTES = 31;

export class TlsBursts {
  count = 0;
  sumNs = 0;
  maxNs = 0;
  /** First byte of the client's run at hand, 0 if there is none. */
  #startNs = 0;
  #isAnswered = false;
  /** The client's run began with the end of the handshake. */
  #hasFinished = false;

  /** The handshake is over, with bytes of the client that began to come at `timeNs`. */
  begin(timeNs: number): void {
    this.#startNs = timeNs;
    this.#hasFinished = true;
  }

  onData(connection: Connection, event: DataEventCursor): void {
    if ((event.flags & DATA_EDGE) === 0) return;
    const isEgress = event.direction === DIRECTION_EGRESS;
    if (isEgress === (connection.role === ROLE_CLIENT)) {
      this.close(event.prevLastNs);
      this.#startNs = isEgress ? event.enterNs || event.timeNs : event.arrivedNs || event.timeNs;
      this.#hasFinished = false;
    } else if (event.prevBytes > (this.#hasFinished ? FINISHED_MAX_BYTES : ALERT_MAX_BYTES)) {
      this.#isAnswered = this.#startNs > 0;
    }
  }

  /** The server's run ended at `endNs`, if there is one. */
  close(endNs: number): void {
    if (this.#isAnswered && endNs >= this.#startNs) {
      this.count++;
      this.sumNs += endNs - this.#startNs;
      this.maxNs = Math.max(this.maxNs, endNs - this.#startNs);
    }
    this.#startNs = 0;
    this.#isAnswered = false;
  }
}
