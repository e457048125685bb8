// Reads the types of an ELF object's .BTF section: structs with their members, enums with their values. Only what
// records.ts needs, little endian only (a BPF object is built for the machine it runs on; format: Linux
// Documentation/bpf/btf.rst).

export interface BtfMember {
  readonly name: string;
  readonly offset: number;
  readonly type: BtfType;
}

export type BtfType =
  | { readonly kind: 'int'; readonly name: string; readonly size: number; readonly isSigned: boolean }
  | { readonly kind: 'array'; readonly element: BtfType; readonly length: number }
  | { readonly kind: 'struct'; readonly name: string; readonly size: number; readonly members: readonly BtfMember[] }
  | { readonly kind: 'enum'; readonly name: string; readonly values: readonly (readonly [string, number])[] }
  | { readonly kind: 'other' };

interface RawType {
  readonly name: string;
  readonly kind: number;
  readonly count: number;
  readonly sizeOrType: number;
  /** Offset of what follows the common part. */
  readonly at: number;
}

const KIND_INT = 1;
const KIND_ARRAY = 3;
const KIND_STRUCT = 4;
const KIND_ENUM = 6;
const KIND_TYPEDEF = 8;
/** Bytes per element, or fixed bytes, behind the common part of each kind. */
const EXTRA: Readonly<Record<number, readonly [fixed: number, perElement: number]>> = {
  1: [4, 0],
  3: [12, 0],
  4: [0, 12],
  5: [0, 12],
  6: [0, 8],
  13: [0, 8],
  14: [4, 0],
  15: [0, 12],
  17: [4, 0],
  19: [0, 12],
};

/** The bytes of a named section of a 64-bit ELF file. Throws if there is none. */
export function elfSection(file: Buffer, wanted: string): Buffer {
  const table = Number(file.readBigUInt64LE(0x28));
  const entry = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  const at = (index: number) => table + index * entry;
  const data = (index: number) => {
    const start = Number(file.readBigUInt64LE(at(index) + 0x18));
    return file.subarray(start, start + Number(file.readBigUInt64LE(at(index) + 0x20)));
  };
  const names = data(file.readUInt16LE(0x3e));
  for (let index = 0; index < count; index++) {
    if (textAt(names, file.readUInt32LE(at(index))) === wanted) return data(index);
  }
  throw new Error(`no section ${wanted}`);
}

function textAt(strings: Buffer, offset: number): string {
  return strings.toString('latin1', offset, strings.indexOf(0, offset));
}

function rawTypes(btf: Buffer): RawType[] {
  const header = btf.readUInt32LE(4);
  const types = btf.subarray(header + btf.readUInt32LE(8), header + btf.readUInt32LE(8) + btf.readUInt32LE(12));
  const strings = btf.subarray(header + btf.readUInt32LE(16), header + btf.readUInt32LE(16) + btf.readUInt32LE(20));
  const base = header + btf.readUInt32LE(8);
  const out: RawType[] = [{ name: '', kind: 0, count: 0, sizeOrType: 0, at: 0 }];
  for (let at = 0; at < types.length; ) {
    const info = types.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 0x1f;
    const count = info & 0xffff;
    const [fixed, perElement] = EXTRA[kind] ?? [0, 0];
    const name = textAt(strings, types.readUInt32LE(at));
    out.push({ name, kind, count, sizeOrType: types.readUInt32LE(at + 8), at: base + at + 12 });
    at += 12 + fixed + perElement * count;
  }
  return out;
}

/** All named structs and enums of an object file, in the order of the file. */
export function readTypes(object: Buffer): BtfType[] {
  const btf = elfSection(object, '.BTF');
  const raw = rawTypes(btf);
  const strings = btf.readUInt32LE(4) + btf.readUInt32LE(16);
  const name = (at: number) => textAt(btf.subarray(strings), btf.readUInt32LE(at));
  const resolve = (id: number): BtfType => {
    const type = raw[id];
    if (!type) return { kind: 'other' };
    switch (type.kind) {
      case KIND_INT:
        return {
          kind: 'int',
          name: type.name,
          size: type.sizeOrType,
          isSigned: (btf.readUInt32LE(type.at) >>> 24) % 2 === 1,
        };
      case KIND_ARRAY:
        return { kind: 'array', element: resolve(btf.readUInt32LE(type.at)), length: btf.readUInt32LE(type.at + 8) };
      case KIND_STRUCT:
        return {
          kind: 'struct',
          name: type.name,
          size: type.sizeOrType,
          members: Array.from({ length: type.count }, (_, index) => ({
            name: name(type.at + index * 12),
            offset: btf.readUInt32LE(type.at + index * 12 + 8) / 8,
            type: resolve(btf.readUInt32LE(type.at + index * 12 + 4)),
          })),
        };
      case KIND_ENUM:
        return {
          kind: 'enum',
          name: type.name,
          values: Array.from(
            { length: type.count },
            (_, index) => [name(type.at + index * 8), btf.readInt32LE(type.at + index * 8 + 4)] as const,
          ),
        };
      case KIND_TYPEDEF:
        return resolve(type.sizeOrType);
      default:
        return { kind: 'other' };
    }
  };
  return raw
    .map((_, id) => resolve(id))
    .filter(type => (type.kind === 'struct' || type.kind === 'enum') && type.name !== '');
}
