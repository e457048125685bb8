// Joins a client's span with the server's on one host: at a request's first byte the client's (write_seq, copied_seq)
// equals the server's (copied_seq, write_seq), so the pair of sequence numbers names the request on both sides without a
// header (DESIGN.md section 6). In: exchanges with their pair, in any order of the two sides. Out: the other side, once.
// Bounded: the oldest entries are overwritten; an overwritten one only stays unjoined.
import type { Exchange } from '../exchanges/exchange.js';

const SETS = 1 << 13;
const WAYS = 4;
/** What has waited longer than this will not be asked for any more. */
const MAX_AGE_NS = 60e9;

/** Client's and server's sequence number, tag: all as signed integers, like the words of ids. */
const KEY_WORDS = 3;

/**
 * One side's requests that wait for the other side: four ways a set, the oldest of a full set goes. The keys of a set lie
 * in one cache line, and most questions are answered by them alone.
 */
export class PairTable {
  /** Entries that were pushed out while they were young enough to matter. */
  overwritten = 0;
  /** Where only one side of connections is seen, the table of the other is empty all the time, and costs nothing. */
  #size = 0;
  readonly #keys = new Int32Array(SETS * WAYS * KEY_WORDS);
  readonly #exchanges = new Array<Exchange | null>(SETS * WAYS).fill(null);

  /** Index of the set's first way: the high bits of the product depend on the whole key. */
  #set(clientSeq: number, serverSeq: number, tag: number): number {
    const mixed = Math.imul(Math.imul(clientSeq, 0x85ebca6b) ^ serverSeq ^ tag, 0x9e3779b1) >>> 0;
    return (mixed >>> 19) * WAYS;
  }

  add(clientSeq: number, serverSeq: number, tag: number, exchange: Exchange): void {
    const exchanges = this.#exchanges;
    const first = this.#set(clientSeq, serverSeq, tag);
    let chosen = first;
    let chosenNs = Number.POSITIVE_INFINITY;
    for (let way = first; way < first + WAYS; way++) {
      const takenNs = exchanges[way]?.requestTakenNs ?? Number.NEGATIVE_INFINITY;
      if (takenNs >= chosenNs) continue;
      chosen = way;
      chosenNs = takenNs;
    }
    if (exchange.requestTakenNs - chosenNs < MAX_AGE_NS) this.overwritten++;
    if (exchanges[chosen] === null) this.#size++;
    const key = chosen * KEY_WORDS;
    this.#keys[key] = clientSeq;
    this.#keys[key + 1] = serverSeq;
    this.#keys[key + 2] = tag;
    exchanges[chosen] = exchange;
  }

  /** The exchange of that pair, which leaves the table; null if there is none. */
  take(clientSeq: number, serverSeq: number, tag: number): Exchange | null {
    if (this.#size === 0) return null;
    const keys = this.#keys;
    const client = clientSeq | 0;
    const server = serverSeq | 0;
    const named = tag | 0;
    const first = this.#set(client, server, named);
    for (let way = first; way < first + WAYS; way++) {
      const key = way * KEY_WORDS;
      if (keys[key] !== client || keys[key + 1] !== server || keys[key + 2] !== named) continue;
      const exchange = this.#exchanges[way] ?? null;
      if (exchange === null) continue;
      this.#exchanges[way] = null;
      this.#size--;
      return exchange;
    }
    return null;
  }

  /** The exchange is over: nobody will ask for it. */
  remove(clientSeq: number, serverSeq: number, tag: number, exchange: Exchange): void {
    const first = this.#set(clientSeq, serverSeq, tag);
    for (let way = first; way < first + WAYS; way++) {
      if (this.#exchanges[way] !== exchange) continue;
      this.#exchanges[way] = null;
      this.#size--;
    }
  }
}
