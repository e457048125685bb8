// Pointers in a file's data, as they will be when it is loaded: in a file that is loaded anywhere they are made by relocations
// (`.rela.dyn`), else they lie there. In: an executable. Out: what an address points to, and where a pointer to an address lies.
import type { Executable, Section } from './executable.js';

const RELOCATION_BYTES = 24;
const RELOCATIONS_MAX_BYTES = 8 << 20;
/** R_X86_64_RELATIVE, R_AARCH64_RELATIVE: the addend is the address. */
const RELATIVE: ReadonlySet<number> = new Set([8, 1027]);
const DATA_SECTIONS = ['.data', '.data.rel.ro'] as const;
const DATA_MAX_BYTES = 32 << 20;
const TEXT_SECTION = '.rodata';
const TEXT_MAX_BYTES = 32 << 20;
/** Of a string, and of pointers to it: more are not those of a table of methods. */
const PLACES_MAX = 16;
const TAILS_MAX = 64;

export class Pointers {
  readonly #executable: Executable;
  /** Of relocations: the address by the place, in the file's addresses. */
  readonly #targets = new Map<number, number>();

  constructor(executable: Executable) {
    this.#executable = executable;
    const section = executable.section('.rela.dyn');
    if (section === null) return;
    const table = executable.read(section.offset, Math.min(section.size, RELOCATIONS_MAX_BYTES));
    for (let at = 0; at + RELOCATION_BYTES <= table.length; at += RELOCATION_BYTES) {
      if (RELATIVE.has(table.readUInt32LE(at + 8))) this.#targets.set(word(table, at), word(table, at + 16));
    }
  }

  /** What the pointer at an address points to; 0: nothing. */
  at(address: number): number {
    const known = this.#targets.get(address);
    if (known !== undefined) return known;
    const bytes = this.#executable.read(this.#executable.offsetOf(address), 8);
    return bytes.length === 8 ? word(bytes, 0) : 0;
  }

  /** Where pointers to this string lie. Linkers may put a string into the end of another one: `isTail`. */
  toText(text: string, isTail = false): number[] {
    const strings = this.#places(text, isTail);
    if (strings.size === 0) return [];
    return this.#to(strings);
  }

  /** Where pointers to this address lie. */
  toAddress(address: number): number[] {
    return this.#to(new Set([address]));
  }

  #to(addresses: ReadonlySet<number>): number[] {
    const found = [...this.#targets].filter(([, target]) => addresses.has(target)).map(([place]) => place);
    for (const name of DATA_SECTIONS) {
      const section = this.#executable.section(name);
      if (section === null) continue;
      for (const address of addresses) found.push(...this.#pointersIn(section, address));
    }
    return found.slice(0, PLACES_MAX);
  }

  /** Addresses of a whole string, or also of those that end with it. */
  #places(text: string, isTail: boolean): Set<number> {
    const places = new Set<number>();
    const section = this.#executable.section(TEXT_SECTION);
    if (section === null) return places;
    const bytes = this.#executable.read(section.offset, Math.min(section.size, TEXT_MAX_BYTES));
    const before = isTail ? '' : '\0';
    const wanted = Buffer.from(`${before}${text}\0`, 'latin1');
    const most = isTail ? TAILS_MAX : PLACES_MAX;
    for (let at = bytes.indexOf(wanted); at >= 0 && places.size < most; at = bytes.indexOf(wanted, at + 1)) {
      places.add(section.address + at + before.length);
    }
    return places;
  }

  #pointersIn(section: Section, target: number): number[] {
    const found: number[] = [];
    const bytes = this.#executable.read(section.offset, Math.min(section.size, DATA_MAX_BYTES));
    const wanted = Buffer.alloc(8);
    wanted.writeBigUInt64LE(BigInt(target));
    for (let at = bytes.indexOf(wanted); at >= 0 && found.length < PLACES_MAX; at = bytes.indexOf(wanted, at + 1)) {
      if (at % 8 === 0) found.push(section.address + at);
    }
    return found;
  }
}

function word(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 4294967296;
}
