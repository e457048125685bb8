// Histogram: buckets are (lower, upper], sums and extremes are exact, values are copies.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  BODY_BYTES_BOUNDS,
  Histogram,
  REQUEST_SECONDS_BOUNDS,
  WAIT_SECONDS_BOUNDS,
} from '../../../src/signals/histogram.js';

test('a value on a bound belongs to the bucket below it', () => {
  const histogram = new Histogram([1, 10]);
  for (const value of [0, 1, 1.5, 10, 11]) histogram.record(value);
  assert.deepEqual(histogram.value(), { bounds: [1, 10], counts: [2, 2, 1], sum: 23.5, count: 5, min: 0, max: 11 });
});

test('an empty histogram has no extremes', () => {
  assert.deepEqual(new Histogram([1]).value(), { bounds: [1], counts: [0, 0], sum: 0, count: 0, min: 0, max: 0 });
});

test('a value taken is not changed by later records', () => {
  const histogram = new Histogram([1]);
  histogram.record(0.5);
  const before = histogram.value();
  histogram.record(0.5);
  assert.deepEqual(before.counts, [1, 0]);
  assert.equal(histogram.count, 2);
});

test('buckets agree with a plain count for any values', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 100, noNaN: true })), values => {
      const histogram = new Histogram(REQUEST_SECONDS_BOUNDS);
      for (const value of values) histogram.record(value);
      const { counts, count } = histogram.value();
      const lower = [Number.NEGATIVE_INFINITY, ...REQUEST_SECONDS_BOUNDS];
      const upper = [...REQUEST_SECONDS_BOUNDS, Number.POSITIVE_INFINITY];
      const expected = upper.map((to, i) => values.filter(value => value > (lower[i] as number) && value <= to).length);
      assert.deepEqual(counts, expected);
      assert.equal(count, values.length);
    }),
  );
});

test('all bounds ascend', () => {
  for (const bounds of [REQUEST_SECONDS_BOUNDS, WAIT_SECONDS_BOUNDS, BODY_BYTES_BOUNDS]) {
    for (let i = 1; i < bounds.length; i++) assert.ok((bounds[i] as number) > (bounds[i - 1] as number));
  }
});
