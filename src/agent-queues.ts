// One queue for each destination and signal, and for those that may be away a share of the folder on disk. In: exporters.
// Out: queues, with everything that they hold, send, keep and lose in the agent's own metrics.
import { BacklogFolder } from './backlog/folder.js';
import type { Config } from './config/schema.js';
import type { Exporter, Log } from './exporters/exporter.js';
import { ExportQueue } from './exporters/queue.js';
import type { Counters } from './self/counters.js';

const METRICS_QUEUE_BYTES = 16 << 20;
const METRICS_QUEUE_POINTS = 1_000_000;
/** Metrics are a fraction of what spans are. */
const TRACES_WEIGHT = 7;
const METRICS_WEIGHT = 1;

export interface Queues {
  readonly traces: readonly ExportQueue[];
  readonly metrics: readonly ExportQueue[];
  /** Delivers, keeps or counts what waits, for at most `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
}

export async function createQueues(
  config: Config,
  exporters: { readonly traces: readonly Exporter[]; readonly metrics: readonly Exporter[] },
  log: Log,
  counters: Counters,
): Promise<Queues> {
  const weightOf = (list: readonly Exporter[], weight: number): number =>
    list.filter(({ canBeAway }) => canBeAway).length * weight;
  const weights = weightOf(exporters.traces, TRACES_WEIGHT) + weightOf(exporters.metrics, METRICS_WEIGHT);
  const folder = config.queue.enabled && weights > 0 ? await openFolder(config, log) : null;
  const queueOf = async (exporter: Exporter, weight: number, maxBytes: number, maxItems: number) =>
    new ExportQueue({
      exporter,
      log,
      maxBytes,
      maxItems,
      maxAgeMs: config.queue.maxAgeMs,
      backlog: folder !== null && exporter.canBeAway ? await folder.openBacklog(exporter.name, weight / weights) : null,
    });
  const { maxQueueBytes, maxQueueSize } = config.traces;
  const traces = await Promise.all(
    exporters.traces.map(exporter => queueOf(exporter, TRACES_WEIGHT, maxQueueBytes, maxQueueSize)),
  );
  const metrics = await Promise.all(
    exporters.metrics.map(exporter => queueOf(exporter, METRICS_WEIGHT, METRICS_QUEUE_BYTES, METRICS_QUEUE_POINTS)),
  );
  await folder?.removeForgotten();
  observeQueues(counters, traces, 'spans');
  observeQueues(counters, metrics, 'points');
  return {
    traces,
    metrics,
    close: async timeoutMs => {
      await Promise.all([...traces, ...metrics].map(queue => queue.close(timeoutMs)));
      await folder?.close();
    },
  };
}

function openFolder({ queue }: Config, log: Log): Promise<BacklogFolder | null> {
  return BacklogFolder.open(queue, message => log('warn', message));
}

function observeQueues(counters: Counters, queues: readonly ExportQueue[], what: 'spans' | 'points'): void {
  for (const queue of queues) {
    const label = `${queue.name} ${what}`;
    counters.observe('underspan.queue.size', label, () => queue.heldBytes);
    counters.observe(`underspan.${what}.exported`, queue.name, () => queue.counts.sent);
    counters.observe('underspan.exports.failed', queue.name, () => queue.counts.failures);
    if (queue.keptIn === null) continue;
    const { keptIn } = queue;
    counters.observe('underspan.backlog.size', label, () => keptIn.byteLength);
    counters.observe('underspan.backlog.items', label, () => keptIn.itemCount);
    counters.observe(`underspan.${what}.recovered`, queue.name, () => keptIn.recovered);
  }
  const sum = (count: (queue: ExportQueue) => number): number =>
    queues.reduce((total, queue) => total + count(queue), 0);
  for (const cause of ['full', 'refused', 'expired', 'shutdown'] as const) {
    counters.observe(`underspan.${what}.dropped`, `queue_${cause}`, () => sum(queue => queue.counts.dropped[cause]));
  }
  for (const cause of ['full', 'expired', 'damaged'] as const) {
    const count = (queue: ExportQueue): number => queue.keptIn?.dropped[cause] ?? 0;
    if (queues.some(queue => queue.keptIn !== null)) {
      counters.observe(`underspan.${what}.dropped`, `backlog_${cause}`, () => sum(count));
    }
  }
  counters.observe(`underspan.${what}.dropped`, 'rejected', () => sum(queue => queue.counts.rejected));
}
