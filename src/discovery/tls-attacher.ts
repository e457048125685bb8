// Finds the TLS libraries and the event loops that observed processes have mapped, and puts probes on them: once per file,
// told apart by device and inode, by way of /proc/PID/map_files, which reaches files in other mount namespaces and files
// that have been deleted, and then by the open file, which outlives the process.
// In: processes that exist, were started or turned out to speak TLS. Out: attached probes, a report per library. Bounded:
// files looked into, probes attached, processes looked at per turn.
import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { reasonOf } from '../errors.js';
import { Executable } from './executable.js';
import type { Inspector } from './inspector.js';
import type { Inspected, Question } from './inspector-thread.js';
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
import { type Target, takesLong, targetsIn } from './targets.js';

/** The kernel's side. */
export interface UserProbes {
  /** Throws where the kernel refuses. */
  attachUser(program: string, path: string, offsets: readonly number[], isReturn: boolean): void;
}

/** What became of a library, an event loop or a Go program. */
export interface LibraryReport {
  readonly kind: 'tls' | 'loop' | 'routines' | 'tasks';
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
  /** Its goroutines are followed. */
  readonly onRoutines: (pid: number) => void;
  readonly onReport: (report: LibraryReport) => void;
  /** For files that take long to read; null: they are read at once. */
  readonly inspector: Inspector | null;
}

interface MappedFile {
  readonly key: string;
  readonly path: string;
  /** To open it by. */
  readonly handle: string;
}

const FILES_MAX = 16384;
const QUEUE_MAX = 65536;
/** When a new program is looked at: libraries are mapped within a moment, some are loaded later. */
const LOOKS_AFTER_NS = [0, 3e6, 20e6, 100e6, 1e9, 10e9] as const;
const LOOKS_PER_TURN = 4;
/** Files that are kept open while they wait to be read. */
const OPEN_MAX = 64;
const LOOK_AGAIN_NS = 1e9;
const SCAN_PER_TURN_MS = 10;
const REASONS_MAX = 65536;
/** Processes that wait for one file to be read: the others are looked at by the clock. */
const WAITING_MAX = 4096;

/** A file that waits for the inspector, and the processes that wait for it. */
interface LargeFile extends MappedFile {
  /** Kept open, so that the file can be read when the process has ended; null: it is opened when its turn comes. */
  readonly executable: Executable | null;
  readonly about: Question['about'];
  readonly pids: Set<number>;
}

const NOT_SEEN: Opacity = { reason: NOT_LOOKED_AT, library: '' };

interface Look {
  readonly pid: number;
  readonly attempt: number;
  readonly dueNs: number;
}

export class TlsAttacher {
  /** Files looked into. */
  readonly #files = new Map<string, OpacityReason>();
  /** Go programs whose goroutines are followed. */
  readonly #routineFiles = new Set<string>();
  /** By process, as of the last look. */
  readonly #reasons = new Map<number, Opacity>();
  /** By executable: what has no library that could be found, although it speaks TLS. Null while it is being read. */
  readonly #opacities = new Map<string, Opacity | null>();
  readonly #options: TlsAttacherOptions;
  /** By the time they are due. */
  readonly #queues: Look[][] = LOOKS_AFTER_NS.map(() => []);
  /** Processes that ran at the start and are yet to be looked at. */
  readonly #unseen: number[] = [];
  /** Processes that speak TLS by no library that is read, and when they will be looked at again if they still do. */
  readonly #speakers = new Map<number, number>();
  /** Those of them that are to be looked at now. */
  readonly #urgent: number[] = [];
  /** Files that are yet to be read by the inspector, the first one is being read. */
  readonly #largeFiles: LargeFile[] = [];
  #isFull = false;

  constructor(options: TlsAttacherOptions) {
    this.#options = options;
  }

  /** All that runs now will be looked at as fast as the rings allow. */
  scan(pids: readonly number[]): void {
    for (const pid of pids) if (this.#options.isObserved(pid)) this.#unseen.push(pid);
  }

  /** A program was started. */
  onExec(pid: number, nowNs: number): void {
    this.#later(pid, 0, nowNs);
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

  /** Is there anything that ran at the start and has not been read? */
  get isReading(): boolean {
    return this.#largeFiles.length + this.#unseen.length > 0;
  }

  close(): void {
    this.#options.inspector?.close();
    for (const { executable } of this.#largeFiles.splice(0)) executable?.close();
  }

  /** Looks at what is due. */
  tick(nowNs: number): void {
    const endMs = performance.now() + SCAN_PER_TURN_MS;
    while (this.#unseen.length > 0 && performance.now() < endMs) this.look(this.#unseen.pop() as number);
    for (const pid of this.#urgent.splice(0, LOOKS_PER_TURN)) if (this.#options.isObserved(pid)) this.look(pid);
    let left = LOOKS_PER_TURN;
    for (const [attempt, queue] of this.#queues.entries()) {
      while (left > 0 && queue.length > 0 && (queue[0] as Look).dueNs <= nowNs) {
        const { pid } = queue.shift() as Look;
        if (!this.#options.isObserved(pid)) continue;
        left--;
        if (this.look(pid)) this.#later(pid, attempt + 1, nowNs);
      }
    }
  }

  /** Puts probes on what this process has mapped. False if it is gone. */
  look(pid: number): boolean {
    const files = mappedCode(pid);
    if (files === null) return false;
    let reason: OpacityReason = NO_LIBRARY;
    let named: Opacity | null = null;
    for (const file of files) {
      named ??= opacityOfFile(file.path);
      let state = this.#files.get(file.key);
      if (state === undefined) {
        if (this.#files.size >= FILES_MAX) {
          this.#reportFull(file.path);
          break;
        }
        const found = this.#inspect(file, pid);
        if (found === null) return false;
        state = found;
      } else if (state === NOT_LOOKED_AT) this.#await(file.key, pid);
      if (state !== NO_LIBRARY) reason = state;
      if (this.#routineFiles.has(file.key) && isProgramOf(pid, file.path)) this.#options.onRoutines(pid);
    }
    if (this.#reasons.size >= REASONS_MAX) this.#reasons.clear();
    const known = reason === NO_LIBRARY ? (named ?? this.#opacityOfMain(pid, files[0])) : null;
    this.#reasons.set(pid, known ?? { reason, library: '' });
    return true;
  }

  /** What is linked into a program that speaks TLS; null if that is not known, or not yet. */
  #opacityOfMain(pid: number, main: MappedFile | undefined): Opacity | null {
    if (main === undefined || !this.#speakers.has(pid)) return null;
    const known = this.#opacities.get(main.key);
    if (known !== undefined || this.#opacities.size >= FILES_MAX) return known ?? null;
    this.#opacities.set(main.key, null);
    this.#largeFiles.push({ ...main, executable: null, about: 'opacity', pids: new Set([pid]) });
    this.#inspectNext();
    return this.#opacities.get(main.key) ?? null;
  }

  /** Its process is looked at again when the file has been read. */
  #await(key: string, pid: number): void {
    const pids = this.#largeFiles.find(file => file.key === key && file.about === 'targets')?.pids;
    if (pids !== undefined && pids.size < WAITING_MAX) pids.add(pid);
  }

  #later(pid: number, attempt: number, nowNs: number): void {
    const queue = this.#queues[attempt];
    const after = LOOKS_AFTER_NS[attempt];
    if (queue === undefined || after === undefined || queue.length >= QUEUE_MAX) return;
    queue.push({ pid, attempt, dueNs: nowNs + after });
  }

  /** What became of a new file; null if the process has ended, and the way to the file with it. */
  #inspect(file: MappedFile, pid: number): OpacityReason | null {
    const executable = Executable.open(file.handle);
    if (executable === null && !isThere(file.handle)) return null;
    let state: OpacityReason = NO_LIBRARY;
    if (executable !== null && this.#options.inspector !== null && takesLong(executable)) {
      state = NOT_LOOKED_AT;
      const isKept = this.#largeFiles.length < OPEN_MAX;
      if (!isKept) executable.close();
      this.#largeFiles.push({
        ...file,
        executable: isKept ? executable : null,
        about: 'targets',
        pids: new Set([pid]),
      });
    } else if (executable !== null) {
      try {
        state = this.#attach(file, executable, targetsIn(executable));
      } finally {
        executable.close();
      }
    }
    this.#files.set(file.key, state);
    if (state === NOT_LOOKED_AT) this.#inspectNext();
    return state;
  }

  /** Hands the next large file to the inspector. */
  #inspectNext(): void {
    const { inspector } = this.#options;
    const file = this.#largeFiles[0];
    if (file === undefined || inspector?.isBusy === true) return;
    const executable = file.executable ?? Executable.open(file.handle);
    if (executable === null) {
      // Its process has ended. Others that run it lead there as well.
      (file.about === 'targets' ? this.#files : this.#opacities).delete(file.key);
      this.#endReading(file);
      return;
    }
    const done = (inspected: Inspected) => {
      if (file.about === 'targets') this.#files.set(file.key, this.#attachInspected(file, executable, inspected));
      else this.#opacities.set(file.key, inspected.opacity);
      executable.close();
      this.#endReading(file);
    };
    if (inspector === null) done({ targets: [], opacity: opacityIn(executable), detail: '' });
    else inspector.inspect(executable, file.about, done);
  }

  #attachInspected(file: MappedFile, executable: Executable, { targets, detail }: Inspected): OpacityReason {
    const unread: Target = { kind: 'tls', library: 'an executable', attachments: [], detail };
    return this.#attach(file, executable, detail === '' ? targets : [unread]);
  }

  #endReading(file: LargeFile): void {
    this.#largeFiles.shift();
    for (const pid of file.pids) this.look(pid);
    this.#inspectNext();
  }

  #attach(file: MappedFile, executable: Executable, targets: readonly Target[]): OpacityReason {
    let state: OpacityReason = NO_LIBRARY;
    for (const { kind, library, attachments, detail } of targets) {
      const refusal = detail === '' ? this.#attachAll(executable, attachments) : detail;
      if (kind === 'buffer') continue;
      if (kind === 'tls') state = refusal === '' ? NOT_BOUND : REFUSED;
      if (kind === 'routines' && refusal === '') this.#routineFiles.add(file.key);
      this.#options.onReport({ kind, library, path: file.path, ok: refusal === '', detail: refusal });
    }
    return state;
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

  #reportFull(path: string): void {
    if (this.#isFull) return;
    this.#isFull = true;
    const detail = `more than ${FILES_MAX} different files are mapped: the rest are not looked into`;
    this.#options.onReport({ kind: 'tls', library: '', path, ok: false, detail });
  }
}

/** Is it the program that the process runs, and not a library? */
function isProgramOf(pid: number, file: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === file;
  } catch {
    return false;
  }
}

function isThere(handle: string): boolean {
  try {
    lstatSync(handle);
    return true;
  } catch {
    return false;
  }
}

/** Files of which the process has mapped code; null if it is gone. */
function mappedCode(pid: number): MappedFile[] | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/maps`, 'latin1');
  } catch {
    return null;
  }
  const files = new Map<string, MappedFile>();
  for (const line of text.split('\n')) {
    const match = /^0*([0-9a-f]+)-0*([0-9a-f]+) ..x. [0-9a-f]+ ([0-9a-f]+:[0-9a-f]+) (\d+) +(\/.*)$/.exec(line);
    if (match === null || match[4] === '0') continue;
    const key = `${match[3]}:${match[4]}`;
    if (files.has(key)) continue;
    files.set(key, { key, path: match[5] as string, handle: `/proc/${pid}/map_files/${match[1]}-${match[2]}` });
  }
  return [...files.values()];
}
