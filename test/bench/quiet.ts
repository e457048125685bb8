// Rounds that others disturbed are worth nothing: a busy neighbour takes throughput, a tracer of somebody else slows our
// baseline. Waits for quiet before a round, looks after it whether it lasted, and repeats a disturbed round as long as
// its patience lasts. What stays disturbed is kept and said.
import { setTimeout as sleep } from 'node:timers/promises';
import { processTree } from '../support/processes.js';
import { cpuOfEnded, cpuOfTree, foreignTracers, machineBusy } from './machine.js';

/** Share of one core that others may use during a round. */
const TOLERATED_CPU = 0.1;
const GLANCE_MS = 300;

export interface Disturbance {
  /** Cores that processes other than ours used. */
  readonly foreignCpu: number;
  /** Processes of others with tracing programs attached, at the start or the end. */
  readonly foreignTracers: number;
}

class Watch {
  readonly #atMs = performance.now();
  readonly #foreign = Watch.#foreignSeconds();

  static #foreignSeconds(): number {
    return machineBusy() - cpuOfTree(process.pid) - cpuOfEnded();
  }

  /** Cores that others used since the start. */
  foreignCpu(): number {
    return Math.max(0, Watch.#foreignSeconds() - this.#foreign) / ((performance.now() - this.#atMs) / 1000);
  }
}

function tracers(): number {
  return foreignTracers(new Set(processTree(process.pid))).length;
}

function isQuiet({ foreignCpu, foreignTracers }: Disturbance): boolean {
  return foreignCpu <= TOLERATED_CPU && foreignTracers === 0;
}

export class Quiet {
  #patienceMs: number;
  #rounds = 0;
  readonly #disturbed: Disturbance[] = [];

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** Runs one round; what it returns is of the last try. */
  async round<T>(work: () => Promise<T>): Promise<T> {
    this.#rounds++;
    for (;;) {
      await this.#settle();
      const fromMs = performance.now();
      const before = tracers();
      const watch = new Watch();
      const result = await work();
      const seen = { foreignCpu: watch.foreignCpu(), foreignTracers: Math.max(before, tracers()) };
      if (isQuiet(seen)) return result;
      if (this.#patienceMs <= 0) {
        this.#disturbed.push(seen);
        return result;
      }
      this.#patienceMs -= performance.now() - fromMs;
    }
  }

  async #settle(): Promise<void> {
    while (this.#patienceMs > 0) {
      const watch = new Watch();
      await sleep(GLANCE_MS);
      if (isQuiet({ foreignCpu: watch.foreignCpu(), foreignTracers: tracers() })) return;
      this.#patienceMs -= GLANCE_MS;
    }
  }

  /** What readers must know of the rounds since the last call. */
  takeWarnings(): string[] {
    const disturbed = this.#disturbed.splice(0);
    const rounds = this.#rounds;
    this.#rounds = 0;
    if (disturbed.length === 0) return [];
    const cores = Math.max(...disturbed.map(({ foreignCpu }) => foreignCpu)).toFixed(2);
    const traced = disturbed.filter(({ foreignTracers }) => foreignTracers > 0).length;
    return [
      `${disturbed.length} of ${rounds} rounds were disturbed: others used up to ${cores} cores` +
        `${traced > 0 ? `, and had tracing programs attached in ${traced}` : ''}; --patience SECONDS waits longer`,
    ];
  }
}
