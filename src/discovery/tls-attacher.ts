// Finds the TLS libraries and the event loops that observed processes have mapped, and puts probes on them: once per file,
// told apart by device and inode, by way of /proc/PID/map_files, which reaches files in other mount namespaces and files
// that have been deleted, and then by the open file, which outlives the process.
// In: processes that exist, were started or turned out to speak TLS. Out: attached probes, a report per library. Bounded:
// files looked into, probes attached, processes looked at per turn.
import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { reasonOf } from '../errors.js';
import { Executable } from './executable.js';
import type { Inspector } from './inspector.js';
import { type Target, takesLong, targetsIn } from './targets.js';

/** The kernel's side. */
export interface UserProbes {
  /** Throws where the kernel refuses. */
  attachUser(program: string, path: string, offsets: readonly number[], isReturn: boolean): void;
}

/** What became of a library, an event loop or a Go program. */
export interface LibraryReport {
  readonly kind: 'tls' | 'loop' | 'routines';
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
const LAST_LOOK_AFTER_NS = 10e9;
/** When a new program is looked at: libraries are mapped within a moment, some are loaded later. */
const LOOKS_AFTER_NS = [0, 3e6, 20e6, 100e6, 1e9, LAST_LOOK_AFTER_NS] as const;
const LOOKS_PER_TURN = 4;
const SCAN_PER_TURN_MS = 10;
const REASONS_MAX = 65536;
/** Processes that wait for one file to be read: the others are looked at by the clock. */
const WAITING_MAX = 4096;

/** Why a connection's plaintext was not seen, `underspan.tls.opaque.reason`. */
const NOT_LOOKED_AT = 'process_not_inspected';
const NO_LIBRARY = 'library_unknown';
const REFUSED = 'probe_refused';
/** The library is read, but of this connection no plaintext was seen, or its session could not be bound to it. */
const NOT_BOUND = 'session_not_seen';

/** A file that waits for the inspector, and the processes that wait for it. */
interface LargeFile extends MappedFile {
  readonly pids: Set<number>;
}

interface Look {
  readonly pid: number;
  readonly attempt: number;
  readonly dueNs: number;
}

export class TlsAttacher {
  /** Files looked into. */
  readonly #files = new Map<string, string>();
  /** Go programs whose goroutines are followed. */
  readonly #routineFiles = new Set<string>();
  /** By process, as of the last look. */
  readonly #reasons = new Map<number, string>();
  readonly #options: TlsAttacherOptions;
  /** By the time they are due. */
  readonly #queues: Look[][] = LOOKS_AFTER_NS.map(() => []);
  /** Processes that ran at the start and are yet to be looked at. */
  readonly #unseen: number[] = [];
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
    if (this.reasonOf(pid) !== NOT_BOUND) this.#later(pid, LOOKS_AFTER_NS.length - 1, nowNs - LAST_LOOK_AFTER_NS);
  }

  /** Why TLS of a process is not read. */
  reasonOf(pid: number): string {
    return this.#reasons.get(pid) ?? NOT_LOOKED_AT;
  }

  /** Is there anything that ran at the start and has not been read? */
  get isReading(): boolean {
    return this.#largeFiles.length + this.#unseen.length > 0;
  }

  close(): void {
    this.#options.inspector?.close();
  }

  /** Looks at what is due. */
  tick(nowNs: number): void {
    const endMs = performance.now() + SCAN_PER_TURN_MS;
    while (this.#unseen.length > 0 && performance.now() < endMs) this.look(this.#unseen.pop() as number);
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
    let reason = NO_LIBRARY;
    for (const file of files) {
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
    this.#reasons.set(pid, reason);
    return true;
  }

  /** Its process is looked at again when the file has been read. */
  #await(key: string, pid: number): void {
    const pids = this.#largeFiles.find(file => file.key === key)?.pids;
    if (pids !== undefined && pids.size < WAITING_MAX) pids.add(pid);
  }

  #later(pid: number, attempt: number, nowNs: number): void {
    const queue = this.#queues[attempt];
    const after = LOOKS_AFTER_NS[attempt];
    if (queue === undefined || after === undefined || queue.length >= QUEUE_MAX) return;
    queue.push({ pid, attempt, dueNs: nowNs + after });
  }

  /** What became of a new file; null if the process has ended, and the way to the file with it. */
  #inspect(file: MappedFile, pid: number): string | null {
    const executable = Executable.open(file.handle);
    if (executable === null && !isThere(file.handle)) return null;
    let state = NO_LIBRARY;
    let isLarge = false;
    try {
      isLarge = executable !== null && this.#options.inspector !== null && takesLong(executable);
      if (executable !== null && !isLarge) state = this.#attach(file, executable, targetsIn(executable));
    } finally {
      executable?.close();
    }
    this.#files.set(file.key, isLarge ? NOT_LOOKED_AT : state);
    if (!isLarge) return state;
    this.#largeFiles.push({ ...file, pids: new Set([pid]) });
    this.#inspectNext();
    return NOT_LOOKED_AT;
  }

  /** Hands the next large file to the inspector. */
  #inspectNext(): void {
    const { inspector } = this.#options;
    const file = this.#largeFiles[0];
    if (file === undefined || inspector === null || inspector.isBusy) return;
    const executable = Executable.open(file.handle);
    if (executable === null) {
      // Its process has ended. Others that run it lead there as well.
      this.#files.delete(file.key);
      this.#endReading(file);
      return;
    }
    inspector.inspect(executable, ({ targets, detail }) => {
      const unread: Target = { kind: 'tls', library: 'an executable', attachments: [], detail };
      this.#files.set(file.key, this.#attach(file, executable, detail === '' ? targets : [unread]));
      executable.close();
      this.#endReading(file);
    });
  }

  #endReading(file: LargeFile): void {
    this.#largeFiles.shift();
    for (const pid of file.pids) this.look(pid);
    this.#inspectNext();
  }

  #attach(file: MappedFile, executable: Executable, targets: readonly Target[]): string {
    let state = NO_LIBRARY;
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
