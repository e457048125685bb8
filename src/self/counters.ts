// What the agent counts about itself. Each metric stands once in SELF_METRICS; a series is a number in an object that
// the caller keeps and bumps. Goes out as MetricFamily[] with no service (the agent's own resource). Nothing is lost:
// values beyond the bound of a metric's attribute share the series `other`.
import type { MetricFamily, MetricPoint } from '../signals/metric-model.js';

interface SelfMetric {
  readonly type: 'counter' | 'updowncounter' | 'gauge';
  readonly unit: string;
  readonly description: string;
  /** Name of the attribute that tells its series apart; '' for a single series. */
  readonly attribute: string;
}

/** `underspan.<noun>.<past participle>`; sums over stages balance: read = exported + dropped + open (DESIGN.md, 1.2). */
export const SELF_METRICS = {
  'underspan.records.read': counter('{record}', 'Records taken from the rings.', 'kind'),
  'underspan.kernel.events': counter('{event}', 'What the probes saw and did.', 'kind'),
  'underspan.records.dropped': counter(
    '{record}',
    'Records lost in the kernel or refused by the dispatcher.',
    'reason',
  ),
  'underspan.connections.dropped': counter('{connection}', 'Connections that were not followed.', 'reason'),
  'underspan.bytes.missed': counter(
    'By',
    'Bytes that went through sockets unseen and may have held whole requests that are not among the exchanges begun.',
    'reason',
  ),
  'underspan.requests.missed': counter(
    '{request}',
    'Requests, of whatever protocol, on connections that have ended and of which no record could tell: among no exchanges.',
    'reason',
  ),
  'underspan.messages.broken': counter('{message}', 'Messages that a parser gave up on.', 'protocol'),
  'underspan.exchanges.completed': counter('{exchange}', 'Exchanges that were rebuilt.', 'protocol'),
  'underspan.exchanges.dropped': counter('{exchange}', 'Exchanges seen and not turned into a span.', 'reason'),
  'underspan.spans.written': counter('{span}', 'Spans encoded for export.', ''),
  'underspan.spans.recovered': counter('{span}', 'Spans that an earlier agent had kept on disk.', 'exporter'),
  'underspan.spans.exported': counter('{span}', 'Spans that a backend accepted.', 'exporter'),
  'underspan.spans.dropped': counter('{span}', 'Spans that did not reach a backend.', 'reason'),
  'underspan.points.recovered': counter('{data_point}', 'Metric points that an earlier agent had kept.', 'exporter'),
  'underspan.points.exported': counter('{data_point}', 'Metric points that a backend accepted.', 'exporter'),
  'underspan.points.dropped': counter('{data_point}', 'Metric points that did not reach a backend.', 'reason'),
  'underspan.exports.failed': counter('{export}', 'Attempts that found the destination unavailable.', 'exporter'),
  'underspan.config.reloaded': counter('{reload}', 'Reloads of the configuration.', 'outcome'),
  'underspan.server_spans.joined': counter('{span}', 'SERVER spans by how their parent is known.', 'evidence'),
  'underspan.traces.detached': counter('{request}', 'Requests whose header named a trace that had grown too long.', ''),
  'underspan.traces.kept': counter('{request}', 'Requests that kept a trace which was not sampled.', 'reason'),
  'underspan.joins.offered': counter('{request}', 'Requests offered to the agents of other hosts.', 'outcome'),
  'underspan.joins.asked': counter('{request}', 'Requests whose client was looked for on other hosts.', 'outcome'),
  'underspan.joins.commands': counter('{command}', 'Commands to the server that the agents share.', 'outcome'),
  'underspan.joins.connected': gauge('1', '1 while the server that the agents share can be reached, else 0.', ''),
  'underspan.joins.waiting': gauge('{request}', 'Requests that wait for a client on another host.', ''),
  'underspan.ring.fill': gauge('1', 'Largest share of a ring in use at a drain since the last export.', 'ring'),
  'underspan.connections.open': gauge('{connection}', 'Connections that are followed.', ''),
  'underspan.exchanges.open': gauge('{exchange}', 'Requests that wait for their response.', ''),
  'underspan.queue.size': gauge('By', 'Bytes that wait for an exporter.', 'exporter'),
  'underspan.backlog.size': gauge(
    'By',
    'Bytes on disk that wait for an exporter whose destination was away.',
    'exporter',
  ),
  'underspan.backlog.items': gauge('{item}', 'Spans or metric points on disk.', 'exporter'),
  'underspan.coverage': gauge('1', 'Share of the exchanges seen in the kernel that became spans or metrics.', ''),
  'underspan.budget.step': gauge('1', 'What the agent leaves out to keep its budget: 0 nothing, 4 most.', ''),
  'underspan.probes.detached': counter('{time}', 'Probes taken off since they cost programs too much.', 'kind'),
  'underspan.budget.changed': counter('{change}', 'Steps up for cpu or memory, and down again.', 'reason'),
  'underspan.cpu.time': counter('s', 'CPU time of the agent.', 'mode'),
  'underspan.memory.usage': gauge('By', 'Memory of the agent.', 'kind'),
} as const satisfies Record<string, SelfMetric>;

export type SelfMetricName = keyof typeof SELF_METRICS;

/** Attribute values of one metric; names of exporters and reasons are few by design. */
const MAX_SERIES = 64;
const OVERFLOW = 'other';

function counter(unit: string, description: string, attribute: string): SelfMetric {
  return { type: 'counter', unit, description, attribute };
}

function gauge(unit: string, description: string, attribute: string): SelfMetric {
  return { type: 'gauge', unit, description, attribute };
}

/** One series: keep it and write `value` directly where it is hot. */
export class Series {
  value = 0;
  /** Read at each snapshot instead of `value`, where the number lives elsewhere. */
  readonly read: (() => number) | null;

  constructor(read: (() => number) | null) {
    this.read = read;
  }

  add(amount: number): void {
    this.value += amount;
  }
}

export class Counters {
  readonly #startNs: number;
  readonly #families = new Map<SelfMetricName, Map<string, Series>>();

  /** `startNs`: boot-clock nanoseconds of the agent's start. */
  constructor(startNs: number) {
    this.#startNs = startNs;
  }

  /** The series of a metric, created at zero. `label` is the value of the metric's attribute ('' if it has none). */
  series(name: SelfMetricName, label = ''): Series {
    return this.#obtain(name, label, null);
  }

  /** A series whose value is asked for at each snapshot; replaces an earlier one of the same label. */
  observe(name: SelfMetricName, label: string, read: () => number): void {
    this.#family(name).delete(label);
    this.#obtain(name, label, read);
  }

  add(name: SelfMetricName, label: string, amount: number): void {
    this.series(name, label).value += amount;
  }

  /** Every metric that has a series, in the order of the table. */
  snapshot(): MetricFamily[] {
    const families: MetricFamily[] = [];
    for (const [name, metric] of Object.entries(SELF_METRICS) as [SelfMetricName, SelfMetric][]) {
      const family = this.#families.get(name);
      if (family === undefined || family.size === 0) continue;
      const points = [...family].map(([label, series]) => this.#point(metric, label, series));
      families.push({ name, unit: metric.unit, description: metric.description, type: metric.type, points });
    }
    return families;
  }

  #point(metric: SelfMetric, label: string, series: Series): MetricPoint {
    return {
      service: null,
      attributes: metric.attribute === '' ? [] : [[metric.attribute, label]],
      startNs: this.#startNs,
      value: series.read === null ? series.value : series.read(),
    };
  }

  #obtain(name: SelfMetricName, label: string, read: (() => number) | null): Series {
    const family = this.#family(name);
    const key = family.has(label) || family.size < MAX_SERIES ? label : OVERFLOW;
    const known = family.get(key);
    if (known !== undefined) return known;
    const series = new Series(read);
    family.set(key, series);
    return series;
  }

  #family(name: SelfMetricName): Map<string, Series> {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = new Map();
      this.#families.set(name, family);
    }
    return family;
  }
}
