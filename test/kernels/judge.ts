// One kernel of the matrix: boots it (boot.sh), lets guest.ts do its parts in it, and collects what that judged. In: the
// kernel and the parts. Out: findings, each with what is wrong about it, and the verifier's figures.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Figures } from './verifier-table.js';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A line of guest.ts. */
export type Fact =
  | {
      readonly fact: 'finding';
      readonly what: string;
      readonly told: string;
      /** What is wrong, one line each. */
      readonly faults: readonly string[];
    }
  | { readonly fact: 'figures'; readonly figures: Figures }
  | { readonly fact: 'end' };

export interface Finding {
  readonly what: string;
  readonly told: string;
  readonly faults: readonly string[];
}

export interface Verdict {
  readonly kernel: string;
  readonly findings: readonly Finding[];
  readonly figures: Figures;
}

const ARM64 = /-arm64$/;

/** The kernel's series, as the table names it: a new build of 6.12 is held to the figures of the last. */
export function seriesOf(kernel: string): string {
  const series = /^\d+\.\d+/.exec(kernel)?.[0] ?? kernel;
  return ARM64.test(kernel) ? `${series} arm64` : series;
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export async function judge(kernel: string, parts: readonly string[], seconds: number): Promise<Verdict> {
  const findings: Finding[] = [];
  const figures: Record<string, number> = {};
  let hasEnded = false;
  const note = (fact: Fact): void => {
    if (fact.fact === 'figures') Object.assign(figures, fact.figures);
    if (fact.fact === 'end') hasEnded = true;
    if (fact.fact !== 'finding') return;
    findings.push(fact);
    say(`${kernel} ${fact.what}: ${fact.told}${fact.faults.length === 0 ? '' : ', FAIL'}`);
    for (const fault of fact.faults) say(fault.replace(/^/gm, '  '));
  };
  const node = ARM64.test(kernel) ? 'node' : process.execPath;
  const command = [node, path.join(ROOT, 'dist/test/kernels/guest.js'), ...parts];
  const guest = spawn(path.join(ROOT, 'test/kernels/boot.sh'), [kernel, String(seconds), ...command], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const errors: string[] = [];
  createInterface({ input: guest.stdout }).on('line', line => {
    if (line.startsWith('{"fact":')) note(JSON.parse(line) as Fact);
  });
  createInterface({ input: guest.stderr }).on('line', line => {
    if (line.startsWith('retry ')) say(line);
    errors.push(line);
  });
  const status = await new Promise<number | null>(resolve => guest.once('close', resolve));
  const faults = status === 0 && hasEnded ? [] : [`it ended with ${status}:\n${errors.slice(-60).join('\n')}`];
  findings.push({ what: 'the guest', told: `ended with ${status}`, faults });
  return { kernel, findings, figures };
}
