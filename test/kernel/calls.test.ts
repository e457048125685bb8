// Which calls move bytes, and how many, and where they belong in the stream: real programs, the probes of this kernel.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONNECTION_FIN_RECEIVED,
  CONNECTION_FIN_SENT,
  CONNECTION_RESET_RECEIVED,
  CONNECTION_RESET_SENT,
  DATA_EDGE,
  DATA_EOF,
  DATA_ERROR,
  DATA_NO_CONTENT,
  DATA_TRUNCATED,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  ROLE_CLIENT,
  ROLE_SERVER,
} from '../../src/records/records.gen.js';
import { assertSame, assertSums, observe, type Side, streamOf } from './observer.js';

function named(sides: readonly Side[], name: string): Side {
  const side = sides.find(candidate => candidate.name === name);
  assert.ok(side !== undefined, `the driver told nothing of ${name}`);
  return side;
}

for (const scenario of ['every_write', 'every_read', 'ping_pong', 'in_progress']) {
  test(`${scenario}: bytes, calls and positions are the program's`, async () => {
    await observe(scenario, (observer, sides) => {
      assert.equal(sides.length, 2);
      for (const side of sides) {
        const life = observer.lifeOf(side);
        assert.equal(life.opened.role, side.name === 'client' ? ROLE_CLIENT : ROLE_SERVER);
        assert.equal(life.opened.pid, side.pid);
        assertSame(life, side);
      }
      assert.deepEqual(observer.losses(), {});
    });
  });
}

test('nonblocking: short writes and EAGAIN; only bytes that moved are counted', async () => {
  await observe('nonblocking', (observer, sides) => {
    const client = named(sides, 'client');
    assert.ok((client.shortWrites as number) > 0, 'no write was short');
    for (const side of sides) {
      const life = observer.lifeOf(side);
      assertSums(life, side);
      assert.deepEqual(
        life.data.filter(({ flags }) => (flags & DATA_ERROR) !== 0),
        [],
        'EAGAIN is no error',
      );
    }
  });
});

test('more iovecs than are gathered: counted and placed, the rest is said to be missing', async () => {
  await observe('many_iovecs', (observer, sides) => {
    for (const side of sides) assertSums(observer.lifeOf(side), side);
    const [write, plain] = observer.lifeOf(named(sides, 'client')).data;
    assert.deepEqual([write?.callBytes, write?.payload.length], [240, 192]);
    assert.ok(((write?.flags ?? 0) & DATA_TRUNCATED) !== 0);
    assert.equal(plain?.payload.toString(), 'in one piece');
    assert.equal(plain?.seq, ((write?.seq ?? 0) + 240) >>> 0);
    assert.deepEqual(observer.losses(), { iov_too_long: 1 });
  });
});

test('more messages in one sendmmsg than are looked at: all bytes are counted, what is shown is at its place', async () => {
  await observe('many_messages', (observer, sides) => {
    const client = named(sides, 'client');
    const { data, closed } = observer.lifeOf(client);
    assert.equal(closed?.bytesEgress, client.sentBytes);
    let next = data[0]?.seq ?? 0;
    let at = 0;
    for (const record of data) {
      assert.equal(record.seq, next);
      assert.equal(record.payload.toString(), client.sent.subarray(at, at + record.payload.length).toString());
      at += record.callBytes;
      next = (next + record.callBytes) >>> 0;
    }
    assert.equal(at, client.sentBytes);
    assert.equal(data[data.length - 1]?.payload.toString(), 'in one piece');
    assert.deepEqual(observer.losses(), observer.watchesLayer ? {} : { iov_too_long: 1 });
  });
});

test('sendfile and splice: counted and placed, without content', async () => {
  await observe('zero_copy', (observer, sides) => {
    const client = observer.lifeOf(named(sides, 'client'));
    const server = named(sides, 'server');
    assertSums(observer.lifeOf(server), server);
    const [pipe, plain] = client.data.slice(-2);
    // Before 6.5 the socket layer gets each page of a file by a call of its own.
    const pages = client.data.slice(0, -2);
    assert.ok(pages.length === 1 || (observer.watchesLayer && pages.length === 3));
    assertSums(client, { ...named(sides, 'client'), writes: pages.length + 2 });
    assert.equal(
      pages.reduce((sum, { callBytes }) => sum + callBytes, 0),
      10_000,
    );
    assert.deepEqual([pipe?.callBytes, plain?.callBytes], [14, 5]);
    for (const record of [...pages, pipe]) assert.ok(((record?.flags ?? 0) & DATA_NO_CONTENT) !== 0);
    assert.equal(plain?.payload.toString(), 'plain');
    assert.equal(pipe?.seq, ((pages[0]?.seq ?? 0) + 10_000) >>> 0);
    assert.equal(plain?.seq, ((pipe?.seq ?? 0) + 14) >>> 0);
  });
});

test('the two sides of a connection name its bytes by the same pair of numbers', async () => {
  await observe('ping_pong', (observer, sides) => {
    const client = observer.lifeOf(named(sides, 'client'));
    const server = observer.lifeOf(named(sides, 'server'));
    const asked = client.data.filter(({ direction }) => direction === DIRECTION_EGRESS);
    const taken = server.data.filter(({ direction }) => direction === DIRECTION_INGRESS);
    assert.equal(asked.length, 5);
    assert.deepEqual(
      asked.map(({ seq, otherSeq }) => [seq, otherSeq]),
      taken.map(({ seq, otherSeq }) => [seq, otherSeq]),
    );
    // Every call changes the direction, and says what the run before it was.
    for (const life of [client, server]) {
      life.data.forEach((record, index) => {
        assert.equal(record.flags & DATA_EDGE, DATA_EDGE);
        const before = life.data[index - 1];
        assert.equal(record.prevCalls, before === undefined ? 0 : 1);
        if (before === undefined) return;
        assert.equal(record.prevEndSeq, (before.seq + before.callBytes) >>> 0);
        assert.equal(record.prevLastNs, before.timeNs);
        assert.equal(record.prevBytes, before.callBytes);
      });
    }
  });
});

test('times: connect, handshake, accept, arrival, entry and return lie where the program saw them', async () => {
  await observe('waits', (observer, sides) => {
    const [client, server] = [named(sides, 'client'), named(sides, 'server')];
    const asking = observer.lifeOf(client);
    const serving = observer.lifeOf(server);
    const isBetween = (value: number, from: unknown, to: unknown, what: string): void => {
      assert.ok(value >= (from as number) && value <= (to as number), `${what}: ${value} in ${from} .. ${to}`);
    };
    isBetween(asking.opened.connectNs, client.beforeConnectNs, client.connectedNs, 'connect');
    isBetween(asking.opened.establishedNs, asking.opened.connectNs, client.connectedNs, 'established');
    isBetween(serving.opened.establishedNs, client.beforeConnectNs, client.connectedNs, 'established, server');
    assert.ok(serving.opened.acceptedNs - serving.opened.establishedNs >= 29e6, 'it waited 30 ms for accept');
    const [sent] = asking.data;
    const [taken, replied] = serving.data;
    isBetween(sent?.enterNs ?? 0, server.beforeSendNs, sent?.timeNs, 'entry of send');
    isBetween(sent?.timeNs ?? 0, server.beforeSendNs, server.sentNs, 'return of send');
    isBetween(taken?.arrivedNs ?? 0, server.beforeSendNs, server.sentNs, 'arrival');
    isBetween(taken?.timeNs ?? 0, server.beforeReadNs, server.readNs, 'return of recv');
    isBetween(replied?.enterNs ?? 0, server.beforeReplyNs, server.repliedNs, 'entry of the reply');
    assert.ok((serving.closed?.timeNs ?? 0) >= (server.repliedNs as number));
  });
});

test('ends: FIN in the read of the last bytes, end of stream, half close, reset, refused', async () => {
  await observe('ends', (observer, sides) => {
    const finished = sides.filter(side => side.name.endsWith(' fin'));
    for (const side of finished) assertSame(observer.lifeOf(side), side);
    const reader = observer.lifeOf(named(sides, 'client fin'));
    const [read, end, write] = reader.data;
    assert.equal(read?.payload.toString(), 'all and the end');
    assert.equal((end?.flags ?? 0) & DATA_EOF, DATA_EOF);
    assert.deepEqual(
      [end?.runDirection, end?.prevCalls, end?.prevEndSeq],
      [DIRECTION_INGRESS, 1, ((read?.seq ?? 0) + 15) >>> 0],
    );
    assert.equal(write?.otherSeq, ((read?.seq ?? 0) + 15) >>> 0, 'the FIN is not a byte');
    const closer = observer.lifeOf(named(sides, 'server fin'));
    assert.ok(closer.states.some(({ flags }) => (flags & CONNECTION_FIN_SENT) !== 0));
    assert.ok(((closer.closed?.flags ?? 0) & CONNECTION_FIN_RECEIVED) !== 0);
    assert.ok(
      (closer.closed?.finSentNs ?? 0) > 0 && (closer.closed?.finReceivedNs ?? 0) > (closer.closed?.finSentNs ?? 0),
    );

    const wasReset = observer.lifeOf(named(sides, 'client reset'));
    assert.ok(((wasReset.closed?.flags ?? 0) & CONNECTION_RESET_RECEIVED) !== 0);
    assert.deepEqual(
      wasReset.data.filter(({ flags }) => (flags & DATA_ERROR) !== 0).map(({ errorNumber }) => errorNumber),
      [104],
    );
    const didReset = observer.lifeOf(named(sides, 'server reset'));
    assert.ok(((didReset.closed?.flags ?? 0) & CONNECTION_RESET_SENT) !== 0);

    const { port } = named(sides, 'refused');
    const refused = observer.records.failed.filter(({ peer }) => peer.remotePort === port);
    assert.deepEqual(
      refused.map(({ errorNumber, peer }) => [errorNumber, peer.remoteAddress]),
      [[111, '127.0.0.1']],
    );
    assert.ok((refused[0]?.connectNs ?? 0) > 0);
  });
});

test('four threads write to one socket: every byte is counted; a record at a wrong place leaves a hole that shows', async () => {
  await observe('threads', (observer, sides) => {
    for (const side of sides) assertSums(observer.lifeOf(side), side);
    const { data } = observer.lifeOf(named(sides, 'client'));
    const taken = observer.lifeOf(named(sides, 'server')).data;
    const wire = streamOf(taken, DIRECTION_INGRESS).bytes;
    let next = taken[0]?.seq ?? 0;
    let isBroken = false;
    let at = 0;
    for (const record of data) {
      isBroken ||= record.seq !== next;
      next = (record.seq + record.callBytes) >>> 0;
      if (!isBroken) assert.equal(record.payload.toString(), wire.subarray(at, at + record.callBytes).toString());
      at += record.callBytes;
    }
    assert.equal(at, wire.length);
  });
});
