// A BPF object file as its functions: their instructions, and which functions they call. What the verifiers of older
// kernels refuse can be found in them without such a kernel.

export const INSTRUCTION_BYTES = 8;
export const CALL = 0x85;

const SECTION_IS_CODE = 4;
const SECTION_SYMBOLS = 2;
const SECTION_RELOCATIONS = 9;
const SYMBOL_IS_FUNCTION = 2;
/** In the source register of a call: to a function of the same object. */
const CALLS_FUNCTION = 1;

export interface CodeFunction {
  readonly name: string;
  readonly code: Buffer;
  /** Functions of the object that it calls. */
  readonly calls: readonly string[];
}

interface Section {
  /** Where its name is, in the section of names. */
  readonly name: number;
  readonly type: number;
  readonly flags: number;
  readonly link: number;
  readonly info: number;
  readonly bytes: Buffer;
}

interface FunctionSymbol {
  readonly name: string;
  readonly section: number;
  readonly start: number;
  readonly end: number;
}

function sectionsOf(file: Buffer): Section[] {
  const at = Number(file.readBigUInt64LE(40));
  return Array.from({ length: file.readUInt16LE(60) }, (_, index) => {
    const header = at + index * 64;
    const offset = Number(file.readBigUInt64LE(header + 24));
    const size = Number(file.readBigUInt64LE(header + 32));
    const [name, type, flags, link, info] = [0, 4, 8, 40, 44].map(field => file.readUInt32LE(header + field)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    return { name, type, flags, link, info, bytes: file.subarray(offset, offset + size) };
  });
}

/** The bytes of a relocatable ELF file's section. */
export function sectionOf(file: Buffer, name: string): Buffer {
  const sections = sectionsOf(file);
  const names = sections[file.readUInt16LE(62)]?.bytes as Buffer;
  const found = sections.find(
    section => names.toString('latin1', section.name, names.indexOf(0, section.name)) === name,
  );
  if (found === undefined) throw new Error(`no section ${name}`);
  return found.bytes;
}

/** The functions of a relocatable ELF file, from its symbols. */
export function functionsOf(file: Buffer): CodeFunction[] {
  const sections = sectionsOf(file);
  const table = sections.find(({ type }) => type === SECTION_SYMBOLS);
  if (table === undefined) throw new Error('no symbols');
  const names = sections[table.link]?.bytes as Buffer;
  const symbols = Array.from({ length: table.bytes.length / 24 }, (_, index) => {
    const symbol = table.bytes.subarray(index * 24, index * 24 + 24);
    const nameAt = symbol.readUInt32LE(0);
    const start = Number(symbol.readBigUInt64LE(8));
    return {
      name: names.toString('latin1', nameAt, names.indexOf(0, nameAt)),
      isFunction: (symbol.readUInt8(4) & 0xf) === SYMBOL_IS_FUNCTION,
      section: symbol.readUInt16LE(6),
      start,
      end: start + Number(symbol.readBigUInt64LE(16)),
    };
  });
  const functions = symbols.filter(
    ({ isFunction, section }) => isFunction && ((sections[section]?.flags ?? 0) & SECTION_IS_CODE) !== 0,
  );
  /** By section and offset. */
  const relocations = new Map<string, (typeof symbols)[number]>();
  for (const { type, info, bytes } of sections) {
    if (type !== SECTION_RELOCATIONS) continue;
    for (let entry = 0; entry < bytes.length; entry += 16) {
      const symbol = symbols[bytes.readUInt32LE(entry + 12)];
      if (symbol !== undefined) relocations.set(`${info}:${bytes.readBigUInt64LE(entry)}`, symbol);
    }
  }
  return functions.map(({ name, section, start, end }) => {
    const code = sections[section]?.bytes.subarray(start, end) as Buffer;
    const calls = new Set<string>();
    for (let offset = 0; offset < code.length; offset += INSTRUCTION_BYTES) {
      if (code.readUInt8(offset) !== CALL || code.readUInt8(offset + 1) >> 4 !== CALLS_FUNCTION) continue;
      const distance = (code.readInt32LE(offset + 4) + 1) * INSTRUCTION_BYTES;
      const symbol = relocations.get(`${section}:${start + offset}`);
      const target = symbol?.isFunction
        ? symbol.name
        : functionAt(functions, symbol?.section ?? section, (symbol?.start ?? start + offset) + distance);
      // None: a function of the kernel.
      if (target !== undefined) calls.add(target);
    }
    return { name, code, calls: [...calls] };
  });
}

function functionAt(functions: readonly FunctionSymbol[], section: number, offset: number): string | undefined {
  return functions.find(symbol => symbol.section === section && symbol.start <= offset && offset < symbol.end)?.name;
}
