// The reader of ELF files on real ones: this very Node.js, whose symbols are known to be there, and files that are damaged.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { Executable } from '../../../src/discovery/executable.js';

const NODE = process.execPath;
const directory = mkdtempSync(path.join(tmpdir(), 'underspan-executable-'));
after(() => rmSync(directory, { recursive: true }));

function fileOf(name: string, bytes: Uint8Array): string {
  const file = path.join(directory, name);
  writeFileSync(file, bytes);
  return file;
}

test('functions that a file defines are found by name, with places in its code', () => {
  const executable = Executable.open(NODE) as Executable;
  const found = executable.dynamicSymbols(['napi_create_function', 'no_such_function', 'napi_get_undefined']);
  assert.deepEqual([...found.keys()].sort(), ['napi_create_function', 'napi_get_undefined']);
  for (const { offset, size } of found.values()) {
    assert.ok(executable.isCode(offset) && executable.isCode(offset + size - 1));
    assert.ok(size > 0);
  }
  executable.close();
});

test('a function that a file only uses is not one that it has', () => {
  const executable = Executable.open(NODE) as Executable;
  assert.equal(executable.dynamicSymbols(['malloc', 'dlopen', 'pthread_create']).size, 0);
  executable.close();
});

test('the full symbol table has what the dynamic one has', () => {
  const executable = Executable.open(NODE) as Executable;
  const names = ['napi_create_function'];
  const [dynamic] = executable.dynamicSymbols(names).values();
  const [full] = executable.staticSymbols(new Set(names)).values();
  if (executable.section('.symtab') === null) assert.equal(full, undefined);
  else assert.deepEqual(full, dynamic);
  executable.close();
});

test('what is no ELF file, or not there, is null', () => {
  assert.equal(Executable.open(path.join(directory, 'nothing')), null);
  assert.equal(Executable.open(fileOf('text', Buffer.from('#!/bin/sh\n'.repeat(20)))), null);
  assert.equal(Executable.open(fileOf('empty', Buffer.alloc(0))), null);
  assert.equal(Executable.open(directory), null);
});

test('a damaged file gives fewer symbols, and no exception', () => {
  const whole = readFileSync(NODE).subarray(0, 4 << 20);
  const names = ['napi_create_function', 'SSL_read'];
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % below;
  };
  for (let round = 0; round < 60; round++) {
    const bytes = Buffer.from(whole.subarray(0, round % 3 === 0 ? 64 + random(whole.length - 64) : whole.length));
    // Headers first: what is wrong there leads furthest astray.
    for (let change = 0; change < 8; change++) bytes[random(Math.min(bytes.length, 1024))] = random(256);
    const executable = Executable.open(fileOf('damaged', bytes));
    if (executable === null) continue;
    executable.buildId();
    for (const found of executable.dynamicSymbols(names).values()) assert.ok(executable.isCode(found.offset));
    for (const found of executable.staticSymbols(new Set(names)).values()) assert.ok(executable.isCode(found.offset));
    executable.close();
  }
});
