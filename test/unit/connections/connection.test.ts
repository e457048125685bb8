// Addresses of a connection in text form.
import assert from 'node:assert/strict';
import { SocketAddress } from 'node:net';
import test from 'node:test';
import fc from 'fast-check';
import { Connection, readPeer, unixPeer } from '../../../src/connections/connection.js';
import { CONNECTION_PREEXISTING, CONNECTION_UNIX, DIRECTION_EGRESS } from '../../../src/records/records.gen.js';
import { writeAddress } from '../../support/record-builder.js';

function peerOf(local: string, remote: string): ReturnType<typeof readPeer> {
  const bytes = new Uint8Array(64);
  writeAddress(bytes, 8, { address: local, port: 8080 }, { address: remote, port: 65535 });
  return readPeer(new DataView(bytes.buffer), 8);
}

test('IPv4', () => {
  assert.deepEqual(peerOf('127.0.0.1', '255.255.255.255'), {
    localAddress: '127.0.0.1',
    remoteAddress: '255.255.255.255',
    localPort: 8080,
    remotePort: 65535,
    transport: 'tcp',
    networkType: 'ipv4',
  });
});

test('a session of which no socket is known has no addresses, and no made up ones', () => {
  const peer = readPeer(new DataView(new ArrayBuffer(64)), 8);
  assert.deepEqual([peer.remoteAddress, peer.localAddress, peer.remotePort, peer.networkType], ['', '', 0, '']);
});

test('IPv6 as RFC 5952 writes it', () => {
  for (const [written, expected] of [
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['fe80:0:0:0:0:0:0:0', 'fe80::'],
    ['0:0:0:0:0:abcd:0:0', '::abcd:0:0'],
  ] as const) {
    assert.equal(peerOf(written, '::2').localAddress, expected);
    assert.equal(peerOf('::2', written).remoteAddress, expected);
    assert.equal(peerOf('::2', '::3').networkType, 'ipv6');
  }
});

test('any IPv6 address is the same for Node', () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), groups => {
      const text = groups.map(part => part.toString(16)).join(':');
      const told = peerOf(text, '::1').localAddress;
      const same = (address: string): string => new SocketAddress({ address, family: 'ipv6' }).address;
      assert.equal(same(told), same(text));
    }),
  );
});

test('the name of a unix socket belongs to the side that listens; abstract names begin with @', () => {
  assert.deepEqual(
    [unixPeer('/run/a.sock\0\0', true).remoteAddress, unixPeer('/run/a.sock', true).localAddress],
    ['/run/a.sock', ''],
  );
  assert.deepEqual(
    [unixPeer('/run/a.sock', false).remoteAddress, unixPeer('/run/a.sock', false).localAddress],
    ['', '/run/a.sock'],
  );
  assert.equal(unixPeer('\0name\0with zero', true).remoteAddress, '@name\0with zero');
  assert.equal(unixPeer('', true).remoteAddress, '');
  assert.equal(unixPeer('', true).transport, 'unix');
});

test('requests and responses go in opposite directions', () => {
  const connection = new Connection(1, 3);
  assert.equal(connection.requestStream, connection.ingress);
  assert.equal(connection.responseStream, connection.egress);
  connection.requestDirection = DIRECTION_EGRESS;
  assert.equal(connection.requestStream, connection.egress);
  assert.equal(connection.responseStream, connection.ingress);
  connection.flags = CONNECTION_PREEXISTING;
  assert.deepEqual([connection.isPreexisting, connection.isUnix], [true, false]);
  connection.flags = CONNECTION_UNIX;
  assert.deepEqual([connection.isPreexisting, connection.isUnix], [false, true]);
});
