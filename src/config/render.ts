// Writes configuration as YAML in the order of the schema: the commented file of defaults (config/underspan.yaml), and
// for `underspan config print` what is in force with the place each value comes from. Secrets are masked.
import { stringify } from 'yaml';
import type { Tree } from './check.js';
import { camelCase, type Field, type PortRange, type Section } from './field.js';
import { CONFIG_SCHEMA, type Config } from './schema.js';

const WIDTH = 118;
const SAMPLE_HEAD = `# yaml-language-server: $schema=./schema.json
#
# The configuration of Underspan with its defaults. Copy what you change and run: underspan run --config FILE
# Precedence: flags, then environment variables, then this file. Check a file: underspan config check --config FILE
# Each field is also the variable UNDERSPAN_<PATH>, e.g. UNDERSPAN_KERNEL_MAX_CONNECTIONS; the standard OTEL_* ones are
# named beside it. SIGHUP makes a running agent read the file again and apply the fields marked (reloads).
`;

/** Examples for what has no default; they stand in comments. */
const EXAMPLES: Readonly<Record<string, string>> = {
  'selection.include': '[{ exe: nginx }, { script: app.py, listen_port: 8000-8999 }]',
  'selection.exclude': '[{ peer_port: [5432, 6379] }]',
  'http.routes': "[{ service: shop, patterns: ['/users/{id}', '/static/*'] }]",
  'resource.service_names': '[{ match: { exe: /opt/shop/bin/*, listen_port: 8080 }, name: shop }]',
  exporters: "[{ module: '@opentelemetry/exporter-zipkin', export: ZipkinExporter, options: {} }]",
  'otlp.endpoint': 'http://localhost:4317',
  'otlp.traces': '{ endpoint: https://tempo.example:4318/v1/traces, protocol: http/protobuf }',
  'otlp.metrics': '{ endpoint: https://metrics.example/otlp/v1/metrics, protocol: http/protobuf, headers: {} }',
};

/** The text of config/underspan.yaml. */
export function renderSample(): string {
  return `${SAMPLE_HEAD}${sampleSection(CONFIG_SCHEMA, [], '')}`;
}

function sampleSection(section: Section, path: readonly string[], indent: string): string {
  return Object.entries(section.fields)
    .map(([key, field]) => sampleField(key, field, [...path, key], indent))
    .join('');
}

function sampleField(key: string, field: Field, path: readonly string[], indent: string): string {
  const gap = indent === '' ? '\n' : '';
  const comment = wrap(helpOf(field), `${indent}# `);
  if (field.type === 'section') {
    // A section without a single default would be an empty mapping: it stands in a comment as a whole.
    const example = EXAMPLES[path.join('.')];
    if (example !== undefined) return `${gap}${comment}${indent}# ${key}: ${example}\n`;
    return `${gap}${comment}${indent}${key}:\n${sampleSection(field, path, `${indent}  `)}`;
  }
  const value = field.type === 'list' ? [] : 'default' in field ? field.default : undefined;
  const example = EXAMPLES[path.join('.')];
  const lines = value === undefined ? '' : `${indent}${key}: ${flow(value)}\n`;
  if (example !== undefined) return `${gap}${comment}${lines}${indent}# ${key}: ${example}\n`;
  return `${gap}${comment}${lines === '' ? `${indent}# ${key}:\n` : lines}`;
}

/** Help, bounds and variables of a field in one paragraph. */
export function helpOf(field: Field): string {
  const parts = [field.help];
  if (field.type === 'choice') parts.push(`One of ${field.choices.join(', ')}.`);
  if (field.type === 'words' && field.choices !== undefined) parts.push(`Of ${field.choices.join(', ')}.`);
  if (field.type === 'integer' || field.type === 'number') {
    const isPowerOfTwo = field.type === 'integer' && field.isPowerOfTwo === true;
    parts.push(`${isPowerOfTwo ? 'A power of two, ' : ''}${field.min} to ${field.max}.`);
  }
  if (field.env !== undefined) parts.push(`[${field.env.join(', ')}]`);
  if (field.reloads === true) parts.push('(reloads)');
  return parts.join(' ');
}

/** The configuration in force, as a file that would give it again (masked secrets aside). */
export function renderConfig(config: Config, originOf: (path: readonly string[]) => string): string {
  return valueSection(CONFIG_SCHEMA, config as unknown as Tree, [], '', originOf);
}

function valueSection(
  section: Section,
  tree: Tree,
  path: readonly string[],
  indent: string,
  originOf: (path: readonly string[]) => string,
): string {
  let text = '';
  for (const [key, field] of Object.entries(section.fields)) {
    const value = tree[camelCase(key)];
    const here = [...path, key];
    if (value === undefined) continue;
    if (field.type === 'section') {
      text += `${indent}${key}:\n${valueSection(field, value as Tree, here, `${indent}  `, originOf)}`;
      continue;
    }
    const origin = originOf(here);
    const note = origin === '' ? '' : ` # ${origin}`;
    const plain = toPlain(field, value);
    if (field.type === 'list' && Array.isArray(plain) && plain.length > 0) {
      text += `${indent}${key}:${note}\n${stringify(plain, { lineWidth: 0 }).replace(/^(?=.)/gm, `${indent}  `)}`;
    } else {
      text += `${indent}${key}: ${flow(plain)}${note}\n`;
    }
  }
  return text;
}

/** A checked value as the file writes it. */
function toPlain(field: Field, value: unknown): unknown {
  if (field.type === 'section') return plainSection(field, value as Tree);
  if (field.type === 'list') return (value as Tree[]).map(item => plainSection(field.item, item));
  if (field.type === 'ports') {
    const ports = (value as PortRange[]).map(({ first, last }) => (first === last ? first : `${first}-${last}`));
    return ports.length === 1 ? ports[0] : ports;
  }
  if (field.type === 'textmap' && field.isSecret === true) {
    return Object.fromEntries(Object.keys(value as object).map(name => [name, '***']));
  }
  return value;
}

function plainSection(section: Section, tree: Tree): Tree {
  const result: Tree = {};
  for (const [key, field] of Object.entries(section.fields)) {
    const value = tree[camelCase(key)];
    if (value !== undefined) result[key] = toPlain(field, value);
  }
  return result;
}

/** A value on one line; JSON is YAML's flow style, and plain words stay plain. */
function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const pairs = Object.entries(value).map(([key, inner]) => `${flow(key)}: ${flow(inner)}`);
    return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
  }
  if (typeof value !== 'string') return JSON.stringify(value);
  const isPlain = /^[A-Za-z_/][\w./-]*$/.test(value) && !/^(true|false|null|yes|no|on|off)$/i.test(value);
  return isPlain ? value : `'${value.replace(/'/g, "''")}'`;
}

function wrap(text: string, prefix: string): string {
  let lines = '';
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && prefix.length + line.length + 1 + word.length > WIDTH) {
      lines += `${prefix}${line}\n`;
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return `${lines}${prefix}${line}\n`;
}
