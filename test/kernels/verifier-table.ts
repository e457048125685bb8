// The committed table of what each kernel's verifier had to walk: program by program, a column for each kernel series.

/** Instructions that the verifier walked, by program. */
export type Figures = Readonly<Record<string, number>>;

/** Beyond the noise of another build of the same series. */
const GROWTH_ALLOWED = 1.25;
/** No kernel takes more. */
export const LIMIT = 1_000_000;

const INTRODUCTION = `# What the verifier walks

Instructions that each kernel's verifier walked to accept each program (its limit is ${LIMIT.toLocaleString('en-US')}), as
\`npm run test:kernels -- --write\` found them. \`npm run test:kernels\` fails when a figure has grown by more than a quarter.
A dash: the program is not loaded there. 0: it is loaded, and the kernel does not tell (before Linux 5.16).
`;

export function renderTable(columns: ReadonlyMap<string, Figures>): string {
  const series = [...columns.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const programs = [...new Set([...columns.values()].flatMap(figures => Object.keys(figures)))].sort();
  const rows = programs.map(program => {
    const cells = series.map(name => columns.get(name)?.[program] ?? '–');
    return `| ${[program, ...cells].join(' | ')} |`;
  });
  const head = `| ${['program', ...series].join(' | ')} |\n|---|${series.map(() => '---:|').join('')}`;
  return `${INTRODUCTION}\n${[head, ...rows].join('\n')}\n`;
}

export function parseTable(text: string): Map<string, Figures> {
  const rows = text
    .split('\n')
    .filter(line => line.startsWith('| '))
    .map(line => line.slice(2, -2).split(' | '));
  const [head, ...body] = rows;
  const columns = new Map<string, Figures>();
  head?.slice(1).forEach((series, index) => {
    const cells = body.map(row => [row[0] as string, Number(row[index + 1])] as const);
    columns.set(series, Object.fromEntries(cells.filter(([, figure]) => !Number.isNaN(figure))));
  });
  return columns;
}

/** What has become harder to verify than the table says, one line each. Not `isWhole`: some programs were not loaded. */
export function differences(series: string, committed: Figures, found: Figures, isWhole: boolean): string[] {
  const lines: string[] = [];
  for (const [program, figure] of Object.entries(found)) {
    const before = committed[program];
    if (before === undefined) lines.push(`${series}: ${program} (${figure}) is not in verifier.md`);
    else if (figure > before * GROWTH_ALLOWED) lines.push(`${series}: ${program} grew from ${before} to ${figure}`);
  }
  for (const program of Object.keys(committed)) {
    if (isWhole && found[program] === undefined) lines.push(`${series}: ${program} was loaded before and is not now`);
  }
  return lines;
}
