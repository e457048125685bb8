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

  constructor(options: Omit<LoadOptions, 'logPath'>) {
    this.#logPath = path.join(temporaryDirectory('load'), 'client.log');
    this.child = new Child(process.execPath, [script, JSON.stringify({ ...options, logPath: this.#logPath })]);
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
