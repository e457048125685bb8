// Delta temporality from cumulative snapshots (metrics data model, "Temporality"): what came since the last export.
// Holds the last value of each series that was in the last snapshot, so it is bounded by the aggregation's own bounds.
// A series that began anew counts from its own start; one that did not change is not sent.
import type { Service } from '../enrichment/service.js';
import type { HistogramValue, MetricFamily, MetricPoint } from '../signals/metric-model.js';

/** The change of a series; `startNs` is the time of the last export. */
export type MetricDelta = MetricPoint;

interface Last {
  readonly startNs: number;
  readonly value: number | HistogramValue;
}

export class MetricDeltas {
  #last = new Map<string, Last>();
  #current = new Map<string, Last>();
  #lastExportNs = 0;

  /** What changed in these points since the last export, and remembers them. */
  take(service: Service | null, family: MetricFamily, points: readonly MetricPoint[]): MetricDelta[] {
    const deltas: MetricDelta[] = [];
    for (const point of points) {
      const key = JSON.stringify([family.name, service?.id ?? -1, point.attributes]);
      const last = this.#last.get(key);
      this.#current.set(key, { startNs: point.startNs, value: point.value });
      const change = last?.startNs === point.startNs ? difference(point.value, last.value) : null;
      const value = change ?? point.value;
      if (typeof value === 'number' ? value === 0 : value.count === 0) continue;
      deltas.push({ ...point, value, startNs: change === null ? point.startNs : this.#lastExportNs });
    }
    return deltas;
  }

  /** Series that were not in this snapshot are forgotten. */
  endExport(nowNs: number): void {
    this.#last = this.#current;
    this.#current = new Map();
    this.#lastExportNs = nowNs;
  }
}

/** null: the two do not belong together (other kind, other buckets), the series is a new one. */
function difference(now: number | HistogramValue, last: number | HistogramValue): number | HistogramValue | null {
  if (typeof now === 'number') return typeof last === 'number' ? now - last : null;
  if (typeof last === 'number' || last.counts.length !== now.counts.length) return null;
  return {
    ...now,
    counts: now.counts.map((count, i) => count - (last.counts[i] as number)),
    sum: now.sum - last.sum,
    count: now.count - last.count,
  };
}
