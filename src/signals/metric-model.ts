// What an export of metrics consists of, between the aggregation (signals/metrics.ts, self/) and the encoders
// (otlp/metrics-request.ts, exporters/prometheus.ts). Plain data, made once per export, cumulative temporality.
import type { Attributes, Service } from '../enrichment/service.js';

export interface HistogramValue {
  /** Upper bounds, ascending; counts has one more entry (the last is above the last bound). */
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
  readonly min: number;
  readonly max: number;
}

export interface MetricPoint {
  /** Whose metric it is; null: the agent's own. */
  readonly service: Service | null;
  readonly attributes: Attributes;
  /** Boot-clock nanoseconds at which the series began. */
  readonly startNs: number;
  readonly value: number | HistogramValue;
}

export interface MetricFamily {
  /** OpenTelemetry instrument name, e.g. `http.server.request.duration`. */
  readonly name: string;
  /** UCUM unit. */
  readonly unit: string;
  readonly description: string;
  /** `counter`: monotonic sum; `updowncounter`: sum that may fall; `gauge`; `histogram`. */
  readonly type: 'counter' | 'updowncounter' | 'gauge' | 'histogram';
  readonly points: readonly MetricPoint[];
}
