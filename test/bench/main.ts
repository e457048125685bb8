// `npm run bench -- [PART...] [--rounds N] [--patience SECONDS]`: what Underspan costs, as ratios in one run on one machine. In: names of parts
// (none: all of them). Out: tables on standard output, all figures of all rounds in build/bench.json. Needs root, nginx and
// wrk. README.md beside this file says what each part measures and what it does not.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildPath } from '../../src/kernel/host.js';
import { runCommand } from '../support/processes.js';
import { runEncode } from './encode.js';
import type { PartResult } from './figures.js';
import { runFloor } from './floor.js';
import { runKernel } from './kernel.js';
import { describeMachine } from './machine.js';
import { runMacro, runNode } from './macro.js';
import { Quiet } from './quiet.js';
import { runRate } from './rate.js';
import { runReplay } from './replay.js';
import { runRuntimes } from './runtimes.js';
import { runScale } from './scale.js';
import { runSdk } from './sdk.js';
import { runSizes } from './sizes.js';
import { runTls } from './tls.js';

type Part = (rounds: number, quiet: Quiet, say: (text: string) => void) => Promise<PartResult>;

const PARTS: Readonly<Record<string, Part>> = {
  macro: runMacro,
  node: runNode,
  rate: runRate,
  sizes: runSizes,
  floor: runFloor,
  kernel: runKernel,
  runtimes: runRuntimes,
  replay: runReplay,
  encode: runEncode,
  sdk: runSdk,
  scale: runScale,
  tls: runTls,
};
const DEFAULT_ROUNDS = 3;
/** Seconds that the whole run waits for a quiet machine, and spends on repeating disturbed rounds. */
const DEFAULT_PATIENCE = 40;

/** Progress, where it does not mix with the tables. */
function say(text: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `bench: ${text}\n`);
}

async function buildPrograms(): Promise<void> {
  const folder = path.resolve('bpf/bench');
  const made = await runCommand('make', ['--no-print-directory', '-C', folder, `BUILD=${buildPath('bench')}`]);
  if (made.exitCode !== 0) throw new Error(`bpf/bench cannot be built: ${made.describe()}`);
}

function show(result: PartResult): void {
  process.stdout.write(`\n== ${result.title} ==\n`);
  for (const table of result.tables) process.stdout.write(`\n${table}\n`);
  for (const warning of result.warnings) process.stdout.write(`\nnote: ${warning}\n`);
}

function save(results: Readonly<Record<string, PartResult>>): void {
  const file = buildPath('bench.json');
  mkdirSync(path.dirname(file), { recursive: true });
  const parts = Object.entries(results).map(([name, { title, data, warnings }]) => [name, { title, warnings, data }]);
  const content = { at: new Date().toISOString(), machine: describeMachine(), parts: Object.fromEntries(parts) };
  writeFileSync(file, `${JSON.stringify(content, null, 1)}\n`);
  process.stdout.write(`\nall rounds: ${path.relative(process.cwd(), file)}\n`);
}

// Each child's temporary directory adds a listener for the end of this process.
process.setMaxListeners(0);

async function main(): Promise<number> {
  const options = { rounds: { type: 'string' }, patience: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const rounds = Number(values.rounds ?? DEFAULT_ROUNDS);
  const patience = Number(values.patience ?? DEFAULT_PATIENCE);
  const unknown = positionals.filter(name => !Object.hasOwn(PARTS, name));
  if (unknown.length > 0 || !Number.isInteger(rounds) || rounds < 1 || !(patience >= 0)) {
    process.stderr.write(
      `usage: npm run bench -- [${Object.keys(PARTS).join('|')}]... [--rounds N] [--patience SECONDS]\n`,
    );
    return 2;
  }
  if (process.geteuid?.() !== 0) {
    process.stderr.write('the bench loads BPF programs: run it as root\n');
    return 3;
  }
  process.chdir(fileURLToPath(new URL('../../..', import.meta.url)));
  await buildPrograms();
  const machine = describeMachine();
  process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}\n`);
  const quiet = new Quiet(patience * 1000);
  const results: Record<string, PartResult> = {};
  for (const name of positionals.length > 0 ? positionals : Object.keys(PARTS)) {
    const result = await (PARTS[name] as Part)(rounds, quiet, say);
    results[name] = { ...result, warnings: [...result.warnings, ...quiet.takeWarnings()] };
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    show(results[name]);
  }
  save(results);
  return 0;
}

process.exitCode = await main();
