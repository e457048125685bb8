// When a program that was started is looked at: its libraries are mapped within a moment, some are loaded later. In: processes
// and the time. Out: those that are due, a few a turn. Bounded: processes that wait.
const LOOKS_AFTER_NS = [0, 3e6, 20e6, 100e6, 1e9, 10e9] as const;
const LOOKS_PER_TURN = 4;
const QUEUE_MAX = 65536;

interface Look {
  readonly pid: number;
  readonly dueNs: number;
}

export class LookQueue {
  /** By the time they are due, for each attempt. */
  readonly #queues: Look[][] = LOOKS_AFTER_NS.map(() => []);

  add(pid: number, nowNs: number): void {
    this.#later(pid, 0, nowNs);
  }

  /** `look` says whether the process is to be looked at again, null that this was none. */
  run(nowNs: number, look: (pid: number) => boolean | null): void {
    let left = LOOKS_PER_TURN;
    for (const [attempt, queue] of this.#queues.entries()) {
      while (left > 0 && queue.length > 0 && (queue[0] as Look).dueNs <= nowNs) {
        const { pid } = queue.shift() as Look;
        const isThere = look(pid);
        if (isThere === null) continue;
        left--;
        if (isThere) this.#later(pid, attempt + 1, nowNs);
      }
    }
  }

  #later(pid: number, attempt: number, nowNs: number): void {
    const queue = this.#queues[attempt];
    const after = LOOKS_AFTER_NS[attempt];
    if (queue === undefined || after === undefined || queue.length >= QUEUE_MAX) return;
    queue.push({ pid, dueNs: nowNs + after });
  }
}
