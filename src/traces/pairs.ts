// Joins a client's span with the server's on one host: at a request's first byte the client's (write_seq, copied_seq)
// equals the server's (copied_seq, write_seq), so the pair of sequence numbers names the request on both sides without a
// header (DESIGN.md section 6). In: exchanges with their pair, in any order of the two sides. Out: the other side, once.
// Bounded: the oldest entries are overwritten; an overwritten one only stays unjoined.
import type { Exchange } from '../exchanges/exchange.js';

const CAPACITY = 1 << 15;

class Entry {
  clientSeq = 0;
  serverSeq = 0;
  tag = 0;
  exchange: Exchange | null = null;
}

/** One side's requests that wait for the other side. */
export class PairTable {
  readonly #entries = Array.from({ length: CAPACITY }, () => new Entry());

  #slot(clientSeq: number, serverSeq: number, tag: number): Entry {
    const mixed = Math.imul(clientSeq ^ (serverSeq >>> 15) ^ (serverSeq << 17) ^ tag, 0x9e3779b1) >>> 0;
    return this.#entries[mixed & (CAPACITY - 1)] as Entry;
  }

  add(clientSeq: number, serverSeq: number, tag: number, exchange: Exchange): void {
    const entry = this.#slot(clientSeq, serverSeq, tag);
    entry.clientSeq = clientSeq;
    entry.serverSeq = serverSeq;
    entry.tag = tag;
    entry.exchange = exchange;
  }

  /** The exchange of that pair, which leaves the table; null if there is none. */
  take(clientSeq: number, serverSeq: number, tag: number): Exchange | null {
    const entry = this.#slot(clientSeq, serverSeq, tag);
    if (entry.clientSeq !== clientSeq || entry.serverSeq !== serverSeq || entry.tag !== tag) return null;
    const { exchange } = entry;
    entry.exchange = null;
    return exchange;
  }
}
