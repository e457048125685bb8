// HotSpot's marks are found by the notes of its library, whatever else is in them, and only those that the programs can read.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Executable } from '../../../src/discovery/executable.js';
import { JVM_SYMBOL, wakeUpPlaces } from '../../../src/discovery/java-threads.js';

const SYMBOLS = new Map([[JVM_SYMBOL, { name: JVM_SYMBOL, offset: 0x100, size: 1 }]]);
/** Code begins here, and lies so far from where it is in the file. */
const CODE = 0x400000;
const MOVED = 0x1000;

function note(name: string, at: number, given: string, { provider = 'hotspot', base = 0x9000, type = 3 } = {}): Buffer {
  const text = Buffer.from(`${provider}\0${name}\0${given}\0`, 'latin1');
  const bytes = Buffer.alloc(12 + 8 + ((24 + text.length + 3) & ~3));
  bytes.writeUInt32LE(8, 0);
  bytes.writeUInt32LE(24 + text.length, 4);
  bytes.writeUInt32LE(type, 8);
  bytes.write('stapsdt\0', 12, 'latin1');
  bytes.writeBigUInt64LE(BigInt(at), 20);
  bytes.writeBigUInt64LE(BigInt(base), 28);
  text.copy(bytes, 44);
  return bytes;
}

function library(notes: readonly Buffer[]): Executable {
  const bytes = Buffer.concat(notes);
  const sections = new Map([
    ['.note.stapsdt', { offset: 64, size: bytes.length, address: 0, type: 7, link: 0 }],
    ['.stapsdt.base', { offset: 0, size: 1, address: 0x9000, type: 1, link: 0 }],
  ]);
  return {
    section: (name: string) => sections.get(name) ?? null,
    read: (offset: number, length: number) => bytes.subarray(offset - 64, offset - 64 + length),
    offsetOf: (address: number) => address - MOVED,
    isCode: (offset: number) => offset >= CODE - MOVED,
  } as unknown as Executable;
}

/** As Debian's OpenJDK 17 has them. */
const DEBIAN = [
  note('gc__begin', CODE + 1, '1@$1'),
  note('thread__unpark', CODE + 2, '8@%rdi'),
  note('thread__park__begin', CODE + 3, '8@%r14 -4@%eax -8@%rbx'),
  note('thread__park__end', CODE + 4, '8@%r14'),
];

test('where threads wait and are woken, by programs for the registers that are read there', () => {
  assert.deepEqual(wakeUpPlaces(library(DEBIAN), SYMBOLS, 'x64'), [
    { program: 'java_park_end', offsets: [CODE - MOVED + 4], isReturn: false },
    { program: 'java_park_4', offsets: [CODE - MOVED + 3], isReturn: false },
    { program: 'java_unpark', offsets: [CODE - MOVED + 2], isReturn: false },
  ]);
});

test('a library that was moved after it was linked, and marks of others', () => {
  const moved = { base: 0x8000 };
  const places = wakeUpPlaces(
    library([
      note('thread__unpark', CODE, '8@%rdi', { provider: 'other' }),
      note('thread__unpark', CODE, '8@%rdi', { type: 4 }),
      note('thread__unpark', CODE, '8@%rdi', moved),
      note('thread__park__begin', CODE, '8@%rcx', moved),
      note('thread__park__begin', CODE + 8, '8@%r15', moved),
      note('thread__park__end', CODE, '8@-144(%rbp)', moved),
    ]),
    SYMBOLS,
    'x64',
  );
  const at = CODE - MOVED + 0x1000;
  assert.deepEqual(places, [
    { program: 'java_park_end', offsets: [at], isReturn: false },
    { program: 'java_park_1', offsets: [at], isReturn: false },
    { program: 'java_park_5', offsets: [at + 8], isReturn: false },
    { program: 'java_unpark', offsets: [at], isReturn: false },
  ]);
});

test('a library without marks, and one that keeps what they tell elsewhere, are not followed, and it is said why', () => {
  assert.equal(wakeUpPlaces(library(DEBIAN), new Map(), 'x64'), null, 'no HotSpot');
  for (let left = 1; left < DEBIAN.length; left++) {
    const some = library(DEBIAN.filter((_, at) => at !== left));
    assert.match(String(wakeUpPlaces(some, SYMBOLS, 'x64')), /without marks/);
  }
  const inMemory = [...DEBIAN.slice(0, 2), note('thread__park__begin', CODE, '8@-8(%rbp)'), ...DEBIAN.slice(3)];
  assert.match(String(wakeUpPlaces(library(inMemory), SYMBOLS, 'x64')), /not known/);
  assert.match(String(wakeUpPlaces(library(DEBIAN), SYMBOLS, 'arm64')), /not known/);
});

test('notes that are cut off, or nonsense, give fewer marks and no exception', () => {
  const whole = Buffer.concat(DEBIAN);
  for (let bytes = 0; bytes <= whole.length - 4; bytes++) {
    const places = wakeUpPlaces(library([whole.subarray(0, bytes)]), SYMBOLS, 'x64');
    assert.match(String(places), /without marks/, `${bytes} bytes`);
  }
  const nonsense = Buffer.alloc(400, 0xff);
  assert.match(String(wakeUpPlaces(library([nonsense]), SYMBOLS, 'x64')), /without marks/);
});
