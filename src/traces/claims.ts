// Calls of a thread, or of a task, that seems to serve one request at a time: whether it does is known when it gives the response. Until
// then the trace of the call waits (`trace.waiting`), and with it all that the call has caused. Bounded in number and time.
import type { CauseGrade, Exchange } from '../exchanges/exchange.js';

/** What was found out about a call: whose it is and how that is known, or that nobody knows. */
export type Adopt = (client: Exchange, server: Exchange | null, grade: CauseGrade | 'none') => void;

/** Calls of one request that wait; more have no parent. */
const MAX_OF_REQUEST = 256;
const MAX_CLAIMS = 65536;

export class Claims {
  readonly #adopt: Adopt;
  /** By the request that they may be for, in the order in which the first call was made. */
  readonly #claims = new Map<Exchange, Exchange[]>();
  #count = 0;

  constructor(adopt: Adopt) {
    this.#adopt = adopt;
  }

  add(client: Exchange, server: Exchange): void {
    const calls = this.#claims.get(server);
    if (this.#count >= MAX_CLAIMS || (calls !== undefined && calls.length >= MAX_OF_REQUEST)) {
      this.#adopt(client, null, 'none');
      return;
    }
    if (calls === undefined) this.#claims.set(server, [client]);
    else calls.push(client);
    this.#count++;
    client.trace.waiting++;
  }

  /** Who gives the response was at this request all the time: the calls that `isFor` tells were made for it. */
  grant(server: Exchange, isFor: (client: Exchange) => boolean): void {
    for (const client of this.#take(server)) {
      if (client.causeGrade !== '' && isFor(client)) this.#adopt(client, server, client.causeGrade);
      else this.#fallBack(client);
    }
  }

  /** It was not, or not only. */
  refuse(server: Exchange): void {
    for (const client of this.#take(server)) this.#fallBack(client);
  }

  #fallBack(client: Exchange): void {
    const { loopCause, loopGrade } = client;
    client.cause = loopCause;
    client.causeGrade = loopCause === null ? '' : loopGrade;
    this.#adopt(client, loopCause, loopCause === null ? 'none' : loopGrade);
  }

  /** Gives up what waits for requests that were taken before `ns`. */
  expire(ns: number): void {
    for (const server of this.#claims.keys()) {
      if (server.requestTakenNs >= ns) return;
      this.refuse(server);
    }
  }

  #take(server: Exchange): readonly Exchange[] {
    const calls = this.#claims.get(server);
    if (calls === undefined) return [];
    this.#claims.delete(server);
    this.#count -= calls.length;
    for (const client of calls) client.trace.waiting--;
    return calls;
  }
}
