// OpenTelemetry names as Prometheus names (OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility"):
// invalid characters become single underscores, the unit is spelt out as a suffix, then the suffix of the type.
import type { AttributeValue } from '../enrichment/service.js';
import type { MetricFamily } from '../signals/metric-model.js';

/** UCUM to words. */
const UNIT_WORDS: Readonly<Record<string, string>> = {
  d: 'days',
  h: 'hours',
  min: 'minutes',
  s: 'seconds',
  ms: 'milliseconds',
  us: 'microseconds',
  ns: 'nanoseconds',
  By: 'bytes',
  KiBy: 'kibibytes',
  MiBy: 'mebibytes',
  GiBy: 'gibibytes',
  KBy: 'kilobytes',
  MBy: 'megabytes',
  GBy: 'gigabytes',
  m: 'meters',
  V: 'volts',
  A: 'amperes',
  J: 'joules',
  W: 'watts',
  g: 'grams',
  Cel: 'celsius',
  Hz: 'hertz',
  '%': 'percent',
};
/** What stands behind the slash of a rate. */
const PER_WORDS: Readonly<Record<string, string>> = { s: 'second', m: 'minute', min: 'minute', h: 'hour', d: 'day' };

export interface PrometheusName {
  /** Name of the family without `_total`. */
  readonly base: string;
  /** Name of its samples: with `_total` for counters. */
  readonly sample: string;
  /** Unit as a word, '' if there is none. */
  readonly unit: string;
}

export function prometheusName(family: Pick<MetricFamily, 'name' | 'unit' | 'type'>): PrometheusName {
  const isCounter = family.type === 'counter';
  let base = cleaned(family.name, /[^A-Za-z0-9_:]+/g);
  if (isCounter && base.endsWith('_total')) base = base.slice(0, -'_total'.length);
  const unit = unitWord(family.unit, family.type === 'gauge');
  if (unit !== '' && base !== unit && !base.endsWith(`_${unit}`)) base = `${base}_${unit}`;
  return { base, sample: isCounter ? `${base}_total` : base, unit };
}

/** A label name of an attribute key. */
export function labelName(key: string): string {
  return cleaned(key, /[^A-Za-z0-9_]+/g);
}

/** An attribute value as a label value: text as it is, the rest as JSON (specification, "attribute"). */
export function labelText(value: AttributeValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Escapes a label value: backslash, quote, line feed. */
export function escapeLabel(text: string): string {
  return /[\\"\n]/.test(text) ? text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n') : text;
}

function cleaned(name: string, invalid: RegExp): string {
  const text = name.replace(invalid, '_').replace(/__+/g, '_');
  return text === '' || /^[0-9]/.test(text) ? `_${text}` : text;
}

function unitWord(unit: string, isGauge: boolean): string {
  if (unit === '1') return isGauge ? 'ratio' : '';
  const [amount = '', per] = unit.replace(/\{[^}]*\}/g, '').split('/');
  const word = sanitized(UNIT_WORDS[amount] ?? amount);
  if (per === undefined) return word;
  const rate = `per_${sanitized(PER_WORDS[per] ?? UNIT_WORDS[per] ?? per)}`;
  return word === '' ? rate : `${word}_${rate}`;
}

function sanitized(word: string): string {
  return word.replace(/[^A-Za-z0-9]+/g, '_').replace(/^_+|_+$/g, '');
}
