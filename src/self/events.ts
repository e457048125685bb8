// The facts of the agent's life that people may have to know: one function per fact, which always counts it and logs it
// at most once an interval. In: calls from wherever the fact happens. Out: counters.ts and log.ts.
import type { Counters } from './counters.js';
import { clean, type Logger } from './log.js';

export class Events {
  readonly #counters: Counters;
  readonly #log: Logger;

  constructor(counters: Counters, log: Logger) {
    this.#counters = counters;
    this.#log = log;
  }

  /** The kernel had no room for records, or the dispatcher did not know them. */
  recordsDropped(reason: string, count: number): void {
    this.#counters.add('underspan.records.dropped', reason, count);
    this.#log.limited(`records:${reason}`, 'warn', 'records were lost: spans may be missing', { reason, count });
  }

  connectionsDropped(reason: string, count: number): void {
    this.#counters.add('underspan.connections.dropped', reason, count);
    this.#log.limited(`connections:${reason}`, 'warn', 'connections are not followed', { reason, count });
  }

  exchangesDropped(reason: string, count: number): void {
    this.#counters.add('underspan.exchanges.dropped', reason, count);
    this.#log.limited(`exchanges:${reason}`, 'debug', 'exchanges without a span', { reason, count });
  }

  /** A parser met bytes that its protocol does not allow. */
  messageBroken(protocol: string): void {
    this.#counters.add('underspan.messages.broken', protocol, 1);
    this.#log.limited(`broken:${protocol}`, 'debug', 'a message could not be parsed', { protocol });
  }

  /** A bug of ours: a parser threw. Its connection goes on without it. */
  parserThrew(protocol: string, error: unknown): void {
    this.#counters.add('underspan.messages.broken', protocol, 1);
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#log.limited(`threw:${protocol}`, 'error', 'a parser failed, please report it', { protocol, detail });
  }

  spansExported(exporter: string, count: number): void {
    this.#counters.add('underspan.spans.exported', exporter, count);
  }

  /** Spans that will never arrive: a full queue, a refusal, retries exhausted, the end of the agent. */
  spansDropped(reason: string, count: number): void {
    this.#counters.add('underspan.spans.dropped', reason, count);
    this.#log.limited(`spans:${reason}`, 'warn', 'spans were dropped', { reason, count });
  }

  pointsExported(exporter: string, count: number): void {
    this.#counters.add('underspan.points.exported', exporter, count);
  }

  pointsDropped(reason: string, count: number): void {
    this.#counters.add('underspan.points.dropped', reason, count);
    this.#log.limited(`points:${reason}`, 'warn', 'metric points were dropped', { reason, count });
  }

  exportFailed(exporter: string, reason: string): void {
    this.#counters.add('underspan.exports.failed', exporter, 1);
    this.#log.limited(`export:${exporter}`, 'warn', 'an export failed', { exporter, reason: clean(reason) });
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
