import assert from 'node:assert/strict';
import test from 'node:test';
import type { Service } from '../../../src/enrichment/service.js';
import { ConsoleMetrics } from '../../../src/exporters/console-metrics.js';
import { Style } from '../../../src/exporters/console-style.js';
import type { MetricFamily } from '../../../src/signals/metric-model.js';

process.env.TZ = 'UTC';

const BOUNDS = [0.005, 0.01, 0.1];
const SHOP: Service = { id: 1, name: 'shop\x1b[0m', namespace: '', instanceId: '1', attributes: [] };

function duration(counts: readonly number[], error = ''): MetricFamily {
  const count = counts.reduce((sum, value) => sum + value, 0);
  const value = { bounds: BOUNDS, counts, sum: count * 0.004, count, min: 0, max: 0 };
  const attributes = error === '' ? [] : ([['error.type', error]] as const);
  return {
    name: 'http.server.request.duration',
    unit: 's',
    description: '',
    type: 'histogram',
    points: [{ service: SHOP, attributes, startNs: 1e9, value }],
  };
}

function setUp(): { readonly lines: string[]; readonly view: ConsoleMetrics } {
  const lines: string[] = [];
  const output = {
    columns: 120,
    isTerminal: false,
    write: (text: string) => lines.push(...text.trimEnd().split('\n')) > 0,
    flush: async () => {},
    close: () => {},
  };
  return { lines, view: new ConsoleMetrics({ output, style: new Style({ isTerminal: false, env: {} }) }) };
}

const cells = (line: string | undefined): string[] => (line ?? '').trim().split(/ {2,}|(?<=\S) (?=\S*[←→])/);

test('rate, errors and duration of an interval', () => {
  const { lines, view } = setUp();
  view.show([duration([90, 6, 3, 1]), duration([0, 0, 0, 1], '500')], 11e9, 1_767_268_800_000);
  assert.match(lines[1] ?? '', /^12:00:00 ── requests in 10s$/);
  assert.deepEqual(cells(lines[3]), [
    '← shop\\x1b[0m',
    '10.1',
    '101',
    '1.0%',
    '4.00ms',
    '≤5ms',
    '≤10ms',
    '>100ms',
    '0',
  ]);
});

test('the next table tells only what is new', () => {
  const { lines, view } = setUp();
  view.show([duration([90, 6, 3, 1])], 11e9, 0);
  lines.length = 0;
  view.show([duration([90, 8, 3, 1])], 21e9, 0);
  assert.deepEqual(cells(lines[3]).slice(1, 3), ['0.20', '2']);
  assert.deepEqual(cells(lines[3]).slice(5, 8), ['≤10ms', '≤10ms', '≤10ms']);
  lines.length = 0;
  view.show([duration([90, 8, 3, 1])], 31e9, 0);
  assert.match(lines[1] ?? '', /requests in 10s: none/);
});

test('a series that began anew is new as a whole; what is above the last bound says so', () => {
  const { lines, view } = setUp();
  view.show([duration([90, 6, 3, 1])], 11e9, 0);
  lines.length = 0;
  view.show([duration([0, 0, 0, 4])], 21e9, 0);
  assert.deepEqual(cells(lines[3]).slice(2, 3), ['4']);
  assert.deepEqual(cells(lines[3]).slice(5, 8), ['>100ms', '>100ms', '>100ms']);
});
