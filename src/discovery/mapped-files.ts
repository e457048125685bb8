// The files of which processes have mapped code, and what tells them apart. In: a process id, an open file. Out: files by the
// kernel's table of mappings, each with a handle that leads to it through other mount namespaces and when it has been deleted.
import { fstatSync, lstatSync, readFileSync, readlinkSync, statfsSync, statSync } from 'node:fs';

export interface MappedFile {
  /** Device and inode as the kernel's table says: a file may have several, see identityOf. */
  readonly key: string;
  readonly path: string;
  /** To open it by. */
  readonly handle: string;
}

const OVERLAYFS = 0x794c7630;

/** Files of which the process has mapped code, its program first; null if it is gone. */
export function mappedCode(pid: number): MappedFile[] | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/maps`, 'latin1');
  } catch {
    return null;
  }
  const files = new Map<string, MappedFile>();
  for (const line of text.split('\n')) {
    const match = /^0*([0-9a-f]+)-0*([0-9a-f]+) ..x. [0-9a-f]+ ([0-9a-f]+:[0-9a-f]+) (\d+) +(\/.*)$/.exec(line);
    if (match === null || match[4] === '0') continue;
    const key = `${match[3]}:${match[4]}`;
    if (files.has(key)) continue;
    files.set(key, { key, path: match[5] as string, handle: `/proc/${pid}/map_files/${match[1]}-${match[2]}` });
  }
  return [...files.values()];
}

/**
 * Two files with one identity are one inode to a probe. Containers of one image have a device each (overlayfs) and share the
 * files below: what they have in common is all else that the inode says.
 */
export function identityOf(descriptor: number): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(descriptor, { bigint: true });
  if (statfsSync(`/proc/self/fd/${descriptor}`).type !== OVERLAYFS) return `${dev}:${ino}`;
  return `overlay:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

/** When the file was changed last, or put into the place of another one of that inode; 0 if it cannot be reached. */
export function changedAt(handle: string): number {
  try {
    return statSync(handle).ctimeMs;
  } catch {
    return 0;
  }
}

export function isThere(handle: string): boolean {
  try {
    lstatSync(handle);
    return true;
  } catch {
    return false;
  }
}

/** Is it the program that the process runs, and not a library? */
export function isProgramOf(pid: number, file: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === file;
  } catch {
    return false;
  }
}
