// `npm run test:kernels -- [SERIES...] [PART...]`: boots Debian's generic kernels 5.10, 6.1, 6.12 and the newest one under
// QEMU, one for every two cores at a time, runs guest.ts in each, and judges what it tells. Parts are words of guest.ts. The verifier's figures are compared with verifier.md, which is
// committed: a program that a kernel finds much harder to verify than before fails the run; `--write` takes the new ones.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { differences, type Figures, parseTable, renderTable } from './verifier-table.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TABLE = path.join(ROOT, 'test/kernels/verifier.md');
const GUEST_SECONDS = 2 * 3600;
/** The words that name a part of guest.ts; without one, all of them are done, the TLS tests in one kernel. */
const PARTS = ['programs', 'tests', 'servers', 'tls'];
const TLS_SERIES = '6.12';
const AT_A_TIME = Math.max(1, Math.floor(availableParallelism() / 2));

type Fact =
  | {
      readonly fact: 'tests';
      suite: string;
      frontEnd: string;
      ok: boolean;
      passed: number;
      failures: readonly string[];
      output: string;
    }
  | { readonly fact: 'programs'; frontEnd: string; programs: Figures; ways: Readonly<Record<string, string | null>> }
  | {
      readonly fact: 'servers';
      frontEnd: string;
      target: string;
      ok: boolean;
      spans: number;
      faults: readonly string[];
    }
  | { readonly fact: 'books'; frontEnd: string; faults: readonly string[]; said: string }
  | { readonly fact: 'doctor'; frontEnd: string; faults: readonly string[] }
  | { readonly fact: 'end' };

interface Verdict {
  readonly kernel: string;
  readonly failures: string[];
  readonly figures: Record<string, number>;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** The kernel's series, as the table names it: a new build of 6.12 is held to the figures of the last. */
function seriesOf(kernel: string): string {
  return /^\d+\.\d+/.exec(kernel)?.[0] ?? kernel;
}

/** What the guest tells, as it does. */
class Account {
  readonly #kernel: string;
  readonly failures: string[] = [];
  readonly figures: Record<string, number> = {};
  hasEnded = false;

  constructor(kernel: string) {
    this.#kernel = kernel;
  }

  note(fact: Fact): void {
    switch (fact.fact) {
      case 'tests':
        this.#say(`${fact.frontEnd}: ${fact.suite}: ${fact.passed} passed${fact.ok ? '' : ', FAIL'}`);
        if (!fact.ok) this.failures.push(...fact.failures.map(text => `${fact.frontEnd}: ${text}`), fact.output);
        break;
      case 'programs':
        Object.assign(this.figures, fact.programs);
        this.#noteWays(fact.frontEnd, fact.ways);
        break;
      case 'servers':
        this.#say(`${fact.frontEnd}: ${fact.target} ${fact.ok ? `${fact.spans} SERVER spans, all right` : 'FAIL'}`);
        this.failures.push(...fact.faults.map(text => `${fact.frontEnd}: ${fact.target}: ${text}`));
        break;
      case 'books':
        this.#say(`${fact.frontEnd}: books ${fact.faults.length === 0 ? 'in order' : 'FAIL'}`);
        this.failures.push(...fact.faults.map(text => `${fact.frontEnd}: ${text}`));
        if (fact.faults.length > 0) this.failures.push(fact.said);
        break;
      case 'doctor':
        this.#say(`${fact.frontEnd}: doctor ${fact.faults.length === 0 ? 'right' : 'FAIL'}`);
        this.failures.push(...fact.faults.map(text => `${fact.frontEnd}: ${text}`));
        break;
      case 'end':
        this.hasEnded = true;
    }
  }

  /** No feature is lost on any of these kernels, and the best way to the sockets is open on all. */
  #noteWays(frontEnd: string, ways: Readonly<Record<string, string | null>>): void {
    const taken = Object.entries(ways).map(([group, way]) => `${group} by ${way ?? 'nothing'}`);
    this.#say(`${frontEnd}: ${taken.join(', ')}`);
    for (const [group, way] of Object.entries(ways))
      if (way === null) this.failures.push(`${frontEnd}: the probes of ${group} are refused`);
    const expected = frontEnd === 'auto' ? 'fentry' : frontEnd;
    if (ways['socket calls'] !== expected)
      this.failures.push(`${frontEnd}: socket calls go by ${ways['socket calls']}, not by ${expected}`);
  }

  #say(text: string): void {
    say(`${this.#kernel} ${text}`);
  }
}

/** What guest.ts is to do. */
function partsOf(kernel: string, words: readonly string[]): readonly string[] {
  if (PARTS.some(part => words.includes(part))) return words;
  return [...words, ...PARTS.filter(part => part !== 'tls' || seriesOf(kernel) === TLS_SERIES)];
}

async function judge(kernel: string, words: readonly string[]): Promise<Verdict> {
  const account = new Account(kernel);
  const command = [process.execPath, path.join(ROOT, 'dist/test/kernels/guest.js'), ...partsOf(kernel, words)];
  const guest = spawn(path.join(ROOT, 'test/kernels/boot.sh'), [kernel, String(GUEST_SECONDS), ...command], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const errors: string[] = [];
  createInterface({ input: guest.stdout }).on('line', line => {
    if (line.startsWith('{"fact":')) account.note(JSON.parse(line) as Fact);
  });
  createInterface({ input: guest.stderr }).on('line', line => {
    if (line.startsWith('retry ')) say(line);
    errors.push(line);
  });
  const status = await new Promise<number | null>(resolve => guest.once('close', resolve));
  const { failures, figures } = account;
  if (status !== 0 || !account.hasEnded)
    failures.push(`the guest ended with ${status}:\n${errors.slice(-60).join('\n')}`);
  return { kernel, failures, figures };
}

async function main(words: readonly string[]): Promise<number> {
  const wanted = words.filter(word => /^\d/.test(word));
  const parts = words.filter(word => /^[a-z]/.test(word));
  execFileSync('clang', ['-O2', 'test/services/uring-server.c', '-o', 'build/uring-server', '-luring'], { cwd: ROOT });
  const fetch = path.join(ROOT, 'test/kernels/fetch.sh');
  const names = execFileSync(fetch, wanted.map(seriesOf), { encoding: 'utf8' }).trim().split('\n');
  const kernels = names.filter(name => wanted.length === 0 || wanted.includes(seriesOf(name)) || wanted.includes(name));
  if (kernels.length === 0) throw new Error(`none of the kernels ${names.join(', ')} is ${wanted.join(' or ')}`);
  const waiting = [...kernels];
  const verdicts: Verdict[] = [];
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      for (let kernel = waiting.shift(); kernel !== undefined; kernel = waiting.shift()) {
        verdicts.push(await judge(kernel, parts));
      }
    }),
  );
  /** All programs were loaded. */
  const isWhole = parts.every(part => part === 'programs');
  const committed = parseTable(readFileSync(TABLE, 'utf8'));
  const failures = verdicts.flatMap(({ kernel, failures: own }) => own.map(text => `${kernel}: ${text}`));
  for (const { kernel, figures } of verdicts) {
    const series = seriesOf(kernel);
    if (words.includes('--write')) committed.set(series, { ...(isWhole ? {} : committed.get(series)), ...figures });
    else failures.push(...differences(series, committed.get(series) ?? {}, figures, isWhole));
  }
  if (words.includes('--write')) writeFileSync(TABLE, renderTable(committed));
  for (const failure of failures) say(`failed: ${failure}`);
  say(`${kernels.length} kernels, ${failures.length} failures`);
  return failures.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
