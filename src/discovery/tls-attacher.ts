// Finds the TLS libraries and the event loops that observed processes have mapped, and puts probes on them: once per file,
// told apart by device and inode, by way of /proc/PID/map_files, which reaches files in other mount namespaces and files
// that have been deleted, and then by the open file, which outlives the process.
// In: processes that exist, were started or turned out to speak TLS. Out: attached probes, a report per library. Bounded:
// files looked into, probes attached, processes looked at per turn.
import { lstatSync, readFileSync } from 'node:fs';
import { reasonOf } from '../errors.js';
import { Executable, type FoundSymbol } from './executable.js';
import { isGo } from './go-functions.js';
import { goTlsPlaces } from './go-tls.js';
import { EVENT_LOOPS, LOOP_SYMBOLS } from './loop-probes.js';
import { placesIn } from './probe-sites.js';
import { ALL_SYMBOLS, BUFFER_PROBE, type LibraryProbe, TLS_LIBRARIES } from './tls-libraries.js';

/** The kernel's side. */
export interface UserProbes {
  /** Throws where the kernel refuses. */
  attachUser(program: string, path: string, offsets: readonly number[], isReturn: boolean): void;
}

/** What became of a library, or of an event loop. */
export interface LibraryReport {
  readonly kind: 'tls' | 'loop';
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
  readonly onReport: (report: LibraryReport) => void;
}

interface MappedFile {
  readonly key: string;
  readonly path: string;
  /** To open it by. */
  readonly handle: string;
}

const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'x64';
const SYMBOLS: readonly string[] = [...ALL_SYMBOLS, ...LOOP_SYMBOLS];
const FILES_MAX = 16384;
const QUEUE_MAX = 65536;
const LAST_LOOK_AFTER_NS = 10e9;
/** When a new program is looked at: libraries are mapped within a moment, some are loaded later. */
const LOOKS_AFTER_NS = [0, 3e6, 20e6, 100e6, 1e9, LAST_LOOK_AFTER_NS] as const;
const LOOKS_PER_TURN = 4;
const REASONS_MAX = 65536;

/** Why a connection's plaintext was not seen, `underspan.tls.opaque.reason`. */
const NOT_LOOKED_AT = 'process_not_inspected';
const NO_LIBRARY = 'library_unknown';
const REFUSED = 'probe_refused';
/** The library is read, but of this connection no plaintext was seen, or its session could not be bound to it. */
const NOT_BOUND = 'session_not_seen';

interface Look {
  readonly pid: number;
  readonly attempt: number;
  readonly dueNs: number;
}

export class TlsAttacher {
  /** Files looked into. */
  readonly #files = new Map<string, string>();
  /** By process, as of the last look. */
  readonly #reasons = new Map<number, string>();
  readonly #options: TlsAttacherOptions;
  /** By the time they are due. */
  readonly #queues: Look[][] = LOOKS_AFTER_NS.map(() => []);
  #isFull = false;

  constructor(options: TlsAttacherOptions) {
    this.#options = options;
  }

  /** All that runs now: at the start, before anything else is read. */
  scan(pids: readonly number[]): void {
    for (const pid of pids) if (this.#options.isObserved(pid)) this.look(pid);
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

  /** Looks at what is due. */
  tick(nowNs: number): void {
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
        const found = this.#inspect(file);
        if (found === null) return false;
        state = found;
        this.#files.set(file.key, state);
      }
      if (state !== NO_LIBRARY) reason = state;
    }
    if (this.#reasons.size >= REASONS_MAX) this.#reasons.clear();
    this.#reasons.set(pid, reason);
    return true;
  }

  #later(pid: number, attempt: number, nowNs: number): void {
    const queue = this.#queues[attempt];
    const after = LOOKS_AFTER_NS[attempt];
    if (queue === undefined || after === undefined || queue.length >= QUEUE_MAX) return;
    queue.push({ pid, attempt, dueNs: nowNs + after });
  }

  /** Null if the process has ended, and the way to the file with it. */
  #inspect(file: MappedFile): string | null {
    const executable = Executable.open(file.handle);
    if (executable === null) return isThere(file.handle) ? NO_LIBRARY : null;
    try {
      const symbols = executable.dynamicSymbols(SYMBOLS);
      const state = this.#attachTls(file, executable, symbols);
      this.#attachLoop(file, executable, symbols);
      return state;
    } finally {
      executable.close();
    }
  }

  #attachTls(file: MappedFile, executable: Executable, symbols: ReadonlyMap<string, FoundSymbol>): string {
    const library = TLS_LIBRARIES.find(({ needs }) => needs.every(name => symbols.has(name)));
    if (library === undefined && isGo(executable)) {
      return this.#attachGo(file, executable);
    }
    if (library === undefined) {
      if (symbols.has(BUFFER_PROBE.symbol)) this.#attach(executable, [BUFFER_PROBE], symbols);
      return NO_LIBRARY;
    }
    const detail = this.#attach(executable, library.probes, symbols);
    this.#options.onReport({ kind: 'tls', library: library.name, path: file.path, ok: detail === '', detail });
    return detail === '' ? NOT_BOUND : REFUSED;
  }

  #attachLoop(file: MappedFile, executable: Executable, symbols: ReadonlyMap<string, FoundSymbol>): void {
    const { probes, onReport } = this.#options;
    for (const { name, deferred, turned } of EVENT_LOOPS) {
      const turn = symbols.get(turned);
      const found = deferred.flatMap(symbol => symbols.get(symbol)?.offset ?? []);
      if (turn === undefined || found.length < deferred.length) continue;
      let detail = '';
      try {
        if (found.length > 0) probes.attachUser('loop_deferred', executable.path, found, false);
        probes.attachUser('loop_turned', executable.path, [turn.offset], false);
      } catch (error) {
        detail = reasonOf(error);
      }
      onReport({ kind: 'loop', library: name, path: file.path, ok: detail === '', detail });
    }
  }

  #attach(executable: Executable, probes: readonly LibraryProbe[], symbols: ReadonlyMap<string, FoundSymbol>): string {
    const { exits, entries } = placesIn(executable, probes, symbols, ARCHITECTURE);
    try {
      // Returns first: an entry without its return would look like a call that goes on.
      for (const [program, offsets] of exits) this.#options.probes.attachUser(program, executable.path, offsets, true);
      for (const [program, offsets] of entries)
        this.#options.probes.attachUser(program, executable.path, offsets, false);
      return '';
    } catch (error) {
      return reasonOf(error);
    }
  }

  #attachGo(file: MappedFile, executable: Executable): string {
    const places = goTlsPlaces(executable, ARCHITECTURE);
    if (places === null) return NO_LIBRARY;
    let detail = typeof places === 'string' ? places : '';
    if (typeof places !== 'string') {
      try {
        for (const [program, offsets] of places)
          this.#options.probes.attachUser(program, executable.path, offsets, false);
      } catch (error) {
        detail = reasonOf(error);
      }
    }
    this.#options.onReport({ kind: 'tls', library: 'crypto/tls (Go)', path: file.path, ok: detail === '', detail });
    return detail === '' ? NOT_BOUND : REFUSED;
  }

  #reportFull(path: string): void {
    if (this.#isFull) return;
    this.#isFull = true;
    const detail = `more than ${FILES_MAX} different files are mapped: the rest are not looked into`;
    this.#options.onReport({ kind: 'tls', library: '', path, ok: false, detail });
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
