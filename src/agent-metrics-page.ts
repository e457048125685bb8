// Metrics on demand: asks the worker for its families and joins them with what the main thread counts (exports, memory, CPU).
// In: scrapes and the export interval. Out: families for OTLP, text for Prometheus. One question is under way at a time;
// the worker that does not answer in time costs that scrape.
import { negotiateFormat, renderPrometheus } from './exporters/prometheus.js';
import type { ClockState, FromWorker, ToWorker } from './messages.js';
import type { Counters } from './self/counters.js';
import type { MetricFamily } from './signals/metric-model.js';

export interface Snapshot {
  readonly families: readonly MetricFamily[];
  readonly nowNs: number;
  readonly clock: ClockState;
}

const ANSWER_MS = 5000;

export class AdminPage {
  readonly #counters: Counters;
  readonly #tell: (message: ToWorker) => void;
  readonly #waiting = new Map<number, (snapshot: Snapshot) => void>();
  #lastId = 0;

  constructor(counters: Counters, tell: (message: ToWorker) => void) {
    this.#counters = counters;
    this.#tell = tell;
    counters.observe('underspan.cpu.time', 'user', () => process.cpuUsage().user / 1e6);
    counters.observe('underspan.cpu.time', 'system', () => process.cpuUsage().system / 1e6);
    counters.observe('underspan.memory.usage', 'resident', () => process.memoryUsage.rss());
    counters.observe('underspan.memory.usage', 'heap', () => process.memoryUsage().heapUsed);
  }

  /** Everything as of now. Rejects if the worker is silent. */
  snapshot(): Promise<Snapshot> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error('the pipeline did not answer'));
      }, ANSWER_MS);
      this.#waiting.set(id, snapshot => {
        clearTimeout(timer);
        resolve(snapshot);
      });
      this.#tell({ type: 'snapshot', id });
    });
  }

  onSnapshot(message: FromWorker & { readonly type: 'snapshot' }): void {
    const resolve = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    resolve?.(this.join(message));
  }

  /** The worker's families with ours: one family per name. */
  join({ families, nowNs, clock }: Snapshot): Snapshot {
    const joined = new Map(families.map(family => [family.name, family]));
    for (const family of this.#counters.snapshot()) {
      const known = joined.get(family.name);
      joined.set(family.name, known === undefined ? family : { ...known, points: [...known.points, ...family.points] });
    }
    return { families: [...joined.values()], nowNs, clock };
  }

  async render(accept: string): Promise<{ readonly contentType: string; readonly body: string }> {
    const { families } = await this.snapshot();
    const { contentType, body } = renderPrometheus(families, negotiateFormat(accept));
    return { contentType, body };
  }
}
