// TLS libraries that are found before anybody uses them: by the dynamic linker's cache and in its folders, files only.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { installedLibraries, isLibraryName, mountNamespaceOf } from '../../../src/discovery/installed-libraries.js';
import { temporaryDirectory } from '../../support/processes.js';

function rootWith(files: readonly string[]): string {
  const root = temporaryDirectory('root');
  for (const file of files) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), 'x');
  }
  return root;
}

const found = (root: string) =>
  installedLibraries(root)
    .map(one => one.slice(root.length))
    .sort();

test('what the cache names, where it is there, and nothing else of it', () => {
  const root = rootWith(['/opt/tls/libssl.so.3', '/opt/tls/libgnutls.so.30', '/opt/tls/libz.so.1']);
  mkdirSync(path.join(root, 'etc'));
  const names = ['/opt/tls/libssl.so.3', '/opt/tls/libz.so.1', '/opt/tls/libgnutls.so.30', '/gone/libssl.so.1.1'];
  writeFileSync(path.join(root, 'etc/ld.so.cache'), `glibc-ld.so.cache1.1\0\x07${names.join('\0')}\0`);
  assert.deepEqual(found(root), ['/opt/tls/libgnutls.so.30', '/opt/tls/libssl.so.3']);
});

test('without a cache: what lies in the usual folders', () => {
  const root = rootWith(['/lib/libssl.so.3', '/usr/lib/libcrypto.so.3', '/usr/lib/libssl3.so', '/usr/lib/libc.so']);
  assert.deepEqual(found(root), ['/lib/libssl.so.3', '/usr/lib/libcrypto.so.3']);
});

test('what is no file is not opened, whatever it is called', () => {
  const root = rootWith(['/lib/other']);
  mkdirSync(path.join(root, 'lib/libssl.so.1'));
  symlinkSync('/dev/zero', path.join(root, 'lib/libssl.so.2'));
  assert.equal(spawnSync('mkfifo', [path.join(root, 'lib/libssl.so.3')]).status, 0);
  assert.deepEqual(found(root), []);
});

test('nothing is found in a place that is not there', () => {
  assert.deepEqual(installedLibraries('/proc/0/root'), []);
  assert.equal(mountNamespaceOf(2 ** 30), '');
  assert.match(mountNamespaceOf('self'), /^mnt:/);
});

test('names of libraries', () => {
  for (const name of ['/usr/lib/libssl.so.3', 'libcrypto.so', '/x/libgnutls.so.30.34.3'])
    assert.ok(isLibraryName(name));
  for (const name of ['/usr/lib/libssl3.so', '/x/libgnutlsxx.so.30', 'libssl.so.3.bak'])
    assert.ok(!isLibraryName(name));
});
