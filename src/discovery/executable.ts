// The symbols of an ELF file, read by bounded positional reads: looked up through the GNU hash table, as the dynamic linker
// does (a few reads, however large the file), else found in a symbol table that is walked in pieces. In: a path. Out: file
// offsets of functions, the build id, sections. Hostile files give fewer symbols, never an exception or much memory.
// Layout: gabi "Object Files"; 64-bit little-endian files only, which is what the kernel side can observe.
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

export interface FoundSymbol {
  readonly name: string;
  /** In the file, where a probe goes. */
  readonly offset: number;
  /** Bytes of code, 0 if the file does not say. */
  readonly size: number;
}

export interface Section {
  readonly offset: number;
  readonly size: number;
  readonly address: number;
  readonly type: number;
  /** Index of the section with the names. */
  readonly link: number;
}

interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_NOTE = 4;
const PF_X = 1;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const DT_STRSZ = 10;
const DT_GNU_HASH = 0x6ffffef5;
const NT_GNU_BUILD_ID = 3;
const SYMBOL_BYTES = 24;
const STT_FUNC = 2;

/** What is no file shall not keep us. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
const HEADERS_MAX = 256;
const SECTIONS_MAX = 65535;
const DYNAMIC_MAX_BYTES = 16384;
const NOTES_MAX_BYTES = 65536;
const CHAIN_MAX = 4096;
const NAME_MAX_BYTES = 512;
/** Of a symbol table that is walked: 2 million symbols. */
const TABLE_MAX_BYTES = 48 << 20;
const NAMES_MAX_BYTES = 128 << 20;
const PIECE_BYTES = 1 << 20;
const NOTHING = Buffer.alloc(0);

export class Executable {
  readonly #fd: number;
  readonly #size: number;
  readonly #segments: readonly Segment[];
  readonly #header: Buffer;
  #sections: Map<string, Section> | null = null;
  #sectionList: readonly Section[] = [];

  /** A path that leads to the file while it is open, whatever becomes of the process and the name by which it was found. */
  get path(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  get descriptor(): number {
    return this.#fd;
  }

  private constructor(fd: number, size: number, header: Buffer, segments: readonly Segment[]) {
    this.#fd = fd;
    this.#size = size;
    this.#header = header;
    this.#segments = segments;
  }

  /** null if the file cannot be read or is no 64-bit little-endian ELF file. */
  static open(path: string): Executable | null {
    let fd: number;
    try {
      fd = openSync(path, OPEN_FLAGS);
    } catch {
      return null;
    }
    const executable = Executable.ofDescriptor(fd);
    if (executable === null) closeSync(fd);
    return executable;
  }

  /** Likewise of an open file, which stays open. */
  static ofDescriptor(fd: number): Executable | null {
    try {
      const { size } = fstatSync(fd);
      const header = readAt(fd, 0, 64);
      if (header.length === 64 && header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2 && header[5] === 1) {
        return new Executable(fd, size, header, readSegments(fd, header));
      }
    } catch {
      // Gone or no regular file: the same as one that cannot be opened.
    }
    return null;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Bytes at a file offset; fewer at the end of the file. */
  read(offset: number, length: number): Buffer {
    return readAt(this.#fd, offset, length);
  }

  /** File offset of an address, -1 if no segment has it. */
  offsetOf(address: number): number {
    for (const { type, offset, address: start, fileSize } of this.#segments) {
      if (type === PT_LOAD && address >= start && address - start < fileSize) return address - start + offset;
    }
    return -1;
  }

  /** Does a probe at this file offset lie in code? */
  isCode(offset: number): boolean {
    return this.#segments.some(
      segment =>
        segment.type === PT_LOAD &&
        (segment.flags & PF_X) !== 0 &&
        offset >= segment.offset &&
        offset - segment.offset < segment.fileSize,
    );
  }

  /** `NT_GNU_BUILD_ID` in hexadecimal, '' if there is none. */
  buildId(): string {
    for (const { type, offset, fileSize } of this.#segments) {
      if (type !== PT_NOTE) continue;
      const notes = this.read(offset, Math.min(fileSize, NOTES_MAX_BYTES));
      for (let at = 0; at + 12 <= notes.length; ) {
        const nameBytes = notes.readUInt32LE(at);
        const bytes = notes.readUInt32LE(at + 4);
        const from = at + 12 + padded(nameBytes);
        if (notes.readUInt32LE(at + 8) === NT_GNU_BUILD_ID && notes.toString('latin1', at + 12, at + 15) === 'GNU') {
          return notes.toString('hex', from, Math.min(from + bytes, from + 64));
        }
        at = from + padded(bytes);
      }
    }
    return '';
  }

  /** Functions that the file defines for others, by name. */
  dynamicSymbols(names: readonly string[]): Map<string, FoundSymbol> {
    const found = new Map<string, FoundSymbol>();
    const { dynamic, hash, symbols, strings } = this.#dynamicTables();
    if (symbols < 0 || strings < 0) return found;
    if (hash < 0) {
      const section = this.section('.dynsym');
      const table = section ?? { offset: symbols, size: 0, address: 0, type: 0, link: 0 };
      return this.#walk(table, { offset: strings, size: dynamic.get(DT_STRSZ) ?? 0 }, new Set(names));
    }
    const table = new HashTable(this, hash);
    for (const name of names) {
      const index = table.find(name, at => this.#nameIs(symbols, strings, at, name));
      const symbol = index < 0 ? null : this.#symbol(this.read(symbols + index * SYMBOL_BYTES, SYMBOL_BYTES), 0, name);
      if (symbol !== null) found.set(name, symbol);
    }
    return found;
  }

  /** The address of what the file defines for others, code or data, by its hash table; 0 if it does not. */
  dynamicAddress(name: string): number {
    const { hash, symbols, strings } = this.#dynamicTables();
    if (hash < 0 || symbols < 0 || strings < 0) return 0;
    const index = new HashTable(this, hash).find(name, at => this.#nameIs(symbols, strings, at, name));
    const symbol = index < 0 ? NOTHING : this.read(symbols + index * SYMBOL_BYTES, SYMBOL_BYTES);
    return symbol.length < SYMBOL_BYTES || symbol.readUInt16LE(6) === 0 ? 0 : word(symbol, 8);
  }

  /** Functions of the full symbol table, which stripped files do not have. */
  staticSymbols(names: ReadonlySet<string>): Map<string, FoundSymbol> {
    const table = this.section('.symtab');
    const strings = table === null ? undefined : this.#sectionList[table.link];
    return table === null || strings === undefined ? new Map() : this.#walk(table, strings, names);
  }

  /** The address of a name of the full symbol table, code or data; 0 if it is not there. */
  staticAddress(name: string): number {
    const table = this.section('.symtab');
    const strings = table === null ? undefined : this.#sectionList[table.link];
    if (table === null || strings === undefined) return 0;
    let address = 0;
    this.#walkEntries(table, this.#placesOf(strings, new Set([name])), (bytes, at) => {
      if (bytes.readUInt16LE(at + 6) !== 0) address = word(bytes, at + 8);
    });
    return address;
  }

  /**
   * Functions of the full symbol table whose names have one of `words` in them and are called something by `callIt` ('': not
   * wanted), by that name.
   */
  staticSymbolsWith(words: readonly string[], callIt: (name: string) => string): FoundSymbol[] {
    const table = this.section('.symtab');
    const strings = table === null ? undefined : this.#sectionList[table.link];
    if (table === null || strings === undefined) return [];
    const places = this.#placesWith(strings, words, callIt);
    const found: FoundSymbol[] = [];
    this.#walkPlaces(table, places, symbol => found.push(symbol));
    return found;
  }

  section(name: string): Section | null {
    this.#sections ??= this.#readSections();
    return this.#sections.get(name) ?? null;
  }

  /** Where the dynamic linker's tables lie in the file, -1: nowhere. */
  #dynamicTables(): { dynamic: Map<number, number>; hash: number; symbols: number; strings: number } {
    const dynamic = this.#dynamic();
    const place = (tag: number) => this.offsetOf(dynamic.get(tag) ?? -1);
    return { dynamic, hash: place(DT_GNU_HASH), symbols: place(DT_SYMTAB), strings: place(DT_STRTAB) };
  }

  #dynamic(): Map<number, number> {
    const entries = new Map<number, number>();
    const segment = this.#segments.find(({ type }) => type === PT_DYNAMIC);
    if (segment === undefined) return entries;
    const bytes = this.read(segment.offset, Math.min(segment.fileSize, DYNAMIC_MAX_BYTES));
    for (let at = 0; at + 16 <= bytes.length; at += 16) {
      const tag = word(bytes, at);
      if (tag === 0) break;
      entries.set(tag, word(bytes, at + 8));
    }
    return entries;
  }

  #nameIs(symbols: number, strings: number, index: number, name: string): boolean {
    const symbol = this.read(symbols + index * SYMBOL_BYTES, SYMBOL_BYTES);
    if (symbol.length < SYMBOL_BYTES) return false;
    const text = this.read(strings + symbol.readUInt32LE(0), name.length + 1);
    return (
      text.length === name.length + 1 && text[name.length] === 0 && text.toString('latin1', 0, name.length) === name
    );
  }

  #symbol(bytes: Buffer, at: number, name: string): FoundSymbol | null {
    if (bytes.length < at + SYMBOL_BYTES) return null;
    const isDefined = bytes.readUInt16LE(at + 6) !== 0;
    if (!isDefined || ((bytes[at + 4] as number) & 15) !== STT_FUNC) return null;
    const offset = this.offsetOf(word(bytes, at + 8));
    return this.isCode(offset) ? { name, offset, size: word(bytes, at + 16) } : null;
  }

  /** Goes through a whole table. A name is compared only if it lies where a wanted one was found in the string table. */
  #walk(
    table: { readonly offset: number; readonly size: number },
    strings: { readonly offset: number; readonly size: number },
    names: ReadonlySet<string>,
  ): Map<string, FoundSymbol> {
    const found = new Map<string, FoundSymbol>();
    this.#walkPlaces(table, this.#placesOf(strings, names), symbol => found.set(symbol.name, symbol));
    return found;
  }

  #walkPlaces(
    table: { readonly offset: number; readonly size: number },
    places: ReadonlyMap<number, string>,
    onFound: (symbol: FoundSymbol) => void,
  ): void {
    this.#walkEntries(table, places, (piece, at, name) => {
      const symbol = this.#symbol(piece, at, name);
      if (symbol !== null) onFound(symbol);
    });
  }

  #walkEntries(
    table: { readonly offset: number; readonly size: number },
    places: ReadonlyMap<number, string>,
    onFound: (piece: Buffer, at: number, name: string) => void,
  ): void {
    if (places.size === 0) return;
    const end = table.offset + Math.min(table.size, TABLE_MAX_BYTES);
    const pieceBytes = Math.floor(PIECE_BYTES / SYMBOL_BYTES) * SYMBOL_BYTES;
    for (let offset = table.offset; offset < end; offset += pieceBytes) {
      const piece = this.read(offset, Math.min(pieceBytes, end - offset));
      for (let at = 0; at + SYMBOL_BYTES <= piece.length; at += SYMBOL_BYTES) {
        const name = places.get(piece.readUInt32LE(at));
        if (name !== undefined) onFound(piece, at, name);
      }
    }
  }

  /** Where in a string table names begin that have one of `words` in them, and what they are called. */
  #placesWith(
    strings: { readonly offset: number; readonly size: number },
    words: readonly string[],
    callIt: (name: string) => string,
  ): Map<number, string> {
    const places = new Map<number, string>();
    const end = Math.min(strings.size, NAMES_MAX_BYTES);
    for (let offset = 0; offset < end; offset += PIECE_BYTES - NAME_MAX_BYTES) {
      const piece = this.read(strings.offset + offset, Math.min(PIECE_BYTES, end - offset));
      if (piece.length === 0) break;
      for (const word of words) {
        for (let at = piece.indexOf(word, 0, 'latin1'); at >= 0; at = piece.indexOf(word, at + 1, 'latin1')) {
          const from = piece.lastIndexOf(0, at) + 1;
          const to = piece.indexOf(0, at);
          const isWhole = (from > 0 || offset === 0) && to >= 0 && to - from <= NAME_MAX_BYTES;
          const name = isWhole ? callIt(piece.toString('latin1', from, to)) : '';
          if (name !== '') places.set(offset + from, name);
        }
      }
    }
    return places;
  }

  /** Where in a string table the wanted names lie as whole strings or as ends of longer ones. */
  #placesOf(
    strings: { readonly offset: number; readonly size: number },
    names: ReadonlySet<string>,
  ): Map<number, string> {
    const places = new Map<number, string>();
    const end = Math.min(strings.size, NAMES_MAX_BYTES);
    for (let offset = 0; offset < end; offset += PIECE_BYTES - NAME_MAX_BYTES) {
      const piece = this.read(strings.offset + offset, Math.min(PIECE_BYTES, end - offset));
      if (piece.length === 0) break;
      for (const name of names) {
        const wanted = `${name}\0`;
        for (let at = piece.indexOf(wanted, 0, 'latin1'); at >= 0; at = piece.indexOf(wanted, at + 1, 'latin1')) {
          places.set(offset + at, name);
        }
      }
    }
    return places;
  }

  #readSections(): Map<string, Section> {
    const sections = new Map<string, Section>();
    const header = this.#header;
    const tableAt = word(header, 40);
    const entryBytes = header.readUInt16LE(58);
    const count = Math.min(header.readUInt16LE(60), SECTIONS_MAX);
    if (tableAt === 0 || entryBytes < 64 || tableAt >= this.#size) return sections;
    const table = this.read(tableAt, count * entryBytes);
    const list: Section[] = [];
    for (let at = 0; at + 64 <= table.length; at += entryBytes) {
      list.push({
        type: table.readUInt32LE(at + 4),
        address: word(table, at + 16),
        offset: word(table, at + 24),
        size: word(table, at + 32),
        link: table.readUInt32LE(at + 40),
      });
    }
    this.#sectionList = list;
    const names = list[header.readUInt16LE(62)];
    if (names === undefined) return sections;
    const text = this.read(names.offset, Math.min(names.size, PIECE_BYTES));
    for (const [index, section] of list.entries()) {
      const from = table.readUInt32LE(index * entryBytes);
      const end = text.indexOf(0, from);
      if (end >= 0) sections.set(text.toString('latin1', from, end), section);
    }
    return sections;
  }
}

/** The GNU hash table of a file (`DT_GNU_HASH`). */
class HashTable {
  readonly #file: Executable;
  readonly #buckets: number;
  readonly #firstSymbol: number;
  readonly #bloomWords: number;
  readonly #bloomShift: number;
  readonly #bloomAt: number;
  readonly #bucketsAt: number;
  readonly #chainsAt: number;

  constructor(file: Executable, offset: number) {
    const header = file.read(offset, 16);
    const isWhole = header.length === 16;
    this.#file = file;
    this.#buckets = isWhole ? header.readUInt32LE(0) : 0;
    this.#firstSymbol = isWhole ? header.readUInt32LE(4) : 0;
    this.#bloomWords = isWhole ? header.readUInt32LE(8) : 0;
    this.#bloomShift = isWhole ? header.readUInt32LE(12) : 0;
    this.#bloomAt = offset + 16;
    this.#bucketsAt = this.#bloomAt + this.#bloomWords * 8;
    this.#chainsAt = this.#bucketsAt + this.#buckets * 4;
  }

  /** Index of the symbol, -1 if there is none. `isIt` compares the name of a symbol whose hash fits. */
  find(name: string, isIt: (index: number) => boolean): number {
    if (this.#buckets === 0 || this.#bloomWords === 0) return -1;
    const hash = gnuHash(name);
    const bloom = this.#file.read(this.#bloomAt + (Math.floor(hash / 64) % this.#bloomWords) * 8, 8);
    if (bloom.length < 8 || !hasBit(bloom, hash % 64) || !hasBit(bloom, (hash >>> this.#bloomShift) % 64)) return -1;
    const bucket = this.#file.read(this.#bucketsAt + (hash % this.#buckets) * 4, 4);
    const first = bucket.length < 4 ? 0 : bucket.readUInt32LE(0);
    if (first < this.#firstSymbol) return -1;
    const chain = this.#file.read(this.#chainsAt + (first - this.#firstSymbol) * 4, CHAIN_MAX * 4);
    for (let at = 0; at + 4 <= chain.length; at += 4) {
      const value = chain.readUInt32LE(at);
      if ((value | 1) >>> 0 === (hash | 1) >>> 0 && isIt(first + at / 4)) return first + at / 4;
      if ((value & 1) === 1) break;
    }
    return -1;
  }
}

function gnuHash(name: string): number {
  let hash = 5381;
  for (let at = 0; at < name.length; at++) hash = (Math.imul(hash, 33) + name.charCodeAt(at)) >>> 0;
  return hash;
}

function hasBit(bytes: Buffer, bit: number): boolean {
  return (((bytes[bit >> 3] as number) >> (bit & 7)) & 1) === 1;
}

function readSegments(fd: number, header: Buffer): Segment[] {
  const entryBytes = header.readUInt16LE(54);
  const count = Math.min(header.readUInt16LE(56), HEADERS_MAX);
  if (entryBytes < 56) return [];
  const table = readAt(fd, word(header, 32), count * entryBytes);
  const segments: Segment[] = [];
  for (let at = 0; at + 56 <= table.length; at += entryBytes) {
    segments.push({
      type: table.readUInt32LE(at),
      flags: table.readUInt32LE(at + 4),
      offset: word(table, at + 8),
      address: word(table, at + 16),
      fileSize: word(table, at + 32),
    });
  }
  return segments;
}

function readAt(fd: number, offset: number, length: number): Buffer {
  if (!Number.isSafeInteger(offset) || offset < 0 || length <= 0) return NOTHING;
  const bytes = Buffer.allocUnsafe(length);
  const got = readSync(fd, bytes, 0, length, offset);
  return got === length ? bytes : bytes.subarray(0, got);
}

function word(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 4294967296;
}

function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}
