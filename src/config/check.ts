// Checks a value against its description and turns it into what the code uses: keys in camel case, ports as ranges.
// In: plain data as YAML, a variable or a flag gave it. Out: only what was given, no defaults (layers.ts adds them).
// Everything wrong is reported, with what is allowed instead; a refused value is left out of the result.
import {
  camelCase,
  type Field,
  type Leaf,
  type ListField,
  type PortRange,
  type Section,
  type TextField,
  type WordsField,
} from './field.js';
import { nearest } from './nearest.js';

export type Path = readonly (string | number)[];
/** A section's checked value. */
export interface Tree {
  [key: string]: unknown;
}
/** `at` tells whether the key or the value is to blame. */
export type Report = (path: Path, message: string, at: 'key' | 'value') => void;

class Refusal {
  constructor(readonly message: string) {}
}

export function checkSection(section: Section, raw: unknown, path: Path, report: Report): Tree {
  const result: Tree = {};
  if (raw !== null && raw !== undefined && !isMapping(raw)) {
    report(path, `expected a mapping with ${listed(Object.keys(section.fields))}, got ${shown(raw)}`, 'value');
    return result;
  }
  const given = isMapping(raw) ? Object.keys(raw) : [];
  for (const key of given) {
    const field = Object.hasOwn(section.fields, key) ? section.fields[key] : undefined;
    if (field === undefined) {
      report([...path, key], unknownKey(section, key), 'key');
      continue;
    }
    const value = checkField(field, (raw as Tree)[key], [...path, key], report);
    if (value !== undefined) result[camelCase(key)] = value;
  }
  for (const key of section.required ?? []) {
    if (!given.includes(key)) report(path, `${key} is missing: ${section.fields[key]!.help}`, 'value');
  }
  if (section.isNeverEmpty === true && given.length === 0) {
    report(path, `needs at least one of ${listed(Object.keys(section.fields))}`, 'value');
  }
  return result;
}

/** The checked value, or undefined if it was refused (and reported) or not given (null). */
export function checkField(field: Field, raw: unknown, path: Path, report: Report): unknown {
  if (field.type === 'section') return checkSection(field, raw, path, report);
  if (raw === null || raw === undefined) return undefined;
  if (field.type === 'list') return checkList(field, raw, path, report);
  const value = checkLeaf(field, raw);
  if (!(value instanceof Refusal)) return value;
  report(path, value.message, 'value');
  return undefined;
}

function checkList(field: ListField, raw: unknown, path: Path, report: Report): unknown {
  if (!Array.isArray(raw)) {
    report(path, `expected a list, got ${shown(raw)}`, 'value');
    return undefined;
  }
  if (raw.length > field.max) {
    report(path, `has ${raw.length} entries, at most ${field.max} are allowed`, 'value');
    return undefined;
  }
  return raw.map((item, index) => checkSection(field.item, item, [...path, index], report));
}

function checkLeaf(field: Leaf, raw: unknown): unknown {
  switch (field.type) {
    case 'text':
      return checkText(field, raw);
    case 'integer':
    case 'number':
      return checkNumber(field, raw);
    case 'boolean':
      return typeof raw === 'boolean' ? raw : new Refusal(`expected true or false, got ${shown(raw)}`);
    case 'choice':
      return checkChoice(field.choices, raw);
    case 'words':
      return checkWords(field, raw);
    case 'ports':
      return checkPorts(raw);
    case 'textmap':
      return checkTextMap(raw, field.isSecret === true);
    case 'anymap':
      return isMapping(raw) ? raw : new Refusal(`expected a mapping, got ${shown(raw)}`);
  }
}

function checkText(field: TextField, raw: unknown): string | Refusal {
  if (typeof raw !== 'string') return new Refusal(`expected text (put it into quotes), got ${shown(raw)}`);
  if (raw === '' && field.default !== '') return new Refusal('must not be empty');
  if (field.format === 'regex') {
    try {
      new RegExp(raw);
    } catch (error) {
      return new Refusal(`not a regular expression: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  // OTLP over gRPC also takes host:port without a scheme (OpenTelemetry protocol exporter specification).
  if (field.format === 'url' && !isUrl(raw) && !/^[^\s/:]+:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$/.test(raw)) {
    return new Refusal(`expected a URL such as http://localhost:4317, got ${shown(raw)}`);
  }
  if (field.format === 'redis' && !isRedisUrl(raw)) {
    return new Refusal('expected a URL such as redis://localhost:6379 or rediss://user:password@redis.example:6380/0');
  }
  return raw;
}

function isRedisUrl(text: string): boolean {
  if (!/^rediss?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { hostname, pathname, username, password } = new URL(text);
  return hostname !== '' && /^(\/\d{0,6})?$/.test(pathname) && isPercentEncoded(username) && isPercentEncoded(password);
}

function isPercentEncoded(text: string): boolean {
  return !/%(?![0-9a-f]{2})/i.test(text);
}

function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

function checkNumber(field: Extract<Leaf, { type: 'integer' | 'number' }>, raw: unknown): number | Refusal {
  const isPowerOfTwo = field.type === 'integer' && field.isPowerOfTwo === true;
  const kind = isPowerOfTwo ? 'a power of two' : field.type === 'integer' ? 'a whole number' : 'a number';
  const allowed = `${kind} from ${field.min} to ${field.max}`;
  const isRight = typeof raw === 'number' && (field.type === 'number' || Number.isInteger(raw));
  if (!isRight || !(raw >= field.min && raw <= field.max) || (isPowerOfTwo && !Number.isInteger(Math.log2(raw)))) {
    return new Refusal(`expected ${allowed}, got ${shown(raw)}`);
  }
  return raw;
}

function checkChoice(choices: readonly string[], raw: unknown): string | Refusal {
  if (typeof raw === 'string' && choices.includes(raw)) return raw;
  return new Refusal(`expected ${listed(choices, 'or')}, got ${shown(raw)}${hint(String(raw), choices)}`);
}

function checkWords(field: WordsField, raw: unknown): readonly string[] | Refusal {
  if (!Array.isArray(raw)) return new Refusal(`expected a list, got ${shown(raw)}`);
  for (const word of raw) {
    const refusal = checkWord(field, word);
    if (refusal !== null) return refusal;
  }
  if (field.choices !== undefined && raw.length > 1 && raw.includes('none')) {
    return new Refusal('none cannot stand together with others');
  }
  return [...new Set(raw as string[])];
}

function checkWord(field: WordsField, word: unknown): Refusal | null {
  if (field.choices !== undefined) {
    const checked = checkChoice(field.choices, word);
    return checked instanceof Refusal ? checked : null;
  }
  if (typeof word !== 'string' || word === '') return new Refusal(`expected a list of texts, got ${shown(word)}`);
  if (field.pattern !== undefined && !new RegExp(field.pattern).test(word)) {
    return new Refusal(`expected ${field.patternHelp ?? field.pattern}, got ${shown(word)}`);
  }
  return null;
}

function checkPorts(raw: unknown): readonly PortRange[] | Refusal {
  const ranges: PortRange[] = [];
  const entries: readonly unknown[] = Array.isArray(raw) ? raw : [raw];
  for (const entry of entries) {
    const range = parsePorts(entry);
    if (range === null)
      return new Refusal(`expected a port (1 to 65535) or a range like '8000-8999', got ${shown(entry)}`);
    ranges.push(range);
  }
  return ranges.length > 0 ? ranges : new Refusal('expected at least one port');
}

function parsePorts(entry: unknown): PortRange | null {
  const match = /^(\d{1,5})(?:\s*-\s*(\d{1,5}))?$/.exec(String(entry).trim());
  if (match === null || (typeof entry !== 'number' && typeof entry !== 'string')) return null;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return first >= 1 && last >= first && last <= 65535 ? { first, last } : null;
}

function checkTextMap(raw: unknown, isSecret: boolean): Readonly<Record<string, string>> | Refusal {
  if (!isMapping(raw))
    return new Refusal(`expected a mapping of names to texts, got ${isSecret ? 'another' : shown(raw)}`);
  for (const [name, value] of Object.entries(raw)) {
    if (typeof value === 'string') continue;
    return new Refusal(`${name}: expected text (put it into quotes)${isSecret ? '' : `, got ${shown(value)}`}`);
  }
  return raw as Record<string, string>;
}

function isMapping(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unknownKey(section: Section, key: string): string {
  const keys = Object.keys(section.fields);
  return `unknown key ${shown(key)}${hint(key, keys)}; allowed here: ${keys.join(', ')}`;
}

function hint(word: string, candidates: readonly string[]): string {
  const meant = nearest(word, candidates);
  return meant === '' ? '' : ` (did you mean ${meant}?)`;
}

function listed(words: readonly string[], conjunction = 'and'): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} ${conjunction} ${words.at(-1)}`;
}

/** A value as a message shows it: one line, bounded. */
function shown(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
