// One function of time: set at first, slewed after, stepped only when the wall clock was set.
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

  convert(bootNs: number): bigint {
    this.clock.convert(bootNs);
    return BigInt(this.clock.seconds) * 1_000_000_000n + BigInt(this.clock.nanos);
  }

  /** What the wall clock says now minus what the boot clock is converted to, nanoseconds. */
  error(): number {
    const wall = BigInt(this.wallSeconds) * 1_000_000_000n + BigInt(this.wallNanos);
    return Number(wall - this.convert(this.bootSeconds * 1e9 + this.bootNanos));
  }

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

test('a drift is followed at half a millisecond a second at most, in both directions, without overshooting', () => {
  for (const driftNs of [3_200_000, -3_200_000]) {
    const machine = new Machine();
    machine.keeper.adjust();
    machine.wallNanos += driftNs;
    const errors: number[] = [];
    for (let second = 0; second < 40; second++) {
      assert.equal(machine.keeper.adjust(), 0);
      assert.ok(Math.abs(machine.clock.rate) <= 500e-6);
      errors.push(machine.error());
      machine.bootSeconds++;
      machine.wallSeconds++;
    }
    const sign = Math.sign(driftNs);
    assert.deepEqual(
      errors.slice(0, 4).map(error => Math.round(error * sign)),
      [3_200_000, 2_700_000, 2_200_000, 1_700_000],
    );
    for (const error of errors) assert.ok(error * sign >= -1, `overshot by ${error} ns`);
    assert.ok(Math.abs(errors.at(-1) as number) < 2001);
  }
});

test('readings that differ by less than their noise correct nothing', () => {
  const machine = new Machine();
  machine.keeper.adjust();
  const before = machine.offset;
  for (const nanos of [900, -1500, 1999]) {
    machine.wallNanos = 5 + nanos;
    machine.keeper.adjust();
    assert.equal(machine.clock.rate, 0);
    assert.equal(machine.offset, before);
  }
});

test('two times never change order, however late each is converted', () => {
  const machine = new Machine();
  machine.keeper.adjust();
  const times: number[] = [];
  const early: bigint[] = [];
  for (let second = 0; second < 30; second++) {
    machine.wallNanos += second % 3 === 0 ? -900_000 : 500_000;
    machine.keeper.adjust();
    for (const nanos of [0, 1, 400_000_000, 999_999_999]) {
      const bootNs = machine.bootSeconds * 1e9 + machine.bootNanos + nanos;
      times.push(bootNs);
      early.push(machine.convert(bootNs));
    }
    machine.bootSeconds++;
    machine.wallSeconds++;
  }
  assert.deepEqual(
    times.map(time => machine.convert(time)),
    early,
    'what was said of a time stays',
  );
  for (let index = 1; index < early.length; index++) {
    assert.ok((early[index] as bigint) >= (early[index - 1] as bigint), `at ${times[index]}`);
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
