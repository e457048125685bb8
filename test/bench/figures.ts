// Numbers of repeated rounds, and how they are shown. In: one value a round. Out: median and spread, tables as text. A
// bench reports ratios to a baseline of the same round first, because only those survive a noisy machine.

/** What several rounds gave. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
}

/** A table row: a name and its cells. */
export interface Row {
  readonly name: string;
  readonly cells: readonly (Spread | number | string)[];
}

export interface Column {
  readonly title: string;
  readonly digits: number;
  /** Show min and max beside the median. */
  readonly hasSpread?: boolean;
  /** Values are shares, shown as percent. */
  readonly isShare?: boolean;
}

/** What one part of the bench gives: tables for people, the same figures as JSON for machines. */
export interface PartResult {
  readonly title: string;
  readonly tables: readonly string[];
  /** Things that make the figures worth less. */
  readonly warnings: readonly string[];
  readonly data: unknown;
}

export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('no rounds, no figure');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
  return { median, min: sorted[0] as number, max: sorted[sorted.length - 1] as number, rounds: sorted.length };
}

/** Spread of `values[i] / baseline[i]`: rounds that ran one after the other are compared with each other. */
export function ratioOf(values: readonly number[], baseline: readonly number[]): Spread {
  return spreadOf(values.map((value, round) => value / (baseline[round] as number)));
}

function cellText(cell: Spread | number | string, column: Column): string {
  if (typeof cell === 'string') return cell;
  const text = (value: number): string =>
    column.isShare === true ? `${(value * 100).toFixed(column.digits)}%` : value.toFixed(column.digits);
  if (typeof cell === 'number') return text(cell);
  return column.hasSpread === true ? `${text(cell.median)} (${text(cell.min)}..${text(cell.max)})` : text(cell.median);
}

/** Columns aligned right, the first one left. */
export function renderTable(first: string, columns: readonly Column[], rows: readonly Row[]): string {
  const lines = [
    [first, ...columns.map(column => column.title)],
    ...rows.map(row => [row.name, ...row.cells.map((cell, at) => cellText(cell, columns[at] as Column))]),
  ];
  const widths = lines[0]?.map((_, at) => Math.max(...lines.map(line => (line[at] ?? '').length))) ?? [];
  return lines
    .map(line =>
      line.map((text, at) => (at === 0 ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0))).join('  '),
    )
    .join('\n');
}
