// The files of which processes have mapped code, and what tells them apart. In: a process id, an open file. Out: files by the
// kernel's table of mappings, each with a handle that leads to it through other mount namespaces and when it has been deleted:
// a link in map_files, for which the kernel wants CAP_CHECKPOINT_RESTORE. Without it the handle is the path below the process'
// root, and a library that has been deleted, or replaced by an upgrade, cannot be reached.
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
} from 'node:fs';

export interface MappedFile {
  /** Device and inode as the kernel's table says: a file may have several, see identityOf. */
  readonly key: string;
  readonly path: string;
  /** To open it by. */
  readonly handle: string;
}

export interface MappedCode extends MappedFile {
  /** Where its first code lies, and which byte of the file that is. */
  readonly address: number;
  readonly offset: number;
}

const OVERLAYFS = 0x794c7630;

/** Files of which the process has mapped code, its program first; null if it is gone. */
export function mappedCode(pid: number): MappedCode[] | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/maps`, 'latin1');
  } catch {
    return null;
  }
  const files = new Map<string, MappedCode>();
  for (const line of text.split('\n')) {
    const match = /^0*([0-9a-f]+)-0*([0-9a-f]+) ..x. ([0-9a-f]+) ([0-9a-f]+:[0-9a-f]+) (\d+) +(\/.*)$/.exec(line);
    if (match === null || match[5] === '0') continue;
    const [, from, to, offset] = match as unknown as readonly [string, string, string, string];
    const key = `${match[4]}:${match[5]}`;
    if (files.has(key)) continue;
    const path = match[6] as string;
    const handle = handleOf(pid, `${from}-${to}`, path);
    files.set(key, { key, path, handle, address: Number.parseInt(from, 16), offset: Number.parseInt(offset, 16) });
  }
  return [...files.values()];
}

function handleOf(pid: number, mapping: string, path: string): string {
  if (mayFollowMappings()) return `/proc/${pid}/map_files/${mapping}`;
  return isProgramOf(pid, path) ? `/proc/${pid}/exe` : `/proc/${pid}/root${path}`;
}

let mayFollow: boolean | null = null;

/** Found by trying, once, on a mapping of this process. */
function mayFollowMappings(): boolean {
  mayFollow ??= canFollowOwn();
  return mayFollow;
}

function canFollowOwn(): boolean {
  const folder = '/proc/self/map_files';
  try {
    closeSync(openSync(`${folder}/${readdirSync(folder)[0]}`, 'r'));
    return true;
  } catch {
    return false;
  }
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

/** False if the process that mapped the file is gone, or no longer maps it. */
export function isThere(handle: string): boolean {
  return isEntry(handle) || (!handle.includes('/map_files/') && isEntry(handle.split('/', 3).join('/')));
}

function isEntry(file: string): boolean {
  try {
    lstatSync(file);
    return true;
  } catch {
    return false;
  }
}

export function hasThreads(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1;
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
