// What is loaded into the kernel, in parts: the maps first, and by themselves, then programs in objects that share them. So a
// refused attempt costs no maps, and programs that few need can come later and aside (late-programs.ts).
import { readFileSync } from 'node:fs';
import { AgentError } from '../errors.js';
import { buildPath, type Host, type ObjectHandle } from './host.js';
import { PROBE_GROUPS } from './probes.js';

export interface ObjectOptions {
  readonly dataRingBytes: number;
  readonly controlRingBytes: number;
  readonly maxConnections: number;
  /** Of threads that are observed, a power of two; by default as many as there can be ids, within bounds. */
  readonly seats?: number;
  /** BTF file instead of the kernel's own, '' for the kernel's. */
  readonly btfPath: string;
  /** The agent's own process: never observed. */
  readonly agentPid: number;
}

/** What the programs may use of this kernel. */
export interface KernelAbilities {
  /** A file that the user names tells us of its types, and the kernel nothing. */
  readonly hasOwnBtf: boolean;
  readonly hasTypedReads: boolean;
  readonly hasMultiProbes: boolean;
  readonly hasCopies: boolean;
}

/** Attached to files, one by one. */
export const FOR_FILES: ReadonlySet<string> = new Set(
  PROBE_GROUPS.flatMap(({ ways }) => ways.flatMap(({ programs }) => programs))
    .filter(({ isForFiles }) => isForFiles === true)
    .map(({ name }) => name),
);
export const KERNEL_BTF = '/sys/kernel/btf/vmlinux';
/** Of bpf/capture.h. */
const LANES = 16;
const PID_MAX = '/proc/sys/kernel/pid_max';
/** A namespace of its own may have a smaller limit than the machine. */
const FEWEST_SEATS = 32_768;
const MOST_SEATS = 65_536;
/** An LRU map keeps entries by CPU, and lets go of some before it is full. */
const SESSIONS_TO_SPARE = 8192;
const NOTHING: readonly string[] = [];
/** The verifier's last words are followed by its figures. */
const VERDICT = /(.*)\nprocessed \d+ insns/;
const REFUSED = /prog '([^']+)': failed to load/g;

/** The maps and the constants, loaded, without a program. Throws AgentError. */
export function loadMaps(host: Host, options: ObjectOptions, abilities: KernelAbilities): ObjectHandle {
  const { hasOwnBtf, hasTypedReads, hasCopies } = abilities;
  const object = openWith(host, options.btfPath, NOTHING, hasOwnBtf);
  host.setConstant(object, 'agent_pid', options.agentPid);
  host.setConstant(object, 'tick_ns', host.tickNs());
  host.setConstant(object, 'has_rdonly_cast', hasTypedReads ? 1 : 0);
  host.setConstant(object, 'has_copies', hasCopies ? 1 : 0);
  host.setMapSize(object, 'data_ring', options.dataRingBytes);
  host.setMapSize(object, 'control_ring', options.controlRingBytes);
  host.setMapSize(object, 'capture_scratches', hasCopies ? LANES : LANES / 2);
  const seats = options.seats ?? seatsFor(readFileSync(PID_MAX, 'latin1'));
  host.setMapSize(object, 'threads', seats);
  host.setConstant(object, 'seat_mask', seats - 1);
  for (const map of ['connections', 'sockets', 'free_slots']) host.setMapSize(object, map, options.maxConnections);
  host.setMapSize(object, 'sessions', options.maxConnections + SESSIONS_TO_SPARE);
  try {
    host.load(object);
  } catch (error) {
    const log = host.log();
    host.close(object);
    throw loadError(error as NodeJS.ErrnoException, log, options.btfPath);
  }
  return object;
}

/** Of bpf/maps.h: where ids of threads end at `pidMax`. */
export function seatsFor(pidMax: string): number {
  return Number.parseInt(pidMax, 10) > FEWEST_SEATS ? MOST_SEATS : FEWEST_SEATS;
}

/** Of the programs only these, to be loaded over maps that are. */
export function openPrograms(
  host: Host,
  maps: ObjectHandle,
  btfPath: string,
  programs: readonly string[],
  { hasOwnBtf, hasMultiProbes }: KernelAbilities,
): ObjectHandle {
  const object = openWith(host, btfPath, programs, hasOwnBtf);
  host.share(object, maps);
  if (hasMultiProbes) for (const name of programs) if (FOR_FILES.has(name)) host.useMultiProbes(object, name);
  return object;
}

function openWith(host: Host, btfPath: string, programs: readonly string[], hasOwnBtf: boolean): ObjectHandle {
  const object = host.open(buildPath(hasOwnBtf ? 'underspan.bpf.o' : 'plain.bpf.o'), btfPath);
  const wanted = new Set(programs);
  for (const { name } of host.programs(object)) if (!wanted.has(name)) host.disable(object, name);
  return object;
}

/** Programs that the kernel would not load, by libbpf's log. */
export function refusedIn(log: string): string[] {
  return [...log.matchAll(REFUSED)].map(match => match[1] as string);
}

/** Its first line says why, in the verifier's words where it has said something. */
export function reasonFrom(error: Error, log: string): string {
  const verdict = VERDICT.exec(log)?.[1];
  return `${error.message}${verdict === undefined ? '' : `: ${verdict}`}\n${lastLines(log, 6)}`.trim();
}

export function loadError(error: NodeJS.ErrnoException, log: string, btfPath: string): AgentError {
  if (/failed to find valid kernel BTF|Error loading vmlinux BTF/i.test(log)) {
    return new AgentError('BTF_MISSING', { file: btfPath === '' ? KERNEL_BTF : btfPath });
  }
  return new AgentError('KERNEL_REFUSED', { what: 'the probes', reason: `${error.message}\n${lastLines(log, 12)}` });
}

function lastLines(log: string, count: number): string {
  return log.trim().split('\n').slice(-count).join('\n');
}
