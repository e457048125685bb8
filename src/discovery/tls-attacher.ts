// Finds the TLS libraries and the event loops that observed processes have mapped, and puts probes on them, once per file
// (mapped-files.ts), by the open file, which outlives the process. TLS libraries that are installed where observed
// processes run are probed before anybody has mapped them.
// In: processes that exist, were started or turned out to speak TLS. Out: attached probes, a report per library. Bounded:
// files looked into, probes attached, processes looked at per turn, mount namespaces.
import { readlinkSync } from 'node:fs';
import { reasonOf } from '../errors.js';
import { Executable } from './executable.js';
import type { Inspector } from './inspector.js';
import type { Inspected, Question } from './inspector-thread.js';
import { installedLibraries, isLibraryName, mountNamespaceOf } from './installed-libraries.js';
import { LookQueue, QUEUE_MAX } from './look-queue.js';
import {
  changedAt,
  hasThreads,
  identityOf,
  isProgramOf,
  isThere,
  type MappedCode,
  type MappedFile,
  mappedCode,
} from './mapped-files.js';
import type { NodeLayout } from './node-ids.js';
import {
  NO_LIBRARY,
  NOT_BOUND,
  NOT_LOOKED_AT,
  type Opacity,
  type OpacityReason,
  opacityIn,
  opacityOfFile,
  REFUSED,
} from './opacity.js';
import { hasPool, isForHandOvers, type QueuesTarget, queuesIn, type Target, takesLong, targetsIn } from './targets.js';
import { isTraceable, type JavaLayout } from './virtual-threads.js';

/** The kernel's side. */
export interface UserProbes {
  /** Can the program be attached, or is it known that it cannot? If not, it is asked for hereby and will be soon. */
  isSettled(program: string): boolean;
  /** Throws where the kernel refuses. */
  attachUser(program: string, path: string, offsets: readonly number[], isReturn: boolean): void;
}

/** What became of a library, an event loop or a Go program. */
export interface LibraryReport {
  readonly kind: Exclude<Target['kind'], 'buffer'>;
  readonly library: string;
  readonly path: string;
  readonly ok: boolean;
  /** Why not. */
  readonly detail: string;
}

export interface TlsAttacherOptions {
  readonly probes: UserProbes;
  /** Is this process observed? */
  readonly isObserved: (pid: number) => boolean;
  /** May processes be observed that do not run yet? Else nothing is probed beforehand. */
  readonly expectsOthers: () => boolean;
  /** Its goroutines are followed. */
  readonly onRoutines: (pid: number) => void;
  /** It is a Node.js whose ids can be read. */
  readonly onNode: (pid: number, layout: NodeLayout) => void;
  /** It is a Java whose virtual threads are followed: where what tells of them lies in it. */
  readonly onVirtualThreads: (pid: number, places: readonly number[]) => void;
  readonly onReport: (report: LibraryReport) => void;
  /** For files that take long to read; null: they are read at once. */
  readonly inspector: Inspector | null;
}

/** What is known of a file, under whichever keys it is mapped. */
interface KnownFile {
  reason: OpacityReason;
  /** A Go program whose goroutines are followed. */
  hasRoutines: boolean;
  /** It runs programs in Python. */
  isPython: boolean;
  /** A Go program's channels, the promises of Node.js, how threads of Java wake each other, ...: probed once it hands requests over. */
  handOvers: QueuesTarget | null;
  /** Of Node.js: where its threads keep the ids of what they run. */
  layout: NodeLayout | null;
  /** Of Java: where it keeps which virtual threads run. */
  javaLayout: JavaLayout | null;
  /** It has probes, so that its inode cannot become another file's. */
  isProbed: boolean;
  readonly changedAt: number;
}

const PYTHON_RUN = 'python_run';
const QUEUE_PROGRAM = 'python_deque_popleft';
/** asyncio's own module, and the one beside it that is loaded when a task first has a function run on a thread. */
const ASYNCIO = /\/_asyncio(\.[^/]*)$/;
const QUEUES = '/_queue$1';
const FILES_MAX = 16384;
const URGENT_PER_TURN = 4;
/** Files that are kept open while they wait to be read. */
const OPEN_MAX = 64;
const LOOK_AGAIN_NS = 1e9;
const SCAN_PER_TURN_MS = 10;
const REASONS_MAX = 65536;
/** Processes that wait for one file to be read: the others are looked at by the clock. */
const WAITING_MAX = 4096;
const NAMESPACES_MAX = 1024;

/** A file that waits for the inspector, and the processes that wait for it. */
interface LargeFile extends MappedFile {
  readonly known: KnownFile;
  /** Kept open, so that the file can be read when the process has ended; null: it is opened when its turn comes. */
  readonly executable: Executable | null;
  readonly about: Question['about'];
  readonly pids: Set<number>;
}

/** A file that waits for its programs to be loaded, kept open, and the processes that wait for it. */
interface UnprobedFile extends MappedFile {
  readonly known: KnownFile;
  readonly executable: Executable;
  readonly targets: readonly Target[];
  readonly pids: Set<number>;
}

const NOT_SEEN: Opacity = { reason: NOT_LOOKED_AT, library: '' };

export class TlsAttacher {
  /** Files looked into, by key. */
  readonly #files = new Map<string, KnownFile>();
  /** Those that have probes, by identity. */
  readonly #probed = new Map<string, KnownFile>();
  /** Mount namespaces whose installed libraries have been looked into. */
  readonly #namespaces = new Set<string>();
  /** By process, as of the last look. */
  readonly #reasons = new Map<number, Opacity>();
  /** By executable: what has no library that could be found, although it speaks TLS. Null while it is being read. */
  readonly #opacities = new Map<string, Opacity | null>();
  readonly #options: TlsAttacherOptions;
  readonly #started = new LookQueue();
  /** Processes that hand requests over, or may, until the programs for queues are loaded. */
  readonly #handingOver = new Map<number, boolean>();
  /** Files that were looked at for queues, by key, and those that are probed for them, by identity. */
  readonly #queueFiles = new Set<string>();
  /** Kinds that are not followed any more. */
  readonly #left = new Set<Target['kind']>();
  /** Processes that ran at the start and are yet to be looked at. */
  readonly #unseen: number[] = [];
  /** Processes that speak TLS by no library that is read, and when they will be looked at again if they still do. */
  readonly #speakers = new Map<number, number>();
  /** Those of them that are to be looked at now. */
  readonly #urgent: number[] = [];
  /** Files that are yet to be read by the inspector, the first one is being read. */
  readonly #largeFiles: LargeFile[] = [];
  #unprobedFiles: UnprobedFile[] = [];
  #isFull = false;

  constructor(options: TlsAttacherOptions) {
    this.#options = options;
  }

  /** All that runs now will be looked at as fast as the rings allow. */
  scan(pids: readonly number[]): void {
    this.#lookAhead('self');
    for (const pid of pids) if (this.#options.isObserved(pid)) this.#unseen.push(pid);
  }

  /** A program was started. */
  onExec(pid: number, nowNs: number): void {
    if (!this.#started.add(pid, nowNs)) this.#reportBusy();
  }

  /** A process speaks TLS: if nothing of it can be read so far, its library may have been loaded late. */
  onTls(pid: number, nowNs: number): void {
    if (this.opacityOf(pid).reason === NOT_BOUND) return;
    const nextNs = this.#speakers.get(pid) ?? 0;
    if (nowNs < nextNs || (nextNs === 0 && this.#speakers.size >= REASONS_MAX)) return;
    this.#speakers.set(pid, nowNs + LOOK_AGAIN_NS);
    this.#urgent.push(pid);
  }

  onExit(pid: number): void {
    this.#speakers.delete(pid);
  }

  /** Why TLS of a process is not read. */
  opacityOf(pid: number): Opacity {
    return this.#reasons.get(pid) ?? NOT_SEEN;
  }

  /** Is there anything that ran at the start and has not been read, or has no probes yet? */
  get isReading(): boolean {
    return this.#largeFiles.length + this.#unseen.length + this.#unprobedFiles.length > 0;
  }

  close(): void {
    this.#options.inspector?.close();
    for (const { executable } of [...this.#largeFiles.splice(0), ...this.#unprobedFiles.splice(0)]) executable?.close();
  }

  /** Nothing of this kind is probed any more. */
  leave(kind: Target['kind']): void {
    this.#left.add(kind);
  }

  /**
   * Its threads or tasks hand requests to each other: by the queues of its language, if that is known to have any? `isSure`: else its
   * calls may all be for the requests that they seem to be for, and only what the program itself tells of them is followed.
   */
  followQueues(pid: number, isSure: boolean): void {
    const mapped = mappedCode(pid) ?? [];
    const tells = ({ key }: MappedFile): boolean => this.#files.get(key)?.handOvers?.kind === 'requests';
    const files = isSure ? mapped : mapped.filter(tells);
    if (files.length === 0) return;
    const target = files.map(({ key }) => this.#files.get(key)?.handOvers).find(one => one != null);
    const program = target?.attachments[0]?.program ?? QUEUE_PROGRAM;
    if (!this.#options.probes.isSettled(program)) {
      if (this.#handingOver.size < WAITING_MAX)
        this.#handingOver.set(pid, isSure || this.#handingOver.get(pid) === true);
      return;
    }
    for (const file of files) {
      if (this.#queueFiles.has(file.key) || this.#queueFiles.size >= FILES_MAX) continue;
      const executable = Executable.open(file.handle);
      if (executable === null) continue;
      try {
        this.#queueFiles.add(file.key);
        const identity = identityOf(executable.descriptor);
        const target = this.#queueFiles.has(identity)
          ? null
          : (this.#files.get(file.key)?.handOvers ?? queuesIn(executable));
        if (target === null || this.#left.has(target.kind)) continue;
        this.#queueFiles.add(identity);
        const { kind, library, attachments } = target;
        const detail = target.detail === '' ? this.#attachAll(executable, attachments) : target.detail;
        this.#options.onReport({ kind, library, path: file.path, ok: detail === '', detail });
      } finally {
        executable.close();
      }
    }
  }

  /** Looks at what is due. */
  tick(nowNs: number): void {
    this.#probeSettled();
    for (const [pid, isSure] of [...this.#handingOver]) {
      this.#handingOver.delete(pid);
      this.followQueues(pid, isSure);
    }
    if (this.#unprobedFiles.length >= OPEN_MAX) return;
    const endMs = performance.now() + SCAN_PER_TURN_MS;
    while (this.#unseen.length > 0 && performance.now() < endMs) this.look(this.#unseen.pop() as number);
    for (const pid of this.#urgent.splice(0, URGENT_PER_TURN)) if (this.#options.isObserved(pid)) this.look(pid);
    this.#started.run(
      nowNs,
      pid => (this.#options.isObserved(pid) ? this.look(pid) : null),
      () => this.#reportBusy(),
    );
  }

  /** Puts probes on what this process has mapped. False if it is gone. */
  look(pid: number): boolean {
    const files = mappedCode(pid);
    if (files === null) return false;
    this.#lookAhead(pid);
    let reason: OpacityReason = NO_LIBRARY;
    let named: Opacity | null = null;
    let isPython = false;
    let hasTasks = false;
    for (const [at, file] of files.entries()) {
      named ??= opacityOfFile(file.path);
      let known = this.#files.get(file.key);
      if (known !== undefined && (at === 0 || isLibraryName(file.path)) && isOther(known, file)) known = undefined;
      if (known === undefined) {
        if (this.#files.size >= FILES_MAX) {
          this.#reportFull(
            file.path,
            `more than ${FILES_MAX} different files are mapped: the rest are not looked into`,
          );
          break;
        }
        const found = this.#inspect(file, pid);
        if (found === null) return false;
        known = found;
        if (ASYNCIO.test(file.path)) this.#attachFile(`/proc/${pid}/root${file.path.replace(ASYNCIO, QUEUES)}`);
      }
      if (known.reason === NOT_LOOKED_AT) this.#await(known, pid);
      if (known.reason !== NO_LIBRARY) reason = known.reason;
      if (known.hasRoutines && isProgramOf(pid, file.path)) this.#options.onRoutines(pid);
      if (known.layout !== null) this.#options.onNode(pid, known.layout);
      if (known.javaLayout !== null && isTraceable(pid, known.javaLayout))
        this.#options.onVirtualThreads(pid, placesIn(file, known.javaLayout));
      if (known.isPython) isPython = true;
      if (ASYNCIO.test(file.path)) hasTasks = true;
    }
    // Threads get their work from somewhere. Where there are tasks, it shows first whether anything is missing without.
    if (isPython && !hasTasks && hasThreads(pid)) this.followQueues(pid, true);
    if (this.#reasons.size >= REASONS_MAX) this.#reasons.clear();
    const opacity = reason === NO_LIBRARY ? (named ?? this.#opacityOfMain(pid, files[0])) : null;
    this.#reasons.set(pid, opacity ?? { reason, library: '' });
    return true;
  }

  /** Probes the libraries that are installed where this process runs, so that the first user of each is read as well. */
  #lookAhead(pid: number | 'self'): void {
    if (!this.#options.expectsOthers()) return;
    const namespace = mountNamespaceOf(pid);
    if (namespace === '' || this.#namespaces.has(namespace) || this.#namespaces.size >= NAMESPACES_MAX) return;
    this.#namespaces.add(namespace);
    for (const handle of installedLibraries(`/proc/${pid}/root`)) this.#attachFile(handle);
  }

  /** Probes a library that need not be mapped by anybody. */
  #attachFile(handle: string): void {
    const executable = Executable.open(handle);
    if (executable === null) return;
    try {
      if (takesLong(executable)) return;
      const { path } = executable;
      this.#attachOnce({ key: '', path: readlinkSync(path), handle: path }, executable);
    } finally {
      executable.close();
    }
  }

  /** What is linked into a program that speaks TLS; null if that is not known, or not yet. */
  #opacityOfMain(pid: number, main: MappedFile | undefined): Opacity | null {
    if (main === undefined || !this.#speakers.has(pid)) return null;
    const opacity = this.#opacities.get(main.key);
    if (opacity !== undefined || this.#opacities.size >= FILES_MAX) return opacity ?? null;
    this.#opacities.set(main.key, null);
    const known = this.#files.get(main.key) ?? newFile(main);
    this.#largeFiles.push({ ...main, known, executable: null, about: 'opacity', pids: new Set([pid]) });
    this.#inspectNext();
    return this.#opacities.get(main.key) ?? null;
  }

  /** Its process is looked at again when the file has been read, or probed. */
  #await(known: KnownFile, pid: number): void {
    const isIt = (file: LargeFile | UnprobedFile) =>
      file.known === known && !('about' in file && file.about !== 'targets');
    const pids = (this.#largeFiles.find(isIt) ?? this.#unprobedFiles.find(isIt))?.pids;
    if (pids !== undefined && pids.size < WAITING_MAX) pids.add(pid);
  }

  /** What became of a new file; null if the process has ended, and the way to the file with it. */
  #inspect(file: MappedFile, pid: number): KnownFile | null {
    const executable = Executable.open(file.handle);
    if (executable === null && !isThere(file.handle)) return null;
    let known = newFile(file);
    if (executable !== null && this.#options.inspector !== null && takesLong(executable)) {
      known = this.#probed.get(identityOf(executable.descriptor)) ?? known;
      const isKept = !known.isProbed && this.#largeFiles.length < OPEN_MAX;
      if (!isKept) executable.close();
      if (!known.isProbed) {
        known.reason = NOT_LOOKED_AT;
        const kept = isKept ? executable : null;
        this.#largeFiles.push({ ...file, known, executable: kept, about: 'targets', pids: new Set([pid]) });
      }
    } else if (executable !== null) {
      try {
        known = this.#attachOnce(file, executable);
      } finally {
        executable.close();
      }
    }
    this.#files.set(file.key, known);
    if (known.reason === NOT_LOOKED_AT) this.#inspectNext();
    return known;
  }

  #attachOnce(file: MappedFile, executable: Executable): KnownFile {
    const known = this.#probed.get(identityOf(executable.descriptor)) ?? newFile(file);
    if (!known.isProbed) this.#attach(file, known, executable, targetsIn(executable));
    return known;
  }

  /** Hands the next large file to the inspector. */
  #inspectNext(): void {
    const { inspector } = this.#options;
    const file = this.#largeFiles[0];
    if (file === undefined || inspector?.isBusy === true) return;
    const executable = file.executable ?? Executable.open(file.handle);
    if (executable === null) {
      // Its process has ended, and others that run it lead there as well; else it may not be read, and will not be.
      if (!isThere(file.handle)) (file.about === 'targets' ? this.#files : this.#opacities).delete(file.key);
      this.#endReading(file);
      return;
    }
    const done = (inspected: Inspected) => {
      if (file.about === 'targets') this.#attachInspected(file, executable, inspected);
      else if (file.about === 'pools') this.#attachPools(file, executable, inspected);
      else this.#opacities.set(file.key, inspected.opacity);
      executable.close();
      this.#endReading(file);
    };
    if (inspector === null) done({ targets: [], opacity: opacityIn(executable), detail: '' });
    else inspector.inspect(executable, file.about, done);
  }

  #attachInspected(file: LargeFile, executable: Executable, { targets, detail }: Inspected): void {
    const unread: Target = { kind: 'tls', library: 'an executable', attachments: [], detail };
    // By another key it may have been probed while it waited.
    const probed = this.#probed.get(identityOf(executable.descriptor));
    if (probed === undefined) this.#attach(file, file.known, executable, detail === '' ? targets : [unread]);
    else this.#files.set(file.key, probed);
  }

  /** Nobody waits for them: until then the loop's threads are strangers to it. */
  #attachPools({ path, known }: LargeFile, executable: Executable, { targets }: Inspected): void {
    for (const target of targets) {
      if (isForHandOvers(target)) {
        known.handOvers = target;
        continue;
      }
      const { library, attachments } = target;
      const detail = this.#attachAll(executable, attachments);
      if (detail !== '') this.#options.onReport({ kind: 'loop', library, path, ok: false, detail });
    }
  }

  #inspectPools(path: string, known: KnownFile, { path: handle }: Executable): void {
    if (this.#options.inspector === null || this.#largeFiles.length >= OPEN_MAX) return;
    const executable = Executable.open(handle);
    if (executable === null) return;
    this.#largeFiles.push({ key: '', path, handle, known, executable, about: 'pools', pids: new Set() });
    this.#inspectNext();
  }

  #endReading(file: LargeFile): void {
    this.#largeFiles.shift();
    for (const pid of file.pids) this.look(pid);
    this.#inspectNext();
  }

  #attach(file: MappedFile, known: KnownFile, executable: Executable, targets: readonly Target[]): void {
    known.reason = NO_LIBRARY;
    known.isProbed = targets.some(({ kind }) => !this.#left.has(kind));
    if (known.isProbed) this.#probed.set(identityOf(executable.descriptor), known);
    const kept = this.#areSettled(targets) ? null : Executable.open(executable.path);
    if (kept === null) {
      this.#probe(file.path, known, executable, targets);
      return;
    }
    known.reason = NOT_LOOKED_AT;
    this.#unprobedFiles.push({ ...file, known, executable: kept, targets, pids: new Set() });
  }

  /** Asks for all programs that are not. */
  #areSettled(targets: readonly Target[]): boolean {
    const atOnce = targets.filter(target => !isForHandOvers(target));
    const programs = atOnce.flatMap(({ attachments }) => attachments.map(({ program }) => program));
    return programs.filter(program => !this.#options.probes.isSettled(program)).length === 0;
  }

  /** Of the files that wait for programs those whose programs have come. */
  #probeSettled(): void {
    if (this.#unprobedFiles.length === 0) return;
    const settled = this.#unprobedFiles.filter(({ targets }) => this.#areSettled(targets));
    this.#unprobedFiles = this.#unprobedFiles.filter(file => !settled.includes(file));
    for (const { path, known, executable, targets, pids } of settled) {
      known.reason = NO_LIBRARY;
      this.#probe(path, known, executable, targets);
      executable.close();
      for (const pid of pids) this.look(pid);
    }
  }

  #probe(path: string, known: KnownFile, executable: Executable, targets: readonly Target[]): void {
    for (const target of targets) {
      if (isForHandOvers(target)) {
        known.handOvers = target;
        known.javaLayout = target.javaLayout ?? null;
        continue;
      }
      const { kind, library, attachments, detail } = target;
      if (this.#left.has(kind)) continue;
      const refusal = detail === '' ? this.#attachAll(executable, attachments) : detail;
      if (kind === 'buffer') continue;
      if (kind === 'tls') known.reason = refusal === '' ? NOT_BOUND : REFUSED;
      if (kind === 'routines' && refusal === '') known.hasRoutines = true;
      if (refusal === '') known.layout = target.layout ?? known.layout;
      if (attachments.some(({ program }) => program === PYTHON_RUN)) known.isPython = true;
      this.#options.onReport({ kind, library, path, ok: refusal === '', detail: refusal });
    }
    if (targets.some(hasPool)) this.#inspectPools(path, known, executable);
  }

  /** The reason of a refusal, else ''. */
  #attachAll(executable: Executable, attachments: Target['attachments']): string {
    try {
      for (const { program, offsets, isReturn } of attachments) {
        this.#options.probes.attachUser(program, executable.path, offsets, isReturn);
      }
      return '';
    } catch (error) {
      return reasonOf(error);
    }
  }

  #reportBusy(): void {
    this.#reportFull(
      '',
      `more than ${QUEUE_MAX} programs were started faster than they can be looked at: some are not`,
    );
  }

  /** Once, whatever it is. */
  #reportFull(path: string, detail: string): void {
    if (this.#isFull) return;
    this.#isFull = true;
    this.#options.onReport({ kind: 'tls', library: '', path, ok: false, detail });
  }
}

function newFile({ handle }: MappedFile): KnownFile {
  return {
    reason: NO_LIBRARY,
    hasRoutines: false,
    handOvers: null,
    layout: null,
    javaLayout: null,
    isPython: false,
    isProbed: false,
    changedAt: changedAt(handle),
  };
}

/** Addresses in a process that has mapped the file there. */
function placesIn({ address, offset }: MappedCode, { places, codeShift }: JavaLayout): readonly number[] {
  const base = address - offset - codeShift;
  return places.map(place => (place === 0 ? 0 : base + place));
}

/** Has the inode become another file's since? */
function isOther({ isProbed, changedAt: before }: KnownFile, { handle }: MappedFile): boolean {
  return !isProbed && before !== changedAt(handle);
}
