// Loads and attaches the kernel side: knobs in, rings and maps out. A way that the kernel refuses is left and the load
// repeated with the next (selection.ts), so that one refused feature costs that feature only. Closing detaches everything; if the agent is
// killed instead, the kernel does the same, because nothing is pinned.

import { AgentError } from '../errors.js';
import { exists } from '../exists.js';
import {
  CONNECTION_OFFSETS,
  CONNECTION_TLS,
  ConnectionCursor,
  LOSS_COUNT,
  LOSS_MISSED_RUNS,
  LOSS_REQUESTS_UNTOLD,
  ROLE_CLIENT,
  SETTINGS_OFFSETS,
  STAT_RUNS_REPEATED,
} from '../records/records.gen.js';
import { ConnectionMap } from './connection-map.js';
import { buildPath, type Host, loadHost, type ObjectHandle, type ProgramInfo, type RingHandle } from './host.js';
import { Kretprobes } from './kretprobes.js';
import { isPreempting, kernelWords, skippedRuns } from './preemption.js';
import { PROBE_GROUPS, type ProbeReport, type WayName } from './probes.js';
import { type KernelFacts, WaySelection } from './selection.js';

export interface KernelOptions {
  readonly dataRingBytes: number;
  readonly controlRingBytes: number;
  readonly maxConnections: number;
  /** Captured bytes of each run. */
  readonly headBytes: number;
  /** BTF file instead of the kernel's own, '' for the kernel's. */
  readonly btfPath: string;
  /** The agent's own process: never observed. */
  readonly agentPid: number;
  /** Only this way, for the groups that have it. */
  readonly way?: WayName | null;
  /** Only to see what the kernel takes: a required group that it refuses is in the reports, and no error. */
  readonly isTrial?: boolean;
  /** Measure the run time of programs (costs some tens of nanoseconds a run). */
  readonly stats?: boolean;
}

const FOLLOWED = new Uint8Array([1, 0, 0, 0]);
/** Stacks have no keys. */
const EMPTY_KEY = new Uint8Array(0);
const KERNEL_BTF = '/sys/kernel/btf/vmlinux';
/** Of bpf/capture.h. */
const LANES = 16;
/** Linux 6.2, see bpf/kernel_read.h. */
const TYPED_READ = 'bpf_rdonly_cast';
/** Linux 6.6, see host.c. */
const MULTI_PROBES = 'bpf_uprobe_multi_link_attach';
/** Either says that the kernel has kprobes. */
const KPROBE_FILES = ['/sys/bus/event_source/devices/kprobe/type', '/sys/kernel/tracing/kprobe_events'];
/** Attached to files, one by one. */
const FOR_FILES: ReadonlySet<string> = new Set(
  PROBE_GROUPS.flatMap(({ ways }) => ways.flatMap(({ programs }) => programs))
    .filter(({ isForFiles }) => isForFiles === true)
    .map(({ name }) => name),
);
/**
 * What tells that a socket is gone: attached before any process is selected. Of a connection that is followed sooner the end
 * may go unseen, and the next socket at its address is taken for it.
 */
const ENDS: ReadonlySet<string> = new Set(
  PROBE_GROUPS.filter(({ name }) => name === 'tcp states')
    .flatMap(({ ways }) => ways.flatMap(({ programs }) => programs))
    .map(({ name }) => name),
);
/** An LRU map keeps entries by CPU, and lets go of some before it is full. */
const SESSIONS_TO_SPARE = 8192;
/** In struct event_lost. */
const LOST_INGRESS = 4;
const LOST_EGRESS = 6;
const RETURN_PROBE = 'kretprobe/';
/** The verifier's last words are followed by its figures. */
const VERDICT = /(.*)\nprocessed \d+ insns/;
const REFUSED = /prog '([^']+)': failed to load/g;

function lastLines(log: string, count: number): string {
  return log.trim().split('\n').slice(-count).join('\n');
}

export class Kernel {
  readonly dataRing: RingHandle;
  readonly controlRing: RingHandle;
  readonly connections: ConnectionMap;
  readonly #host: Host;
  readonly #object: ObjectHandle;
  readonly #settings: Uint32Array;
  readonly #selection: WaySelection;
  readonly #isTrial: boolean;
  readonly #attached = new Set<string>();
  readonly #kretprobes = new Kretprobes();
  /** Kernel function by program. */
  readonly #returnProbes: ReadonlyMap<string, string>;
  #evicted: { readonly slot: number; readonly generation: number }[] = [];
  #reclaimable: { readonly slot: number; readonly generation: number }[] = [];
  /** Requests of evicted connections that no record has told of. */
  #untold = 0;
  readonly #key = new Uint8Array(4);
  readonly #keyView = new DataView(this.#key.buffer);
  readonly #socketKey = new Uint8Array(8);
  readonly #socketView = new DataView(this.#socketKey.buffer);
  readonly #value = new Uint8Array(8);
  readonly #valueView = new DataView(this.#value.buffer);

  private constructor(host: Host, object: ObjectHandle, selection: WaySelection, options: KernelOptions) {
    this.#host = host;
    this.#object = object;
    this.#selection = selection;
    this.#isTrial = options.isTrial === true;
    const returns = host.programs(object).filter(({ section }) => section.startsWith(RETURN_PROBE));
    this.#returnProbes = new Map(returns.map(({ name, section }) => [name, section.slice(RETURN_PROBE.length)]));
    this.dataRing = host.ring(object, 'data_ring');
    this.controlRing = host.ring(object, 'control_ring');
    this.connections = new ConnectionMap(options.maxConnections, bytes => host.mapMemory(object, 'connections', bytes));
    this.#settings = new Uint32Array(host.mapMemory(object, 'settings', 0));
    this.#settings[SETTINGS_OFFSETS.headBytes / 4] = options.headBytes;
    // Before Linux 5.12 no program can take the next number off a shared counter.
    host.fillStack(object, 'free_slots', options.maxConnections);
    if (options.stats === true) host.enableStats(object);
  }

  /**
   * Loads what this kernel takes, and attaches the programs to which there are alternatives (only that shows whether they
   * can be) and `ENDS`. No process is selected yet, so nothing is observed. Throws AgentError when nothing can work.
   */
  static load(options: KernelOptions): Kernel {
    const host = loadHost();
    const facts = factsOf(host, options.btfPath);
    const selection = new WaySelection(PROBE_GROUPS, options.way ?? null, facts);
    let hasTypedReads = facts.hasFunction(TYPED_READ);
    const hasMultiProbes = facts.hasFunction(MULTI_PROBES);
    for (;;) {
      const { blocked } = selection;
      if (blocked !== null && options.isTrial !== true) throw refusedError(blocked);
      const object = open(host, options, selection.programs(), {
        hasTypedReads,
        hasMultiProbes,
        hasCopies: facts.isPreempting,
      });
      try {
        host.load(object);
      } catch (error) {
        const log = host.log();
        host.close(object);
        const names = [...log.matchAll(REFUSED)].map(match => match[1] as string);
        if (names.length === 0) throw loadError(error as NodeJS.ErrnoException, log, options.btfPath);
        // What is refused by policy is refused with any body (the verifier has nothing to say then).
        if (hasTypedReads && /-- BEGIN PROG LOAD LOG --/.test(log)) hasTypedReads = false;
        else for (const name of names) selection.refuse(name, reasonFrom(error as Error, log));
        continue;
      }
      const kernel = new Kernel(host, object, selection, options);
      if (kernel.#attachAll(name => ENDS.has(name) || selection.hasAlternative(name))) return kernel;
      kernel.close();
    }
  }

  /** Attaches what `load` has not attached; a required group that cannot be is an error. */
  attach(): void {
    this.#attachAll(() => true);
    const { blocked } = this.#selection;
    if (blocked !== null && !this.#isTrial) throw refusedError(blocked);
  }

  /** What became of each group. */
  get reports(): readonly ProbeReport[] {
    return this.#selection.reports();
  }

  /** Attaches programs that `isWanted` picks. False if a way failed to which there is another. */
  #attachAll(isWanted: (program: string) => boolean): boolean {
    for (const program of this.#selection.programs()) {
      if (FOR_FILES.has(program)) continue;
      if (this.#attached.has(program) || !isWanted(program)) continue;
      try {
        this.#attachOne(program);
        this.#attached.add(program);
      } catch (error) {
        const hasAlternative = this.#selection.hasAlternative(program);
        this.#selection.refuse(program, reasonFrom(error as Error, this.#host.log()));
        if (hasAlternative) return false;
      }
    }
    return true;
  }

  /** Probes on places in a file, in every process that maps it. Throws where the kernel refuses. */
  attachUser(program: string, path: string, offsets: readonly number[], isReturn: boolean): void {
    try {
      this.#host.attachUser(this.#object, program, path, Float64Array.from(offsets), isReturn, 0);
    } catch (error) {
      throw new Error(reasonFrom(error as Error, this.#host.log()), { cause: error });
    }
  }

  #attachOne(program: string): void {
    const symbol = this.#returnProbes.get(program);
    if (symbol === undefined) this.#host.attach(this.#object, program);
    else this.#host.attachEvent(this.#object, program, this.#kretprobes.define(symbol));
  }

  /** Boot-clock time and the wall clock at that moment, see host.clock. */
  clock(out: Float64Array): void {
    this.#host.clock(out);
  }

  /** Bytes copied into `slab`; 0 when the ring is empty, drained up to `upTo`, or stands at a record that is being written. */
  drain(ring: RingHandle, slab: Uint8Array, upTo = Number.MAX_SAFE_INTEGER, passesUnwritten = false): number {
    return this.#host.drain(ring, slab, upTo, passesUnwritten);
  }

  position(ring: RingHandle): number {
    return this.#host.ringPosition(ring);
  }

  /** Position up to which the ring has been drained. */
  taken(ring: RingHandle): number {
    return this.#host.ringTaken(ring);
  }

  fill(ring: RingHandle): number {
    return this.#host.ringFill(ring);
  }

  /** The kernel's loss and activity counters, summed over the CPUs: struct counters. */
  readCounters(out: Float64Array): void {
    this.#host.mapSum(this.#object, 'counters', out);
    const skipped = skippedRuns(this.programs()) + this.#kretprobes.missed();
    const repeated = out[LOSS_COUNT + STAT_RUNS_REPEATED] as number;
    out[LOSS_MISSED_RUNS] = (out[LOSS_MISSED_RUNS] as number) + Math.max(0, skipped - repeated);
    out[LOSS_REQUESTS_UNTOLD] = (out[LOSS_REQUESTS_UNTOLD] as number) + this.#untold;
  }

  programs(): ProgramInfo[] {
    return this.#host.programs(this.#object);
  }

  /** User space's word on a connection; ignored if the slot has a new tenant. */
  setVerdict(slot: number, generation: number, verdict: number): void {
    const at = slot * ConnectionCursor.SIZE;
    const view = this.connections.viewOf(slot);
    if (view.getUint32(at + CONNECTION_OFFSETS.generation, true) !== generation) return;
    view.setUint32(at + CONNECTION_OFFSETS.verdict, verdict, true);
  }

  /** Bytes that a connection has moved; null if the slot has another tenant. */
  bytesOf(slot: number, generation: number): { readonly ingress: number; readonly egress: number } | null {
    const at = slot * ConnectionCursor.SIZE;
    const view = this.connections.viewOf(slot);
    if (view.getUint32(at + CONNECTION_OFFSETS.generation, true) !== generation) return null;
    const read = (offset: number): number =>
      view.getUint32(at + offset, true) + view.getUint32(at + offset + 4, true) * 4294967296;
    return { ingress: read(CONNECTION_OFFSETS.bytesIngress), egress: read(CONNECTION_OFFSETS.bytesEgress) };
  }

  /**
   * Takes back the slot of a unix socket or of a TLS session whose process has ended: the kernel has no event for that.
   * Who deletes the entry in `sockets` ends the tenancy (bpf/connection.h); the slot is freed by `reclaim` when no program
   * can still be using it.
   */
  evict(slot: number, generation: number): void {
    const at = slot * ConnectionCursor.SIZE;
    const view = this.connections.viewOf(slot);
    if (view.getUint32(at + CONNECTION_OFFSETS.generation, true) !== generation) return;
    const isSession = (view.getUint16(at + CONNECTION_OFFSETS.flags, true) & CONNECTION_TLS) !== 0;
    if (isSession) {
      this.#socketView.setUint32(0, slot, true);
      this.#socketView.setUint32(4, generation, true);
    } else this.#socketView.setBigUint64(0, view.getBigUint64(at + CONNECTION_OFFSETS.sk, true), true);
    if (!this.#host.mapDelete(this.#object, 'sockets', this.#socketKey)) return;
    // From here on no program finds it by its socket (connection_find). It stays counted in `socket_hints`: a look too many.
    if (!isSession) view.setBigUint64(at + CONNECTION_OFFSETS.sk, 0n, true);
    this.#evicted.push({ slot, generation });
  }

  /** Frees the slots that were evicted before the last call: to be called at intervals of milliseconds. */
  reclaim(): void {
    for (const { slot, generation } of this.#reclaimable) {
      const at = slot * ConnectionCursor.SIZE;
      const view = this.connections.viewOf(slot);
      this.#untold += untoldRequests(view, at);
      view.setBigUint64(at + CONNECTION_OFFSETS.sk, 0n, true);
      view.setUint32(at + CONNECTION_OFFSETS.generation, generation + 1, true);
      this.#keyView.setUint32(0, slot, true);
      this.#host.mapSet(this.#object, 'free_slots', EMPTY_KEY, this.#key);
    }
    this.#reclaimable = this.#evicted;
    this.#evicted = [];
  }

  /** Which selectors a process meets; takes effect at its next system call. */
  setProcess(pid: number, include: number, exclude: number): void {
    this.#keyView.setUint32(0, pid, true);
    this.#valueView.setUint32(0, include, true);
    this.#valueView.setUint32(4, exclude, true);
    this.#host.mapSet(this.#object, 'processes', this.#key, this.#value);
    this.bumpSelection();
  }

  /** Its program starts goroutines at the probes: they tell what threads do in others. Until it ends, or runs another. */
  followRoutines(pid: number): void {
    this.#keyView.setUint32(0, pid, true);
    try {
      this.#host.mapSet(this.#object, 'routine_processes', this.#key, FOLLOWED);
    } catch {
      return; // full, or the process was over: its calls have no parent
    }
    this.bumpSelection();
  }

  removeProcess(pid: number): void {
    this.#keyView.setUint32(0, pid, true);
    this.#host.mapDelete(this.#object, 'processes', this.#key);
  }

  setPort(map: 'local_ports' | 'peer_ports', port: number, include: number, exclude: number): void {
    this.#keyView.setUint32(0, port, true);
    this.#valueView.setUint32(0, include, true);
    this.#valueView.setUint32(4, exclude, true);
    this.#host.mapSet(this.#object, map, this.#key, this.#value);
    this.#settings[SETTINGS_OFFSETS.hasPorts / 4] = 1;
  }

  removePort(map: 'local_ports' | 'peer_ports', port: number): void {
    this.#keyView.setUint32(0, port, true);
    this.#host.mapDelete(this.#object, map, this.#key);
  }

  /** A new program is captured until `setProcess` or `removeProcess` has judged it. */
  setJudgesExec(judges: boolean): void {
    this.#settings[SETTINGS_OFFSETS.judgesExec / 4] = judges ? 1 : 0;
  }

  /** Masks for processes that are not classified, and those of selectors without port criteria. */
  setDefaults(process: { include: number; exclude: number }, anyPort: { include: number; exclude: number }): void {
    this.#settings[SETTINGS_OFFSETS.defaultInclude / 4] = process.include;
    this.#settings[SETTINGS_OFFSETS.defaultExclude / 4] = process.exclude;
    this.#settings[SETTINGS_OFFSETS.anyInclude / 4] = anyPort.include;
    this.#settings[SETTINGS_OFFSETS.anyExclude / 4] = anyPort.exclude;
    this.bumpSelection();
  }

  bumpSelection(): void {
    Atomics.add(this.#settings, SETTINGS_OFFSETS.selectionEpoch / 4, 1);
  }

  /** Captured bytes of each run from its next change of direction on. */
  setHeadBytes(bytes: number): void {
    this.#settings[SETTINGS_OFFSETS.headBytes / 4] = bytes;
  }

  /** Switches the dear probes off, or on again. Throws when the kernel refuses them now. */
  setDearProbes(areOn: boolean): void {
    for (const program of this.#selection.programs(group => group.isDear === true)) {
      if (areOn === this.#attached.has(program)) continue;
      if (areOn) {
        this.#host.attach(this.#object, program);
        this.#attached.add(program);
      } else {
        this.#host.detachProgram(this.#object, program);
        this.#attached.delete(program);
      }
    }
  }

  close(): void {
    this.#host.close(this.#object);
    this.#kretprobes.remove();
  }
}

/** What the programs may use of this kernel. */
interface KernelAbilities {
  readonly hasTypedReads: boolean;
  readonly hasMultiProbes: boolean;
  readonly hasCopies: boolean;
}

/** The object with its knobs set and only `programs` to be loaded. */
function open(
  host: Host,
  options: KernelOptions,
  programs: readonly string[],
  { hasTypedReads, hasMultiProbes, hasCopies }: KernelAbilities,
): ObjectHandle {
  const object = host.open(buildPath('underspan.bpf.o'), options.btfPath);
  host.setConstant(object, 'agent_pid', options.agentPid);
  host.setConstant(object, 'tick_ns', host.tickNs());
  host.setConstant(object, 'has_rdonly_cast', hasTypedReads ? 1 : 0);
  host.setConstant(object, 'has_copies', hasCopies ? 1 : 0);
  host.setMapSize(object, 'data_ring', options.dataRingBytes);
  host.setMapSize(object, 'control_ring', options.controlRingBytes);
  host.setMapSize(object, 'capture_scratches', hasCopies ? LANES : LANES / 2);
  for (const map of ['connections', 'sockets', 'free_slots']) host.setMapSize(object, map, options.maxConnections);
  host.setMapSize(object, 'sessions', options.maxConnections + SESSIONS_TO_SPARE);
  if (hasMultiProbes) for (const name of FOR_FILES) host.useMultiProbes(object, name);
  const wanted = new Set(programs);
  for (const { name } of host.programs(object)) if (!wanted.has(name)) host.disable(object, name);
  return object;
}

/** What can be known of the kernel without loading anything. */
function factsOf(host: Host, btfPath: string): KernelFacts {
  const programs = PROBE_GROUPS.flatMap(({ ways }) => ways.flatMap(way => way.programs));
  const names = [TYPED_READ, MULTI_PROBES, ...programs.flatMap(({ onlyWith }) => onlyWith ?? [])];
  let has: readonly boolean[];
  try {
    has = host.functions(btfPath, names);
  } catch (error) {
    throw new AgentError('BTF_MISSING', { file: btfPath === '' ? KERNEL_BTF : btfPath }, { cause: error });
  }
  const hasKprobes = KPROBE_FILES.some(file => exists(file));
  return {
    hasFunction: name => has[names.indexOf(name)] === true,
    isPreempting: isPreempting(kernelWords()),
    unavailable: way =>
      way === 'kprobe' && !hasKprobes ? 'this kernel has no kprobes (it lacks CONFIG_KPROBE_EVENTS)' : '',
  };
}

/** Its first line says why, in the verifier's words where it has said something. */
function reasonFrom(error: Error, log: string): string {
  const verdict = VERDICT.exec(log)?.[1];
  return `${error.message}${verdict === undefined ? '' : `: ${verdict}`}\n${lastLines(log, 6)}`.trim();
}

function refusedError({ group, refused }: ProbeReport): AgentError {
  const reason = refused.map(refusal => `${refusal.way}: ${refusal.reason}`).join('\n');
  return new AgentError('KERNEL_REFUSED', { what: `the probes of ${group}`, reason });
}

function loadError(error: NodeJS.ErrnoException, log: string, btfPath: string): AgentError {
  if (/failed to find valid kernel BTF|Error loading vmlinux BTF/i.test(log)) {
    return new AgentError('BTF_MISSING', { file: btfPath === '' ? KERNEL_BTF : btfPath });
  }
  return new AgentError('KERNEL_REFUSED', { what: 'the probes', reason: `${error.message}\n${lastLines(log, 12)}` });
}

/** As connection_end of bpf/connection.h counts them. */
function untoldRequests(view: DataView, at: number): number {
  const isClient = view.getUint8(at + CONNECTION_OFFSETS.role) === ROLE_CLIENT;
  const lost = view.getUint16(at + CONNECTION_OFFSETS.lost + (isClient ? LOST_EGRESS : LOST_INGRESS), true);
  return (lost - view.getUint16(at + CONNECTION_OFFSETS.toldRequests, true)) & 0xffff;
}
