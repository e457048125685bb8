// `npm run test:kernels [NAME...]`: boots Debian's generic kernels 5.10, 6.1, 6.12 and the newest one under QEMU, two at a
// time, runs guest.ts in each, and judges what it tells. The verifier's figures are compared with verifier.md, which is
// committed: a program that a kernel finds much harder to verify than before fails the run; `--write` takes the new ones.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { differences, type Figures, parseTable, renderTable } from './verifier-table.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TABLE = path.join(ROOT, 'test/kernels/verifier.md');
const GUEST_SECONDS = 3600;
const AT_A_TIME = 2;

type Fact =
  | { readonly fact: 'kernel tests'; frontEnd: string; ok: boolean; failures: readonly string[]; output: string }
  | { readonly fact: 'programs'; frontEnd: string; programs: Figures }
  | {
      readonly fact: 'servers';
      frontEnd: string;
      target: string;
      ok: boolean;
      spans: number;
      faults: readonly string[];
    }
  | { readonly fact: 'losses'; frontEnd: string; losses: string }
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

async function judge(kernel: string): Promise<Verdict> {
  const failures: string[] = [];
  const figures: Record<string, number> = {};
  let hasEnded = false;
  const guest = spawn(
    path.join(ROOT, 'test/kernels/boot.sh'),
    [kernel, String(GUEST_SECONDS), process.execPath, path.join(ROOT, 'dist/test/kernels/guest.js')],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  let errors = '';
  guest.stdout.on('data', (part: Buffer) => {
    output += part.toString();
  });
  guest.stderr.on('data', (part: Buffer) => {
    errors += part.toString();
  });
  const status = await new Promise<number | null>(resolve => guest.once('close', resolve));
  for (const line of output.split('\n').filter(text => text.startsWith('{'))) {
    const fact = JSON.parse(line) as Fact;
    switch (fact.fact) {
      case 'kernel tests':
        say(`${kernel} ${fact.frontEnd}: kernel tests ${fact.ok ? 'pass' : 'FAIL'}`);
        if (!fact.ok) failures.push(...fact.failures.map(text => `${fact.frontEnd}: ${text}`), fact.output);
        break;
      case 'programs':
        Object.assign(figures, fact.programs);
        break;
      case 'servers':
        say(`${kernel} ${fact.frontEnd}: ${fact.target} ${fact.ok ? `${fact.spans} spans, all right` : 'FAIL'}`);
        failures.push(...fact.faults.map(text => `${fact.frontEnd}: ${fact.target}: ${text}`));
        break;
      case 'losses':
        if (fact.losses !== '') say(`${kernel} ${fact.frontEnd}: ${fact.losses}`);
        break;
      case 'end':
        hasEnded = true;
    }
  }
  if (status !== 0 || !hasEnded) failures.push(`the guest ended with ${status}:\n${errors.slice(-4000)}`);
  return { kernel, failures, figures };
}

async function main(words: readonly string[]): Promise<number> {
  const wanted = words.filter(word => !word.startsWith('--'));
  execFileSync('clang', ['-O2', 'test/services/uring-server.c', '-o', 'build/uring-server', '-luring'], { cwd: ROOT });
  const names = execFileSync(path.join(ROOT, 'test/kernels/fetch.sh'), { encoding: 'utf8' }).trim().split('\n');
  const kernels = names.filter(name => wanted.length === 0 || wanted.some(word => name.startsWith(word)));
  if (kernels.length === 0) throw new Error(`no kernel of ${names.join(', ')} begins with ${wanted.join(' or ')}`);
  const waiting = [...kernels];
  const verdicts: Verdict[] = [];
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      for (let kernel = waiting.shift(); kernel !== undefined; kernel = waiting.shift()) {
        verdicts.push(await judge(kernel));
      }
    }),
  );
  const committed = parseTable(readFileSync(TABLE, 'utf8'));
  const failures = verdicts.flatMap(({ kernel, failures: own }) => own.map(text => `${kernel}: ${text}`));
  for (const { kernel, figures } of verdicts) {
    const series = seriesOf(kernel);
    if (words.includes('--write')) committed.set(series, figures);
    else failures.push(...differences(series, committed.get(series) ?? {}, figures));
  }
  if (words.includes('--write')) writeFileSync(TABLE, renderTable(committed));
  for (const failure of failures) say(`failed: ${failure}`);
  say(`${kernels.length} kernels, ${failures.length} failures`);
  return failures.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
