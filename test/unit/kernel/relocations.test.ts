// What libbpf fits to the running kernel (CO-RE) are fields of the kernel's structures. A field of ours on the way to one,
// read within the same expression, would be looked for in the kernel too; the program is then refused, but only where
// the expression is not dead code.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { buildPath } from '../../../src/kernel/host.js';
import { sectionOf } from '../../support/bpf-code.js';

const TYPE_BYTES = 12;
/** Bytes behind a type of each kind: as many, and as many for each of its members (include/uapi/linux/btf.h). */
const TRAILERS: Readonly<Record<number, readonly [number, number]>> = {
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

/** Of relocations; the others are of whole types and of enumerators. */
const KINDS_OF_FIELDS = 6;

function textAt(strings: Buffer, at: number): string {
  return strings.toString('latin1', at, strings.indexOf(0, at));
}

/** Names of the types whose fields the object's relocations are of. */
function relocatedTypes(file: Buffer): Set<string> {
  const btf = sectionOf(file, '.BTF');
  const [headerBytes, typesAt, typesBytes, stringsAt] = [4, 8, 12, 16].map(at => btf.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  const types = btf.subarray(headerBytes + typesAt, headerBytes + typesAt + typesBytes);
  const strings = btf.subarray(headerBytes + stringsAt);
  const names = ['void'];
  for (let at = 0; at < types.length; ) {
    const info = types.readUInt32LE(at + 4);
    const [own, each] = TRAILERS[(info >> 24) & 0x1f] ?? [0, 0];
    names.push(textAt(strings, types.readUInt32LE(at)));
    at += TYPE_BYTES + own + each * (info & 0xffff);
  }
  const extension = sectionOf(file, '.BTF.ext');
  const from = extension.readUInt32LE(4) + extension.readUInt32LE(24);
  const end = from + extension.readUInt32LE(28);
  const recordBytes = extension.readUInt32LE(from);
  const found = new Set<string>();
  for (let at = from + 4; at < end; ) {
    const count = extension.readUInt32LE(at + 4);
    at += 8;
    for (let index = 0; index < count; index++, at += recordBytes)
      if (extension.readUInt32LE(at + 12) < KINDS_OF_FIELDS) found.add(names[extension.readUInt32LE(at + 4)] as string);
  }
  return found;
}

/** What is declared as the kernel's: struct names within preserve_access_index. */
function kernelTypes(): Set<string> {
  const names = new Set<string>();
  for (const file of readdirSync('bpf').filter(name => /\.[ch]$/.test(name))) {
    const text = readFileSync(`bpf/${file}`, 'utf8');
    for (const [, part] of text.matchAll(/attribute push\(__attribute__\(\(preserve_access_index(.*?)attribute pop/gs))
      for (const [, name] of (part as string).matchAll(/^(?:typedef )?(?:struct|union) (\w+) \{/gm))
        names.add(name as string);
  }
  return names;
}

test('only types of the kernel are looked for in the kernel', () => {
  const found = relocatedTypes(readFileSync(buildPath('underspan.bpf.o')));
  const declared = kernelTypes();
  assert.ok(found.has('tcp_sock') && declared.has('tcp_sock'), [...found].join(', '));
  assert.deepEqual(
    [...found].filter(name => !declared.has(name)),
    [],
  );
});
