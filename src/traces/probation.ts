// Calls of which it shows late whose they are. In: a call, with the request that it may be for. Until a moment after
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

export interface ProbationOptions<T> {
  readonly adopt: Adopt;
  /** How long after the response a worker has time to give itself away. */
  readonly afterNs: number;
  /** At the end of that: is the call its request's? */
  readonly isIts: (call: T) => boolean;
  /** If it is not: may it still turn out to be, and how long after the response at most? */
  readonly mayBeYet?: (call: T) => boolean;
  readonly patienceNs?: number;
  /** May it still turn out not to be? Waited for as long at most. */
  readonly isOpen?: (call: T) => boolean;
  readonly onDecided?: (call: T) => void;
  /** By what the kernel tells of such calls. */
  readonly nameOf?: (client: Exchange) => number;
}

export class Probation<T extends OnProbation> {
  readonly #options: ProbationOptions<T>;
  /** When the response was first found to have begun, 0: not yet. */
  readonly #waiting = new Map<T, number>();
  /** The same by name: the kernel tells of thousands of names a second. */
  readonly #named = new Map<number, Set<T>>();

  constructor(options: ProbationOptions<T>) {
    this.#options = options;
  }

  add(call: T): void {
    const { adopt, nameOf } = this.#options;
    if (this.#waiting.size >= MAX_WAITING) {
      adopt(call.client, null, 'none');
      return;
    }
    call.client.trace.waiting++;
    this.#waiting.set(call, 0);
    if (nameOf === undefined) return;
    const name = nameOf(call.client);
    const others = this.#named.get(name);
    if (others === undefined) this.#named.set(name, new Set([call]));
    else others.add(call);
  }

  /** Those that wait. */
  named(name: number): Iterable<T> {
    return this.#named.get(name) ?? [];
  }

  /** Those calls of the process are nobody's. */
  refuse(pid: number, name: number): void {
    for (const call of this.named(name)) if (call.client.pid === pid) this.#decide(call, false);
  }

  settle(nowNs: number): void {
    if (this.#waiting.size === 0) return;
    const { afterNs, isIts, mayBeYet, isOpen, patienceNs = 0 } = this.#options;
    for (const [call, found] of this.#waiting) {
      const { server } = call;
      let answeredNs = found;
      if (answeredNs === 0 && (!server.isServing || server.isAnswering)) {
        answeredNs = nowNs;
        this.#waiting.set(call, nowNs);
      }
      const isOver = answeredNs > 0 && nowNs - answeredNs >= afterNs;
      const isPatient = isOver && nowNs - answeredNs < patienceNs;
      if (isPatient && (isOpen?.(call) === true || (!isIts(call) && mayBeYet?.(call) === true))) continue;
      if (isOver || nowNs - server.requestTakenNs > WAIT_NS) this.#decide(call, isOver && isIts(call));
    }
  }

  /** The end of the input. */
  settleAll(): void {
    for (const call of this.#waiting.keys()) this.#decide(call, this.#options.isIts(call));
  }

  #decide(call: T, isIts: boolean): void {
    const { client, server } = call;
    const { causeGrade } = client;
    this.#forget(call);
    client.trace.waiting--;
    this.#options.onDecided?.(call);
    if (isIts) this.#options.adopt(client, server, causeGrade === '' ? 'none' : causeGrade);
    else this.#options.adopt(client, null, 'none');
  }

  #forget(call: T): void {
    const { nameOf } = this.#options;
    this.#waiting.delete(call);
    if (nameOf === undefined) return;
    const name = nameOf(call.client);
    const calls = this.#named.get(name);
    if (calls?.delete(call) && calls.size === 0) this.#named.delete(name);
  }
}
