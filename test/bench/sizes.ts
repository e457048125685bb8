// Does what a request costs us grow with its response? nginx under full load, answering with files of other sizes than macro's
// 612 bytes: only the captured head of a response is copied, and of a file that goes by sendfile nothing.
import { type PartResult, type Row, ratioOf, renderTable, spreadOf } from './figures.js';
import { Bench, type Cell, STATES } from './macro.js';
import { Nginx } from './nginx.js';
import type { Quiet } from './quiet.js';
import { Sink } from './sink.js';

const SIZES = [
  { name: '10 kB', bytes: 10_000 },
  { name: '1 MB', bytes: 1_000_000 },
] as const;
const SHOWN: ReadonlySet<string> = new Set(['nothing', 'agent, metrics only', 'agent, every server span']);
const SIZED_STATES = STATES.filter(({ name }) => SHOWN.has(name));

export async function runSizes(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  const rows: Row[] = [];
  const data: unknown[] = [];
  for (const { name: size, bytes } of SIZES) {
    const cells = await measureSize(bytes, rounds, quiet, state => say(`sizes, ${size}: ${state}`));
    for (const [at, { name }] of SIZED_STATES.entries()) {
      rows.push(rowOf(`${size}, ${name}`, cells[at] as Cell[], cells[0] as Cell[]));
      data.push({ size, state: name, rounds: cells[at] });
    }
  }
  return { title: 'nginx under load with larger responses', tables: [table(rows)], warnings: [], data };
}

async function measureSize(
  fileBytes: number,
  rounds: number,
  quiet: Quiet,
  say: (state: string) => void,
): Promise<Cell[][]> {
  const nginx = await Nginx.start({ fileBytes });
  const sink = await Sink.start();
  const cells: Cell[][] = SIZED_STATES.map(() => []);
  try {
    const bench = new Bench(nginx, sink);
    for (let round = 0; round < rounds; round++) {
      for (const [at, state] of SIZED_STATES.entries()) {
        say(state.name);
        cells[at]?.push(await quiet.round(() => bench.cell(state)));
      }
    }
  } finally {
    await nginx.stop();
    await sink.stop();
  }
  return cells;
}

function rowOf(name: string, mine: readonly Cell[], baseline: readonly Cell[]): Row {
  const of = (cells: readonly Cell[], key: 'perSecond' | 'serverMicros' | 'companionMicros' | 'spansPerRequest') =>
    cells.map(cell => cell[key]);
  return {
    name,
    cells: [
      ratioOf(of(mine, 'perSecond'), of(baseline, 'perSecond')),
      ratioOf(of(mine, 'serverMicros'), of(baseline, 'serverMicros')),
      spreadOf(of(mine, 'perSecond')),
      spreadOf(of(mine, 'companionMicros')),
      spreadOf(of(mine, 'spansPerRequest')),
    ],
  };
}

function table(rows: readonly Row[]): string {
  const columns = [
    { title: 'throughput', digits: 1, isShare: true, hasSpread: true },
    { title: 'server CPU', digits: 2, hasSpread: true },
    { title: 'requests/s', digits: 0 },
    { title: 'agent CPU us', digits: 2, hasSpread: true },
    { title: 'spans/request', digits: 3 },
  ];
  return renderTable('ratio to nothing, same round', columns, rows);
}
