// The facts of the agent's life that people may have to know: one function per fact, which always counts it and logs it
// at most once an interval. In: calls from wherever the fact happens. Out: counters.ts and log.ts.
import type { Counters } from './counters.js';
import type { Logger } from './log.js';

export class Events {
  readonly #counters: Counters;
  readonly #log: Logger;

  constructor(counters: Counters, log: Logger) {
    this.#counters = counters;
    this.#log = log;
  }

  pointsDropped(reason: string, count: number): void {
    this.#counters.add('underspan.points.dropped', reason, count);
    this.#log.limited(`points:${reason}`, 'warn', 'metric points were dropped', { reason, count });
  }

  configReloaded(): void {
    this.#counters.add('underspan.config.reloaded', 'applied', 1);
    this.#log.info('configuration reloaded');
  }

  /** The new configuration is wrong; the old one stays in force. */
  configRejected(reason: string): void {
    this.#counters.add('underspan.config.reloaded', 'rejected', 1);
    this.#log.error('configuration not reloaded, the old one stays in force', { reason });
  }
}
