// The correctness table as text, and in README.md. In: rows that were measured. Out: the file with these rows in the place of
// what was there for the same scenario, load and link; in the order of the scenarios.
import { readFileSync, writeFileSync } from 'node:fs';
import type { Verdict } from '../support/chain.js';

export interface Row {
  readonly scenario: string;
  readonly concurrency: number;
  /** Whose calls; or `between processes`, `without a request`. */
  readonly link: string;
  readonly verdict: Verdict;
  /** Calls that were made and have no span. */
  readonly missing: number;
}

const COLUMNS = ['scenario', 'at a time', 'spans of', 'count', 'right', 'none', 'wrong', 'not judged', 'missing'];
export const TABLE_HEAD = `| ${COLUMNS.join(' | ')} |\n|${'---|'.repeat(COLUMNS.length)}`;
/** What makes a row the same as one before. */
const KEY_COLUMNS = 3;

function percent(part: number, { right, none, wrong }: Verdict): string {
  const all = right + none + wrong;
  return all === 0 ? '-' : `${((100 * part) / all).toFixed(1)} %`;
}

export function rowText({ scenario, concurrency, link, verdict, missing }: Row): string {
  const { right, none, wrong, unjudged } = verdict;
  const shares = [right, none, wrong].map(part => percent(part, verdict));
  return `| ${[scenario, concurrency, link, right + none + wrong, ...shares, unjudged, missing].join(' | ')} |`;
}

function cells(line: string): string[] {
  return line.split('|').map(cell => cell.trim());
}

function keyOf(line: string): string {
  return cells(line)
    .slice(1, 1 + KEY_COLUMNS)
    .join('|');
}

/** Rows of the scenario and load that are not among the new ones go: they are of a scenario that has changed. */
export function mergeTable(text: string, rows: readonly Row[], scenarios: readonly string[]): string {
  const lines = text.split('\n');
  const head = TABLE_HEAD.split('\n');
  const from = lines.indexOf(head[0] as string);
  if (from < 0) throw new Error('the file has no table with these columns');
  let to = from + head.length;
  while (lines[to]?.startsWith('|') === true) to++;
  const isMeasured = (line: string): boolean =>
    rows.some(({ scenario, concurrency }) => keyOf(line).startsWith(`${scenario}|${concurrency}|`));
  const kept = lines.slice(from + head.length, to).filter(line => !isMeasured(line));
  const place = (line: string): number => scenarios.indexOf(cells(line)[1] as string);
  const load = (line: string): number => Number(cells(line)[2]);
  const all = [...kept.filter(line => place(line) >= 0), ...rows.map(rowText)];
  all.sort((one, other) => place(one) - place(other) || load(one) - load(other));
  return [...lines.slice(0, from), ...head, ...all, ...lines.slice(to)].join('\n');
}

export function writeTable(file: string, rows: readonly Row[], scenarios: readonly string[]): void {
  writeFileSync(file, mergeTable(readFileSync(file, 'utf8'), rows, scenarios));
}
