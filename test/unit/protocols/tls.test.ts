// Handshakes as they go over the wire, made by Node's own TLS between two buffers: what was agreed, however the bytes are cut.
// What Node does not make (alerts, a lost flight) is written by hand.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after, before } from 'node:test';
import tls from 'node:tls';
import {
  HANDSHAKE_DONE,
  HANDSHAKE_FAILED,
  HANDSHAKE_LOST,
  HANDSHAKE_UNDER_WAY,
  looksLikeHandshake,
  TlsHandshake,
} from '../../../src/protocols/tls/handshake.js';
import { parseHello } from '../../../src/protocols/tls/hello.js';
import { alertName, cipherName } from '../../../src/protocols/tls/names.js';

interface Part {
  readonly isClient: boolean;
  readonly bytes: Buffer;
}

const directory = mkdtempSync(path.join(tmpdir(), 'underspan-tls-'));
let key: Buffer;
let cert: Buffer;

before(() => {
  const files = { key: path.join(directory, 'key.pem'), cert: path.join(directory, 'cert.pem') };
  const subject = ['-subj', '/CN=localhost', '-days', '2'];
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', files.key, '-out', files.cert, ...subject];
  execFileSync('openssl', args, { stdio: 'ignore' });
  key = readFileSync(files.key);
  cert = readFileSync(files.cert);
});

after(() => rmSync(directory, { recursive: true }));

/** What a client and a server of Node say to each other over a relay, in order, until the client has had an answer. */
async function record(
  client: tls.ConnectionOptions,
  server: tls.TlsOptions,
): Promise<{ parts: Part[]; session?: Buffer }> {
  const parts: Part[] = [];
  let session: Buffer | undefined;
  const end = tls.createServer({ key, cert, ...server }, socket => {
    socket.on('error', () => {}).end('hello');
  });
  end.on('tlsClientError', () => {});
  await new Promise<void>(resolve => end.listen(0, '127.0.0.1', resolve));
  const relay = net.createServer(near => {
    const far = net.connect((end.address() as net.AddressInfo).port, '127.0.0.1');
    near.on('data', bytes => {
      parts.push({ isClient: true, bytes: bytes as Buffer });
      far.write(bytes);
    });
    far.on('data', bytes => {
      parts.push({ isClient: false, bytes: bytes as Buffer });
      near.write(bytes);
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('end', () => other.end()).on('error', () => other.destroy());
    }
  });
  await new Promise<void>(resolve => relay.listen(0, '127.0.0.1', resolve));
  const { port } = relay.address() as net.AddressInfo;
  await new Promise<void>(resolve => {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...client }, () =>
      socket.resume(),
    );
    socket.on('session', ticket => {
      session = ticket;
    });
    socket.on('error', () => resolve()).on('close', () => resolve());
  });
  relay.close();
  end.close();
  return session === undefined ? { parts } : { parts, session };
}

/** Feeds the parts in pieces of at most `pieceBytes`. */
function play(parts: readonly Part[], pieceBytes = 1 << 20): TlsHandshake {
  const handshake = new TlsHandshake();
  let timeNs = 1000;
  for (const { isClient, bytes } of parts) {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      handshake.feed(isClient, bytes, at, Math.min(bytes.length, at + pieceBytes), timeNs++);
    }
  }
  return handshake;
}

function facts(handshake: TlsHandshake): Record<string, unknown> {
  const { state, version, cipher, serverName, nextProtocol, isResumed, alert } = handshake;
  return { state, version, cipher, serverName, nextProtocol, isResumed, alert };
}

test('TLS 1.3: version, suite, server name, the only protocol offered', async () => {
  const { parts } = await record(
    { servername: 'shop.example', ALPNProtocols: ['http/1.1'], minVersion: 'TLSv1.3' },
    { ALPNProtocols: ['http/1.1'], ciphers: 'TLS_AES_128_GCM_SHA256' },
  );
  const expected = {
    state: HANDSHAKE_DONE,
    version: '1.3',
    cipher: 'TLS_AES_128_GCM_SHA256',
    serverName: 'shop.example',
    nextProtocol: 'http/1.1',
    isResumed: false,
    alert: '',
  };
  for (const pieceBytes of [1 << 20, 1000, 7, 1]) assert.deepEqual(facts(play(parts, pieceBytes)), expected);
});

test('TLS 1.2: the protocol that was chosen; done when both sides have changed', async () => {
  const { parts } = await record(
    { servername: 'shop.example', ALPNProtocols: ['h2', 'http/1.1'], maxVersion: 'TLSv1.2' },
    { ALPNProtocols: ['http/1.1'], ciphers: 'ECDHE-RSA-AES256-GCM-SHA384' },
  );
  for (const pieceBytes of [1 << 20, 5, 1]) {
    assert.deepEqual(facts(play(parts, pieceBytes)), {
      state: HANDSHAKE_DONE,
      version: '1.2',
      cipher: 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384',
      serverName: 'shop.example',
      nextProtocol: 'http/1.1',
      isResumed: false,
      alert: '',
    });
  }
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: a session that is taken up again`, async () => {
    const context = { ticketKeys: Buffer.alloc(48, 7) };
    const first = await record({ maxVersion: version, minVersion: version }, context);
    assert.ok(first.session !== undefined, 'the server gave no ticket');
    assert.equal(play(first.parts).isResumed, false);
    const second = await record({ maxVersion: version, minVersion: version, session: first.session }, context);
    assert.deepEqual([play(second.parts).state, play(second.parts).isResumed], [HANDSHAKE_DONE, true]);
  });
}

test('an alert in the clear names the failure', async () => {
  const { parts } = await record({ maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' });
  const handshake = play(parts);
  assert.deepEqual([handshake.state, handshake.alert], [HANDSHAKE_FAILED, 'protocol_version']);
});

test('the first encrypted record of a client is an alert if it has the length of one', async () => {
  const { parts } = await record({ minVersion: 'TLSv1.3' }, {});
  const hellos = parts.slice(0, 2);
  const refusal = Buffer.concat([Buffer.from([20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 19]), Buffer.alloc(19, 9)]);
  const handshake = play([...hellos, { isClient: true, bytes: refusal }]);
  assert.deepEqual([handshake.state, handshake.alert], [HANDSHAKE_FAILED, 'encrypted_alert']);
});

test('a certificate chain behind the captured head does not hide the rest', async () => {
  const { parts } = await record({ maxVersion: 'TLSv1.2' }, {});
  const handshake = new TlsHandshake();
  for (const [index, { isClient, bytes }] of parts.entries()) {
    handshake.restart(isClient);
    const captured = index === 1 ? 200 : bytes.length;
    handshake.feed(isClient, bytes, 0, captured, 1000 + index);
    if (captured < bytes.length) handshake.skip(isClient, bytes.length - captured, 1000 + index);
  }
  assert.deepEqual([handshake.state, handshake.version], [HANDSHAKE_DONE, '1.2']);
});

test('a connection that closes in the middle has failed, and what is no TLS is lost', async () => {
  const { parts } = await record({}, {});
  const handshake = play(parts.slice(0, 1));
  assert.equal(handshake.state, HANDSHAKE_UNDER_WAY);
  handshake.close(5000);
  assert.deepEqual([handshake.state, handshake.endNs], [HANDSHAKE_FAILED, 5000]);
  assert.equal(play([{ isClient: true, bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n') }]).state, HANDSHAKE_LOST);
});

test('what a connection begins with', () => {
  const looks = (bytes: readonly number[]) => looksLikeHandshake(Uint8Array.from(bytes), 0, bytes.length);
  assert.equal(looks([22, 3, 1, 2, 0]), true);
  assert.equal(looks([22, 3, 1]), true);
  assert.equal(looks([22, 3]), false);
  assert.equal(looks([23, 3, 3, 0, 20]), false);
  assert.equal(looks([71, 69, 84]), false);
});

test('damaged handshakes give fewer facts, and no exception', async () => {
  const { parts } = await record({ servername: 'shop.example', ALPNProtocols: ['http/1.1'] }, {});
  let seed = 3;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % below;
  };
  for (let round = 0; round < 400; round++) {
    const damaged = parts.map(({ isClient, bytes }) => {
      const copy = Buffer.from(bytes.subarray(0, 1 + random(bytes.length)));
      for (let change = 0; change < 4; change++) copy[random(copy.length)] = random(256);
      return { isClient, bytes: copy };
    });
    const handshake = play(damaged, 1 + random(300));
    assert.match(handshake.serverName, /^[\x21-\x7e]*$/);
    for (const { bytes } of damaged) {
      parseHello(bytes.subarray(9), true);
      parseHello(bytes.subarray(9), false);
    }
  }
});

test('numbers without a name stay numbers', () => {
  assert.equal(cipherName(0x1301), 'TLS_AES_128_GCM_SHA256');
  assert.equal(cipherName(0xabcd), '0xABCD');
  assert.equal(alertName(48), 'unknown_ca');
  assert.equal(alertName(200), 'alert_200');
});
