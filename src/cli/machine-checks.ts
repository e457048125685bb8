// What this machine allows, as lines of `underspan doctor`: each fact with what it costs when it is missing and what to
// do about it. In: /proc and /sys (below `root`, so that tests bring their own). Nothing is changed and nothing loaded.
import { readFileSync, readlinkSync } from 'node:fs';
import { exists } from '../exists.js';
import { type CapabilityName, type CapabilitySet, readCapabilities } from './capabilities.js';

export interface Check {
  readonly group: string;
  readonly name: string;
  /** `lost`: a feature is missing; `note`: worth knowing, nothing is lost. */
  readonly state: 'ok' | 'lost' | 'note';
  /** The agent cannot run without it. */
  readonly isRequired: boolean;
  readonly detail: string;
  /** What to do; '' if nothing. */
  readonly remedy: string;
}

export interface MachineOptions {
  /** Put before /proc and /sys; '' on a real machine. */
  readonly root: string;
  /** `uname -r`. */
  readonly release: string;
  readonly architecture: string;
  /** From the configuration; '' for the kernel's own. */
  readonly btf: string;
}

/** Numbers of the first namespaces of a running kernel (include/linux/proc_ns.h). */
const HOST_PID_NAMESPACE = 'pid:[4026531836]';
const HOST_USER_NAMESPACE = 'user:[4026531837]';

export function checkMachine(options: MachineOptions): Check[] {
  return [
    ...kernelChecks(options),
    ...capabilityChecks(options),
    ...namespaceChecks(options),
    ...settingChecks(options),
  ];
}

function kernelChecks({ root, release, architecture, btf }: MachineOptions): Check[] {
  const version = versionOf(release);
  const isTested = architecture === 'x64' || architecture === 'arm64';
  const btfFile = btf === '' ? `${root}/sys/kernel/btf/vmlinux` : btf;
  return [
    isAtLeast(version, 5, 8)
      ? check('kernel', 'version', release)
      : lost('kernel', 'version', `${release}: ring buffers need Linux 5.8`, 'Use a newer kernel.', true),
    isTested
      ? check('kernel', 'architecture', architecture)
      : lost('kernel', 'architecture', `${architecture} is not supported`, 'Use x64 or arm64.', true),
    exists(btfFile)
      ? check('kernel', 'BTF', btfFile)
      : lost(
          'kernel',
          'BTF',
          `${btfFile} is missing: probes cannot be fitted to this kernel`,
          'Use a kernel with CONFIG_DEBUG_INFO_BTF=y, or name a BTF file in kernel.btf (--btf FILE).',
          true,
        ),
    lockdownCheck(root),
  ];
}

function lockdownCheck(root: string): Check {
  const text = readText(`${root}/sys/kernel/security/lockdown`);
  const mode = text === null ? null : (/\[(\w+)\]/.exec(text)?.[1] ?? text.trim());
  if (mode === null) return note('kernel', 'lockdown', 'unknown (securityfs is not mounted): the probes will tell');
  if (mode !== 'confidentiality') return check('kernel', 'lockdown', mode);
  return lost(
    'kernel',
    'lockdown',
    'confidentiality: the kernel lets no probe read memory',
    'Boot with lockdown=integrity or none.',
    true,
  );
}

interface NeededCapability {
  readonly name: CapabilityName;
  readonly loss: string;
  /** Contains it. */
  readonly orElse: CapabilityName | null;
  readonly isRequired: boolean;
}

const NEEDED_CAPABILITIES: readonly NeededCapability[] = [
  { name: 'CAP_BPF', loss: 'no probe loads', orElse: 'CAP_SYS_ADMIN', isRequired: true },
  { name: 'CAP_PERFMON', loss: 'no probe may read memory', orElse: 'CAP_SYS_ADMIN', isRequired: true },
  {
    name: 'CAP_SYS_PTRACE',
    loss: 'services of other users are not named after their program or environment, and nothing is probed in their executables (TLS, event loops, goroutines, tasks)',
    orElse: null,
    isRequired: false,
  },
  {
    name: 'CAP_DAC_READ_SEARCH',
    loss: 'programs in private directories are not looked into: their TLS is not read, and their names are coarser',
    orElse: null,
    isRequired: false,
  },
];

function capabilityChecks({ root, release }: MachineOptions): Check[] {
  const capabilities = readCapabilities(root);
  const checks = NEEDED_CAPABILITIES.map(({ name, loss, orElse, isRequired }) => {
    if (capabilities.has(name)) return check('capabilities', name, 'effective');
    if (orElse !== null && capabilities.has(orElse)) return check('capabilities', name, `by ${orElse}`);
    return lost('capabilities', name, `missing: ${loss}`, `Run as root, or grant ${name}.`, isRequired);
  });
  return [
    ...checks,
    ...replacedFilesCheck(capabilities),
    ...paranoiaCheck(root, release, capabilities),
    memlockCheck(root, release, capabilities.has('CAP_SYS_RESOURCE')),
  ];
}

/** The kernel lets nobody else open files by what processes have mapped (discovery/mapped-files.ts). */
function replacedFilesCheck(capabilities: CapabilitySet): Check[] {
  const name = 'CAP_CHECKPOINT_RESTORE';
  if (capabilities.has(name) || capabilities.has('CAP_SYS_ADMIN')) return [];
  return [note('capabilities', name, 'missing: libraries that were replaced under a running process are not read')];
}

/** Debian's kernels go by this setting beyond what Linux does; from Linux 6.6 on, places in files are no perf events. */
function paranoiaCheck(root: string, release: string, capabilities: CapabilitySet): Check[] {
  const level = readParanoia(root);
  if (level <= PERF_FOR_ALL || capabilities.has('CAP_SYS_ADMIN') || isAtLeast(versionOf(release), 6, 6)) return [];
  const detail = `${level}: where the kernel is Debian's, only CAP_SYS_ADMIN may probe files then (TLS, event loops, tasks)`;
  const remedy = 'sysctl -w kernel.perf_event_paranoid=2, or grant CAP_SYS_ADMIN.';
  return [{ ...note('settings', 'perf_event_paranoid', detail), remedy }];
}

/** Linux itself has no level above. */
export const PERF_FOR_ALL = 2;

export function readParanoia(root = ''): number {
  return Number(sysctl(root, 'kernel/perf_event_paranoid') ?? 0);
}

/** Since 5.11 BPF memory is charged to the cgroup (kernel commit 3ac1f01b43b6); before, to RLIMIT_MEMLOCK. */
function memlockCheck(root: string, release: string, mayRaise: boolean): Check {
  if (isAtLeast(versionOf(release), 5, 11)) return check('capabilities', 'memlock', 'not used since Linux 5.11');
  const limit = /^Max locked memory\s+(\S+)/m.exec(readText(`${root}/proc/self/limits`) ?? '')?.[1] ?? 'unknown';
  if (mayRaise || limit === 'unlimited') return check('capabilities', 'memlock', mayRaise ? 'can be raised' : limit);
  const detail = `${limit} bytes: the rings and tables do not fit`;
  return lost('capabilities', 'memlock', detail, 'Grant CAP_SYS_RESOURCE, or run `ulimit -l unlimited` first.', true);
}

function namespaceChecks({ root }: MachineOptions): Check[] {
  const pid = readLink(`${root}/proc/self/ns/pid`);
  const user = readLink(`${root}/proc/self/ns/user`);
  return [
    pid === HOST_PID_NAMESPACE
      ? check('namespaces', 'pid', "the host's")
      : lost(
          'namespaces',
          'pid',
          `${pid}: processes outside this container have no name here, and pids differ`,
          'Run the container with the pid namespace of the host (docker run --pid=host, hostPID: true).',
          false,
        ),
    user === HOST_USER_NAMESPACE
      ? check('namespaces', 'user', "the host's")
      : lost(
          'namespaces',
          'user',
          `${user}: capabilities of a user namespace do not reach the kernel's probes`,
          'Run it outside of rootless containers and user namespaces.',
          true,
        ),
  ];
}

function settingChecks({ root }: MachineOptions): Check[] {
  const jit = sysctl(root, 'net/core/bpf_jit_enable');
  const unprivileged = sysctl(root, 'kernel/unprivileged_bpf_disabled');
  const stats = sysctl(root, 'kernel/bpf_stats_enabled');
  const hasTracefs = exists(`${root}/sys/kernel/tracing/events`);
  return [
    jit === '0'
      ? lost(
          'settings',
          'bpf_jit',
          'off: probes are interpreted and several times slower',
          'sysctl -w net.core.bpf_jit_enable=1',
          false,
        )
      : check('settings', 'bpf_jit', jit === null ? 'always on in this kernel' : 'on'),
    check('settings', 'unprivileged_bpf', unprivileged === '0' ? 'allowed (not used)' : 'disabled (not used)'),
    stats === '1'
      ? note('settings', 'bpf_stats', 'on: each probe run costs some 50 ns more (sysctl kernel.bpf_stats_enabled)')
      : check('settings', 'bpf_stats', 'off'),
    check('settings', 'tracefs', `${hasTracefs ? '' : 'not '}mounted (only the kprobe front end needs it)`),
    cgroupCheck(root),
  ];
}

function cgroupCheck(root: string): Check {
  const has = (file: string): boolean => exists(`${root}/sys/fs/cgroup/${file}`);
  if (has('cgroup.controllers')) return check('settings', 'cgroup', 'version 2');
  const version = has('unified/cgroup.controllers') || has('unified/cgroup.procs') ? 'hybrid' : 'version 1';
  return check('settings', 'cgroup', `${version} (container names still come from it)`);
}

function check(group: string, name: string, detail: string): Check {
  return { group, name, state: 'ok', isRequired: false, detail, remedy: '' };
}

function note(group: string, name: string, detail: string): Check {
  return { group, name, state: 'note', isRequired: false, detail, remedy: '' };
}

export function lost(group: string, name: string, detail: string, remedy: string, isRequired: boolean): Check {
  return { group, name, state: 'lost', isRequired, detail, remedy };
}

export function versionOf(release: string): readonly [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(release);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

export function isAtLeast(
  [major, minor]: readonly [number, number],
  wantedMajor: number,
  wantedMinor: number,
): boolean {
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** The file's text, or null where this kernel does not have it or does not show it. */
function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function sysctl(root: string, name: string): string | null {
  return readText(`${root}/proc/sys/${name}`)?.trim() ?? null;
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return 'unknown';
  }
}
