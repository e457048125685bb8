// What the kernel's TCP said last of a connection (struct event_tcp). Numbers that grow for the connection's whole life are
// told for each exchange as what they grew by: `begin` is what they were before its first byte. A read's record finds them as
// they were before the bytes it took; a write's record comes after the write, so that the record before is looked at.
import { DIRECTION_EGRESS } from '../records/records.gen.js';

/** The same fields of data, state, closed and progress records. */
export interface TcpFactsCursor {
  readonly tcpSrttUs: number;
  readonly tcpTotalRetrans: number;
  readonly tcpUnsentBytes: number;
  readonly tcpUnackedBytes: number;
  readonly tcpRwndLimitedMs: number;
  readonly tcpSndbufLimitedMs: number;
}

export class TcpFacts {
  srttMicros = 0;
  unsentBytes = 0;
  unackedBytes = 0;
  retransmits = 0;
  rwndLimitedMs = 0;
  sndbufLimitedMs = 0;
  beginRetransmits = 0;
  beginRwndLimitedMs = 0;
  beginSndbufLimitedMs = 0;

  /** The record of a call that moved bytes. */
  noteCall(event: TcpFactsCursor, direction: number): void {
    if (direction === DIRECTION_EGRESS) this.#begin();
    this.note(event);
    if (direction !== DIRECTION_EGRESS) this.#begin();
  }

  #begin(): void {
    this.beginRetransmits = this.retransmits;
    this.beginRwndLimitedMs = this.rwndLimitedMs;
    this.beginSndbufLimitedMs = this.sndbufLimitedMs;
  }

  note(event: TcpFactsCursor): void {
    this.srttMicros = event.tcpSrttUs;
    this.retransmits = event.tcpTotalRetrans;
    this.unsentBytes = event.tcpUnsentBytes;
    this.unackedBytes = event.tcpUnackedBytes;
    this.rwndLimitedMs = event.tcpRwndLimitedMs;
    this.sndbufLimitedMs = event.tcpSndbufLimitedMs;
  }
}
