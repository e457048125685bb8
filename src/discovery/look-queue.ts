// When a program that was started is looked at: its libraries are mapped within a moment, some are loaded later. In: processes
// and the time. Out: those that are due, a few a turn. Bounded: processes that wait.
const LOOKS_AFTER_NS = [0, 3e6, 20e6, 100e6, 1e9, 10e9] as const;
const LOOKS_PER_TURN = 4;
/** Processes that wait for the same look. */
export const QUEUE_MAX = 65536;

interface Look {
  readonly pid: number;
  readonly dueNs: number;
}

/** First in, first out. Taking the first of a long array moves all others: here they move once for as many taken. */
class Waiting {
  #looks: Look[] = [];
  #taken = 0;

  get count(): number {
    return this.#looks.length - this.#taken;
  }

  get first(): Look | undefined {
    return this.#looks[this.#taken];
  }

  push(look: Look): void {
    this.#looks.push(look);
  }

  drop(): void {
    this.#taken++;
    if (this.#taken * 2 < this.#looks.length) return;
    this.#looks = this.#looks.slice(this.#taken);
    this.#taken = 0;
  }
}

export class LookQueue {
  /** By the time they are due, for each attempt. */
  readonly #queues = LOOKS_AFTER_NS.map(() => new Waiting());

  /** False if too many wait. */
  add(pid: number, nowNs: number): boolean {
    return this.#later(pid, 0, nowNs);
  }

  /** `look` says whether the process is to be looked at again, null that this was none; `onFull` is told that it will not be. */
  run(nowNs: number, look: (pid: number) => boolean | null, onFull: () => void): void {
    let left = LOOKS_PER_TURN;
    for (const [attempt, queue] of this.#queues.entries()) {
      for (let due = queue.first; left > 0 && due !== undefined && due.dueNs <= nowNs; due = queue.first) {
        queue.drop();
        const isThere = look(due.pid);
        if (isThere === null) continue;
        left--;
        if (isThere && attempt + 1 < LOOKS_AFTER_NS.length && !this.#later(due.pid, attempt + 1, nowNs)) onFull();
      }
    }
  }

  #later(pid: number, attempt: number, nowNs: number): boolean {
    const queue = this.#queues[attempt] as Waiting;
    if (queue.count >= QUEUE_MAX) return false;
    queue.push({ pid, dueNs: nowNs + (LOOKS_AFTER_NS[attempt] as number) });
    return true;
  }
}
