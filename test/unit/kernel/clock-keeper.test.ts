// One offset for all: set at first, slewed after, stepped only when the wall clock was set.
import assert from 'node:assert/strict';
import test from 'node:test';
import { WallClock } from '../../../src/clock.js';
import { ClockKeeper } from '../../../src/kernel/clock-keeper.js';

/** A machine whose wall clock is `wallNs` ahead of its boot clock. */
class Machine {
  bootSeconds = 1000;
  bootNanos = 5;
  wallSeconds = 1_700_001_000;
  wallNanos = 5;

  readonly clock = new WallClock();
  readonly keeper = new ClockKeeper(this.clock, out => {
    out[0] = this.bootSeconds;
    out[1] = this.bootNanos;
    out[2] = this.wallSeconds;
    out[3] = this.wallNanos;
    out[4] = 40;
  });

  get offset(): bigint {
    return BigInt(this.clock.offsetSeconds) * 1_000_000_000n + BigInt(this.clock.offsetNanos);
  }
}

test('the first reading is taken as it is, whatever its size', () => {
  const machine = new Machine();
  assert.equal(machine.keeper.adjust(), 0);
  assert.equal(machine.offset, 1_700_000_000_000_000_000n);
  assert.equal(machine.keeper.now(), 1_000_000_000_005);
});

test('a drift is followed at half a millisecond a second, in both directions', () => {
  for (const driftNs of [3_200_000, -3_200_000]) {
    const machine = new Machine();
    machine.keeper.adjust();
    const before = machine.offset;
    machine.wallNanos += driftNs;
    const steps: number[] = [];
    for (let second = 0; second < 9; second++) {
      const from = machine.offset;
      assert.equal(machine.keeper.adjust(), 0);
      steps.push(Number(machine.offset - from));
      assert.ok(machine.clock.offsetNanos >= 0 && machine.clock.offsetNanos < 1e9);
    }
    const sign = Math.sign(driftNs);
    assert.deepEqual(steps, [...Array<number>(6).fill(sign * 500_000), sign * 200_000, 0, 0]);
    assert.equal(Number(machine.offset - before), driftNs);
  }
});

test('a clock that was set is a step, said in nanoseconds', () => {
  const machine = new Machine();
  machine.keeper.adjust();
  machine.wallSeconds += 3600;
  assert.equal(machine.keeper.adjust(), 3600e9);
  assert.equal(machine.offset, 1_700_003_600_000_000_000n);
  machine.wallSeconds -= 7200;
  assert.equal(machine.keeper.adjust(), -7200e9);
  assert.equal(machine.keeper.adjust(), 0);
});

test('readings with half nanoseconds never lose or gain a second', () => {
  for (const [bootNanos, wallNanos] of [
    [0.5, 0],
    [999_999_999.5, 999_999_999],
    [1_000_000_000.5, 0],
    [0.5, 1],
    [999_999_999.5, 0],
  ] as const) {
    const machine = new Machine();
    machine.bootNanos = bootNanos;
    machine.wallNanos = wallNanos;
    machine.keeper.adjust();
    const exact = 1_700_000_000 * 1e9 + (wallNanos - bootNanos);
    const { offsetSeconds, offsetNanos } = machine.clock;
    const error = (offsetSeconds - 1_700_000_000) * 1e9 + offsetNanos - (wallNanos - bootNanos);
    assert.ok(Math.abs(error) <= 0.5, `${exact}: off by ${error} ns`);
    assert.ok(offsetNanos >= 0 && offsetNanos < 1e9 && Number.isInteger(offsetNanos));
  }
});
