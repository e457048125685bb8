// Functions of a Go program by the table that its runtime needs (.gopclntab), which stripping leaves in place. In: an
// executable and names. Out: file offsets and sizes. Layout of Go 1.18 and later (runtime/symtab.go: pcHeader, functab):
//
//   u32 magic | u16 0 | u8 minLC | u8 pointer size | u64 functions | u64 files | u64 text start (0 since Go 1.26)
//   u64 offsets of: function names | compilation units | file names | pc tables | functions
//   functions: { u32 entry - text start, u32 offset of { u32 entry, i32 name, ... } } each, then the end of the last
import type { Executable, FoundSymbol, Section } from './executable.js';
import { type Architecture, callsOf, goEntryOf, returnsOf } from './instructions.js';

const SECTIONS = ['.gopclntab', '.data.rel.ro.gopclntab'] as const;
/** Go 1.18, Go 1.20. */
const MAGICS: ReadonlySet<number> = new Set([0xfffffff0, 0xfffffff1]);
const HEADER_BYTES = 72;
/** runtime.moduledata: pcHeader first, `text` behind six slices and three words. */
const MODULE_TEXT_AT = 176;
const TABLE_MAX_BYTES = 256 << 20;
const FUNCTIONS_MAX = 4_000_000;
const PIECE_BYTES = 1 << 20;
const NAME_MAX_BYTES = 512;
const READS_MIN = 64;
const NOTHING = Buffer.alloc(0);
const CODE_MAX_BYTES = 65536;

/** Places in a file by program. */
export type GoPlaces = ReadonlyMap<string, readonly number[]>;

/** Is it a Go program? */
export function isGo(executable: Executable): boolean {
  return SECTIONS.some(name => executable.section(name) !== null);
}

export function goFunctions(executable: Executable, names: readonly string[]): Map<string, FoundSymbol> {
  const found = new Map<string, FoundSymbol>();
  const section = SECTIONS.map(name => executable.section(name)).find(one => one !== null);
  if (section === undefined || section === null || section.size > TABLE_MAX_BYTES) return found;
  const header = executable.read(section.offset, HEADER_BYTES);
  if (header.length < HEADER_BYTES || !MAGICS.has(header.readUInt32LE(0)) || header[7] !== 8) return found;
  const wanted = placesOf(executable, section, { from: word(header, 32), to: word(header, 40) }, names);
  if (wanted.size === 0) return found;
  const count = Math.min(word(header, 8), FUNCTIONS_MAX);
  const functionsAt = word(header, 64);
  const text = textStart(executable, header, section.address);
  const table = new Window(executable, section);
  const infos = new Window(executable, section);
  for (let index = 0, at = functionsAt; index < count && found.size < wanted.size; index++, at += 8) {
    if (!table.has(at, 12)) break;
    const info = functionsAt + table.u32(at + 4);
    const name = infos.has(info, 8) ? wanted.get(infos.u32(info + 4)) : undefined;
    if (name === undefined) continue;
    const entry = table.u32(at);
    const offset = executable.offsetOf(text + entry);
    if (executable.isCode(offset)) found.set(name, { name, offset, size: table.u32(at + 8) - entry });
  }
  return found;
}

/** Where the function's entry is probed, as an offset into the file. */
export function entryIn(executable: Executable, symbol: FoundSymbol, architecture: Architecture): number {
  return symbol.offset + goEntryOf(codeOf(executable, symbol), architecture);
}

/** Where it returns; null if that cannot be told. */
export function returnsIn(executable: Executable, symbol: FoundSymbol, architecture: Architecture): number[] | null {
  const returns = returnsOf(codeOf(executable, symbol), architecture);
  return returns === null || returns.length === 0 ? null : returns.map(at => symbol.offset + at);
}

/** Where it calls another function of the program; null if that cannot be told. x86-64 only. */
export function callsIn(executable: Executable, symbol: FoundSymbol, callee: FoundSymbol): number[] | null {
  const calls = callsOf(codeOf(executable, symbol), callee.offset - symbol.offset);
  return calls === null ? null : calls.map(at => symbol.offset + at);
}

function codeOf(executable: Executable, { offset, size }: FoundSymbol): Buffer {
  return executable.read(offset, Math.min(size, CODE_MAX_BYTES));
}

/** A table that is read in pieces as it is walked, which the linker's order allows. */
class Window {
  readonly #executable: Executable;
  readonly #table: Section;
  #bytes: Buffer = NOTHING;
  #from = 0;
  /** A table in an order that no linker makes is not read for ever. */
  #readsLeft: number;

  constructor(executable: Executable, table: Section) {
    this.#executable = executable;
    this.#table = table;
    this.#readsLeft = READS_MIN + Math.ceil((2 * table.size) / PIECE_BYTES);
  }

  /** False: not in the table. */
  has(at: number, length: number): boolean {
    if (at >= this.#from && at + length <= this.#from + this.#bytes.length) return true;
    if (at + length > this.#table.size || --this.#readsLeft < 0) return false;
    this.#from = at;
    this.#bytes = this.#executable.read(this.#table.offset + at, Math.min(PIECE_BYTES, this.#table.size - at));
    return length <= this.#bytes.length;
  }

  u32(at: number): number {
    return this.#bytes.readUInt32LE(at - this.#from);
  }
}

/** Offsets in the table of names. */
function placesOf(
  executable: Executable,
  table: Section,
  { from, to }: { readonly from: number; readonly to: number },
  names: readonly string[],
): Map<number, string> {
  const places = new Map<number, string>();
  const end = Math.min(to, table.size);
  for (let piece = from; piece < end; piece += PIECE_BYTES - NAME_MAX_BYTES) {
    const text = executable.read(table.offset + piece, Math.min(PIECE_BYTES, end - piece));
    if (text.length === 0) break;
    for (const name of names) {
      const at = text.indexOf(`\0${name}\0`, 0, 'latin1');
      if (at >= 0) places.set(piece - from + at + 1, name);
    }
  }
  return places;
}

/** The address that entries count from: said by the header, by the runtime's own description, else where code begins. */
function textStart(executable: Executable, header: Buffer, address: number): number {
  const said = word(header, 24);
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
