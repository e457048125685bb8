import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { LanguageDetector, type ProgramKind } from '../../../src/enrichment/language.js';
import { buildElf, dynamicSections, type ElfSection } from './elf.js';

function detect(context: TestContext, content: Buffer): ProgramKind {
  const directory = mkdtempSync(join(tmpdir(), 'underspan-elf-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'program');
  writeFileSync(path, content);
  return new LanguageDetector().detect(path);
}

const empty = Buffer.alloc(8);
const CASES: readonly (readonly [what: string, sections: readonly ElfSection[], language: string])[] = [
  ['a Go binary', [{ name: '.go.buildinfo', content: empty }], 'go'],
  ['a Go binary without build information', [{ name: '.note.go.buildid', content: empty }], 'go'],
  ['a Rust binary', [{ name: '.comment', content: Buffer.from('GCC: 12\0rustc version 1.80.0\0') }], 'rust'],
  ['a C++ binary', dynamicSections(['libc.so.6', 'libstdc++.so.6']), 'cpp'],
  ['a program that embeds Python', dynamicSections(['libpython3.11.so.1.0', 'libstdc++.so.6']), 'python'],
  ['a Java launcher of another name', dynamicSections(['libjli.so']), 'java'],
  ['a C binary', [{ name: '.comment', content: Buffer.from('GCC: 12\0') }, ...dynamicSections(['libc.so.6'])], ''],
];

for (const [what, sections, language] of CASES) {
  test(`${what} is ${language || 'of no known language'}`, context => {
    assert.equal(detect(context, buildElf(sections)).language, language);
  });
}

const RUST_PANIC = Buffer.from('\0/rustc/59807616/library/core/src/fmt/num.rs\0');
const TOKIO_PANIC = Buffer.from('\0/root/.cargo/registry/src/index/tokio-1.54.1/src/runtime/park.rs\0');
const COMMENT: ElfSection = { name: '.comment', content: Buffer.from('rustc version 1.80.0\0') };
const far = Buffer.concat([Buffer.alloc((1 << 20) - 20), TOKIO_PANIC]);
const RUST_CASES: readonly (readonly [what: string, sections: readonly ElfSection[], kind: ProgramKind])[] = [
  ['Rust on threads', [COMMENT, { name: '.rodata', content: RUST_PANIC }], { language: 'rust', runtimeName: '' }],
  ['Rust on tokio', [COMMENT, { name: '.rodata', content: TOKIO_PANIC }], { language: 'rust', runtimeName: 'tokio' }],
  [
    'stripped Rust on tokio',
    [{ name: '.rodata', content: Buffer.concat([RUST_PANIC, TOKIO_PANIC]) }],
    { language: 'rust', runtimeName: 'tokio' },
  ],
  ['a text across two reads', [COMMENT, { name: '.rodata', content: far }], { language: 'rust', runtimeName: 'tokio' }],
  ['C that names tokio', [{ name: '.rodata', content: TOKIO_PANIC }], { language: '', runtimeName: '' }],
  [
    'C++ with some Rust in it',
    [...dynamicSections(['libstdc++.so.6']), { name: '.rodata', content: Buffer.concat([RUST_PANIC, TOKIO_PANIC]) }],
    { language: 'cpp', runtimeName: '' },
  ],
];

for (const [what, sections, kind] of RUST_CASES) {
  test(`what runs the tasks of a program in Rust: ${what}`, context => {
    assert.deepEqual(detect(context, buildElf(sections)), kind);
  });
}

test('what is no ELF file, or not there, has no language', context => {
  assert.equal(detect(context, Buffer.from('#!/bin/sh\n')).language, '');
  assert.equal(detect(context, Buffer.alloc(0)).language, '');
  assert.equal(new LanguageDetector().detect('/nonexistent').language, '');
  assert.equal(new LanguageDetector().detect('/dev/null').language, '');
});

test('a damaged ELF file never throws and never takes more than a bounded read', context => {
  const sound = buildElf([...dynamicSections(['libstdc++.so.6']), { name: '.comment', content: Buffer.alloc(32) }]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 12 }),
      fc.nat(sound.length),
      (edits, cut) => {
        const damaged = Buffer.from(sound);
        for (const [at, value] of edits) damaged[at] = value;
        assert.equal(typeof detect(context, damaged.subarray(0, cut)).language, 'string');
      },
    ),
    { numRuns: 150 },
  );
});
