// Facts of this host that all its services share: name, machine id, architecture, users. Read once at the start, kept in a
// recording. In a container of the host's pid namespace the host's own files are reached through /proc/1/root.
// Semantic conventions: host.name, host.id, host.arch, os.type.
import { readFileSync } from 'node:fs';
import { arch, hostname } from 'node:os';

export interface HostFacts {
  /** `host.name`. */
  readonly name: string;
  /** `host.id`: machine-id(5), '' if there is none. */
  readonly id: string;
  /** Identity of this boot, '' unknown: keeps instance ids of two boots apart. */
  readonly bootId: string;
  /** `host.arch`. */
  readonly arch: string;
  /** Users by id, as passwd(5) has them; a list so that it survives JSON. */
  readonly users: readonly (readonly [uid: number, name: string])[];
}

export const NO_HOST: HostFacts = { name: '', id: '', bootId: '', arch: '', users: [] };

/** Node's names of architectures to those of the conventions, where they differ. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: 'x86', arm: 'arm32', ppc: 'ppc32' };
const USERS_MAX = 4096;

/** Reads the host's facts. What is missing stays ''. */
export function readHostFacts(proc = '/proc'): HostFacts {
  const root = `${proc}/1/root`;
  const id = firstText([`${root}/etc/machine-id`, '/etc/machine-id', '/var/lib/dbus/machine-id']);
  return {
    name: hostname(),
    id: /^[0-9a-f]{32}$/.test(id) ? id : '',
    bootId: firstText([`${proc}/sys/kernel/random/boot_id`]),
    arch: ARCHITECTURES[arch()] ?? arch(),
    users: parsePasswd(firstText([`${root}/etc/passwd`, '/etc/passwd'])),
  };
}

/** Users of a passwd(5) file; of two names for one id the first counts, as in getpwuid(3). */
export function parsePasswd(text: string): [uid: number, name: string][] {
  const users = new Map<number, string>();
  for (const line of text.split('\n', USERS_MAX)) {
    const [name, , uid] = line.split(':', 3);
    if (name && uid !== undefined && /^\d{1,10}$/.test(uid) && !users.has(Number(uid))) users.set(Number(uid), name);
  }
  return [...users];
}

const userMaps = new WeakMap<HostFacts, ReadonlyMap<number, string>>();

/** Name of a user on this host, '' unknown. */
export function userName(host: HostFacts, uid: number): string {
  let users = userMaps.get(host);
  if (users === undefined) {
    users = new Map(host.users);
    userMaps.set(host, users);
  }
  return users.get(uid) ?? '';
}

function firstText(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      return readFileSync(path, 'utf8').trim();
    } catch {
      // Not every host has every file: the next one is tried, and '' says that there was none.
    }
  }
  return '';
}
