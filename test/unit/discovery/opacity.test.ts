// Which library it is that is not read: by the files of a process, and by what is left in an executable.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Executable } from '../../../src/discovery/executable.js';
import { opacityIn, opacityOfFile } from '../../../src/discovery/opacity.js';
import { temporaryDirectory } from '../../support/processes.js';

const HEADER = Buffer.alloc(64);
HEADER.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);

function executable(...parts: readonly (string | Buffer)[]): Executable {
  const file = path.join(temporaryDirectory('opacity'), 'program');
  writeFileSync(file, Buffer.concat([HEADER, ...parts.map(part => Buffer.from(part))]));
  const opened = Executable.open(file);
  assert.ok(opened);
  return opened;
}

test('libraries by the names of their files, also deleted ones', () => {
  for (const [file, reason, library] of [
    ['/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so', 'library_not_supported', 'java'],
    ['/usr/lib/x86_64-linux-gnu/libssl3.so', 'library_not_supported', 'nss'],
    ['/tmp/libnetty_tcnative_linux_x86_64123.so (deleted)', 'symbols_stripped', 'boringssl'],
  ] as const)
    assert.deepEqual(opacityOfFile(file), { reason, library });
  for (const file of ['/usr/lib/x86_64-linux-gnu/libssl.so.3', '/usr/lib/x86_64-linux-gnu/libc.so.6'])
    assert.equal(opacityOfFile(file), null);
});

test('libraries in an executable by the names of their sources, wherever they lie', () => {
  const far = Buffer.alloc((1 << 20) - 64 - 5);
  for (const [text, reason, library] of [
    ['index.crates.io-6f17d22bba15001f/rustls-0.23.31/src/conn.rs', 'symbols_stripped', 'rustls'],
    ['../ssl/ssl_lib.cc', 'symbols_stripped', 'boringssl'],
    ['ssl/ssl_lib.c\0', 'symbols_stripped', 'openssl'],
  ] as const) {
    assert.deepEqual(opacityIn(executable(text)), { reason, library });
    assert.deepEqual(opacityIn(executable(far, text)), { reason, library }, 'across two pieces');
  }
  assert.equal(opacityIn(executable('ssl/ssl_lib.h', far)), null);
});
