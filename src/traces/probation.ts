// Calls of goroutines and tasks of which it shows late whose they are. In: a call, with the request that it may be for. Until a moment after
// that request's response its trace waits (`trace.waiting`); then it is decided. Bounded in number and time.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';

/** A request that takes longer has no children of this kind. */
const WAIT_NS = 60e9;
const MAX_WAITING = 16384;

export interface OnProbation {
  readonly client: Exchange;
  readonly server: Exchange;
}

interface Waiting<T> {
  readonly call: T;
  /** When the response was first found to have begun, 0: not yet. */
  answeredNs: number;
}

export interface ProbationOptions<T> {
  readonly adopt: Adopt;
  /** How long after the response a worker has time to give itself away. */
  readonly afterNs: number;
  /** At the end of that: is the call its request's? */
  readonly isIts: (call: T) => boolean;
}

export class Probation<T extends OnProbation> {
  readonly #options: ProbationOptions<T>;
  #waiting: Waiting<T>[] = [];

  constructor(options: ProbationOptions<T>) {
    this.#options = options;
  }

  add(call: T): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#options.adopt(call.client, null, 'none');
      return;
    }
    call.client.trace.waiting++;
    this.#waiting.push({ call, answeredNs: 0 });
  }

  forEach(visit: (call: T) => void): void {
    for (const { call } of this.#waiting) visit(call);
  }

  /** Those calls are nobody's. */
  refuse(isRefused: (call: T) => boolean): void {
    this.#keep(({ call }) => {
      if (!isRefused(call)) return true;
      this.#decide(call, false);
      return false;
    });
  }

  settle(nowNs: number): void {
    const { afterNs, isIts } = this.#options;
    this.#keep(one => {
      const { server } = one.call;
      if (one.answeredNs === 0 && (!server.isServing || server.isAnswering)) one.answeredNs = nowNs;
      const isOver = one.answeredNs > 0 && nowNs - one.answeredNs >= afterNs;
      if (!isOver && nowNs - server.requestTakenNs <= WAIT_NS) return true;
      this.#decide(one.call, isOver && isIts(one.call));
      return false;
    });
  }

  /** The end of the input. */
  settleAll(): void {
    for (const { call } of this.#waiting.splice(0)) this.#decide(call, this.#options.isIts(call));
  }

  #keep(isKept: (one: Waiting<T>) => boolean): void {
    const waiting = this.#waiting;
    let kept = 0;
    for (const one of waiting) if (isKept(one)) waiting[kept++] = one;
    waiting.length = kept;
  }

  #decide({ client, server }: T, isIts: boolean): void {
    const { causeGrade } = client;
    client.trace.waiting--;
    if (isIts && causeGrade !== '') this.#options.adopt(client, server, causeGrade);
    else this.#options.adopt(client, null, 'none');
  }
}
