// The correctness table as text. In: rows that were measured, and the file's text. Out: the text with these rows in the place of
// what was there for the same scenario, load and link; in the order of the scenarios.
import type { Verdict } from '../support/chain.js';

/** Links of rows that are not about one service's calls. */
export const BETWEEN = 'between processes';
export const BY_ITSELF = 'without a request';

export interface Row {
  readonly scenario: string;
  readonly concurrency: number;
  /** Whose calls; or BETWEEN, BY_ITSELF. */
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

/** What stands between the bars; the first and the last are empty. */
export function cellsOf(line: string): string[] {
  return line.split('|').map(cell => cell.trim());
}

function keyOf(line: string): string {
  return cellsOf(line)
    .slice(1, 1 + KEY_COLUMNS)
    .join('|');
}

/** The text with what `change` makes of the rows of the table that has this head. */
export function changeTable(
  text: string,
  head: string,
  change: (rows: readonly string[]) => readonly string[],
): string {
  const lines = text.split('\n');
  const headLines = head.split('\n');
  const from = lines.indexOf(headLines[0] as string);
  if (from < 0) throw new Error(`the file has no table with the columns ${headLines[0]}`);
  const first = from + headLines.length;
  let to = first;
  while (lines[to]?.startsWith('|') === true) to++;
  return [...lines.slice(0, from), ...headLines, ...change(lines.slice(first, to)), ...lines.slice(to)].join('\n');
}

/** Rows of the scenario and load that are not among the new ones go: they are of a scenario that has changed. */
export function mergeRows(known: readonly string[], rows: readonly Row[], scenarios: readonly string[]): string[] {
  const isMeasured = (line: string): boolean =>
    rows.some(({ scenario, concurrency }) => keyOf(line).startsWith(`${scenario}|${concurrency}|`));
  const place = (line: string): number => scenarios.indexOf(cellsOf(line)[1] as string);
  const load = (line: string): number => Number(cellsOf(line)[2]);
  const kept = known.filter(line => !isMeasured(line) && place(line) >= 0);
  return [...kept, ...rows.map(rowText)].sort((one, other) => place(one) - place(other) || load(one) - load(other));
}
