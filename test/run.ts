// The runner behind `npm test`: unit tests side by side, then the kernel and e2e tests (root) one file at a time. In:
// nothing, or the names of phases and parts of file names. Out: progress as it happens and, as the last line, exactly
// `N passed, N failed`; exit code 1 if anything failed, was skipped, or if nothing ran.
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

interface Phase {
  readonly name: string;
  readonly needsRoot: boolean;
  readonly concurrency: number;
  /** Bound of one file. */
  readonly timeoutMs: number;
  /** Runs only where its name is given. */
  readonly isOnlyNamed?: true;
}

const PHASES: readonly Phase[] = [
  { name: 'unit', needsRoot: false, concurrency: availableParallelism(), timeoutMs: 180_000 },
  { name: 'kernel', needsRoot: true, concurrency: 1, timeoutMs: 300_000 },
  { name: 'e2e', needsRoot: true, concurrency: 1, timeoutMs: 600_000 },
  // In an emulated machine: more than its own bound (one-kernel.test.ts) and what it takes to fetch a kernel.
  { name: 'kernels', needsRoot: true, concurrency: 1, timeoutMs: 1_800_000 },
  // Builds the backends first where they are not built yet.
  { name: 'backends', needsRoot: true, concurrency: 1, timeoutMs: 4 * 3_600_000, isOnlyNamed: true },
];
/** An emulated machine (test/kernels) is slow by this factor. */
const PATIENCE = Number(process.env.UNDERSPAN_TEST_PATIENCE ?? 1);
const TESTS = path.dirname(fileURLToPath(import.meta.url));

class Tally {
  passed = 0;
  readonly failures: string[] = [];

  fail(what: string): void {
    this.failures.push(what);
  }
}

async function main(words: readonly string[]): Promise<number> {
  const names = PHASES.map(phase => phase.name);
  const wantedPhases = words.filter(word => names.includes(word));
  const wantedFiles = words.filter(word => !names.includes(word)).map(word => word.replace(/\.ts$/, '.js'));
  const tally = new Tally();
  for (const phase of PHASES) {
    if (wantedPhases.length > 0 && !wantedPhases.includes(phase.name)) continue;
    if (phase.isOnlyNamed && !wantedPhases.includes(phase.name)) continue;
    const files = findTests(path.join(TESTS, phase.name)).filter(file => isWanted(file, wantedFiles));
    if (files.length > 0) await runPhase(phase, files, tally);
  }
  for (const failure of tally.failures) console.log(`failed: ${failure}`);
  const ran = tally.passed + tally.failures.length;
  if (ran === 0) console.log(`no test ${words.length === 0 ? 'is built' : `matches ${words.join(' ')}`}`);
  console.log(`${tally.passed} passed, ${tally.failures.length} failed`);
  return tally.failures.length > 0 || ran === 0 ? 1 : 0;
}

function findTests(folder: string): string[] {
  let entries: string[];
  try {
    entries = readdirSync(folder, { recursive: true }) as string[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return entries
    .filter(entry => entry.endsWith('.test.js'))
    .sort()
    .map(entry => path.join(folder, entry));
}

function isWanted(file: string, wanted: readonly string[]): boolean {
  const name = path.join('test', path.relative(TESTS, file));
  return wanted.length === 0 || wanted.some(part => name.includes(part));
}

async function runPhase(phase: Phase, files: readonly string[], tally: Tally): Promise<void> {
  console.log(`\n== ${phase.name}: ${files.length} files`);
  if (phase.needsRoot && process.geteuid?.() !== 0) {
    console.log(
      `The ${phase.name} tests load probes into the kernel and need root: sudo npm test, or npm test -- unit`,
    );
    for (const file of files) tally.fail(`${shortName(file)}: needs root`);
    return;
  }
  const stream = run({ files: [...files], concurrency: phase.concurrency, timeout: phase.timeoutMs * PATIENCE });
  stream.on('test:pass', event => {
    if (event.details.type === 'suite') return;
    // A test that does not run proves nothing.
    if (event.skip !== undefined || event.todo !== undefined) tally.fail(`${whereOf(event)}: skipped`);
    else tally.passed++;
  });
  stream.on('test:fail', event => {
    if (event.details.type !== 'suite') tally.fail(whereOf(event));
  });
  const report = stream.compose(new spec());
  for await (const text of report) process.stdout.write(text as string);
}

function whereOf(event: { readonly name: string; readonly file?: string | undefined }): string {
  const name = path.isAbsolute(event.name) ? shortName(event.name) : event.name;
  return event.file === undefined || event.file === event.name ? name : `${shortName(event.file)}: ${name}`;
}

function shortName(file: string): string {
  return path.join('test', path.relative(TESTS, file)).replace(/\.js$/, '.ts');
}

process.exitCode = await main(process.argv.slice(2));
