import assert from 'node:assert/strict';
import test from 'node:test';
import { Budget, type BudgetChange, type BudgetLimits } from '../../../src/self/budget.js';

const MIB = 1 << 20;

/** A budget under a load that is said interval by interval (of a second): cores and MiB. */
class Host {
  readonly budget: Budget;
  #seconds = 0;
  #cpuSeconds = 0;

  constructor(limits: Partial<BudgetLimits> = {}, hasSpans = true) {
    const start = { cpuSeconds: 0, residentBytes: 0, seconds: 0 };
    this.budget = new Budget({ cpu: 0.5, memoryBytes: 256 * MIB, ...limits }, hasSpans, start);
  }

  run(cores: number, mebibytes = 100): BudgetChange | null {
    this.#seconds++;
    this.#cpuSeconds += cores;
    return this.budget.check({
      cpuSeconds: this.#cpuSeconds,
      residentBytes: mebibytes * MIB,
      seconds: this.#seconds,
    });
  }

  /** Steps after each of `count` intervals. */
  steps(count: number, cores: number, mebibytes = 100): number[] {
    return Array.from({ length: count }, () => {
      this.run(cores, mebibytes);
      return this.budget.step;
    });
  }
}

test('within the budget nothing changes', () => {
  const host = new Host();
  assert.deepEqual(host.steps(20, 0.49, 255), Array(20).fill(0));
});

test('above it each interval does less, up to the last step, and says why', () => {
  const host = new Host();
  const change = host.run(0.8);
  assert.equal(change?.step, 1);
  assert.equal(change?.reason, 'cpu');
  assert.ok(Math.abs((change?.cpu ?? 0) - 0.8) < 1e-9);
  assert.deepEqual(host.steps(5, 0.8), [2, 3, 4, 4, 4]);
  assert.equal(host.run(0.8), null);
});

test('memory counts like CPU time', () => {
  const host = new Host();
  assert.equal(host.run(0.1, 257)?.reason, 'memory');
  assert.deepEqual(host.steps(4, 0.1, 240), [1, 1, 1, 1], 'just below the limit there is no room');
  assert.deepEqual(host.steps(3, 0.1, 100), [1, 1, 0]);
});

test('with room it recovers step by step, after a rest each', () => {
  const host = new Host();
  host.steps(3, 0.9);
  assert.deepEqual(host.steps(9, 0.1), [3, 3, 2, 2, 2, 1, 1, 1, 0]);
});

test('a step down that is soon taken back makes the next rest longer, up to a bound', () => {
  const host = new Host();
  /** Everything costs 0.8 cores, short heads 0.2. */
  const turn = (): number => {
    let rested = 0;
    while (host.budget.step > 0) {
      host.run(0.2);
      rested++;
    }
    host.run(0.8);
    return rested;
  };
  host.run(0.8);
  assert.deepEqual(Array.from({ length: 7 }, turn), [3, 6, 12, 24, 48, 96, 96]);
});

test('a long time at rest makes the next rest short again', () => {
  const host = new Host();
  host.run(0.8);
  host.steps(3, 0.2);
  host.run(0.8);
  host.steps(6, 0.2);
  host.steps(20, 0.2);
  host.run(0.8);
  assert.deepEqual(host.steps(3, 0.2), [1, 1, 0]);
});

test('without spans the steps that spare them are passed over, both ways', () => {
  const host = new Host({}, false);
  assert.deepEqual(host.steps(3, 0.9), [1, 4, 4]);
  assert.deepEqual(host.steps(6, 0.1), [4, 4, 1, 1, 1, 0]);
});

test('a limit of 0 is none', () => {
  const host = new Host({ cpu: 0, memoryBytes: 0 });
  assert.deepEqual(host.steps(5, 64, 1e6), [0, 0, 0, 0, 0]);
});

test('a clock that stands still or goes back says nothing', () => {
  const host = new Host();
  host.run(0.1);
  assert.equal(host.budget.check({ cpuSeconds: 100, residentBytes: 0, seconds: 1 }), null);
  assert.equal(host.budget.check({ cpuSeconds: 100, residentBytes: 0, seconds: 0 }), null);
});
