// From an executable file to the language of its program (`telemetry.sdk.language`): ELF sections that Go and Rust leave,
// and the libraries that it names (System V ABI, "Object Files" and "Dynamic Linking"); of Rust also what runs its tasks
// (`process.runtime.name`), by the names of source files that panics refer to, which stripping leaves. Scripted runtimes are known by
// their executable's name (runtimes.ts) and do not come here. Only little-endian 64-bit ELF; '' when it cannot be told.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

const HEADER_BYTES = 64;
const SECTION_BYTES = 64;
const SECTIONS_MAX = 512;
const NAMES_MAX = 64 * 1024;
const DYNAMIC_MAX = 16 * 1024;
const COMMENT_MAX = 4096;
const LIBRARY_MAX = 64;
const TEXTS_MAX = 16 << 20;
const PIECE_BYTES = 1 << 20;
const TEXT_MAX = 32;
const CACHE_MAX = 1024;
const DT_NEEDED = 1;

/** Libraries that carry a runtime within themselves, first match wins. */
const LIBRARIES: readonly (readonly [prefix: string, language: string])[] = [
  ['libpython', 'python'],
  ['libjli', 'java'],
  ['libjvm', 'java'],
  ['libnode', 'nodejs'],
  ['libruby', 'ruby'],
  ['libphp', 'php'],
  ['libcoreclr', 'dotnet'],
  ['libhostfxr', 'dotnet'],
  ['libmono', 'dotnet'],
  ['libswiftCore', 'swift'],
  ['libstdc++', 'cpp'],
  ['libc++', 'cpp'],
];

/** Rust's own library, however the program was built. */
const RUST_TEXTS: readonly string[] = ['/library/core/src/', '/library/std/src/', '/library/alloc/src/'];
/** Crates that run many tasks on few threads, first match wins. */
const RUST_RUNTIMES: readonly (readonly [text: string, name: string])[] = [
  ['/tokio-1.', 'tokio'],
  ['/tokio-0.', 'tokio'],
  ['/tokio/src/', 'tokio'],
  ['tokio-runtime-w', 'tokio'],
  ['tokio-rt-worker', 'tokio'],
  ['/async-executor-', 'async-executor'],
  ['/async-executor/src/', 'async-executor'],
  ['/async-std-', 'async-std'],
  ['/futures-executor-', 'futures'],
  ['/glommio-', 'glommio'],
  ['/monoio-', 'monoio'],
  ['/compio-', 'compio'],
  ['/may-0.', 'may'],
];

export interface ProgramKind {
  readonly language: string;
  /** Of Rust: what runs its tasks, '' if it is not known to have any. */
  readonly runtimeName: string;
}

const UNKNOWN: ProgramKind = { language: '', runtimeName: '' };

interface Section {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

export class LanguageDetector {
  /** By device, inode and change time: one look per executable file, not per process. */
  readonly #known = new Map<string, ProgramKind>();

  /** Language of an executable file. Never throws. */
  detect(path: string): ProgramKind {
    let file = -1;
    try {
      file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      const stat = fstatSync(file);
      if (!stat.isFile()) return UNKNOWN;
      const key = `${stat.dev}:${stat.ino}:${stat.mtimeMs}`;
      const known = this.#known.get(key);
      if (known !== undefined) return known;
      if (this.#known.size >= CACHE_MAX) this.#known.clear();
      const kind = kindOfElf(file);
      this.#known.set(key, kind);
      return kind;
    } catch {
      return UNKNOWN; // gone, refused or cut short: the language is optional and '' says "not known"
    } finally {
      if (file >= 0) closeSync(file);
    }
  }
}

function kindOfElf(file: number): ProgramKind {
  const sections = readSections(file);
  const language = languageOf(file, sections);
  const rodata = sections.get('.rodata');
  if (rodata === undefined || (language !== '' && language !== 'rust')) return { language, runtimeName: '' };
  if (language === '' && textIn(file, rodata, RUST_TEXTS) < 0) return UNKNOWN;
  const at = textIn(
    file,
    rodata,
    RUST_RUNTIMES.map(([text]) => text),
  );
  return { language: 'rust', runtimeName: RUST_RUNTIMES[at]?.[1] ?? '' };
}

function languageOf(file: number, sections: ReadonlyMap<string, Section>): string {
  if (sections.has('.go.buildinfo') || sections.has('.note.go.buildid')) return 'go';
  const comment = sections.get('.comment');
  if (
    comment !== undefined &&
    readAt(file, comment.offset, Math.min(comment.size, COMMENT_MAX)).includes('rustc version')
  ) {
    return 'rust';
  }
  const libraries = readLibraries(file, sections);
  return LIBRARIES.find(([prefix]) => libraries.some(library => library.startsWith(prefix)))?.[1] ?? '';
}

/** The first of the texts, in their order, that is in the section, as far as that is read; -1 if none is. */
function textIn(file: number, { offset, size }: Section, texts: readonly string[]): number {
  const bytes = Math.min(size, TEXTS_MAX);
  let first = texts.length;
  for (let at = 0; at < bytes && first > 0; at += PIECE_BYTES - TEXT_MAX) {
    const piece = readAt(file, offset + at, Math.min(PIECE_BYTES, bytes - at));
    for (let index = 0; index < first; index++) if (piece.includes(texts[index] as string, 0, 'latin1')) first = index;
  }
  return first < texts.length ? first : -1;
}

function readSections(file: number): ReadonlyMap<string, Section> {
  const sections = new Map<string, Section>();
  const header = readAt(file, 0, HEADER_BYTES);
  const isElf64 =
    header.length === HEADER_BYTES && header.readUInt32BE(0) === 0x7f454c46 && header.readUInt16BE(4) === 0x0201;
  if (!isElf64) return sections;
  const offset = offsetAt(header, 40);
  const count = header.readUInt16LE(60);
  const namesIndex = header.readUInt16LE(62);
  if (header.readUInt16LE(58) !== SECTION_BYTES || count > SECTIONS_MAX || namesIndex >= count) return sections;
  const table = readAt(file, offset, count * SECTION_BYTES);
  if (table.length < count * SECTION_BYTES) return sections;
  const namesAt = namesIndex * SECTION_BYTES;
  const names = readAt(file, offsetAt(table, namesAt + 24), Math.min(offsetAt(table, namesAt + 32), NAMES_MAX));
  for (let at = 0; at < table.length; at += SECTION_BYTES) {
    const name = stringAt(names, table.readUInt32LE(at));
    sections.set(name, { name, offset: offsetAt(table, at + 24), size: offsetAt(table, at + 32) });
  }
  return sections;
}

function readLibraries(file: number, sections: ReadonlyMap<string, Section>): string[] {
  const dynamic = sections.get('.dynamic');
  const strings = sections.get('.dynstr');
  if (dynamic === undefined || strings === undefined) return [];
  const entries = readAt(file, dynamic.offset, Math.min(dynamic.size, DYNAMIC_MAX));
  const libraries: string[] = [];
  for (let at = 0; at + 16 <= entries.length; at += 16) {
    const tag = offsetAt(entries, at);
    if (tag === 0) break;
    if (tag === DT_NEEDED)
      libraries.push(stringAt(readAt(file, strings.offset + offsetAt(entries, at + 8), LIBRARY_MAX), 0));
  }
  return libraries;
}

function readAt(file: number, offset: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  return buffer.subarray(0, readSync(file, buffer, 0, bytes, offset));
}

/** A 64-bit number; file offsets stay far below 2^53, and a wrong one reads nothing. */
function offsetAt(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at + 4) * 2 ** 32 + buffer.readUInt32LE(at);
}

function stringAt(buffer: Buffer, at: number): string {
  const end = buffer.indexOf(0, at);
  return buffer.toString('latin1', at, end < 0 ? buffer.length : end);
}
