// Child processes of the tests: started in their own process group with bounded output capture, stopped by group, and
// never left behind when the test process ends. Also what /proc says about them.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const OUTPUT_MAX = 1 << 20;
const running = new Set<Child>();

const directories = new Set<string>();

process.on('exit', () => {
  for (const child of running) child.killGroup('SIGKILL');
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});
/** An emulated machine (test/kernels) is slow by this factor: every wait is as much longer. */
export const PATIENCE = Number(process.env.UNDERSPAN_TEST_PATIENCE ?? 1);
/** How long what a test file opened may outlive its last test. */
const LEFT_BEHIND_MS = 20_000;

// A test that fails before its own cleanup leaves children and servers behind, which would keep its file alive until the
// runner's patience ends. The file's own hooks have their time; then everything ends with it, and it has failed.
if (process.env.NODE_TEST_CONTEXT !== undefined) {
  after(() => {
    const end = () => {
      const left = [...running].map(({ command }) => command).join('\n');
      console.error(`still open after the last test: ${left === '' ? 'no child of ours' : left}`);
      process.exit(1);
    };
    setTimeout(end, LEFT_BEHIND_MS * PATIENCE).unref();
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130));
}

export interface SpawnOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Keep the variables of the test process (default true). OTEL_* and UNDERSPAN_* are never passed on. */
  readonly inheritEnv?: boolean;
}

/** The environment of a child: ours without anything that configures OpenTelemetry or the agent. */
export function cleanEnvironment(): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !/^(OTEL_|UNDERSPAN_|NODE_TEST|NODE_OPTIONS)/.test(name)) result[name] = value;
  }
  return result;
}

export class Child {
  readonly pid: number;
  readonly command: string;
  stdout = '';
  stderr = '';
  exitCode: number | null = null;
  exitSignal: NodeJS.Signals | null = null;
  readonly exited: Promise<void>;
  readonly #process: ChildProcess;

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.command = [command, ...args].join(' ');
    const base = options.inheritEnv === false ? {} : cleanEnvironment();
    this.#process = spawn(command, args, {
      cwd: options.cwd,
      env: { ...base, ...options.env },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.pid = this.#process.pid ?? 0;
    this.#process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-OUTPUT_MAX);
    });
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-OUTPUT_MAX);
    });
    running.add(this);
    this.exited = new Promise((resolve, reject) => {
      this.#process.once('error', error => {
        running.delete(this);
        reject(new Error(`cannot start ${this.command}: ${error.message}`));
      });
      this.#process.once('close', (code, signal) => {
        running.delete(this);
        this.exitCode = code;
        this.exitSignal = signal;
        resolve();
      });
    });
    this.exited.catch(() => undefined);
  }

  get isRunning(): boolean {
    return running.has(this);
  }

  /** Ends the child's standard input. */
  closeInput(): void {
    this.#process.stdin?.end();
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  killGroup(signal: NodeJS.Signals): void {
    if (this.pid === 0) return;
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Asks the child to end; kills its whole group when it has not within `timeoutMs`. Returns true if it obeyed. */
  async stop(timeoutMs = 5000, signal: NodeJS.Signals = 'SIGTERM'): Promise<boolean> {
    if (!this.isRunning) return true;
    this.kill(signal);
    const obeyed = await within(this.exited, timeoutMs);
    this.killGroup('SIGKILL');
    await this.exited;
    return obeyed;
  }

  /** Waits for the end of the child; throws when it takes longer. */
  async finished(timeoutMs: number): Promise<this> {
    if (!(await within(this.exited, timeoutMs))) {
      this.killGroup('SIGKILL');
      throw new Error(`still running after ${timeoutMs} ms: ${this.command}\n${this.describe()}`);
    }
    await this.exited;
    return this;
  }

  /** What it said, for error messages. */
  describe(): string {
    return `exit ${this.exitCode ?? this.exitSignal ?? 'none'}\nstdout: ${this.stdout.slice(-4000)}\nstderr: ${this.stderr.slice(-4000)}`;
  }
}

async function within(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  const timer = new AbortController();
  const timeout = sleep(timeoutMs * PATIENCE, false, { signal: timer.signal }).catch(() => false);
  const result = await Promise.race([promise.then(() => true), timeout]);
  timer.abort();
  return result;
}

/** Runs a command to its end and returns it; its exit code is the caller's to judge. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { timeoutMs?: number } = {},
): Promise<Child> {
  const child = new Child(command, args, options);
  child.closeInput();
  return child.finished(options.timeoutMs ?? 20_000);
}

/** Polls until `probe` returns something other than null; throws with `what` after `timeoutMs`. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  probe: () => T | null | Promise<T | null>,
  intervalMs = 20,
): Promise<T> {
  const deadline = Date.now() + timeoutMs * PATIENCE;
  for (;;) {
    const result = await probe();
    if (result !== null) return result;
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await sleep(intervalMs);
  }
}

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

const RANGE_FIRST = 10_000;
const RANGE_LAST = 30_000;

/**
 * `count` ports in a row that are free, of those that the kernel does not give to clients: for tests whose agent has to know
 * all ports before there are servers on them.
 */
export async function freePorts(count: number): Promise<number[]> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = RANGE_FIRST + Math.floor(Math.random() * (RANGE_LAST - RANGE_FIRST));
    const ports = Array.from({ length: count }, (_, index) => first + index);
    const areFree = await Promise.all(ports.map(canListen));
    if (areFree.every(Boolean)) return ports;
  }
  throw new Error(`no ${count} free ports in a row`);
}

function canListen(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Connects and hangs up without a word: no request, hence no log entry and no span. */
export function isListening(target: { port: number; host?: string } | { path: string }): Promise<true | null> {
  return new Promise(resolve => {
    const socket = net.connect('port' in target ? { host: '127.0.0.1', ...target } : target);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(null));
  });
}

/** Not of a process that has ended and that nobody has asked for its end. */
export function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`).length > 0;
  } catch {
    return false;
  }
}

/** A directory that is removed when the test process ends. */
export function temporaryDirectory(name: string): string {
  const directory = mkdtempSync(path.join(tmpdir(), `underspan-${name}-`));
  directories.add(directory);
  return directory;
}

/** The process and everything that descends from it, from /proc. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    let stat: string;
    try {
      stat = readFileSync(`/proc/${entry}/stat`, 'latin1');
    } catch {
      continue; // gone meanwhile
    }
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [Number(entry)]);
    else siblings.push(Number(entry));
  }
  const tree = [root];
  for (let at = 0; at < tree.length; at++) tree.push(...(children.get(tree[at] as number) ?? []));
  return tree;
}
