// Runs the load generator (load.ts) as a process of its own and reads back what it saw.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LoadEntry, LoadOptions, LoadSummary } from './load.js';
import { Child, temporaryDirectory } from './processes.js';

const script = fileURLToPath(new URL('./load.js', import.meta.url));

export interface LoadResult {
  readonly summary: LoadSummary;
  readonly entries: readonly LoadEntry[];
}

export class Load {
  readonly child: Child;
  readonly #logPath: string;

  /** `isPunctual`: it runs before all ordinary processes, so that its clock is read when it says. */
  constructor(options: Omit<LoadOptions, 'logPath'>, isPunctual = false) {
    this.#logPath = path.join(temporaryDirectory('load'), 'client.log');
    const args = ['--max-semi-space-size=128', script, JSON.stringify({ ...options, logPath: this.#logPath })];
    this.child = isPunctual
      ? new Child('chrt', ['--rr', '1', process.execPath, ...args])
      : new Child(process.execPath, args);
  }

  get pid(): number {
    return this.child.pid;
  }

  /** Ends an endless load (requests: 0) after the requests under way. */
  finish(): void {
    this.child.closeInput();
  }

  async result(timeoutMs = 60_000): Promise<LoadResult> {
    await this.child.finished(timeoutMs);
    if (this.child.exitCode !== 0) throw new Error(`the load generator failed: ${this.child.describe()}`);
    const summary = JSON.parse(this.child.stdout.trimEnd().split('\n').at(-1) ?? '') as LoadSummary;
    const entries = readFileSync(this.#logPath, 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as LoadEntry);
    return { summary, entries };
  }
}

/** Sends `requests` requests and waits for the end. */
export function runLoad(options: Omit<LoadOptions, 'logPath'>, timeoutMs?: number): Promise<LoadResult> {
  return new Load(options).result(timeoutMs);
}
