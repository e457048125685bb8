// Keeps the kernel's table of processes in step with the selectors: a scan of what runs at the start and at each reload, then
// one update per exec, fork and exit record. A process that meets just what an unknown one meets (default masks) needs no
// entry. The agent and what it forks are never observed. Between an exec and its record's arrival here (one drain
// interval) the kernel goes by the masks that the process had before.
import { type ProcessFacts, unknownFacts } from '../enrichment/process-facts.js';
import type { CompiledSelection, Masks } from './selector.js';

/** The kernel's side: maps `processes` and `settings` of bpf/maps.h. */
export interface KernelFilter {
  /** Sets the masks of a process; false if the map refused (full). */
  setProcess(pid: number, include: number, exclude: number): boolean;
  /** Back to the default masks; a process without an entry is fine. */
  removeProcess(pid: number): void;
  /** Makes changes count for threads that the kernel has judged already (raises settings.selection_epoch). */
  commit(): void;
}

export interface WatcherOptions {
  readonly filter: KernelFilter;
  readonly selection: CompiledSelection;
  /** Facts with the whole command line (ProcessTable.inspect); never null, never throws. */
  readonly inspect: (pid: number) => ProcessFacts;
  /** Processes that exist now (ProcessFactsSource.pids). */
  readonly pids: () => readonly number[];
  /** The agent's process id in the initial pid namespace. */
  readonly ownPid: number;
}

const NOTHING: Masks = { include: 0, exclude: 0xffffffff };
/** What the kernel's entry says between an exec and our judgement. */
const UNDECIDED: Masks = { include: 0xffffffff, exclude: 0 };
/** As many as the kernel's map holds (bpf/maps.h). */
const PROCESSES_MAX = 65536;

export class ProcessWatcher {
  /** Processes whose facts were compared with the selectors. */
  classified = 0;
  /** Processes that the kernel's map had no room for: judged by the default masks. */
  refused = 0;

  readonly #options: WatcherOptions;
  #selection: CompiledSelection;
  /** What the kernel's map holds because of us. */
  readonly #masks = new Map<number, Masks>();
  /** The agent and its descendants. */
  readonly #own: Set<number>;
  #isChanged = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#selection = options.selection;
    this.#own = new Set([options.ownPid]);
  }

  /** Processes with masks of their own. */
  get size(): number {
    return this.#masks.size;
  }

  /** Judges all running processes; to be called once the probes are attached. Returns how many there are. */
  scan(): number {
    for (const pid of this.#own) this.#set(pid, NOTHING);
    const { needsFacts, pids } = this.#selection;
    const running = this.#options.pids();
    const alive = new Set(running);
    // An exit record may have been lost: what is gone must not leave its masks to the next process of that pid.
    for (const pid of [...this.#masks.keys()]) {
      if (!alive.has(pid) && !this.#own.has(pid)) this.#unset(pid);
    }
    for (const pid of needsFacts ? running : pids) this.#classify(pid);
    this.flush();
    return running.length;
  }

  /** Goes over to another selection (SIGHUP). Ports and default masks are set by the caller before. */
  reload(selection: CompiledSelection): number {
    this.#selection = selection;
    for (const pid of [...this.#masks.keys()]) if (!this.#own.has(pid)) this.#unset(pid);
    return this.scan();
  }

  /** A process runs another program: after ProcessTable.onExec, so that `inspect` knows its arguments. */
  onExec(pid: number): void {
    if (this.#isIndifferent()) return;
    // The kernel has put its own entry at the exec (bpf/process.bpf.c): whatever we set before is gone.
    if (!this.#own.has(pid)) this.#masks.set(pid, UNDECIDED);
    this.#classify(pid);
  }

  /** Masks of a process as it was judged last. */
  masksOf(pid: number): Masks {
    return this.#own.has(pid) ? NOTHING : (this.#masks.get(pid) ?? this.#selection.defaultMasks);
  }

  onFork(pid: number, parentPid: number): void {
    if (this.#own.has(parentPid)) {
      this.#own.add(pid);
      this.#set(pid, NOTHING);
      return;
    }
    // The kernel copies the parent's masks at the fork, but only those that we had set by then.
    const masks = this.#masks.get(parentPid);
    if (masks !== undefined) this.#set(pid, masks);
    // Everything but its id a child has from its parent.
    if (this.#selection.pids.size > 0) this.#classify(pid);
  }

  onExit(pid: number): void {
    if (pid === this.#options.ownPid) return;
    this.#own.delete(pid);
    this.#unset(pid);
  }

  /** Puts the changes of a batch of records into force. */
  flush(): void {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    this.#options.filter.commit();
  }

  #isIndifferent(): boolean {
    return !this.#selection.needsFacts && this.#selection.pids.size === 0;
  }

  #classify(pid: number): void {
    if (this.#own.has(pid)) return;
    const selection = this.#selection;
    this.classified++;
    const masks = selection.processMasks(selection.needsFacts ? this.#options.inspect(pid) : unknownFacts(pid));
    if (isSame(masks, selection.defaultMasks)) this.#unset(pid);
    else this.#set(pid, masks);
  }

  #set(pid: number, masks: Masks): void {
    const known = this.#masks.get(pid);
    if (known !== undefined && isSame(known, masks)) return;
    const hasRoom = known !== undefined || this.#masks.size < PROCESSES_MAX;
    if (!hasRoom || !this.#options.filter.setProcess(pid, masks.include, masks.exclude)) {
      this.refused++;
      return;
    }
    this.#masks.set(pid, masks);
    this.#isChanged = true;
  }

  #unset(pid: number): void {
    if (!this.#masks.delete(pid)) return;
    this.#options.filter.removeProcess(pid);
    this.#isChanged = true;
  }
}

function isSame(a: Masks, b: Masks): boolean {
  return a.include === b.include && a.exclude === b.exclude;
}
