import assert from 'node:assert/strict';
import test from 'node:test';
import { Counters, SELF_METRICS } from '../../../src/self/counters.js';
import { Events } from '../../../src/self/events.js';
import { Logger } from '../../../src/self/log.js';

test('series are created at zero, bumped, and exported with their attribute', () => {
  const counters = new Counters(1000);
  const full = counters.series('underspan.records.dropped', 'data_ring_full');
  counters.series('underspan.records.dropped', 'unknown_kind');
  full.add(3);
  counters.add('underspan.records.dropped', 'data_ring_full', 2);
  assert.deepEqual(counters.snapshot(), [
    {
      name: 'underspan.records.dropped',
      unit: '{record}',
      description: SELF_METRICS['underspan.records.dropped'].description,
      type: 'counter',
      points: [
        { service: null, attributes: [['reason', 'data_ring_full']], startNs: 1000, value: 5 },
        { service: null, attributes: [['reason', 'unknown_kind']], startNs: 1000, value: 0 },
      ],
    },
  ]);
});

test('a metric without attribute, and one whose value is asked for', () => {
  const counters = new Counters(0);
  let open = 4;
  counters.observe('underspan.connections.open', '', () => open);
  open = 9;
  const [family] = counters.snapshot();
  assert.equal(family?.type, 'gauge');
  assert.deepEqual(family?.points, [{ service: null, attributes: [], startNs: 0, value: 9 }]);
});

test('the number of series of a metric is bounded: the rest shares one', () => {
  const counters = new Counters(0);
  for (let index = 0; index < 1000; index++) counters.add('underspan.spans.dropped', `reason${index}`, 1);
  const points = counters.snapshot()[0]!.points;
  assert.equal(points.length, 65);
  assert.deepEqual(points.at(-1)?.attributes, [['reason', 'other']]);
  assert.equal(
    points.reduce((sum, point) => sum + (point.value as number), 0),
    1000,
  );
});

test('a fact is counted each time and logged once an interval', () => {
  const counters = new Counters(0);
  const lines: string[] = [];
  const log = new Logger({ level: 'debug', format: 'text', write: line => lines.push(line), now: () => 0 });
  const events = new Events(counters, log);
  for (let index = 0; index < 3; index++) events.pointsDropped('oversized', 10);
  events.configRejected('line\nbreak');
  assert.equal(counters.series('underspan.points.dropped', 'oversized').value, 30);
  assert.equal(counters.series('underspan.config.reloaded', 'rejected').value, 1);
  assert.equal(lines.length, 2);
  assert.match(lines[1]!, /stays in force reason=line \| break\n$/);
});
