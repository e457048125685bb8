// Calls of goroutines that work on items which they take out of a channel (bpf/go_channel.h). In: such a call, with the request
// that its item was put in for; and what the kernel tells of that item. Out: the call is the request's once something has
// come back to the request after the call, and to no other request until a moment after the response.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';

const PROBATION_NS = 100e6;

interface ItemCall extends OnProbation {
  isReturned: boolean;
}

export class HandOvers {
  readonly #calls: Probation<ItemCall>;

  constructor(adopt: Adopt) {
    this.#calls = new Probation({
      adopt,
      afterNs: PROBATION_NS,
      isIts: ({ isReturned }: ItemCall) => isReturned,
      nameOf: ({ item }) => item,
    });
  }

  add(client: Exchange, server: Exchange): void {
    this.#calls.add({ client, server, isReturned: false });
  }

  /** Something has come back to the request from who works on this item. */
  onReturned(server: Exchange, item: number): void {
    for (const call of this.#calls.named(item)) if (call.server === server) call.isReturned = true;
  }

  /** Something has come to another request. */
  onStrayed(pid: number, item: number): void {
    this.#calls.refuse(pid, item);
  }

  settle(nowNs: number): void {
    this.#calls.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
  }
}
