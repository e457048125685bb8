// Calls of goroutines that were started for a request. Such a goroutine may also be a worker that goes on to serve others: it
// then calls, sooner or later, when the request that it was started for has been answered, and no call of goroutines that
// were started that way is trusted any more. So the trace of such a call waits (`trace.waiting`) until a moment after the
// response. Bounded in number and time.
import type { CauseGrade, Exchange } from '../exchanges/exchange.js';
import type { ProcessWork } from './process-work.js';

/** What was found out about a call: see Claims. */
export type Adopt = (client: Exchange, server: Exchange | null, grade: CauseGrade | 'none') => void;

/** How long after the response a worker has time to give itself away. */
const PROBATION_NS = 30e6;
/** A request that takes longer has no children of this kind. */
const WAIT_NS = 60e9;
const MAX_WAITING = 16384;

interface Waiting {
  readonly client: Exchange;
  readonly server: Exchange;
  readonly work: ProcessWork;
  readonly start: number;
  /** When the response was first found to have begun, 0: not yet. */
  answeredNs: number;
}

export class Lineages {
  readonly #adopt: Adopt;
  #waiting: Waiting[] = [];

  constructor(adopt: Adopt) {
    this.#adopt = adopt;
  }

  /** @param start names how the goroutine was started */
  add(client: Exchange, server: Exchange, work: ProcessWork, start: number): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#adopt(client, null, 'none');
      return;
    }
    client.trace.waiting++;
    this.#waiting.push({ client, server, work, start, answeredNs: 0 });
  }

  settle(nowNs: number): void {
    const waiting = this.#waiting;
    let kept = 0;
    for (const one of waiting) {
      const { server } = one;
      if (one.answeredNs === 0 && (!server.isServing || server.isAnswering)) one.answeredNs = nowNs;
      const isOver = one.answeredNs > 0 && nowNs - one.answeredNs >= PROBATION_NS;
      if (isOver) this.#decide(one);
      else if (nowNs - server.requestTakenNs > WAIT_NS) this.#refuse(one);
      else waiting[kept++] = one;
    }
    waiting.length = kept;
  }

  /** The end of the input. */
  settleAll(): void {
    for (const one of this.#waiting.splice(0)) this.#decide(one);
  }

  #decide(one: Waiting): void {
    const { client, server, work, start } = one;
    if (work.workers.has(start)) {
      this.#refuse(one);
      return;
    }
    client.trace.waiting--;
    this.#adopt(client, server, 'goroutine');
  }

  #refuse({ client }: Waiting): void {
    client.trace.waiting--;
    this.#adopt(client, null, 'none');
  }
}
