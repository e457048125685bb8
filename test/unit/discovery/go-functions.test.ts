// The table by which functions of Go programs are found, made by hand: whole, and damaged in every byte and in ways that
// would lead a reader astray. What is found lies in code; nothing throws, nothing is read for ever.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Executable } from '../../../src/discovery/executable.js';
import { CHANNEL_FUNCTIONS, goChannelPlaces } from '../../../src/discovery/go-channels.js';
import { goFunctions, isGo } from '../../../src/discovery/go-functions.js';
import { temporaryDirectory } from '../../support/processes.js';

const TEXT = { offset: 4096, address: 0x401000, bytes: 4096 };
const TABLE_AT = 8192;
const HEADER_BYTES = 72;
const NAMES = ['runtime.newproc1', 'crypto/tls.(*Conn).Read', 'crypto/tls.(*Conn).Write', 'main.main'] as const;
const WANTED = ['crypto/tls.(*Conn).Read', 'crypto/tls.(*Conn).Write'];
const FUNCTION_BYTES = 256;
const directory = temporaryDirectory('pclntab');
let files = 0;

/** Header, names, table of functions; see go-functions.ts. */
function pclntab(): Buffer {
  const names = Buffer.from(`\0${NAMES.join('\0')}\0`);
  const functionsAt = HEADER_BYTES + names.length + (-names.length & 7);
  const infosAt = 8 * NAMES.length + 8;
  const table = Buffer.alloc(functionsAt + infosAt + 8 * NAMES.length);
  table.writeUInt32LE(0xfffffff1, 0);
  table.set([0, 0, 1, 8], 4);
  const words = [NAMES.length, 0, TEXT.address, HEADER_BYTES, HEADER_BYTES + names.length, 0, 0, functionsAt];
  for (const [index, value] of words.entries()) table.writeBigUInt64LE(BigInt(value), 8 + 8 * index);
  names.copy(table, HEADER_BYTES);
  for (const [index, name] of NAMES.entries()) {
    const info = infosAt + 8 * index;
    table.writeUInt32LE(index * FUNCTION_BYTES, functionsAt + 8 * index);
    table.writeUInt32LE(info, functionsAt + 8 * index + 4);
    table.writeUInt32LE(index * FUNCTION_BYTES, functionsAt + info);
    table.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, functionsAt + info + 4);
  }
  table.writeUInt32LE(NAMES.length * FUNCTION_BYTES, functionsAt + 8 * NAMES.length);
  return table;
}

/** An ELF file with that table: one segment of code, sections .text, .gopclntab and their names. */
function elfWith(table: Buffer): string {
  const sectionNames = Buffer.from('\0.text\0.gopclntab\0.shstrtab\0');
  const namesAt = TABLE_AT + table.length;
  const sectionsAt = namesAt + sectionNames.length;
  const file = Buffer.alloc(sectionsAt + 4 * 64);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(62, 18);
  for (const [at, value] of [
    [32, 64],
    [40, sectionsAt],
  ] as const)
    file.writeBigUInt64LE(BigInt(value), at);
  for (const [at, value] of [
    [52, 64],
    [54, 56],
    [56, 1],
    [58, 64],
    [60, 4],
    [62, 3],
  ] as const)
    file.writeUInt16LE(value, at);
  file.writeUInt32LE(1, 64);
  file.writeUInt32LE(5, 68);
  const segment = [TEXT.offset, TEXT.address, TEXT.address, TEXT.bytes, TEXT.bytes, 4096];
  for (const [index, value] of segment.entries()) file.writeBigUInt64LE(BigInt(value), 72 + 8 * index);
  for (const [index, [name, address, offset, size]] of [
    ['.text', TEXT.address, TEXT.offset, TEXT.bytes],
    ['.gopclntab', 0x500000, TABLE_AT, table.length],
    ['.shstrtab', 0, namesAt, sectionNames.length],
  ].entries() as ArrayIterator<[number, [string, number, number, number]]>) {
    const at = sectionsAt + 64 * (index + 1);
    file.writeUInt32LE(sectionNames.indexOf(name), at);
    file.writeUInt32LE(name === '.shstrtab' ? 3 : 1, at + 4);
    for (const [place, value] of [
      [16, address],
      [24, offset],
      [32, size],
    ] as const)
      file.writeBigUInt64LE(BigInt(value), at + place);
  }
  file.fill(0xc3, TEXT.offset, TEXT.offset + TEXT.bytes);
  table.copy(file, TABLE_AT);
  sectionNames.copy(file, namesAt);
  const name = path.join(directory, `program-${files++ % 2}`);
  writeFileSync(name, file);
  return name;
}

function functionsOf(table: Buffer): Map<string, { readonly offset: number; readonly size: number }> {
  const executable = Executable.open(elfWith(table)) as Executable;
  try {
    assert.ok(isGo(executable));
    const found = goFunctions(executable, WANTED);
    for (const { name, offset } of found.values()) {
      assert.ok(WANTED.includes(name) && executable.isCode(offset), `${name} at ${offset}`);
    }
    return found;
  } finally {
    executable.close();
  }
}

test('channels are followed everywhere or not at all, and where it is known what lies where', () => {
  const executable = Executable.open(elfWith(pclntab())) as Executable;
  assert.equal(goChannelPlaces(executable, new Map(), 'x64'), 'runtime.typedmemmove was not found');
  assert.match(String(goChannelPlaces(executable, new Map(), 'arm64')), /x86-64 only/);
  const functions = new Map(
    CHANNEL_FUNCTIONS.map((name, at) => [name, { name, offset: TEXT.offset + 16 * at, size: 16 }] as const),
  );
  assert.match(String(goChannelPlaces(executable, functions, 'x64')), /cannot be walked to its calls/);
  executable.close();
});

test('functions by name, where they are and how long', () => {
  const found = functionsOf(pclntab());
  assert.deepEqual(
    WANTED.map(name => [found.get(name)?.offset, found.get(name)?.size]),
    [
      [TEXT.offset + FUNCTION_BYTES, FUNCTION_BYTES],
      [TEXT.offset + 2 * FUNCTION_BYTES, FUNCTION_BYTES],
    ],
  );
});

test('a table that is damaged in any one byte gives what it gives, in code, and no exception', () => {
  const whole = pclntab();
  let unharmed = 0;
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 0x7f, 0x80, 0xff]) {
      const damaged = Buffer.from(whole);
      damaged[at] = value;
      if (functionsOf(damaged).size === WANTED.length) unharmed++;
    }
  }
  assert.ok(unharmed > 0 && unharmed < 4 * whole.length, `${unharmed} of ${4 * whole.length}`);
});

for (const [what, damage] of [
  ['of another version', table => table.writeUInt32LE(0xfffffffb, 0)],
  ['of 32-bit pointers', table => table.writeUInt8(4, 7)],
  ['whose names lie behind its end', table => table.writeBigUInt64LE(1n << 40n, 32)],
  ['whose names end before they begin', table => table.writeBigUInt64LE(0n, 40)],
  ['whose functions lie behind its end', table => table.writeBigUInt64LE(1n << 62n, 64)],
  ['that begins its code where there is none', table => table.writeBigUInt64LE(0xffffffff00000000n, 24)],
] as const satisfies readonly (readonly [string, (table: Buffer) => unknown])[]) {
  test(`a table ${what}: nothing is found`, () => {
    const table = pclntab();
    damage(table);
    assert.equal(functionsOf(table).size, 0);
  });
}

test('a table that says it has more functions than there are, and one that was cut off', () => {
  const table = pclntab();
  table.writeBigUInt64LE(1n << 60n, 8);
  assert.equal(functionsOf(table).size, WANTED.length);
  for (let length = 1; length < table.length; length += 3) functionsOf(pclntab().subarray(0, length));
});
