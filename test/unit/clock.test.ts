import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { WallClock } from '../../src/clock.js';

test('boot time plus offset, exact to the nanosecond, nanoseconds always within the second', () => {
  const clock = new WallClock();
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 9_000_000_000_000_000 }),
      fc.integer({ min: 0, max: 4_000_000_000 }),
      fc.integer({ min: 0, max: 999_999_999 }),
      (bootNs, offsetSeconds, offsetNanos) => {
        clock.set(offsetSeconds, offsetNanos);
        clock.convert(bootNs);
        const expected = BigInt(bootNs) + BigInt(offsetSeconds) * 1_000_000_000n + BigInt(offsetNanos);
        assert.equal(BigInt(clock.seconds) * 1_000_000_000n + BigInt(clock.nanos), expected);
        assert.ok(clock.nanos >= 0 && clock.nanos < 1e9);
      },
    ),
  );
});

test('times with a fraction are rounded without leaving the second', () => {
  const clock = new WallClock();
  clock.set(100, 999_999_999);
  clock.convert(1_999_999_999.6);
  assert.deepEqual([clock.seconds, clock.nanos], [102, 999_999_999]);
});
