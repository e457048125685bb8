// Who holds a socket, and how it is named: connections are sockets, whatever process, descriptor or family they go by.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONNECTION_PREEXISTING, CONNECTION_UNIX, DIRECTION_INGRESS } from '../../src/records/records.gen.js';
import { bpfObjectsOf } from '../support/agent.js';
import { assertSame, Driver, Observer, observe, type Side, streamOf } from './observer.js';

/** All that are in the kernel, also those of others. */
function bpfObjects(): Set<string> {
  const text = execFileSync('/usr/bin/python3', ['test/services/bpf-ids.py'], { encoding: 'utf8' });
  return new Set(text.trimEnd().split('\n'));
}

function named(sides: readonly Side[], name: string): Side {
  const side = sides.find(candidate => candidate.name === name);
  assert.ok(side !== undefined, `the driver told nothing of ${name}`);
  return side;
}

for (const scenario of ['fork', 'passed']) {
  test(`${scenario}: the process that serves is named in the records of its calls`, async () => {
    await observe(scenario, (observer, sides) => {
      assert.equal(sides.length, 2);
      for (const side of sides) {
        const life = observer.lifeOf(side);
        assertSame(life, side);
        assert.deepEqual([...new Set(life.data.map(({ pid }) => pid))], [side.pid], side.name);
      }
      const served = observer.lifeOf(sides.find(side => side.name !== 'client') as Side);
      assert.notEqual(served.opened.pid, served.data[0]?.pid, 'another process accepted it');
    });
  });
}

test('a duplicate is the same connection; it ends with the last descriptor', async () => {
  await observe('duplicate', (observer, sides) => {
    for (const side of sides) assertSame(observer.lifeOf(side), side);
    const client = named(sides, 'client');
    const { closed } = observer.lifeOf(client);
    assert.ok((closed?.finSentNs ?? 0) >= (client.closeNs as number));
  });
});

test('one descriptor number, twenty connections: none is taken for another', async () => {
  await observe('reuse', (observer, sides) => {
    assert.equal(sides.length, 40);
    const names = new Set<string>();
    for (const side of sides) {
      const life = observer.lifeOf(side);
      assertSame(life, side);
      names.add(`${life.opened.slot} ${life.opened.generation}`);
    }
    assert.equal(names.size, 40);
  });
});

test('reset before it was accepted: it keeps its port, by which it is selected, and what was read of it', async () => {
  await observe('abandoned', (observer, sides) => {
    assert.equal(sides.length, 2);
    for (const side of sides) assertSame(observer.lifeOf(side), side);
  });
});

test('a process that is not selected ends a connection: the other end is not taken for one of the process that is', async () => {
  await observe('stranger', (observer, sides) => {
    assert.equal(sides.length, 5);
    for (const side of sides) assertSame(observer.lifeOf(side), side);
    assert.equal(observer.records.opened.length, 5);
    assert.deepEqual(
      observer.records.closed.map(({ unseenIngress, unseenEgress }) => [unseenIngress, unseenEgress]),
      sides.map(() => [0, 0]),
    );
  });
});

test('IPv4, IPv6 and v4-mapped addresses', async () => {
  await observe('families', (observer, sides) => {
    for (const [suffix, address, type] of [
      ['4', '127.0.0.1', 'ipv4'],
      ['6', '::1', 'ipv6'],
      ['mapped', '127.0.0.1', 'ipv4'],
    ] as const) {
      for (const role of ['client', 'server']) {
        const side = named(sides, `${role}${suffix}`);
        const life = observer.lifeOf(side);
        assertSame(life, side);
        const { peer } = life.opened;
        assert.deepEqual(
          [peer.localAddress, peer.remoteAddress, peer.networkType],
          [address, address, type],
          side.name,
        );
      }
    }
  });
});

test('unix sockets: path, tag and counters are the same on both sides; a socketpair is no connection', async () => {
  await observe('unix', (observer, sides) => {
    const unix = observer.records.opened.filter(({ flags }) => (flags & CONNECTION_UNIX) !== 0);
    for (const kind of ['named', 'abstract', 'many']) {
      const [client, server] = [named(sides, `client${kind}`), named(sides, `server${kind}`)];
      const lives = unix
        .filter(({ path }) => path.split('\0').join('') === (client.path as string).split('\0').join(''))
        .map(opened => observer.lifeFrom(opened));
      assert.equal(lives.length, 2, `${lives.length} connections at ${JSON.stringify(client.path)}`);
      const [asking, serving] = [1, 2].map(role => lives.find(life => life.opened.role === role));
      assert.ok(asking !== undefined && serving !== undefined);
      assertSame(asking, client);
      assertSame(serving, server);
      assert.equal(asking.opened.path.startsWith('\0'), kind !== 'named');
      const [asked] = asking.data;
      const [taken] = serving.data;
      assert.ok((asked?.pairTag ?? 0) !== 0);
      assert.deepEqual([asked?.pairTag, asked?.seq, asked?.otherSeq], [taken?.pairTag, taken?.seq, taken?.otherSeq]);
      assert.ok((taken?.arrivedNs ?? 0) > 0 && (taken?.arrivedNs ?? 0) <= (taken?.timeNs ?? 0));
    }
    assert.equal(unix.length, 6, 'the socketpair was followed');
  });
});

test('a connection older than the probes is announced at its next call and followed from there', async () => {
  await observe('older', (observer, sides) => {
    for (const side of sides) {
      const life = observer.lifeOf(side);
      assert.equal(life.opened.flags & CONNECTION_PREEXISTING, CONNECTION_PREEXISTING);
      assertSame(life, side);
    }
  });
});

test('a process that is not selected is not seen; processes come and go by name', async () => {
  const observer = new Observer();
  const driver = new Driver('ping_pong');
  try {
    await driver.ready();
    observer.kernel.attach();
    const sides = await driver.run();
    execFileSync('/usr/bin/python3', ['-c', 'pass', 'an argument']);
    await sleep(50);
    observer.drain();
    assert.equal(sides.length, 2);
    assert.deepEqual(
      observer.records.opened.map(({ pid }) => pid),
      [],
    );
    assert.equal(observer.records.data.length, 0);
    const executed = observer.records.processes.find(({ args }) => args[3] === 'an argument');
    assert.equal(executed?.args[0], '/usr/bin/python3');
    for (const kind of ['fork', 'exit']) {
      assert.ok(
        observer.records.processes.some(record => record.kind === kind && record.pid === executed?.pid),
        kind,
      );
    }
    assert.ok(observer.records.processes.some(({ kind, pid }) => kind === 'exit' && pid === driver.pid));
  } finally {
    driver.kill();
    observer.close();
  }
});

test('selection takes effect at the next call, in both directions', async () => {
  await observe('ping_pong', async (observer, sides) => {
    const server = observer.lifeOf(named(sides, 'server'));
    assert.ok(streamOf(server.data, DIRECTION_INGRESS).bytes.length > 0);
    const before = observer.records.data.length;
    const driver = new Driver('ping_pong');
    try {
      await driver.ready();
      observer.kernel.filter.setProcess(driver.pid, 1, 1);
      observer.kernel.filter.setDefaults({ include: 1, exclude: 0 }, { include: 1, exclude: 1 });
      await driver.run();
      await sleep(50);
      observer.drain();
      const pids = observer.records.data.slice(before).map(({ pid }) => pid);
      assert.ok(!pids.includes(driver.pid), 'an excluded process was read');
    } finally {
      driver.kill();
    }
  });
});

test('ends are seen before all probes are attached: of a process that is selected sooner no connection is followed on', async () => {
  const observer = new Observer();
  const check = (_: Observer, sides: readonly Side[]): void => {
    assert.equal(sides.length, 40);
    for (const side of sides) assert.ok(observer.lifeOf(side).closed !== null, `${side.name} is followed on`);
  };
  try {
    await observe('reuse', check, observer);
  } finally {
    observer.close();
  }
});

test('after close none of our programs and links is left in the kernel', async () => {
  const before = new Set(bpfObjectsOf(process.pid));
  const observer = new Observer();
  observer.kernel.attach();
  // Maps stay as long as their memory is mapped: until the process ends (test/e2e/harmless.test.ts).
  const ours = bpfObjectsOf(process.pid).filter(id => !before.has(id) && !id.startsWith('map '));
  const programs = observer.kernel.programs().filter(({ id }) => id > 0);
  assert.ok(programs.length > 0);
  for (const { id, name } of programs) assert.ok(ours.includes(`prog ${id}`), name);
  assert.deepEqual(
    observer.kernel.reports.filter(({ way }) => way === null),
    [],
  );
  const atWork = bpfObjects();
  for (const id of ours) assert.ok(atWork.has(id), `${id} is not known to the kernel`);
  observer.close();
  let left = ours;
  for (let turn = 0; turn < 40 && left.length > 0; turn++) {
    await sleep(50);
    const now = bpfObjects();
    left = left.filter(id => now.has(id));
  }
  assert.deepEqual(left, []);
});
