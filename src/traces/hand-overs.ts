// Calls of those that work on what others have given to them: goroutines, on items that they take out of a channel (bpf/go_channel.h),
// and threads of a ThreadPoolExecutor of Python, on its jobs (bpf/python_job.h). In: such a call, with the request that its item was
// put in for; and what the kernel tells of that item. Out: the call is the request's once something has come back to the request after
// the call, and to no other request until a moment after the response. A thread that asks for a job's result has to give the response,
// too; and where one job of a process has done something for another request, so may others that tell of it too late to be seen.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';

const PROBATION_NS = 100e6;
/** So many jobs in a row that did nothing for others are trusted again. */
const TRUSTED_AGAIN = 1024;
const MAX_STRAYED = 4096;

interface ItemCall extends OnProbation {
  isReturned: boolean;
}

export class HandOvers {
  readonly #calls: Probation<ItemCall>;
  readonly #jobs: Probation<ItemCall>;
  /** Processes whose jobs do something for others, and how many of them have done nothing of the kind since. */
  readonly #strayed = new Map<number, number>();

  constructor(adopt: Adopt) {
    const options = { adopt, afterNs: PROBATION_NS, nameOf: ({ item }: Exchange) => item };
    this.#calls = new Probation({ ...options, isIts: ({ isReturned }: ItemCall) => isReturned });
    this.#jobs = new Probation({
      ...options,
      isIts: ({ isReturned, client, server }: ItemCall) =>
        isReturned && server.isOwnAnswer && !this.#strayed.has(client.pid),
    });
  }

  add(client: Exchange, server: Exchange): void {
    const calls = client.causeGrade === 'task' ? this.#jobs : this.#calls;
    calls.add({ client, server, isReturned: false });
  }

  /** Something has come back to the request from who works on this item. */
  onReturned(server: Exchange, item: number): void {
    for (const call of this.#calls.named(item)) if (call.server === server) call.isReturned = true;
    for (const call of this.#jobs.named(item)) if (call.server === server) this.#noteJob(call);
  }

  /** Something has come to another request. */
  onStrayed(pid: number, item: number): void {
    this.#calls.refuse(pid, item);
    for (const { client } of this.#jobs.named(item)) if (client.pid === pid) this.#distrust(pid);
    this.#jobs.refuse(pid, item);
  }

  settle(nowNs: number): void {
    this.#calls.settle(nowNs);
    this.#jobs.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
    this.#jobs.settleAll();
  }

  #noteJob(call: ItemCall): void {
    call.isReturned = true;
    const { pid } = call.client;
    const since = this.#strayed.get(pid);
    if (since === undefined) return;
    if (since + 1 < TRUSTED_AGAIN) this.#strayed.set(pid, since + 1);
    else this.#strayed.delete(pid);
  }

  #distrust(pid: number): void {
    this.#strayed.delete(pid);
    this.#strayed.set(pid, 0);
    if (this.#strayed.size > MAX_STRAYED) this.#strayed.delete(this.#strayed.keys().next().value as number);
  }
}
