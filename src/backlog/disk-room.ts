// How much of a file system the backlogs may use: what lies there already, and what is free beyond a reserve that is left
// to others. Asked of the kernel at most once a second.
import { statfs } from 'node:fs/promises';

const REFRESH_MS = 1000;

export class DiskRoom {
  readonly #folder: string;
  readonly #minFreeBytes: number;
  #spareBytes = 0;
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(folder: string, minFreeBytes: number) {
    this.#folder = folder;
    this.#minFreeBytes = minFreeBytes;
  }

  /** Bytes that a backlog which uses `usedBytes` now may use. */
  async allows(usedBytes: number): Promise<number> {
    if (this.#minFreeBytes === 0) return Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    if (nowMs - this.#askedAtMs >= REFRESH_MS) {
      const { bavail, bsize } = await statfs(this.#folder);
      this.#spareBytes = bavail * bsize - this.#minFreeBytes;
      this.#askedAtMs = nowMs;
    }
    return Math.max(0, usedBytes + this.#spareBytes);
  }
}
