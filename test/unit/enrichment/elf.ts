// The smallest ELF file (64 bit, little endian) with given sections, for tests: header, contents, names, section table.

export interface ElfSection {
  readonly name: string;
  readonly content: Buffer;
}

const HEADER_BYTES = 64;
const ENTRY_BYTES = 64;

/** `.dynamic` and `.dynstr` that name libraries. */
export function dynamicSections(libraries: readonly string[]): ElfSection[] {
  const strings = Buffer.from(`\0${libraries.map(library => `${library}\0`).join('')}`, 'latin1');
  const dynamic = Buffer.alloc((libraries.length + 1) * 16);
  libraries.forEach((library, index) => {
    dynamic.writeUInt32LE(1, index * 16);
    dynamic.writeUInt32LE(strings.indexOf(`\0${library}\0`) + 1, index * 16 + 8);
  });
  return [
    { name: '.dynstr', content: strings },
    { name: '.dynamic', content: dynamic },
  ];
}

export function buildElf(sections: readonly ElfSection[]): Buffer {
  const names = Buffer.from(`\0${[...sections.map(section => section.name), '.shstrtab'].join('\0')}\0`, 'latin1');
  const all = [{ name: '', content: Buffer.alloc(0) }, ...sections, { name: '.shstrtab', content: names }];
  const table = Buffer.alloc(all.length * ENTRY_BYTES);
  const contents: Buffer[] = [];
  let offset = HEADER_BYTES;
  all.forEach((section, index) => {
    const at = index * ENTRY_BYTES;
    table.writeUInt32LE(section.name === '' ? 0 : names.indexOf(`\0${section.name}\0`) + 1, at);
    table.writeUInt32LE(offset, at + 24);
    table.writeUInt32LE(section.content.length, at + 32);
    contents.push(section.content);
    offset += section.content.length;
  });
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('\x7fELF', 'latin1');
  header[4] = 2;
  header[5] = 1;
  header.writeUInt32LE(offset, 40);
  header.writeUInt16LE(ENTRY_BYTES, 58);
  header.writeUInt16LE(all.length, 60);
  header.writeUInt16LE(all.length - 1, 62);
  return Buffer.concat([header, ...contents, table]);
}
