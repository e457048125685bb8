// The committed table of what was found in each kernel: by front end and server, how many requests had their spans. In: the
// findings of a run. Out: cells.md, a column for each kernel series.
import type { Verdict } from './judge.js';

/** By what was looked at (`fentry, nginx`): what was found, or that it was not right. */
export type Cells = Readonly<Record<string, string>>;

const WRONG = 'wrong';
/** Long, and of one run only. */
const UNTOLD = /, programs$|^the guest$/;

const INTRODUCTION = `# What was seen on each kernel

For each front end, and for the one that the agent takes by itself (auto): how many of the 20 requests that each server was sent
have their SERVER span and how many their CLIENT span, compared with the client's own account and joined; whether the
agent's books are in order at the end: nothing lost, no byte missed. \`npm run test:kernels -- --write\` found it; a run in
which anything is wrong fails. A dash: not looked at. The system-call front end cannot see a server on \`io_uring\`, only its
clients; and Linux 7 preempts its programs and skips runs of them, for which it has no copies (ARCHITECTURE.md): what is lost
for that is counted.
`;

export function cellsOf({ kernel, findings }: Verdict): Cells {
  const cells = findings
    .filter(({ what }) => !UNTOLD.test(what))
    .map(({ what, told, faults }) => [what, faults.length === 0 ? told : WRONG] as const);
  return { kernel, ...Object.fromEntries(cells) };
}

export function renderCells(columns: ReadonlyMap<string, Cells>): string {
  const series = [...columns.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const rows = [...new Set(series.flatMap(name => Object.keys(columns.get(name) ?? {})))].map(what => {
    const cells = series.map(name => columns.get(name)?.[what] ?? '–');
    return `| ${[what, ...cells].join(' | ')} |`;
  });
  const head = `| ${['', ...series].join(' | ')} |\n|---|${series.map(() => '---|').join('')}`;
  return `${INTRODUCTION}\n${[head, ...rows].join('\n')}\n`;
}

export function parseCells(text: string): Map<string, Cells> {
  const [head, ...body] = text
    .split('\n')
    .filter(line => line.startsWith('| '))
    .map(line => line.slice(2, -2).split(' | '));
  const columns = new Map<string, Cells>();
  head?.slice(1).forEach((series, index) => {
    const cells = body.map(row => [row[0] as string, row[index + 1] as string] as const);
    columns.set(series, Object.fromEntries(cells.filter(([, cell]) => cell !== '–')));
  });
  return columns;
}
