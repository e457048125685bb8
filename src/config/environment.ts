// The layer of environment variables: UNDERSPAN_<PATH> for every field, and the standard OTEL_* names of the schema.
// A wrong UNDERSPAN_* value is an error. A wrong OTEL_* value is a warning and counts as unset: such variables are often
// set for whole machines, and the specification asks for it (OpenTelemetry environment variable specification).
import { checkField, type Report, type Tree } from './check.js';
import { camelCase, type Field, type Section } from './field.js';
import type { Layer } from './layers.js';
import { nearest } from './nearest.js';
import { CONFIG_SCHEMA } from './schema.js';
import { parseText } from './text-value.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Variable {
  readonly name: string;
  /** Keys as the file writes them. */
  readonly path: readonly string[];
  readonly field: Exclude<Field, Section>;
  readonly isStandard: boolean;
}

/** Variables that are read elsewhere and set no field. */
const OTHER_VARIABLES: readonly string[] = ['UNDERSPAN_CONFIG'];
/** Words of other SDKs that have a near equivalent here. */
const SYNONYMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  OTEL_LOG_LEVEL: { none: 'error', fatal: 'error', warning: 'warn', verbose: 'debug', trace: 'debug', all: 'debug' },
};

/** Every variable, the strongest of each field first. */
export const VARIABLES: readonly Variable[] = collect(CONFIG_SCHEMA, []);

function collect(section: Section, path: readonly string[]): Variable[] {
  return Object.entries(section.fields).flatMap(([key, field]) => {
    const here = [...path, key];
    if (field.type === 'section') return collect(field, here);
    const own: Variable = { name: `UNDERSPAN_${here.join('_').toUpperCase()}`, path: here, field, isStandard: false };
    return [own, ...(field.env ?? []).map(name => ({ ...own, name, isStandard: true }))];
  });
}

export function environmentLayer(
  environment: Environment,
  fail: (problem: string) => void,
  warn: (problem: string) => void,
): Layer {
  const tree: Tree = {};
  const origins = new Map<string, string>();
  for (const variable of VARIABLES) {
    const text = environment[variable.name];
    const place = variable.path.join('.');
    // Empty means unset (same specification); a stronger variable may have set the field already.
    if (text === undefined || text.trim() === '' || origins.has(place)) continue;
    let isRefused = false;
    const complain = (message: string): void => {
      isRefused = true;
      if (variable.isStandard) warn(`${variable.name} is ignored: ${message}`);
      else fail(`${variable.name}: ${message}`);
    };
    const value = checkText(variable, text, (_, message) => complain(message));
    if (isRefused || value === undefined) continue;
    setAt(tree, variable.path, value);
    origins.set(place, variable.name);
  }
  warnOfUnknown(environment, warn);
  return { tree, originOf: path => origins.get(path.join('.')) ?? '' };
}

/** Checks a text for a field; every fault goes to `report`. */
export function checkText(target: Pick<Variable, 'name' | 'field'>, text: string, report: Report): unknown {
  try {
    const meant = SYNONYMS[target.name]?.[text.trim().toLowerCase()] ?? text;
    return checkField(target.field, parseText(target.field, meant), [], report);
  } catch (error) {
    report([], error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error), 'value');
    return undefined;
  }
}

/** Sets a value in a checked tree by its path in the file. */
export function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  let section = tree;
  for (const key of path.slice(0, -1)) {
    section[camelCase(key)] ??= {};
    section = section[camelCase(key)] as Tree;
  }
  section[camelCase(path.at(-1)!)] = value;
}

function warnOfUnknown(environment: Environment, warn: (problem: string) => void): void {
  const known = VARIABLES.map(variable => variable.name).concat(OTHER_VARIABLES);
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('UNDERSPAN_') || known.includes(name)) continue;
    const meant = nearest(name, known);
    warn(`${name} is not a variable of Underspan${meant === '' ? '' : ` (did you mean ${meant}?)`}`);
  }
}
