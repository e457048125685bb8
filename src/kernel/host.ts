// The N-API addon (bpf/host/host.c) as TypeScript sees it. Every function throws an Error whose `code` is the errno
// number; log() then has libbpf's and the verifier's words.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** An opened BPF object; unloaded when closed or collected. */
export type ObjectHandle = { readonly brand: 'object' };
export type RingHandle = { readonly brand: 'ring' };

export interface ProgramInfo {
  readonly name: string;
  /** Its kind and target, e.g. kretprobe/inet_recvmsg. */
  readonly section: string;
  /** 0 when the program is not loaded. */
  readonly id: number;
  /** Run time and runs since statistics were switched on. */
  readonly runNs: number;
  readonly runs: number;
  /** Instructions after translation. */
  readonly instructions: number;
  /** Instructions that the verifier walked. */
  readonly verified: number;
  /** Runs that the kernel skipped (Linux 5.12). */
  readonly missed: number;
}

/** For mapMemory. */
export const WHOLE_MAP = 0xffffffff;

export interface Host {
  open(path: string, btfPath: string): ObjectHandle;
  /** Those of these functions that the kernel (or the BTF file) has; at most 256. */
  functions(btfPath: string, names: readonly string[]): string[];
  close(object: ObjectHandle): void;
  setConstant(object: ObjectHandle, name: string, value: number): void;
  setMapSize(object: ObjectHandle, map: string, entries: number): void;
  disable(object: ObjectHandle, program: string): void;
  /** Before the load: it uses the maps of `from`, which is loaded, in place of own ones. */
  share(object: ObjectHandle, from: ObjectHandle): void;
  load(object: ObjectHandle): void;
  /** In a thread of its own: until `isLoaded` the object can only be closed, which waits for the load to end. */
  loadAside(object: ObjectHandle): void;
  /** Throws what `load` would. */
  isLoaded(object: ObjectHandle): boolean;
  attach(object: ObjectHandle, program: string): void;
  /** To a trace event of this number. */
  attachEvent(object: ObjectHandle, program: string, id: number): void;
  /** Before the load: the program's places in files share links (Linux 6.6). */
  useMultiProbes(object: ObjectHandle, program: string): void;
  /** Probes at `offsets` of a file, in all processes that map it or in one (`pid` > 0). */
  attachUser(
    object: ObjectHandle,
    program: string,
    path: string,
    offsets: Float64Array,
    isReturn: boolean,
    pid: number,
  ): void;
  detachProgram(object: ObjectHandle, program: string): void;
  log(): string;
  /** So many bytes of an array, from a whole page on; or as many as there are. */
  mapMemory(object: ObjectHandle, map: string, from: number, bytes: number): ArrayBuffer;
  mapSet(object: ObjectHandle, map: string, key: Uint8Array, value: Uint8Array): void;
  /** Pushes the numbers below `count`, the lowest last. */
  fillStack(object: ObjectHandle, map: string, count: number): void;
  /** Was there such an entry? */
  mapDelete(object: ObjectHandle, map: string, key: Uint8Array): boolean;
  /** Of a per-CPU array's only value the 64-bit words from `from` on, `count` of each CPU. */
  mapByCpu(object: ObjectHandle, map: string, from: number, count: number): Float64Array;
  mapSum(object: ObjectHandle, map: string, out: Float64Array): void;
  ring(object: ObjectHandle, map: string): RingHandle;
  ringPosition(ring: RingHandle): number;
  ringTaken(ring: RingHandle): number;
  ringFill(ring: RingHandle): number;
  ringSpared(ring: RingHandle): number;
  ringRelieve(ring: RingHandle, most: number): number;
  ringSettle(ring: RingHandle): void;
  drain(ring: RingHandle, slab: Uint8Array, upTo: number, passesUnwritten: boolean): number;
  clock(out: Float64Array): void;
  tickNs(): number;
  enableStats(object: ObjectHandle): void;
  /** Of the whole process: what malloc holds unused. */
  releaseMemory(): void;
  /** Of all threads: only those of the mask stay. How many threads have kept more; -1 where it cannot be done. */
  dropCapabilities(low: number, high: number): number;
  programs(object: ObjectHandle): ProgramInfo[];
}

/** Path of a built artefact, from dist/src/kernel/. */
export function buildPath(name: string): string {
  return fileURLToPath(new URL(`../../../build/${name}`, import.meta.url));
}

let host: Host | null = null;

/** Loads the addon once per thread. Throws if it has not been built or libbpf is missing. */
export function loadHost(): Host {
  host ??= createRequire(import.meta.url)(buildPath('host.node')) as Host;
  return host;
}
