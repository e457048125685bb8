// The committed table of what was seen on each kernel: it reads back as it was written, and nothing in it is wrong.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { cellsOf, parseCells, renderCells } from '../../kernels/cells-table.js';

test('a table reads back as it was written; kernels in order of their version', () => {
  const columns = new Map([
    ['6.12', { kernel: '6.12.1-amd64', 'auto, nginx': '20 SERVER and 20 CLIENT spans' }],
    ['5.10', { kernel: '5.10.0-amd64' }],
  ]);
  const text = renderCells(columns);
  assert.match(text, /\| {2}\| 5\.10 \| 6\.12 \|/);
  assert.match(text, /\| auto, nginx \| – \| 20 SERVER and 20 CLIENT spans \|/);
  assert.deepEqual(parseCells(text), new Map([...columns].reverse()));
});

test('a finding with a fault is wrong, whatever it tells', () => {
  const findings = [
    { what: 'auto, programs', told: 'all of them', faults: [] },
    { what: 'auto, nginx', told: '20 SERVER and 20 CLIENT spans', faults: [] },
    { what: 'auto, node', told: '19 SERVER and 20 CLIENT spans', faults: ['missing: GET /19'] },
  ];
  assert.deepEqual(cellsOf({ kernel: '6.1.0', findings, figures: {} }), {
    kernel: '6.1.0',
    'auto, nginx': '20 SERVER and 20 CLIENT spans',
    'auto, node': 'wrong',
  });
});

test('on each kernel, as the agent starts by itself, every request of every server has its spans and the books are in order', () => {
  const table = parseCells(readFileSync('test/kernels/cells.md', 'utf8'));
  assert.deepEqual([...table.keys()], ['5.10', '6.1', '6.12', '6.12 arm64', '7.2']);
  for (const [series, cells] of table) {
    const others = series.endsWith('arm64') ? [] : ['node', 'python', 'nginx over TLS', 'node over TLS'];
    for (const server of ['nginx', 'io_uring', ...others])
      assert.equal(cells[`auto, ${server}`], '20 SERVER and 20 CLIENT spans', `${series}: ${server}`);
    assert.equal(cells['auto, books'], 'in order', series);
    for (const [what, told] of Object.entries(cells)) assert.notEqual(told, 'wrong', `${series}: ${what}`);
  }
});
