// Writes src/records/records.gen.ts from the BTF of event_anchor.o: a cursor class per struct that ends in `_event` or is
// a shared map value, a constant per enum value. With --check it only compares, so that a change of event.h without new
// readers fails the build. Usage: node records.js [--check] event_anchor.o records.gen.ts
import { readFileSync, writeFileSync } from 'node:fs';
import { type BtfType, readTypes } from './btf.js';

type Struct = Extract<BtfType, { kind: 'struct' }>;

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function pascal(name: string): string {
  const text = camel(name);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** One getter; 64-bit numbers are read as two halves into a double (times and byte counts stay below 2^53). */
function getter(path: string, offset: number, size: number, isSigned: boolean): string {
  const at = offset === 0 ? 'this.at' : `this.at + ${offset}`;
  const sign = isSigned ? 'Int' : 'Uint';
  if (size === 8) {
    return `  get ${path}(): number {\n    return this.view.getUint32(${at}, true) + this.view.getUint32(this.at + ${offset + 4}, true) * 4294967296;\n  }`;
  }
  const endian = size === 1 ? '' : ', true';
  return `  get ${path}(): number {\n    return this.view.get${sign}${size * 8}(${at}${endian});\n  }`;
}

function members(struct: Struct, prefix: string, base: number): string[] {
  const out: string[] = [];
  for (const { name, offset, type } of struct.members) {
    if (name.startsWith('reserved')) continue;
    const path = prefix === '' ? camel(name) : prefix + pascal(name);
    if (type.kind === 'int') out.push(getter(path, base + offset, type.size, type.isSigned));
    else if (type.kind === 'struct')
      out.push(...members(type, type.name === 'event_header' ? '' : path, base + offset));
    else if (type.kind === 'array')
      out.push(`  /** Offset of ${type.length} elements. */\n  readonly ${path}Offset = ${base + offset};`);
  }
  return out;
}

function cursor(struct: Struct): string {
  return [
    `/** struct ${struct.name} */`,
    `export class ${pascal(struct.name)}Cursor {`,
    `  static readonly SIZE = ${struct.size};`,
    '  view: DataView = EMPTY_VIEW;',
    '  at = 0;',
    '',
    '  seek(view: DataView, at: number): void {',
    '    this.view = view;',
    '    this.at = at;',
    '  }',
    '',
    members(struct, '', 0).join('\n\n'),
    '}',
  ].join('\n');
}

/** Field offsets, for the few places that write, or read halves. */
function offsets(struct: Struct): string {
  const fields = struct.members
    .filter(({ name }) => !name.startsWith('reserved'))
    .map(({ name, offset }) => `  ${camel(name)}: ${offset},`);
  return `export const ${struct.name.toUpperCase()}_OFFSETS = {\n${fields.join('\n')}\n} as const;`;
}

function constants(type: Extract<BtfType, { kind: 'enum' }>): string {
  const values = type.values.map(([name, value]) => `export const ${name} = ${value};`);
  const table = type.values.map(([name, value]) => `  ${value}: '${name.replace(/^[A-Z]+_/, '').toLowerCase()}',`);
  const names = `/** Names of enum ${type.name}, without prefix. */\nexport const ${type.name.toUpperCase()}_NAMES: Readonly<Record<number, string>> = {\n${table.join('\n')}\n};`;
  return `${values.join('\n')}\n${names}`;
}

/** Offset and size of each field by its name in C, as a recording states them (src/records/layout.ts). */
function places(struct: Struct, prefix = '', base = 0): string[] {
  return struct.members.flatMap(({ name, offset, type }) => {
    if (name.startsWith('reserved')) return [];
    if (type.kind === 'struct') return places(type, `${prefix}${name}.`, base + offset);
    const path = `${prefix}${name}`;
    return [`${path.includes('.') ? `'${path}'` : path}: [${base + offset}, ${sizeOf(type)}]`];
  });
}

function sizeOf(type: BtfType): number {
  if (type.kind === 'array') return type.length * sizeOf(type.element);
  if (type.kind === 'int' || type.kind === 'struct') return type.size;
  throw new Error(`a field of a record that is ${type.kind}`);
}

function layout(types: readonly BtfType[]): string {
  const kinds = types.find(type => type.kind === 'enum' && type.name === 'event_kind');
  if (kinds?.kind !== 'enum') throw new Error('no enum event_kind');
  const structs = kinds.values.map(([value, kind]) => {
    const name = `${value.replace('EVENT_', '').toLowerCase()}_event`;
    const struct = types.find(type => type.kind === 'struct' && type.name === name);
    if (struct?.kind !== 'struct') throw new Error(`${value} has no struct ${name}`);
    const fields = places(struct).map(place => `      ${place},\n`);
    return `  ${name}: {\n    kind: ${kind},\n    size: ${struct.size},\n    fields: {\n${fields.join('')}    },\n  },\n`;
  });
  return `/** Where the fields of the records lie: written into recordings. */\nexport const RECORD_LAYOUT = {\n${structs.join('')}} as const;\n`;
}

export function generate(object: Buffer): string {
  const parts = [
    '// Generated by bpf/codegen/records.ts from bpf/event.h. Do not edit: change event.h and run `make -C bpf records`.',
    'const EMPTY_VIEW = new DataView(new ArrayBuffer(0));',
  ];
  const writable = new Set([
    'connection',
    'settings',
    'progress_event',
    'connection_lost_event',
    'connection_closed_event',
    'event_header',
    'data_event',
  ]);
  const types = readTypes(object);
  for (const type of types) {
    if (type.kind === 'enum') parts.push(constants(type));
    if (type.kind !== 'struct') continue;
    parts.push(cursor(type));
    if (writable.has(type.name)) parts.push(offsets(type));
  }
  return `${parts.join('\n\n')}\n\n${layout(types)}`;
}

function main(argv: readonly string[]): number {
  const check = argv[0] === '--check';
  const [object, target] = check ? argv.slice(1) : argv;
  if (object === undefined || target === undefined) {
    console.error('usage: records.js [--check] event_anchor.o records.gen.ts');
    return 2;
  }
  const text = generate(readFileSync(object));
  if (!check) {
    writeFileSync(target, text);
    return 0;
  }
  if (readFileSync(target, 'utf8') === text) return 0;
  console.error(`${target} does not match bpf/event.h: run \`make -C bpf records\` and build again`);
  return 1;
}

process.exitCode = main(process.argv.slice(2));
