// Joins a client's span with the server's on one host: at a request's first byte the client's (write_seq, copied_seq)
// equals the server's (copied_seq, write_seq), so the pair of sequence numbers names the request on both sides without a
// header (DESIGN.md section 6). In: exchanges with their pair, in any order of the two sides. Out: the other side, once.
// Bounded: the oldest entries are overwritten; an overwritten one only stays unjoined.
import type { Exchange } from '../exchanges/exchange.js';

const SETS = 1 << 13;
const WAYS = 4;
/** What has waited longer than this will not be asked for any more. */
const MAX_AGE_NS = 60e9;

class Entry {
  clientSeq = 0;
  serverSeq = 0;
  tag = 0;
  exchange: Exchange | null = null;
}

/** One side's requests that wait for the other side: four ways a set, the oldest of a full set goes. */
export class PairTable {
  /** Entries that were pushed out while they were young enough to matter. */
  overwritten = 0;
  readonly #entries = Array.from({ length: SETS * WAYS }, () => new Entry());

  /** Index of the set's first way: the high bits of the product depend on the whole key. */
  #set(clientSeq: number, serverSeq: number, tag: number): number {
    const mixed = Math.imul(Math.imul(clientSeq, 0x85ebca6b) ^ serverSeq ^ tag, 0x9e3779b1) >>> 0;
    return (mixed >>> 19) * WAYS;
  }

  add(clientSeq: number, serverSeq: number, tag: number, exchange: Exchange): void {
    const first = this.#set(clientSeq, serverSeq, tag);
    let chosen = this.#entries[first] as Entry;
    for (let way = 0; way < WAYS; way++) {
      const entry = this.#entries[first + way] as Entry;
      if (entry.exchange === null) {
        chosen = entry;
        break;
      }
      if (entry.exchange.requestTakenNs < (chosen.exchange as Exchange).requestTakenNs) chosen = entry;
    }
    const old = chosen.exchange;
    if (old !== null && exchange.requestTakenNs - old.requestTakenNs < MAX_AGE_NS) this.overwritten++;
    chosen.clientSeq = clientSeq;
    chosen.serverSeq = serverSeq;
    chosen.tag = tag;
    chosen.exchange = exchange;
  }

  /** The exchange of that pair, which leaves the table; null if there is none. */
  take(clientSeq: number, serverSeq: number, tag: number): Exchange | null {
    const first = this.#set(clientSeq, serverSeq, tag);
    for (let way = 0; way < WAYS; way++) {
      const entry = this.#entries[first + way] as Entry;
      if (entry.clientSeq !== clientSeq || entry.serverSeq !== serverSeq || entry.tag !== tag) continue;
      const { exchange } = entry;
      entry.exchange = null;
      if (exchange !== null) return exchange;
    }
    return null;
  }

  /** The exchange is over: nobody will ask for it. */
  remove(clientSeq: number, serverSeq: number, tag: number, exchange: Exchange): void {
    const first = this.#set(clientSeq, serverSeq, tag);
    for (let way = 0; way < WAYS; way++) {
      const entry = this.#entries[first + way] as Entry;
      if (entry.exchange === exchange) entry.exchange = null;
    }
  }
}
