// The agent keeps its own budget: CPU time and memory that it may use on the host it watches. In: what it has used, once an
// interval. Out: which step to stand on. Above the budget it goes one step up an interval, each of which does less; well
// below it, after a rest, one step down. A rest doubles when a step down is soon taken back, so that a load at the edge does
// not make it swing. What a step leaves out is counted where it is left out (ledger: `budget`); nothing is left out unsaid.

/** What each step does, from everything to almost nothing. A step does what the ones before it do, too. */
export const BUDGET_STEPS = [
  { name: 'everything', does: 'every span and metric' },
  { name: 'short_heads', does: 'at most 1024 bytes of each message head are captured' },
  { name: 'sampled_spans', does: 'one trace in ten gives spans; metrics see every request' },
  { name: 'metrics_only', does: 'no spans; metrics see every request' },
  {
    name: 'connections_only',
    does: 'the probes of socket calls are off: connections are followed, requests are not seen',
  },
] as const;
export type BudgetStep = 0 | 1 | 2 | 3 | 4;

export const STEP_SHORT_HEADS = 1;
export const STEP_SAMPLED_SPANS = 2;
export const STEP_METRICS_ONLY = 3;
export const STEP_CONNECTIONS_ONLY = 4;

export const SHORT_HEAD_BYTES = 1024;
/** Share of traces that give spans from `sampled_spans` on. */
export const SAMPLED_SHARE = 0.1;

export interface BudgetLimits {
  /** Cores; 0: no limit. */
  readonly cpu: number;
  /** Resident bytes; 0: no limit. */
  readonly memoryBytes: number;
}

/** What the process has used so far, and when that was read. */
export interface Usage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly seconds: number;
}

export interface BudgetChange {
  readonly step: BudgetStep;
  readonly reason: 'cpu' | 'memory' | 'recovered';
  /** Cores used on average since the last look, and resident bytes now. */
  readonly cpu: number;
  readonly memoryBytes: number;
}

/** Below these shares of the limits there is room for more. Memory that was needed once is given back slowly, if at all. */
const CPU_ROOM = 0.7;
const MEMORY_ROOM = 0.9;
/** Intervals with room before a step down is tried, and how far that may grow. */
const REST_INTERVALS = 3;
const MAX_REST_INTERVALS = 96;

export class Budget {
  #limits: BudgetLimits;
  readonly #hasSpans: boolean;
  #last: Usage;
  #step: BudgetStep = 0;
  /** Intervals in a row with room. */
  #rested = 0;
  #rest = REST_INTERVALS;
  /** Intervals since the last step down. */
  #sinceDown = Number.POSITIVE_INFINITY;

  /** Without spans the steps that spare them are left out. */
  constructor(limits: BudgetLimits, hasSpans: boolean, start: Usage) {
    this.#limits = limits;
    this.#hasSpans = hasSpans;
    this.#last = start;
  }

  get step(): BudgetStep {
    return this.#step;
  }

  /** Holds from the next interval on. */
  setLimits(limits: BudgetLimits): void {
    this.#limits = limits;
  }

  /** After an interval: the change that is due, or null. */
  check(usage: Usage): BudgetChange | null {
    const { cpu, memoryBytes } = this.#limits;
    const seconds = usage.seconds - this.#last.seconds;
    if (seconds <= 0) return null;
    const used = (usage.cpuSeconds - this.#last.cpuSeconds) / seconds;
    this.#last = usage;
    this.#sinceDown++;
    const change = (step: BudgetStep, reason: BudgetChange['reason']): BudgetChange => {
      this.#step = step;
      this.#rested = 0;
      return { step, reason, cpu: used, memoryBytes: usage.residentBytes };
    };
    const isCpuOver = cpu > 0 && used > cpu;
    if (isCpuOver || (memoryBytes > 0 && usage.residentBytes > memoryBytes)) {
      this.#rested = 0;
      if (this.#step === STEP_CONNECTIONS_ONLY) return null;
      if (this.#sinceDown <= this.#rest) this.#rest = Math.min(MAX_REST_INTERVALS, this.#rest * 2);
      return change(this.#next(1), isCpuOver ? 'cpu' : 'memory');
    }
    const hasRoom =
      (cpu === 0 || used < cpu * CPU_ROOM) && (memoryBytes === 0 || usage.residentBytes < memoryBytes * MEMORY_ROOM);
    this.#rested = hasRoom ? this.#rested + 1 : 0;
    if (this.#step === 0 || this.#rested < this.#rest) {
      if (this.#step === 0 && this.#rested > this.#rest) this.#rest = REST_INTERVALS;
      return null;
    }
    this.#sinceDown = 0;
    return change(this.#next(-1), 'recovered');
  }

  #next(by: 1 | -1): BudgetStep {
    let step = this.#step + by;
    while (!this.#hasSpans && (step === STEP_SAMPLED_SPANS || step === STEP_METRICS_ONLY)) step += by;
    return step as BudgetStep;
  }
}

/** What this process has used; `seconds` is any steady clock. */
export function readUsage(seconds: number): Usage {
  const { user, system } = process.cpuUsage();
  return { cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss(), seconds };
}
