import assert from 'node:assert/strict';
import test from 'node:test';
import { axisOf, fillCells, spreadPhases } from '../../../src/exporters/console-bar.js';
import { toSpanView } from '../../../src/exporters/console-span.js';
import { type SampleSpan, sampleSpan } from './console-samples.js';

const LETTERS = { connect: 'c', queue: 'q', request: 'r', work: 'W', wait: '-', response: 's', other: '.', none: ' ' };

function bars(samples: readonly SampleSpan[], cells: number): string[] {
  const views = samples.map(sample => toSpanView(sampleSpan(sample)));
  const axis = axisOf(views);
  return views.map(view =>
    fillCells(view, axis, cells)
      .map(phase => LETTERS[phase])
      .join(''),
  );
}

test('phases get cells in proportion to their time', () => {
  assert.deepEqual(bars([{ id: '1', service: 'a', kind: 'server', phases: [2, 1, 6, 1] }], 10), ['qqrWWWWWWs']);
});

test('bars of a trace share one axis, which begins with the connect', () => {
  assert.deepEqual(
    bars(
      [
        { id: '1', service: 'a', kind: 'client', startMs: 2, connectMs: 2, phases: [1, 6, 0, 1] },
        { id: '2', parent: '1', service: 'b', kind: 'server', startMs: 4, phases: [1, 0, 3, 0] },
      ],
      10,
    ),
    ['ccr------s', '    qWWW  '],
  );
});

test('time that no phase accounts for shows as such', () => {
  assert.deepEqual(bars([{ id: '1', service: 'a', kind: 'server', phases: [5], durationMs: 10 }], 10), ['qqqqq.....']);
});

test('a span too short for a cell still shows one, with its longest phase', () => {
  const [, short] = bars(
    [
      { id: '1', service: 'a', kind: 'client', phases: [0, 1000, 0, 0] },
      { id: '2', parent: '1', service: 'b', kind: 'server', startMs: 500, phases: [0.1, 0, 0.3, 0] },
    ],
    10,
  );
  assert.equal(short, '     W    ');
});

test('a span without any duration and a bar without cells do no harm', () => {
  assert.deepEqual(bars([{ id: '1', service: 'a', kind: 'server', phases: [] }], 4), ['.   ']);
  assert.deepEqual(bars([{ id: '1', service: 'a', kind: 'server', phases: [1] }], 0), ['']);
  assert.deepEqual(spreadPhases([], 3), ['none', 'none', 'none']);
});
