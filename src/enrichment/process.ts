// The processes that records speak of: exec, fork and exit records come in, a Service per process goes out, worked out at
// its first use and never null. A process that is gone before we look (curl) is known by its exec record, a forked worker
// by its parent. Start times tell two processes of one pid apart; one that has exited is kept for a while, because data
// records arrive after it. Bounded: what has exited goes first, then the least recently used; both are counted.

import { parseCgroupPath } from './container.js';
import { type ProcessFacts, type ProcessFactsSource, tickOf, unknownFacts } from './process-facts.js';
import { buildService, type ResourceOptions } from './resource.js';
import { runtimeOf } from './runtimes.js';
import type { Service } from './service.js';
import { type NameRule, programNameOf, serviceNameOf } from './service-name.js';

export interface ProcessTableOptions extends ResourceOptions {
  readonly source: ProcessFactsSource;
  readonly rules: readonly NameRule[];
  /** Processes kept, the exited ones included. */
  readonly maxProcesses?: number;
  /** Nanoseconds that a process stays known after its exit. */
  readonly exitGraceNs?: number;
  /** Called once for each process that becomes known: what a recorder has to write down. */
  readonly onFacts?: (facts: ProcessFacts) => void;
  /** Called when a service will not be handed out again: tables by service id may drop it. */
  readonly onForget?: (service: Service) => void;
}

const MAX_PROCESSES = 16384;
const EXIT_GRACE_NS = 30e9;
const CGROUPS_MAX = 4096;
/** The fork record's time is a little later than the start that /proc shows; no pid comes round within a second. */
const START_TOLERANCE_NS = 1e9;

/** One program in one process: exec begins another. */
class Entry {
  readonly pid: number;
  /** From here on, boot-clock nanoseconds; 0: it was there before us. */
  readonly sinceNs: number;
  /** What ran under this pid before, as long as late records may ask for it. */
  previous: Entry | null;
  parentPid = 0;
  startNs = 0;
  /** From the exec record; '' and [] without one. */
  comm = '';
  args: readonly string[] = [];
  cgroupId = 0;
  hasExec = false;
  /** What the parent was at the fork: says everything that the fork did not change. */
  parent: Entry | null = null;
  exitedNs = 0;
  facts: ProcessFacts | null = null;
  service: Service | null = null;

  constructor(pid: number, sinceNs: number, previous: Entry | null) {
    this.pid = pid;
    this.sinceNs = sinceNs;
    this.previous = previous;
  }
}

export class ProcessTable {
  /** Entries that the cap pushed out. */
  evicted = 0;

  readonly #options: ProcessTableOptions;
  readonly #maxProcesses: number;
  readonly #exitGraceNs: number;
  /** By pid, least recently used first. */
  readonly #entries = new Map<number, Entry>();
  /** Control group paths by the kernel's id, learnt from living processes: for those that are gone. */
  readonly #cgroups = new Map<number, string>();
  /** Ended entries in order of their end, and how many of them have been let go. */
  #ended: { entry: Entry; ns: number }[] = [];
  #released = 0;
  #nextServiceId = 0;
  #rules: readonly NameRule[];

  constructor(options: ProcessTableOptions) {
    this.#options = options;
    this.#maxProcesses = options.maxProcesses ?? MAX_PROCESSES;
    this.#exitGraceNs = options.exitGraceNs ?? EXIT_GRACE_NS;
    this.#rules = options.rules;
  }

  /** Processes known now. */
  get size(): number {
    return this.#entries.size;
  }

  /** New rules for processes that have no service yet (SIGHUP); a running service keeps its name. */
  setRules(rules: readonly NameRule[]): void {
    this.#rules = rules;
  }

  /**
   * A process runs another program from now on.
   * @param startNs start of the process, boot clock
   * @param timeNs time of the exec, boot clock
   */
  onExec(
    pid: number,
    parentPid: number,
    args: readonly string[],
    comm: string,
    cgroupId: number,
    startNs: number,
    timeNs: number,
  ): void {
    const entry = this.#begin(pid, timeNs);
    entry.parentPid = parentPid;
    entry.args = args;
    entry.comm = comm;
    entry.cgroupId = cgroupId;
    entry.startNs = tickOf(startNs);
    entry.hasExec = true;
  }

  /** A new process, still with its parent's program. */
  onFork(pid: number, parentPid: number, timeNs: number): void {
    // A server that forks per connection (postgres) may be older than us, and its children gone before we look.
    const parent = this.#entries.get(parentPid) ?? this.#begin(parentPid, 0);
    const entry = this.#begin(pid, timeNs);
    entry.parentPid = parentPid;
    entry.startNs = tickOf(timeNs);
    entry.parent = parent;
  }

  /** A process has ended; it stays known for the grace period. */
  onExit(pid: number, nowNs: number): void {
    const entry = this.#entries.get(pid);
    if (entry !== undefined && entry.exitedNs === 0) this.#end(entry, nowNs);
    this.expire(nowNs);
  }

  /** Lets go of processes whose grace period is over. Cheap; called by onExit and by the coarse tick. */
  expire(nowNs: number): void {
    while (this.#released < this.#ended.length) {
      const { entry, ns } = this.#ended[this.#released] as { entry: Entry; ns: number };
      if (nowNs - ns < this.#exitGraceNs) break;
      this.#released++;
      this.#release(entry);
    }
    if (this.#released > 1024 || this.#released === this.#ended.length) {
      this.#ended = this.#ended.slice(this.#released);
      this.#released = 0;
    }
  }

  /** The service of a process at a time (0: now). Never null: a process that nothing is known of is `unknown_service`. */
  service(pid: number, atNs = 0): Service {
    const entry = this.#entryAt(pid, atNs);
    if (entry.service === null) {
      const facts = this.#resolve(entry);
      const name = serviceNameOf(facts, this.#rules);
      // Rules may look at the whole command line; nobody after them does.
      entry.facts = this.#options.keepArgs ? facts : { ...facts, args: commandOnly(facts) };
      entry.service = buildService(this.#nextServiceId++, entry.facts, name, this.#options);
      entry.args = [];
      this.#options.onFacts?.(entry.facts);
    }
    return entry.service;
  }

  /** The facts of a process at a time (0: now), with its service's name worked out. */
  facts(pid: number, atNs = 0): ProcessFacts {
    this.service(pid, atNs);
    return this.#entryAt(pid, atNs).facts as ProcessFacts;
  }

  /** Facts with the whole command line for those who select processes: read anew, not kept. */
  inspect(pid: number): ProcessFacts {
    const entry = this.#entries.get(pid);
    return entry === undefined ? (this.#options.source.read(pid) ?? unknownFacts(pid)) : this.#observe(entry);
  }

  #entryAt(pid: number, atNs: number): Entry {
    let entry = this.#entries.get(pid);
    if (entry === undefined) entry = this.#begin(pid, 0);
    else if (this.#entries.size > this.#maxProcesses / 2) {
      // Order only matters near the cap.
      this.#entries.delete(pid);
      this.#entries.set(pid, entry);
    }
    while (atNs > 0 && entry.sinceNs > atNs && entry.previous !== null) entry = entry.previous;
    return entry;
  }

  #begin(pid: number, timeNs: number): Entry {
    const previous = this.#entries.get(pid) ?? null;
    const entry = new Entry(pid, timeNs, previous);
    if (previous !== null) {
      if (previous.exitedNs === 0) this.#end(previous, timeNs);
      this.#entries.delete(pid);
    } else if (this.#entries.size >= this.#maxProcesses) this.#evict();
    this.#entries.set(pid, entry);
    return entry;
  }

  #end(entry: Entry, nowNs: number): void {
    entry.exitedNs = nowNs;
    this.#ended.push({ entry, ns: nowNs });
  }

  #release(entry: Entry): void {
    const current = this.#entries.get(entry.pid);
    if (current === entry) this.#entries.delete(entry.pid);
    else if (current !== undefined) {
      for (let at = current; at.previous !== null; at = at.previous) {
        if (at.previous !== entry) continue;
        at.previous = null; // whatever was before it ended earlier and is gone already
        break;
      }
    }
    this.#forget(entry);
  }

  /** Makes room: what has ended goes first, since the service of a running process is still in use. */
  #evict(): void {
    this.evicted++;
    while (this.#released < this.#ended.length) {
      this.#release((this.#ended[this.#released++] as { entry: Entry }).entry);
      if (this.#entries.size < this.#maxProcesses) return;
    }
    const oldest = this.#entries.values().next().value;
    if (oldest === undefined) return;
    this.#entries.delete(oldest.pid);
    for (let entry: Entry | null = oldest; entry !== null; entry = entry.previous) this.#forget(entry);
  }

  #forget(entry: Entry): void {
    const service = entry.service;
    entry.service = null;
    entry.parent = null; // else a line of daemons, each forked by the one before, would never be let go
    if (service !== null) this.#options.onForget?.(service);
  }

  #resolve(entry: Entry): ProcessFacts {
    if (entry.facts !== null) return entry.facts;
    const facts = this.#observe(entry);
    if (facts.program !== '') return facts;
    return {
      ...facts,
      program: programNameOf(facts, directory => this.#options.source.packageName(facts.pid, directory)),
    };
  }

  /** All that can be known of a process now, with its whole command line. */
  #observe(entry: Entry): ProcessFacts {
    // After an exit the pid may be somebody else's: /proc would tell of a stranger.
    const read = entry.exitedNs === 0 ? this.#options.source.read(entry.pid) : null;
    if (read === null || (entry.startNs > 0 && Math.abs(read.startNs - entry.startNs) > START_TOLERANCE_NS)) {
      return this.#inferred(entry);
    }
    if (entry.cgroupId > 0 && this.#cgroups.size < CGROUPS_MAX) this.#cgroups.set(entry.cgroupId, read.cgroup);
    return read;
  }

  /** Facts of a process that cannot be read any more: from its exec record, else from its parent at the fork. */
  #inferred(entry: Entry): ProcessFacts {
    const own = { pid: entry.pid, parentPid: entry.parentPid, startNs: entry.startNs };
    if (!entry.hasExec)
      return { ...(entry.parent === null ? unknownFacts(entry.pid) : this.#resolve(entry.parent)), ...own };
    const first = entry.args[0] ?? '';
    const exePath = first.startsWith('/') && !/\s/.test(first) ? first : '';
    const cgroup = this.#cgroups.get(entry.cgroupId) ?? '';
    const exeName = exePath.slice(exePath.lastIndexOf('/') + 1) || entry.comm;
    return {
      ...unknownFacts(entry.pid),
      ...own,
      exePath,
      exeName,
      args: entry.args,
      cgroup,
      containerId: parseCgroupPath(cgroup).containerId,
      language: runtimeOf(exeName)?.language ?? '',
    };
  }
}

/** The command without its arguments; of a rewritten title the first word (the rest may name users and databases). */
function commandOnly(facts: ProcessFacts): readonly string[] {
  const first = facts.args[0];
  if (first === undefined) return [];
  if (first === facts.exePath || facts.args.length > 1) return [first];
  return [first.split(/[\s:]/, 1)[0] as string];
}
