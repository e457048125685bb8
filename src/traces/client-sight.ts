// Is the client of a server's connection observed on this host? What its requests so far have shown decides how the next
// one is treated: where a client has never been seen, no request waits for its record (traces/held.ts), nor is it kept for
// it in the table of pairs. Exact, because a connection's client cannot send a request before it has read the last
// response: its record of the one request comes before the server's record of the next, however late it is.

/** Requests in a row without a client, until the next ones do not wait for theirs. */
const UNSEEN_ENOUGH = 64;

export class ClientSight {
  #unseen = 0;

  /** Does the request that begins wait for its client? Later on one of many does: the client may be selected meanwhile. */
  get isAwaited(): boolean {
    return this.#unseen < UNSEEN_ENOUGH || this.#unseen % UNSEEN_ENOUGH === 0;
  }

  /** A client's record was found. */
  see(): void {
    this.#unseen = 0;
  }

  /** A request is over and its client was not found so far. */
  miss(): void {
    this.#unseen = (this.#unseen + 1) | 0;
  }
}
