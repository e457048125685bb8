// The committed table of the kernel matrix: what is written is read back, and what has grown is named.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { differences, LIMIT, parseTable, renderTable } from '../../kernels/verifier-table.js';

test('a table reads back as it was written; kernels in order of their version', () => {
  const columns = new Map([
    ['6.12', { b: 5, a: 300 }],
    ['5.10', { a: 200 }],
  ]);
  const text = renderTable(columns);
  assert.match(text, /\| program \| 5\.10 \| 6\.12 \|/);
  assert.match(text, /\| b \| – \| 5 \|/);
  assert.deepEqual(parseTable(text), new Map([...columns].reverse()));
});

test('growth by more than a quarter, a new program and a lost one are named', () => {
  const committed = { same: 100, grown: 100, gone: 1 };
  assert.deepEqual(differences('6.1', committed, { same: 125, grown: 126, fresh: 9 }, true), [
    '6.1: grown grew from 100 to 126',
    '6.1: fresh (9) is not in verifier.md',
    '6.1: gone was loaded before and is not now',
  ]);
});

test('every kernel of the matrix has its column, with the programs of each front end', () => {
  const table = parseTable(readFileSync('test/kernels/verifier.md', 'utf8'));
  assert.deepEqual([...table.keys()], ['5.10', '6.1', '6.12', '7.2']);
  for (const [series, figures] of table)
    for (const program of ['fexit_inet_recvmsg', 'kretprobe_inet_recvmsg', 'sys_exit', 'tls_call_exit'])
      assert.ok((figures[program] ?? -1) >= (series === '5.10' ? 0 : 1), `${series}: ${program}`);
});

test('the committed figures leave room below the limit of every kernel', () => {
  for (const [series, figures] of parseTable(readFileSync('test/kernels/verifier.md', 'utf8'))) {
    for (const [program, figure] of Object.entries(figures)) {
      assert.ok(figure < LIMIT / 2, `${series}: ${program} ${figure}`);
    }
  }
});
