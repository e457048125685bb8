// The folder of all backlogs of an agent: makes it, locks it, gives each destination a folder of its own in it, and
// deletes what was kept for destinations that nobody sends to any more once it is too old. Whatever does not work here
// costs the keeping, never the agent: `open` says why and gives null.
import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { reasonOf } from '../errors.js';
import { Backlog } from './backlog.js';
import { DiskRoom } from './disk-room.js';
import { type FolderLock, lockFolder } from './folder-lock.js';

export interface BacklogSettings {
  readonly directory: string;
  /** Of all backlogs together. */
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly minFreeBytes: number;
}

type Warn = (message: string) => void;

export class BacklogFolder {
  readonly #settings: BacklogSettings;
  readonly #lock: FolderLock;
  readonly #warn: Warn;
  readonly #names = new Set<string>();

  private constructor(settings: BacklogSettings, lock: FolderLock, warn: Warn) {
    this.#settings = settings;
    this.#lock = lock;
    this.#warn = warn;
  }

  static async open(settings: BacklogSettings, warn: Warn): Promise<BacklogFolder | null> {
    const { directory } = settings;
    const lost = 'what is not delivered is kept in memory only, and lost when the agent ends';
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const lock = await lockFolder(directory);
      if (lock !== null) return new BacklogFolder(settings, lock, warn);
      warn(`another agent uses ${directory}: ${lost}. Give this one its own: queue.directory`);
    } catch (error) {
      warn(`queue.directory cannot be used: ${lost}: ${reasonOf(error)}`);
    }
    return null;
  }

  /** `share`: part of the bytes that this destination may use. Null, and a warning, if its folder cannot be used. */
  async openBacklog(destination: string, share: number): Promise<Backlog | null> {
    const { directory, maxBytes, maxAgeMs, minFreeBytes } = this.#settings;
    const name = nameOf(destination);
    const folder = join(directory, name);
    this.#names.add(name);
    const startUnixMs = Date.now() - performance.now();
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return await Backlog.open({
        folder,
        room: new DiskRoom(folder, minFreeBytes),
        maxBytes: Math.floor(maxBytes * share),
        maxAgeMs,
        warn: message => this.#warn(`${destination}: ${message}`),
        // A wall clock that is set meanwhile ages nothing.
        now: () => startUnixMs + performance.now(),
      });
    } catch (error) {
      this.#warn(`${destination}: nothing can be kept on disk: ${reasonOf(error)}`);
      return null;
    }
  }

  /** Deletes what is too old of destinations that were not opened. */
  async removeForgotten(): Promise<void> {
    const { directory, maxAgeMs } = this.#settings;
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (!entry.isDirectory() || !NAME.test(entry.name) || this.#names.has(entry.name)) continue;
      const folder = join(directory, entry.name);
      const files = await readdir(folder);
      const times = await Promise.all(files.map(async file => (await stat(join(folder, file))).mtimeMs));
      if (Date.now() - Math.max(0, ...times) < maxAgeMs) continue;
      await rm(folder, { recursive: true });
      if (files.some(file => file.endsWith('.log'))) this.#warn(`what was kept in ${folder} was too old: deleted`);
    }
  }

  close(): Promise<void> {
    return this.#lock.release();
  }
}

const NAME = /^[\w.-]{1,80}-[0-9a-f]{12}$/;

/** Readable, and unique by its hash. */
function nameOf(destination: string): string {
  const readable = destination.replace(/[^A-Za-z0-9.]+/g, '-').slice(0, 80);
  return `${readable}-${createHash('sha256').update(destination).digest('hex').slice(0, 12)}`;
}
