// The configuration's description as JSON Schema 2020-12, for editors and `underspan config schema`. What it cannot say
// (powers of two, regular expressions that compile) is checked when a file is loaded.
import type { Field, Leaf, Section } from './field.js';
import { helpOf } from './render.js';
import { CONFIG_SCHEMA } from './schema.js';

const LINE_WIDTH = 120;

type Json = Readonly<Record<string, unknown>>;

/** The text of config/schema.json. */
export function renderJsonSchema(): string {
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Underspan',
    ...sectionSchema(CONFIG_SCHEMA),
  };
  return `${formatJson(schema, '', 0)}\n`;
}

function sectionSchema(section: Section): Json {
  const properties = Object.entries(section.fields).map(([key, field]) => [key, fieldSchema(field)] as const);
  return {
    description: helpOf(section),
    // A key whose lines are all comments is null in YAML and means: nothing given.
    type: section.isNeverEmpty === true || section.required !== undefined ? 'object' : ['object', 'null'],
    properties: Object.fromEntries(properties),
    additionalProperties: false,
    ...(section.required === undefined ? {} : { required: section.required }),
    ...(section.isNeverEmpty === true ? { minProperties: 1 } : {}),
  };
}

function fieldSchema(field: Field): Json {
  if (field.type === 'section') return sectionSchema(field);
  const description = helpOf(field);
  if (field.type === 'list') {
    return { description, type: 'array', maxItems: field.max, items: sectionSchema(field.item), default: [] };
  }
  const hasDefault = 'default' in field && field.default !== undefined;
  return { description, ...leafSchema(field), ...(hasDefault ? { default: field.default } : {}) };
}

function leafSchema(field: Leaf): Json {
  switch (field.type) {
    case 'text':
      return { type: 'string', ...(field.default === '' ? {} : { minLength: 1 }) };
    case 'integer':
    case 'number':
      return { type: field.type, minimum: field.min, maximum: field.max };
    case 'boolean':
      return { type: 'boolean' };
    case 'choice':
      return { enum: field.choices };
    case 'words':
      return { type: 'array', items: wordSchema(field.choices, field.pattern) };
    case 'ports':
      return { oneOf: [PORT_OR_RANGE, { type: 'array', items: PORT_OR_RANGE, minItems: 1 }] };
    case 'textmap':
      return { type: 'object', additionalProperties: { type: 'string' } };
    case 'anymap':
      return { type: 'object' };
  }
}

const PORT_OR_RANGE = {
  oneOf: [
    { type: 'integer', minimum: 1, maximum: 65535 },
    { type: 'string', pattern: '^\\s*\\d{1,5}(\\s*-\\s*\\d{1,5})?\\s*$' },
  ],
} as const;

function wordSchema(choices: readonly string[] | undefined, pattern: string | undefined): Json {
  if (choices !== undefined) return { enum: choices };
  return { type: 'string', minLength: 1, ...(pattern === undefined ? {} : { pattern }) };
}

/** JSON as the formatter of this repository writes it: objects on many lines, arrays on one where they fit. */
function formatJson(value: unknown, indent: string, column: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const isFlat = value.every(item => typeof item !== 'object');
    const line = `[${value.map(item => JSON.stringify(item)).join(', ')}]`;
    // One more column for a comma.
    if (isFlat && column + line.length + 1 <= LINE_WIDTH) return line;
    return `[\n${value.map(item => `${inner}${formatJson(item, inner, 0)}`).join(',\n')}\n${indent}]`;
  }
  const pairs = Object.entries(value).map(([key, item]) => {
    const head = `${inner}${JSON.stringify(key)}: `;
    return head + formatJson(item, inner, head.length);
  });
  return pairs.length === 0 ? '{}' : `{\n${pairs.join(',\n')}\n${indent}}`;
}
