// Functions of a Go program by the table that its runtime needs (.gopclntab), which stripping leaves in place. In: an
// executable and names. Out: file offsets and sizes. Layout of Go 1.18 and later (runtime/symtab.go: pcHeader, functab):
//
//   u32 magic | u16 0 | u8 minLC | u8 pointer size | u64 functions | u64 files | u64 text start (0 since Go 1.26)
//   u64 offsets of: function names | compilation units | file names | pc tables | functions
//   functions: { u32 entry - text start, u32 offset of { u32 entry, i32 name, ... } } each, then the end of the last
import type { Executable, FoundSymbol } from './executable.js';

const SECTIONS = ['.gopclntab', '.data.rel.ro.gopclntab'] as const;
/** Go 1.18, Go 1.20. */
const MAGICS: ReadonlySet<number> = new Set([0xfffffff0, 0xfffffff1]);
const HEADER_BYTES = 72;
/** runtime.moduledata: pcHeader first, `text` behind six slices and three words. */
const MODULE_TEXT_AT = 176;
const TABLE_MAX_BYTES = 256 << 20;
const FUNCTIONS_MAX = 4_000_000;

/** Is it a Go program? */
export function isGo(executable: Executable): boolean {
  return SECTIONS.some(name => executable.section(name) !== null);
}

export function goFunctions(executable: Executable, names: readonly string[]): Map<string, FoundSymbol> {
  const found = new Map<string, FoundSymbol>();
  const section = SECTIONS.map(name => executable.section(name)).find(one => one !== null);
  if (section === undefined || section === null || section.size > TABLE_MAX_BYTES) return found;
  const table = executable.read(section.offset, section.size);
  if (table.length < HEADER_BYTES || !MAGICS.has(table.readUInt32LE(0)) || table[7] !== 8) return found;
  const count = Math.min(word(table, 8), FUNCTIONS_MAX);
  const namesAt = word(table, 32);
  const functionsAt = word(table, 64);
  const wanted = placesOf(table.subarray(namesAt, word(table, 40)), names);
  if (wanted.size === 0) return found;
  const text = textStart(executable, table, section.address);
  for (let index = 0, at = functionsAt; index < count && at + 12 <= table.length; index++, at += 8) {
    const info = functionsAt + table.readUInt32LE(at + 4);
    const name = info + 8 <= table.length ? wanted.get(table.readInt32LE(info + 4)) : undefined;
    if (name === undefined) continue;
    const entry = table.readUInt32LE(at);
    const offset = executable.offsetOf(text + entry);
    if (executable.isCode(offset)) found.set(name, { name, offset, size: table.readUInt32LE(at + 8) - entry });
  }
  return found;
}

/** Offsets in the table of names. */
function placesOf(text: Buffer, names: readonly string[]): Map<number, string> {
  const places = new Map<number, string>();
  for (const name of names) {
    const at = text.indexOf(`\0${name}\0`, 0, 'latin1');
    if (at >= 0) places.set(at + 1, name);
  }
  return places;
}

/** The address that entries count from: said by the header, by the runtime's own description, else where code begins. */
function textStart(executable: Executable, table: Buffer, address: number): number {
  const said = word(table, 24);
  if (said !== 0) return said;
  const module = executable.section('.go.module');
  if (module !== null) {
    const bytes = executable.read(module.offset, MODULE_TEXT_AT + 8);
    if (bytes.length === MODULE_TEXT_AT + 8 && word(bytes, 0) === address) return word(bytes, MODULE_TEXT_AT);
  }
  return executable.section('.text')?.address ?? 0;
}

function word(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 4294967296;
}
