import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { LanguageDetector } from '../../../src/enrichment/language.js';
import { buildElf, dynamicSections, type ElfSection } from './elf.js';

function detect(context: TestContext, content: Buffer): string {
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
    assert.equal(detect(context, buildElf(sections)), language);
  });
}

test('what is no ELF file, or not there, has no language', context => {
  assert.equal(detect(context, Buffer.from('#!/bin/sh\n')), '');
  assert.equal(detect(context, Buffer.alloc(0)), '');
  assert.equal(new LanguageDetector().detect('/nonexistent'), '');
  assert.equal(new LanguageDetector().detect('/dev/null'), '');
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
        assert.equal(typeof detect(context, damaged.subarray(0, cut)), 'string');
      },
    ),
    { numRuns: 150 },
  );
});
