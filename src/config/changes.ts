// What a reload cannot apply: the fields that differ between two configurations and need a restart.
import { isDeepStrictEqual } from 'node:util';
import type { Tree } from './check.js';
import { camelCase, type Section } from './field.js';
import { CONFIG_SCHEMA, type Config } from './schema.js';

/** Paths, as the file writes them, of the changed fields that are not marked `reloads`. */
export function changesThatNeedRestart(before: Config, after: Config): string[] {
  return changesIn(CONFIG_SCHEMA, before as unknown as Tree, after as unknown as Tree, '');
}

function changesIn(section: Section, before: Tree, after: Tree, prefix: string): string[] {
  return Object.entries(section.fields).flatMap(([name, field]) => {
    const key = camelCase(name);
    if (field.type === 'section') return changesIn(field, before[key] as Tree, after[key] as Tree, `${prefix}${name}.`);
    return field.reloads === true || isDeepStrictEqual(before[key], after[key]) ? [] : [`${prefix}${name}`];
  });
}
