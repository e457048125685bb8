// Keeps the agent's budget while it watches a live kernel: looks at what the process has used once an interval, and does
// what the step that is due says (self/budget.ts), in the pipeline and in the kernel. Each change is one log line and counted.
import type { Config } from './config/schema.js';
import type { Kernel } from './kernel/loader.js';
import { releaseMemory } from './memory.js';
import type { FromWorker } from './messages.js';
import type { Pipeline } from './pipeline.js';
import {
  BUDGET_STEPS,
  Budget,
  type BudgetChange,
  readUsage,
  SAMPLED_SHARE,
  SHORT_HEAD_BYTES,
  STEP_CONNECTIONS_ONLY,
  STEP_METRICS_ONLY,
  STEP_SAMPLED_SPANS,
  STEP_SHORT_HEADS,
  type Usage,
} from './self/budget.js';
import type { Counters } from './self/counters.js';

export interface BudgetKeeperOptions {
  readonly config: Config;
  readonly kernel: Kernel;
  readonly pipeline: Pipeline;
  readonly counters: Counters;
  readonly wantsSpans: boolean;
  readonly post: (message: FromWorker) => void;
}

/** Full collections take time, too. */
const RELEASE_INTERVAL_NS = 30e9;

export class BudgetKeeper {
  readonly #options: BudgetKeeperOptions;
  #limits: Config['limits'];
  readonly #budget: Budget;
  readonly #intervalNs: number;
  #nextNs: number;
  #nextReleaseNs = 0;

  constructor(options: BudgetKeeperOptions, nowNs: number) {
    this.#options = options;
    this.#limits = options.config.limits;
    const { cpu, memoryBytes, budgetIntervalMs } = this.#limits;
    this.#budget = new Budget({ cpu, memoryBytes }, options.wantsSpans, readUsage(nowNs / 1e9));
    this.#intervalNs = budgetIntervalMs * 1e6;
    this.#nextNs = nowNs + this.#intervalNs;
    options.counters.observe('underspan.budget.step', '', () => this.#budget.step);
  }

  reload({ limits }: Config): void {
    this.#limits = limits;
    this.#budget.setLimits({ cpu: limits.cpu, memoryBytes: limits.memoryBytes });
  }

  tick(nowNs: number): void {
    if (nowNs < this.#nextNs) return;
    this.#nextNs = nowNs + this.#intervalNs;
    const change = this.#budget.check(this.#spare(readUsage(nowNs / 1e9), nowNs));
    if (change === null) return;
    this.#apply(change.step);
    this.#options.counters.series('underspan.budget.changed', change.reason).add(1);
    this.#say(change);
  }

  /** Above the memory limit, what is unused is given back first; what is left then counts an interval later. */
  #spare(usage: Usage, nowNs: number): Usage {
    const { memoryBytes } = this.#limits;
    if (memoryBytes === 0 || usage.residentBytes <= memoryBytes || nowNs < this.#nextReleaseNs) return usage;
    this.#nextReleaseNs = nowNs + RELEASE_INTERVAL_NS;
    this.#options.post({ type: 'release_memory' });
    releaseMemory();
    return { ...usage, residentBytes: memoryBytes };
  }

  #apply(step: number): void {
    const { kernel, pipeline, config } = this.#options;
    const full = config.capture.headBytes;
    const headBytes = step >= STEP_SHORT_HEADS ? Math.min(full, SHORT_HEAD_BYTES) : full;
    pipeline.connections.shortenHeads(headBytes);
    kernel.filter.setHeadBytes(headBytes);
    pipeline.affordableShare = step >= STEP_METRICS_ONLY ? 0 : step >= STEP_SAMPLED_SPANS ? SAMPLED_SHARE : 1;
    try {
      kernel.setDearProbes(step < STEP_CONNECTIONS_ONLY);
    } catch (error) {
      const text = `the probes that the budget had switched off cannot be attached again: ${(error as Error).message}`;
      this.#options.post({ type: 'log', level: 'error', key: 'budget', text });
    }
  }

  #say({ step, reason, cpu, memoryBytes }: BudgetChange): void {
    const limits = this.#limits;
    const use =
      reason === 'memory'
        ? `${mebibytes(memoryBytes)} of ${mebibytes(limits.memoryBytes)} MiB (limits.memory_bytes)`
        : `${cpu.toFixed(2)} of ${limits.cpu} cores (limits.cpu)`;
    const what = BUDGET_STEPS[step];
    const now = step === 0 ? 'everything again' : `step ${step}, ${what.name}: ${what.does}`;
    const text = `the agent uses ${use}: ${now}`;
    // A key for each step: the log's rate limit must not hide one.
    this.#options.post({ type: 'log', level: reason === 'recovered' ? 'info' : 'warn', key: `budget ${step}`, text });
  }
}

function mebibytes(bytes: number): string {
  return (bytes / (1 << 20)).toFixed(0);
}
