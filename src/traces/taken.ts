// From what a thread had taken last (take.ts) to the request or the call whose bytes those were.
import type { Connection } from '../connections/connection.js';
import type { Exchange } from '../exchanges/exchange.js';
import { CAUSE_TAKEN, DIRECTION_INGRESS } from '../records/records.gen.js';
import type { Take } from './take.js';

/** The connection of that name (bpf/event.h), null if it has ended or is not known. */
export type FindConnection = (slot: number, generation: number) => Connection | null;

const MAX_CLOSED = 1024;

export class Taken {
  readonly #find: FindConnection;
  /** Connections of calls by slot that ended lately: work that was given away when the response was read may still go on. */
  readonly #closed = new Map<number, Connection>();

  constructor(find: FindConnection) {
    this.#find = find;
  }

  /** It has ended; a call on it may have set a thread to work that will call again. */
  keepClosed(connection: Connection): void {
    this.#closed.delete(connection.slot);
    this.#closed.set(connection.slot, connection);
    if (this.#closed.size > MAX_CLOSED) this.#closed.delete(this.#closed.keys().next().value as number);
  }

  /** Is the connection still there on which the request came? */
  isOpen({ slot, generation }: Take): boolean {
    return this.#find(slot, generation)?.isSynced === true;
  }

  /** The one request that was taken there and has not been answered; null if there are several. */
  requestOf(take: Take): Exchange | null {
    if ((take.flags & CAUSE_TAKEN) === 0) return null;
    const connection = this.#find(take.slot, take.generation);
    const matcher = connection?.matcher ?? null;
    if (connection === null || matcher === null || !connection.isSynced) return null;
    if (connection.requestDirection !== DIRECTION_INGRESS) return null;
    const request = matcher.soleRequest;
    return request !== null && isBehind(connection, take.seq, request.requestStart) ? request : null;
  }

  /** The call whose response was taken there. */
  callOf(take: Take): Exchange | null {
    const connection = this.#find(take.slot, take.generation) ?? this.#closedOne(take);
    const matcher = connection?.matcher ?? null;
    if (connection === null || matcher === null || !connection.isSynced) return null;
    if (connection.requestDirection === DIRECTION_INGRESS) return null;
    const call = matcher.lastResponded;
    if (call !== null && isBehind(connection, take.seq, call.responseStart)) return call;
    for (let at = connection.responded.length - 1; at >= 0; at--) {
      const one = connection.responded[at] as Exchange;
      if (isBehind(connection, take.seq, one.responseStart)) return one;
    }
    return null;
  }

  #closedOne({ slot, generation }: Take): Connection | null {
    const connection = this.#closed.get(slot);
    return connection?.generation === generation ? connection : null;
  }
}

/** Is the byte at stream position `start` among those up to sequence number `seq`? */
function isBehind(connection: Connection, seq: number, start: number): boolean {
  const { ingress } = connection;
  return ingress.hasSeq && ingress.position + ((seq - ingress.nextSeq) | 0) > start;
}
