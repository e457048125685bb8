// Puts the sources of configuration on top of each other: flags over environment over file over defaults. In: checked
// layers, strongest first. Out: the Config. Nothing is lost silently: load.ts has reported what was refused.
import type { Tree } from './check.js';
import { camelCase, type Field, type Section } from './field.js';
import { CONFIG_SCHEMA, type Config } from './schema.js';

export interface Layer {
  /** What the layer gives, checked and in camel case. */
  readonly tree: Tree;
  /** Where the layer says it: a file position, a variable, a flag. */
  readonly originOf: (path: readonly string[]) => string;
}

const SIGNALS = ['traces', 'metrics'] as const;
const HTTP_PORT_ENDPOINT = 'http://localhost:4318';
const GRPC_ENDPOINT = 'http://localhost:4317';

/** The configuration that the layers, strongest first, add up to. */
export function mergeLayers(layers: readonly Layer[]): Config {
  const trees = layers.map(layer => layer.tree);
  const merged = mergeSection(CONFIG_SCHEMA, trees);
  const otlp = merged.otlp as Tree;
  const sources = [...trees.map(tree => (tree.otlp ?? {}) as Tree), defaultsOf(CONFIG_SCHEMA.fields.otlp)];
  const isOtlpConfigured = SIGNALS.map(signal => sources.some(source => endpointIn(source, signal) !== undefined));
  for (const signal of SIGNALS) otlp[signal] = resolveSignal(sources, signal);
  const traces = merged.traces as { exporters: readonly string[] };
  if (traces.exporters.length === 0) traces.exporters = [isOtlpConfigured[0] === true ? 'otlp' : 'console'];
  const metrics = merged.metrics as { exporters: readonly string[] };
  if (metrics.exporters.length === 0) {
    metrics.exporters = isOtlpConfigured[1] === true ? ['prometheus', 'otlp'] : ['prometheus'];
  }
  return merged as unknown as Config;
}

function mergeSection(section: Section, trees: readonly Tree[]): Tree {
  const result: Tree = {};
  for (const [name, field] of Object.entries(section.fields)) {
    const key = camelCase(name);
    const given = trees.map(tree => tree[key]).filter(value => value !== undefined);
    const value = mergeField(field, given);
    if (value !== undefined) result[key] = value;
  }
  return result;
}

function mergeField(field: Field, given: readonly unknown[]): unknown {
  if (field.type === 'section') return mergeSection(field, given as Tree[]);
  const [strongest] = given;
  if (field.type === 'list') {
    return ((strongest ?? []) as Tree[]).map(item => mergeSection(field.item, [item]));
  }
  return strongest ?? ('default' in field ? field.default : undefined);
}

function defaultsOf(section: Section): Tree {
  return mergeSection(section, []);
}

function endpointIn(source: Tree, signal: (typeof SIGNALS)[number]): unknown {
  return (source[signal] as Tree | undefined)?.endpoint ?? source.endpoint;
}

/**
 * The settings of one signal. Within a source its own setting wins over the common one; a stronger source wins over a
 * weaker one. A common endpoint of an HTTP protocol gets `/v1/<signal>` appended, the signal's own is used verbatim
 * (OpenTelemetry protocol exporter specification, "Endpoint URLs for OTLP/HTTP").
 */
function resolveSignal(sources: readonly Tree[], signal: (typeof SIGNALS)[number]): Tree {
  const result: Tree = {};
  let isCommonEndpoint = true;
  for (const name of Object.keys(CONFIG_SCHEMA.fields.otlp.fields[signal].fields)) {
    const key = camelCase(name);
    for (const source of sources) {
      const own = (source[signal] as Tree | undefined)?.[key];
      const value = own ?? source[key];
      if (value === undefined) continue;
      result[key] = value;
      if (key === 'endpoint') isCommonEndpoint = own === undefined;
      break;
    }
  }
  const isHttp = result.protocol !== 'grpc';
  const endpoint = (result.endpoint as string | undefined) ?? (isHttp ? HTTP_PORT_ENDPOINT : GRPC_ENDPOINT);
  result.endpoint = isHttp && isCommonEndpoint ? `${endpoint.replace(/\/+$/, '')}/v1/${signal}` : endpoint;
  return result;
}
