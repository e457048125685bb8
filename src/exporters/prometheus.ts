// Metric families come in, a page for a Prometheus scrape goes out: text format 0.0.4, or OpenMetrics 1.0 where the
// scraper asks for it. Each service is a target of its own: `job` and `instance` labels and a `target_info` line. Left out,
// and reported: a family whose name another family already has with another type. Series that come out equal (two
// processes that say to be one instance) are added up, since a scrape with duplicates is refused as a whole.
import type { Attributes, Service } from '../enrichment/service.js';
import type { HistogramValue, MetricFamily, MetricPoint } from '../signals/metric-model.js';
import { escapeLabel, labelName, labelText, type PrometheusName, prometheusName } from './prometheus-name.js';

const TEXT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const OPENMETRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
/** Resource attributes that `job` and `instance` are made of. */
const TARGET_KEYS: ReadonlySet<string> = new Set(['service.name', 'service.namespace', 'service.instance.id']);

export type PrometheusFormat = 'text' | 'openmetrics';

export interface PrometheusPage {
  /** Value of the `content-type` header. */
  readonly contentType: string;
  readonly body: string;
  /** Names of families left out, whole or in part: the Prometheus name was taken by another type or other bounds. */
  readonly conflicts: readonly string[];
}

/** The format that an `accept` header asks for: OpenMetrics only if it is named with a weight that text does not exceed. */
export function negotiateFormat(accept: string | undefined): PrometheusFormat {
  let openMetrics = 0;
  let text = 0;
  for (const range of (accept ?? '').toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map(part => part.trim());
    const weight = Number(parameters.find(parameter => parameter.startsWith('q='))?.slice(2) ?? 1);
    if (!(weight > 0)) continue;
    if (type === 'application/openmetrics-text') {
      const version = parameters.find(parameter => parameter.startsWith('version='))?.slice('version='.length);
      const isSpoken = version === undefined || version === '0.0.1' || version === '1.0.0';
      if (isSpoken) openMetrics = Math.max(openMetrics, weight);
    } else if (type === 'text/plain') {
      text = Math.max(text, weight);
    }
  }
  return openMetrics > 0 && openMetrics >= text ? 'openmetrics' : 'text';
}

/** Renders families as one page. Points without a service (the agent's own) get no `job` and `instance`: the scrape's. */
export function renderPrometheus(families: readonly MetricFamily[], format: PrometheusFormat = 'text'): PrometheusPage {
  const isOpenMetrics = format === 'openmetrics';
  const lines: string[] = [];
  const conflicts: string[] = [];
  for (const group of groupByName(families, conflicts)) renderGroup(lines, group, isOpenMetrics, conflicts);
  renderTargets(lines, families, isOpenMetrics);
  if (isOpenMetrics) lines.push('# EOF');
  const body = lines.length === 0 ? '' : `${lines.join('\n')}\n`;
  return { contentType: isOpenMetrics ? OPENMETRICS_TYPE : TEXT_TYPE, body, conflicts };
}

/** Families that share a Prometheus name and type. */
interface Group {
  readonly name: PrometheusName;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly description: string;
  readonly points: MetricPoint[];
}

function groupByName(families: readonly MetricFamily[], conflicts: string[]): Iterable<Group> {
  const groups = new Map<string, Group>();
  for (const family of families) {
    const name = prometheusName(family);
    const type = family.type === 'updowncounter' ? 'gauge' : family.type;
    const group = groups.get(name.base);
    if (group === undefined) {
      groups.set(name.base, { name, type, description: family.description, points: [...family.points] });
    } else if (group.type === type) {
      group.points.push(...family.points);
    } else {
      conflicts.push(family.name);
    }
  }
  return groups.values();
}

function renderGroup(lines: string[], group: Group, isOpenMetrics: boolean, conflicts: string[]): void {
  const values = mergedByLabels(group, conflicts);
  if (values.size === 0) return;
  const { base, sample, unit } = group.name;
  const family = isOpenMetrics ? base : sample;
  lines.push(`# HELP ${family} ${escapeHelp(group.description, isOpenMetrics)}`, `# TYPE ${family} ${group.type}`);
  if (isOpenMetrics && unit !== '') lines.push(`# UNIT ${family} ${unit}`);
  for (const [labels, value] of values) {
    if (typeof value === 'number') lines.push(`${sample}${braced(labels)} ${numberText(value)}`);
    else renderHistogram(lines, base, labels, value, isOpenMetrics);
  }
}

function renderHistogram(
  lines: string[],
  name: string,
  labels: string,
  value: HistogramValue,
  isOpenMetrics: boolean,
): void {
  const prefix = labels === '' ? '' : `${labels},`;
  let below = 0;
  for (let i = 0; i < value.bounds.length; i++) {
    below += value.counts[i] ?? 0;
    const bound = numberText(value.bounds[i] as number);
    const le = isOpenMetrics && /^-?\d+$/.test(bound) ? `${bound}.0` : bound;
    lines.push(`${name}_bucket{${prefix}le="${le}"} ${below}`);
  }
  lines.push(`${name}_bucket{${prefix}le="+Inf"} ${value.count}`);
  lines.push(`${name}_sum${braced(labels)} ${numberText(value.sum)}`, `${name}_count${braced(labels)} ${value.count}`);
}

/** One `target_info` per `job` and `instance`, with the other attributes of the resource. */
function renderTargets(lines: string[], families: readonly MetricFamily[], isOpenMetrics: boolean): void {
  const targets = new Map<string, string>();
  const seen = new Set<Service>();
  for (const family of families) {
    for (const { service } of family.points) {
      if (service === null || seen.has(service)) continue;
      seen.add(service);
      const target = targetLabels(service);
      if (targets.has(target)) continue;
      const others = service.attributes.filter(([key]) => !TARGET_KEYS.has(key));
      targets.set(target, joined(target, attributeLabels(others)));
    }
  }
  if (targets.size === 0) return;
  const [name, type] = isOpenMetrics ? ['target', 'info'] : ['target_info', 'gauge'];
  lines.push(`# HELP ${name} Resource of the observed service.`, `# TYPE ${name} ${type}`);
  for (const labels of targets.values()) lines.push(`target_info{${labels}} 1`);
}

/** Values by their labels as text; equal ones are added up (of gauges, too: two halves of one instance). */
function mergedByLabels(group: Group, conflicts: string[]): Map<string, number | HistogramValue> {
  const values = new Map<string, number | HistogramValue>();
  for (const point of group.points) {
    const labels = joined(point.service === null ? '' : targetLabels(point.service), attributeLabels(point.attributes));
    const known = values.get(labels);
    const value = known === undefined ? point.value : sumOf(known, point.value);
    if (value === null) conflicts.push(group.name.base);
    else values.set(labels, value);
  }
  return values;
}

/** Null if the two cannot be added: a number and a histogram, or histograms with different bounds. */
function sumOf(a: number | HistogramValue, b: number | HistogramValue): number | HistogramValue | null {
  if (typeof a === 'number' || typeof b === 'number') {
    return typeof a === 'number' && typeof b === 'number' ? a + b : null;
  }
  const isSame = a.bounds.length === b.bounds.length && a.bounds.every((bound, i) => bound === b.bounds[i]);
  if (!isSame) return null;
  return {
    bounds: a.bounds,
    counts: a.counts.map((count, i) => count + (b.counts[i] ?? 0)),
    sum: a.sum + b.sum,
    count: a.count + b.count,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

/** `job` is namespace/name, `instance` the instance id. */
function targetLabels(service: Service): string {
  const job = service.namespace === '' ? service.name : `${service.namespace}/${service.name}`;
  return `job="${escapeLabel(job)}",instance="${escapeLabel(service.instanceId)}"`;
}

/** Attributes as labels; keys that become equal share one label, values joined by `;` in the order of the keys. */
function attributeLabels(attributes: Attributes): string {
  const texts = new Map<string, string>();
  for (const [key, value] of [...attributes].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    const clean = labelName(key);
    const name = clean === 'job' || clean === 'instance' || clean === 'le' ? `exported_${clean}` : clean;
    const known = texts.get(name);
    texts.set(name, known === undefined ? labelText(value) : `${known};${labelText(value)}`);
  }
  return Array.from(texts, ([name, text]) => `${name}="${escapeLabel(text)}"`).join(',');
}

function joined(a: string, b: string): string {
  return a === '' || b === '' ? a + b : `${a},${b}`;
}

function braced(labels: string): string {
  return labels === '' ? '' : `{${labels}}`;
}

function escapeHelp(text: string, isOpenMetrics: boolean): string {
  const escaped = text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
  return isOpenMetrics ? escaped.replace(/"/g, '\\"') : escaped;
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}
