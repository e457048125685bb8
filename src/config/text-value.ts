// Values given as one line of text: environment variables and `--set`. Turns the text into the plain data that YAML
// would have given, for check.ts to judge. Lists are comma-separated, maps are `key=value` lists with percent-encoding
// (OpenTelemetry: "Specifying headers via environment variables"), selectors and the like are YAML flow text.
import { parse } from 'yaml';
import type { Field } from './field.js';

/** Plain data for the field; throws an Error that says what is wrong with the text. */
export function parseText(field: Field, text: string): unknown {
  switch (field.type) {
    case 'text':
      return text;
    case 'integer':
    case 'number':
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : text;
    case 'boolean':
      return parseBoolean(text);
    case 'choice':
      return sameLetters(field.choices, text.trim());
    case 'words':
      return splitList(text).map(word => (field.choices === undefined ? word : sameLetters(field.choices, word)));
    case 'ports':
      return splitList(text);
    case 'textmap':
      return parsePairs(text);
    case 'anymap':
    case 'list':
    case 'section':
      return parse(text) as unknown;
  }
}

function parseBoolean(text: string): unknown {
  const word = text.trim().toLowerCase();
  if (word === 'true' || word === '1' || word === 'yes') return true;
  if (word === 'false' || word === '0' || word === 'no') return false;
  return text;
}

/** Enumerations in variables are case-insensitive (OpenTelemetry environment variable specification). */
function sameLetters(choices: readonly string[], word: string): string {
  return choices.find(choice => choice.toLowerCase() === word.toLowerCase()) ?? word;
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map(word => word.trim())
    .filter(word => word !== '');
}

function parsePairs(text: string): Record<string, string> {
  const pairs: [string, string][] = [];
  for (const pair of splitList(text)) {
    const equals = pair.indexOf('=');
    const name = equals < 1 ? '' : decode(pair.slice(0, equals).trim());
    if (name === '') throw new Error('expected name=value pairs, separated by commas');
    pairs.push([name, decode(pair.slice(equals + 1).trim())]);
  }
  return Object.fromEntries(pairs);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('has a % that is not percent-encoding');
  }
}
