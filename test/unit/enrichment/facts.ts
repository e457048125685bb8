// Builders for the tests of enrichment and discovery: facts by the fields that matter, and a /proc in a temporary folder.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type ProcessFacts, unknownFacts } from '../../../src/enrichment/process-facts.js';

/** Facts as if read from /proc: `exe` is the executable's path, `line` the command line, blanks between arguments. */
export function facts(exe: string, line: string, more: Partial<ProcessFacts> = {}): ProcessFacts {
  return {
    ...unknownFacts(100),
    exePath: exe,
    exeName: exe.slice(exe.lastIndexOf('/') + 1),
    args: line === '' ? [] : line.split(' '),
    ...more,
  };
}

export interface FakeProcess {
  readonly comm?: string;
  readonly parentPid?: number;
  readonly startTicks?: number;
  readonly exe?: string;
  readonly args?: readonly string[];
  readonly environ?: string;
  readonly cwd?: string;
  readonly uid?: number;
  readonly cgroup?: string;
  readonly netns?: number;
}

/** A procfs of plain files. */
export class FakeProc {
  readonly root: string;

  constructor(context: TestContext) {
    this.root = mkdtempSync(join(tmpdir(), 'underspan-proc-'));
    context.after(() => rmSync(this.root, { recursive: true }));
  }

  add(pid: number, process: FakeProcess): void {
    const comm = process.comm ?? 'program';
    const fields = ['S', process.parentPid ?? 1, ...Array(17).fill(0), process.startTicks ?? 500, 0, 0];
    this.write(pid, 'stat', `${pid} (${comm}) ${fields.join(' ')}\n`);
    this.write(pid, 'status', `Name:\t${comm}\nUid:\t0\t${process.uid ?? 0}\t0\t0\n`);
    this.write(pid, 'cmdline', (process.args ?? []).map(argument => `${argument}\0`).join(''));
    this.write(pid, 'environ', process.environ ?? '');
    this.write(pid, 'cgroup', process.cgroup ?? '0::/\n');
    this.link(pid, 'exe', process.exe ?? '/usr/bin/program');
    this.link(pid, 'cwd', process.cwd ?? '/');
    this.link(pid, 'ns/net', `net:[${process.netns ?? 4026531840}]`);
  }

  remove(pid: number): void {
    rmSync(join(this.root, String(pid)), { recursive: true });
  }

  write(pid: number, name: string, content: string | Buffer): void {
    const path = join(this.root, String(pid), name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, content);
  }

  link(pid: number, name: string, target: string): void {
    const path = join(this.root, String(pid), name);
    mkdirSync(join(path, '..'), { recursive: true });
    rmSync(path, { force: true });
    symlinkSync(target, path);
  }
}
