// Calls of goroutines that work on items which they take out of a channel (bpf/go_channel.h). In: such a call, with the request
// that its item was put in for; and what the kernel tells of that item. Out: the call is the request's once something has
// come back to the request after the call, and to no other request until a moment after the response. Till then its trace
// waits (`trace.waiting`). Bounded in number and time.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';

/** How long after the response a worker has time to give itself away. */
const PROBATION_NS = 100e6;
/** A request that takes longer has no children of this kind. */
const WAIT_NS = 60e9;
const MAX_WAITING = 16384;

interface Waiting {
  readonly client: Exchange;
  readonly server: Exchange;
  isReturned: boolean;
  /** When the response was first found to have begun, 0: not yet. */
  answeredNs: number;
}

export class HandOvers {
  readonly #adopt: Adopt;
  #waiting: Waiting[] = [];

  constructor(adopt: Adopt) {
    this.#adopt = adopt;
  }

  add(client: Exchange, server: Exchange): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#adopt(client, null, 'none');
      return;
    }
    client.trace.waiting++;
    this.#waiting.push({ client, server, isReturned: false, answeredNs: 0 });
  }

  /** Something has come back to the request from who works on this item. */
  onReturned(server: Exchange, item: number): void {
    for (const one of this.#waiting) if (one.server === server && one.client.item === item) one.isReturned = true;
  }

  /** Something has come to another request. */
  onStrayed(pid: number, item: number): void {
    this.#waiting = this.#waiting.filter(one => {
      const isStray = one.client.pid === pid && one.client.item === item;
      if (isStray) this.#decide(one, false);
      return !isStray;
    });
  }

  settle(nowNs: number): void {
    const waiting = this.#waiting;
    let kept = 0;
    for (const one of waiting) {
      const { server } = one;
      if (one.answeredNs === 0 && (!server.isServing || server.isAnswering)) one.answeredNs = nowNs;
      const isOver = one.answeredNs > 0 && nowNs - one.answeredNs >= PROBATION_NS;
      if (isOver) this.#decide(one, one.isReturned);
      else if (nowNs - server.requestTakenNs > WAIT_NS) this.#decide(one, false);
      else waiting[kept++] = one;
    }
    waiting.length = kept;
  }

  /** The end of the input. */
  settleAll(): void {
    for (const one of this.#waiting.splice(0)) this.#decide(one, one.isReturned);
  }

  #decide({ client, server }: Waiting, isIts: boolean): void {
    client.trace.waiting--;
    this.#adopt(client, isIts ? server : null, isIts ? 'goroutine' : 'none');
  }
}
