// `npm run test:kernels -- [SERIES...] [PART...]`: boots Debian's generic kernels 5.10, 6.1, 6.12 and the newest one under
// QEMU, one for every two cores at a time, and judges what guest.ts finds in each. Parts are words of guest.ts. The
// verifier's figures are compared with verifier.md, which is committed: a program that a kernel finds much harder to verify
// than before fails the run. `--write` takes the new ones, and what was seen into cells.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { type Cells, cellsOf, parseCells, renderCells } from './cells-table.js';
import { judge, ROOT, say, seriesOf, type Verdict } from './judge.js';
import { prepareArm64, prepareGo, prepareKernels } from './prepare.js';
import { differences, parseTable, renderTable } from './verifier-table.js';

const TABLE = path.join(ROOT, 'test/kernels/verifier.md');
const CELLS = path.join(ROOT, 'test/kernels/cells.md');
const AT_A_TIME = Math.max(1, Math.floor(availableParallelism() / 2));
/** Without a word for a part all of them are done, the TLS suite in one kernel. */
const PART = /^(programs|servers|doctor|tests|tls)\b/;
const TLS_SERIES = '6.12';
const GUEST_SECONDS = 2 * 3600;

const ARM64 = 'arm64';

function partsOf(kernel: string, words: readonly string[]): readonly string[] {
  if (words.some(word => PART.test(word))) return words;
  return [
    ...words,
    'programs',
    'servers',
    'doctor/auto',
    'tests',
    ...(seriesOf(kernel) === TLS_SERIES ? ['tls/auto'] : []),
  ];
}

async function main(args: readonly string[]): Promise<number> {
  const words = args.filter(word => /^[a-z]/.test(word) && word !== ARM64);
  const kernels = args.includes(ARM64)
    ? [prepareArm64()]
    : prepareKernels(args.filter(word => /^\d/.test(word)).map(seriesOf));
  if (kernels.some(kernel => partsOf(kernel, words).some(part => part.startsWith('tls')))) prepareGo();
  const waiting = [...kernels];
  const verdicts: Verdict[] = [];
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      for (let kernel = waiting.shift(); kernel !== undefined; kernel = waiting.shift()) {
        verdicts.push(await judge(kernel, partsOf(kernel, words), GUEST_SECONDS));
      }
    }),
  );
  const failures = verdicts.flatMap(({ kernel, findings }) =>
    findings.flatMap(({ what, faults }) => faults.map(fault => `${kernel}: ${what}: ${fault}`)),
  );
  /** All programs were loaded. */
  const isWhole = words.every(word => word === 'programs');
  const committed = parseTable(readFileSync(TABLE, 'utf8'));
  for (const { kernel, figures } of verdicts) {
    const series = seriesOf(kernel);
    if (args.includes('--write')) committed.set(series, { ...(isWhole ? {} : committed.get(series)), ...figures });
    else failures.push(...differences(series, committed.get(series) ?? {}, figures, isWhole));
  }
  if (args.includes('--write')) {
    writeFileSync(TABLE, renderTable(committed));
    const cells: Map<string, Cells> = parseCells(readFileSync(CELLS, 'utf8'));
    for (const verdict of verdicts) {
      const series = seriesOf(verdict.kernel);
      cells.set(series, { ...cells.get(series), ...cellsOf(verdict) });
    }
    writeFileSync(CELLS, renderCells(cells));
  }
  for (const failure of failures) say(`failed: ${failure}`);
  say(`${kernels.length} kernels, ${failures.length} failures`);
  return failures.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
