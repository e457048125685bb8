// TLS libraries that are installed where a process runs, whether or not anybody has mapped them: probed beforehand, the first
// program that uses one is read from its first byte on. In: the root of a mount namespace. Out: paths, to be opened with
// care: what lies there may belong to somebody else. Found by the dynamic linker's cache (glibc) and in its usual folders
// (musl, which has no cache). Bounded: bytes of the cache, names in a folder, paths.
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { ProcReader } from '../enrichment/proc-reader.js';

/** What the libraries are called (tls-libraries.ts), and libcrypto, in which OpenSSL's buffers are. */
const LIBRARY = /^lib(ssl|crypto|gnutls)\.so(\.[.\d]+)?$/;
const CACHE = '/etc/ld.so.cache';
const CACHED = /\/[\x21-\x7e]*\/lib(?:ssl|crypto|gnutls)\.so[.\d]*/g;
const FOLDERS = ['/lib', '/usr/lib', '/usr/local/lib'] as const;
const NAMES_MAX = 65536;
const PATHS_MAX = 32;

/** Is a file of this name one of them? */
export function isLibraryName(path: string): boolean {
  return LIBRARY.test(path.slice(path.lastIndexOf('/') + 1));
}

/** '' if the process is gone. */
export function mountNamespaceOf(pid: number | 'self'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return '';
  }
}

/** As seen from here, links not followed. */
export function installedLibraries(root: string): string[] {
  const found = new Set<string>();
  const cache = new ProcReader().bytes(`${root}${CACHE}`)?.toString('latin1') ?? '';
  for (const [path] of cache.matchAll(CACHED)) found.add(path);
  for (const folder of FOLDERS) {
    for (const name of namesIn(`${root}${folder}`)) if (LIBRARY.test(name)) found.add(`${folder}/${name}`);
  }
  return [...found]
    .slice(0, PATHS_MAX)
    .map(path => `${root}${path}`)
    .filter(isFile);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).slice(0, NAMES_MAX);
  } catch {
    return [];
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
