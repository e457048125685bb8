// Tables that are full. Of threads, with few seats (bpf/maps.h): threads whose ids want the same one, and more threads than there are
// seats; and of processes that are followed.
import assert from 'node:assert/strict';
import test from 'node:test';
import { CAUSE_TAKEN, CONNECTION_PREEXISTING, DIRECTION_EGRESS } from '../../src/records/records.gen.js';
import { assertSame, type Life, Observer, observe, type Side } from './observer.js';

/** SEATS of driver.py. */
const SEATS = 8;

async function observeIn(scenario: string, check: (observer: Observer, sides: readonly Side[]) => void): Promise<void> {
  const observer = new Observer(undefined, undefined, SEATS);
  try {
    observer.kernel.attach();
    observer.restart();
    await observe(scenario, check, observer);
  } finally {
    observer.close();
  }
}

/** Of a server's side: its answers that are not said to be for what its own connection had asked last. */
function strangeAnswers({ data, opened }: Life): readonly unknown[] {
  return data
    .filter(({ direction }) => direction === DIRECTION_EGRESS)
    .map(({ requestSlot, requestGeneration, requestSeq, requestFlags, otherSeq }) => ({
      isKnown: (requestFlags & CAUSE_TAKEN) !== 0,
      isIts: requestSlot === opened.slot && requestGeneration === opened.generation && requestSeq === otherSeq,
    }))
    .filter(({ isKnown, isIts }) => !isKnown || !isIts);
}

test('threads that want the same seat: each has its own, and what it has taken', async () => {
  await observeIn('seated', (observer, sides) => {
    assert.equal(sides.length, 6);
    assert.equal(new Set(sides.map(({ pid }) => pid % SEATS)).size, 1, 'their ids have other low bits');
    for (const side of sides) {
      const life = observer.lifeOf(side);
      assertSame(life, side);
      assert.ok(life.data.every(({ pid, tid }) => pid === side.pid && tid === side.pid));
      if (side.name === 'server') assert.deepEqual(strangeAnswers(life), []);
    }
    assert.deepEqual(observer.losses(), {});
  });
});

test('more threads than seats: who has none is not seen, which is counted, and nothing of it is taken for another', async () => {
  await observeIn('crowded', (observer, sides) => {
    assert.equal(sides.length, 40);
    const { threads_full: refused = 0, ...others } = observer.losses();
    assert.ok(refused > 0, 'all had a seat');
    assert.deepEqual(others, {});
    const { opened } = observer.records;
    const seen = sides.filter(({ local, remote }) =>
      opened.some(({ peer }) => peer.localPort === local && peer.remotePort === remote),
    );
    const lives = seen.map(side => ({ side, life: observer.lifeOf(side) }));
    for (const { side, life } of lives) {
      assert.ok(life.data.every(({ pid, tid }) => pid === side.pid && tid === side.pid));
    }
    // Who gets a seat later comes to an older connection, or only to its end.
    const whole = lives.filter(
      ({ life: { opened, closed } }) =>
        (opened.flags & CONNECTION_PREEXISTING) === 0 &&
        (closed?.unseenIngress ?? 0) + (closed?.unseenEgress ?? 0) === 0,
    );
    for (const { side, life } of whole) assertSame(life, side);
    assert.ok(whole.length >= SEATS, `${whole.length} sides were seen from their beginning on`);
  });
});

test('more processes of Go and Node.js than can be followed: it is said of each that is not', () => {
  const observer = new Observer();
  const { filter } = observer.kernel;
  try {
    // No process has such an id.
    const pids = Array.from({ length: 65_536 }, (_, at) => 2 ** 30 + at);
    assert.ok(pids.every(pid => filter.followRoutines(pid) && filter.followNode(pid, 1, 2)));
    assert.ok(filter.followNode(2 ** 30, 3, 4), 'one that is followed already');
    assert.equal(filter.followRoutines(1), false);
    assert.equal(filter.followNode(1, 1, 2), false);
  } finally {
    observer.close();
  }
});
