// Loads and attaches the kernel side: knobs in, rings and maps out. A way that the kernel refuses is left and the load
// repeated with the next (selection.ts), so that one refused feature costs that feature only. Closing detaches everything; if the agent is
// killed instead, the kernel does the same, because nothing is pinned.

import { AgentError } from '../errors.js';
import { exists } from '../exists.js';
import {
  LOSS_COUNT,
  LOSS_MISSED_RUNS,
  LOSS_REQUESTS_UNTOLD,
  STAT_COUNT,
  STAT_RUNS_REPEATED,
} from '../records/records.gen.js';
import {
  FOR_FILES,
  KERNEL_BTF,
  type KernelAbilities,
  loadError,
  loadMaps,
  type ObjectOptions,
  openPrograms,
  reasonFrom,
  refusedIn,
} from './bpf-object.js';
import { ConnectionMap } from './connection-map.js';
import { type Host, loadHost, type ObjectHandle, type ProgramInfo, type RingHandle } from './host.js';
import { KernelFilter } from './kernel-filter.js';
import { Kretprobes } from './kretprobes.js';
import { LatePrograms } from './late-programs.js';
import { isPreempting, kernelWords, skippedRuns } from './preemption.js';
import { PROBE_GROUPS, type ProbeReport, type WayName } from './probes.js';
import { type KernelFacts, WaySelection } from './selection.js';
import { Slots } from './slots.js';

export interface KernelOptions extends ObjectOptions {
  /** Captured bytes of each run. */
  readonly headBytes: number;
  /** Only this way, for the groups that have it. */
  readonly way?: WayName | null;
  /** Only to see what the kernel takes: all programs are loaded at once, and a required group that it refuses is in the reports, and no error. */
  readonly isTrial?: boolean;
  /** Measure the run time of programs (costs some tens of nanoseconds a run). */
  readonly stats?: boolean;
}

/** Linux 6.2, see bpf/kernel_read.h. */
const TYPED_READ = 'bpf_rdonly_cast';
/** Linux 6.6, see host.c. */
const MULTI_PROBES = 'bpf_uprobe_multi_link_attach';
/** Either says that the kernel has kprobes. */
const KPROBE_FILES = ['/sys/bus/event_source/devices/kprobe/type', '/sys/kernel/tracing/kprobe_events'];
/**
 * What tells that a socket is gone: attached before any process is selected. Of a connection that is followed sooner the end
 * may go unseen, and the next socket at its address is taken for it.
 */
const ENDS: ReadonlySet<string> = new Set(
  PROBE_GROUPS.filter(({ name }) => name === 'tcp states')
    .flatMap(({ ways }) => ways.flatMap(({ programs }) => programs))
    .map(({ name }) => name),
);
const RETURN_PROBE = 'kretprobe/';
/** Of the group that reads OpenSSL and the like. */
const TLS_PROGRAM = 'tls_call_exit';

export class Kernel {
  readonly dataRing: RingHandle;
  readonly controlRing: RingHandle;
  readonly connections: ConnectionMap;
  readonly slots: Slots;
  readonly filter: KernelFilter;
  readonly #host: Host;
  readonly #maps: ObjectHandle;
  /** The programs, but those that come late. */
  readonly #object: ObjectHandle;
  readonly #late: LatePrograms;
  readonly #selection: WaySelection;
  readonly #isTrial: boolean;
  readonly #attached = new Set<string>();
  readonly #kretprobes = new Kretprobes();
  /** Kernel function by program. */
  readonly #returnProbes: ReadonlyMap<string, string>;

  private constructor(parts: KernelParts, options: KernelOptions) {
    const { host, maps, object, selection, late } = parts;
    this.#host = host;
    this.#maps = maps;
    this.#object = object;
    this.#selection = selection;
    this.#late = late;
    this.#isTrial = options.isTrial === true;
    const returns = host.programs(object).filter(({ section }) => section.startsWith(RETURN_PROBE));
    this.#returnProbes = new Map(returns.map(({ name, section }) => [name, section.slice(RETURN_PROBE.length)]));
    this.dataRing = host.ring(maps, 'data_ring');
    this.controlRing = host.ring(maps, 'control_ring');
    this.connections = new ConnectionMap(options.maxConnections, (from, bytes) =>
      host.mapMemory(maps, 'connections', from, bytes),
    );
    this.slots = new Slots(host, maps, this.connections);
    this.filter = new KernelFilter(host, maps);
    this.filter.setHeadBytes(options.headBytes);
    if (options.stats === true) host.enableStats(maps);
  }

  /**
   * Loads what this kernel takes, and attaches the programs to which there are alternatives (only that shows whether they
   * can be) and `ENDS`. No process is selected yet, so nothing is observed. Throws AgentError when nothing can work.
   */
  static load(options: KernelOptions): Kernel {
    const host = loadHost();
    const hasOwnBtf = exists(KERNEL_BTF);
    const facts = factsOf(host, options.btfPath, hasOwnBtf);
    const selection = new WaySelection(PROBE_GROUPS, options.way ?? null, facts);
    const abilities = {
      hasOwnBtf,
      hasTypedReads: hasOwnBtf && facts.hasFunction(TYPED_READ),
      hasMultiProbes: facts.hasFunction(MULTI_PROBES),
      hasCopies: facts.isPreempting,
    };
    const load = (hasTypedReads: boolean) =>
      Kernel.#loadOver({ host, options, selection, abilities: { ...abilities, hasTypedReads } });
    const kernel = (abilities.hasTypedReads ? load(true) : null) ?? load(false);
    if (kernel === null) throw new Error('typed reads were refused where there are none');
    return kernel;
  }

  /** Null if the verifier does not take typed reads although the kernel has them. Throws AgentError when nothing can work. */
  static #loadOver({ host, options, selection, abilities }: LoadPlan): Kernel | null {
    const maps = loadMaps(host, options, abilities);
    const isTrial = options.isTrial === true;
    const late = new LatePrograms({
      host,
      maps,
      btfPath: options.btfPath,
      abilities,
      programsOf: name => (isTrial ? [] : selection.programs(group => group.name === name)),
      onRefused: (program, reason) => selection.refuse(program, reason),
    });
    try {
      // Before Linux 5.12 no program can take the next number off a shared counter.
      host.fillStack(maps, 'free_slots', options.maxConnections);
      // Such a library is nearly everywhere: loaded beside the rest.
      late.isSettled(TLS_PROGRAM);
      for (;;) {
        const { blocked } = selection;
        if (blocked !== null && !isTrial) throw refusedError(blocked);
        const programs = selection.programs(({ isLate }) => isTrial || isLate !== true);
        const object = openPrograms(host, maps, options.btfPath, programs, abilities);
        try {
          host.load(object);
        } catch (error) {
          const log = host.log();
          host.close(object);
          const names = refusedIn(log);
          if (names.length === 0) throw loadError(error as NodeJS.ErrnoException, log, options.btfPath);
          // What is refused by policy is refused with any body (the verifier has nothing to say then).
          if (abilities.hasTypedReads && /-- BEGIN PROG LOAD LOG --/.test(log)) break;
          for (const name of names) selection.refuse(name, reasonFrom(error as Error, log));
          continue;
        }
        const kernel = new Kernel({ host, maps, object, selection, late }, options);
        if (kernel.#attachAll(name => ENDS.has(name) || selection.hasAlternative(name))) return kernel;
        kernel.#closeObject();
      }
    } catch (error) {
      late.close();
      host.close(maps);
      throw error;
    }
    late.close();
    host.close(maps);
    return null;
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

  /** Can it be attached to files, or has the kernel refused it? If not, it will be: it is being loaded from now on. */
  isSettled(program: string): boolean {
    return this.#late.isSettled(program);
  }

  /** Probes on places in a file, in every process that maps it; of programs that are settled. Throws where the kernel refuses. */
  attachUser(program: string, path: string, offsets: readonly number[], isReturn: boolean): void {
    const refusal = this.#selection.refusalOf(program);
    if (refusal !== '') throw new Error(refusal);
    const object = this.#late.objectOf(program) ?? this.#object;
    try {
      this.#host.attachUser(object, program, path, Float64Array.from(offsets), isReturn, 0);
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

  /** Bytes in the kernel's ring, which has room for so many less. */
  fill(ring: RingHandle): number {
    return this.#host.ringFill(ring);
  }

  /** Bytes that lie in this process's spare room for a ring; `drain` gives them before what is in the ring. */
  spared(ring: RingHandle): number {
    return this.#host.ringSpared(ring);
  }

  /** Moves records from a ring to its spare room, up to `most` bytes there (64 MB at most). */
  relieve(ring: RingHandle, most: number): void {
    this.#host.ringRelieve(ring, most);
  }

  /** Gives spare room back to the kernel that nothing lies in. */
  settle(ring: RingHandle): void {
    this.#host.ringSettle(ring);
  }

  /** The kernel's loss and activity counters, summed over the CPUs: struct counters. */
  readCounters(out: Float64Array): void {
    this.#host.mapSum(this.#maps, 'counters', out);
    const skipped = skippedRuns(this.programs()) + this.#kretprobes.missed();
    const repeated = out[LOSS_COUNT + STAT_RUNS_REPEATED] as number;
    out[LOSS_MISSED_RUNS] = (out[LOSS_MISSED_RUNS] as number) + Math.max(0, skipped - repeated);
    out[LOSS_REQUESTS_UNTOLD] = (out[LOSS_REQUESTS_UNTOLD] as number) + this.slots.untold;
  }

  /** STAT_COUNT words of each CPU. */
  statsByCpu(): Float64Array {
    return this.#host.mapByCpu(this.#maps, 'counters', LOSS_COUNT, STAT_COUNT);
  }

  /** Those that are loaded. */
  programs(): ProgramInfo[] {
    return [...this.#host.programs(this.#object).filter(({ id }) => id > 0), ...this.#late.programs()];
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

  /** Takes the programs of a group off whatever they are attached to; more files may follow. */
  detachGroup(name: string): void {
    for (const program of this.#selection.programs(group => group.name === name)) {
      this.#host.detachProgram(this.#late.objectOf(program) ?? this.#object, program);
    }
  }

  close(): void {
    this.#closeObject();
    this.#late.close();
    this.#host.close(this.#maps);
  }

  #closeObject(): void {
    this.#host.close(this.#object);
    this.#kretprobes.remove();
  }
}

interface LoadPlan {
  readonly host: Host;
  readonly options: KernelOptions;
  readonly selection: WaySelection;
  readonly abilities: KernelAbilities;
}

interface KernelParts {
  readonly host: Host;
  readonly maps: ObjectHandle;
  readonly object: ObjectHandle;
  readonly selection: WaySelection;
  readonly late: LatePrograms;
}

/** What can be known of the kernel without loading anything. */
function factsOf(host: Host, btfPath: string, hasOwnBtf: boolean): KernelFacts {
  const programs = PROBE_GROUPS.flatMap(({ ways }) => ways.flatMap(way => way.programs));
  const names = new Set([TYPED_READ, MULTI_PROBES, ...programs.flatMap(({ onlyWith }) => onlyWith ?? [])]);
  let has: ReadonlySet<string>;
  try {
    has = new Set(host.functions(btfPath, [...names]));
  } catch (error) {
    throw new AgentError('BTF_MISSING', { file: btfPath === '' ? KERNEL_BTF : btfPath }, { cause: error });
  }
  const hasKprobes = KPROBE_FILES.some(file => exists(file));
  return {
    hasFunction: name => has.has(name),
    isPreempting: isPreempting(kernelWords()),
    unavailable: way => {
      if (way === 'kprobe' && !hasKprobes) return 'this kernel has no kprobes (it lacks CONFIG_KPROBE_EVENTS)';
      if (way === 'fentry' && !hasOwnBtf) return 'this kernel has no BTF of its own (it lacks CONFIG_DEBUG_INFO_BTF)';
      return '';
    },
  };
}

function refusedError({ group, refused }: ProbeReport): AgentError {
  const reason = refused.map(refusal => `${refusal.way}: ${refusal.reason}`).join('\n');
  return new AgentError('KERNEL_REFUSED', { what: `the probes of ${group}`, reason });
}
