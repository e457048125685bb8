// The meeting place of agents against real servers: passwords, TLS, a server that stalls, dies and comes back, a cluster.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { JoinStore, type JoinStoreOptions } from '../../src/joins/join-store.js';
import { FLAG_PROVISIONAL, FLAG_SAMPLED } from '../../src/traces/join-batch.js';
import { freePort, runCommand, temporaryDirectory, until } from '../support/processes.js';
import { PASSWORD, Redis } from '../support/redis.js';

interface Watched {
  readonly store: JoinStore;
  readonly downs: string[];
  readonly refusals: string[];
  readonly answers: number[];
}

function open(port: number, options: Partial<JoinStoreOptions> = {}): Watched {
  const downs: string[] = [];
  const refusals: string[] = [];
  const answers: number[] = [];
  const store = new JoinStore({
    ...{ places: [{ host: '127.0.0.1', port }], username: '', password: PASSWORD, database: 0, tls: null },
    ...{ keyPrefix: 'test', ttlMs: 60_000 },
    onUp: () => undefined,
    onDown: (_place, reason) => downs.push(reason),
    onAnswers: words => answers.push(...words),
    onRefused: reason => refusals.push(reason),
    ...options,
  });
  store.open();
  return { store, downs, refusals, answers };
}

const NOTHING = new Uint32Array(0);
/** A key with the highest bits, and what is offered under it. */
const KEY = [0xfedcba98, 0x00000001];
const OFFERED = [0x89abcdef, 1, 2, 0xffffffff, 4, 5, 6, FLAG_SAMPLED | FLAG_PROVISIONAL];

async function isUp({ store, downs }: Watched): Promise<void> {
  await until(`a connection (${downs.join('; ')})`, 8000, () => (store.isUp ? true : null));
}

/** Offers, asks for it and for another key, and compares. */
async function roundTrip(watched: Watched): Promise<void> {
  await isUp(watched);
  const { store, answers } = watched;
  answers.length = 0;
  store.onBatch({ number: 0, offers: Uint32Array.from([...KEY, ...OFFERED]), questions: NOTHING });
  store.onBatch({ number: 0, offers: NOTHING, questions: Uint32Array.from([7, 1, 1, 8, ...KEY]) });
  await until(`an answer (${watched.refusals.join('; ')})`, 5000, () => (answers.length > 0 ? true : null));
  assert.deepEqual(answers, [8, ...OFFERED]);
}

test('what is offered is found; keys live as long as configured; passwords and users', async () => {
  const redis = await Redis.start();
  const cli = (...args: string[]) => runCommand('redis-cli', ['-p', String(redis.port), '-a', PASSWORD, ...args]);
  try {
    const first = open(redis.port, { ttlMs: 2000, database: 3 });
    await roundTrip(first);
    const { stdout } = await cli('-n', '3', 'GET', '{test}:fedcba9800000001');
    assert.equal(stdout.trim(), '00-0000000100000002ffffffff00000004-0000000500000006-01-89abcdef-p');
    await until('the key to go', 8000, async () =>
      (await cli('-n', '3', 'DBSIZE')).stdout.trim() === '0' ? true : null,
    );
    first.store.close();

    await cli('ACL', 'SETUSER', 'agent', 'on', '>secret', '~{test}:*', '+get', '+set', '+ping');
    const user = open(redis.port, { username: 'agent', password: 'secret' });
    await roundTrip(user);
    user.store.close();

    for (const password of ['', 'wrong']) {
      const stranger = open(redis.port, { password });
      await until('a refusal', 5000, () => (stranger.downs.length > 0 ? true : null));
      assert.match(stranger.downs[0] ?? '', /NOAUTH|WRONGPASS/);
      assert.equal(stranger.store.isUp, false);
      stranger.store.close();
    }

    const full = open(redis.port);
    await isUp(full);
    await cli('CONFIG', 'SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction');
    full.store.onBatch({ number: 0, offers: Uint32Array.from([...KEY, ...OFFERED]), questions: NOTHING });
    await until('a refusal', 5000, () => (full.refusals.length > 0 ? true : null));
    assert.match(full.refusals[0] ?? '', /OOM/);
    assert.equal(full.store.commands.refused, 1);
    full.store.close();
    const late = open(redis.port);
    await until('a refusal', 5000, () => (late.downs.length > 0 ? true : null));
    assert.match(late.downs[0] ?? '', /OOM/);
    assert.equal(late.store.isUp, false);
    late.store.close();
  } finally {
    await redis.kill();
  }
});

test('a database that is not there, or a password that nobody asked for: it says so, and is not up for a moment', async () => {
  const redis = await Redis.start();
  const free = await Redis.start(['--requirepass', '']);
  const ups: string[] = [];
  const onUp = (place: string): number => ups.push(place);
  const stores = [open(redis.port, { database: 99, onUp }), open(free.port, { onUp })];
  try {
    const [database, password] = stores as [Watched, Watched];
    await until('both to be refused, and tried again', 10_000, () =>
      stores.every(({ downs }) => downs.length > 2) ? true : null,
    );
    assert.deepEqual(ups, []);
    assert.match(database.downs[0] ?? '', /DB index is out of range/);
    assert.match(password.downs[0] ?? '', /without any password configured/);
  } finally {
    for (const { store } of stores) store.close();
    await redis.kill();
    await free.kill();
  }
});

test('a server that stalls is given up, one that dies is tried again; meanwhile commands are dropped at once', async () => {
  const redis = await Redis.start();
  const watched = open(redis.port);
  const { store, downs } = watched;
  const offers = Uint32Array.from([...KEY, ...OFFERED]);
  try {
    await roundTrip(watched);
    redis.signal('SIGSTOP');
    store.onBatch({ number: 0, offers, questions: NOTHING });
    await until('the stall to be noticed', 10_000, () => (downs.length > 0 ? true : null));
    assert.match(downs[0] ?? '', /no reply within/);
    for (let index = 0; index < 1000; index++) store.onBatch({ number: 0, offers, questions: NOTHING });
    assert.equal(store.commands.dropped, 1000);
    redis.signal('SIGCONT');
    await roundTrip(watched);

    const { commands } = store;
    assert.equal(commands.answered + commands.lost + commands.dropped, 1007, JSON.stringify(commands));

    await redis.kill();
    await until('the end to be noticed', 5000, () => (store.isUp ? null : true));
    await until('another try', 5000, () => (/ECONNREFUSED/.test(downs.join()) ? true : null));
    await redis.resume();
    await roundTrip(watched);
  } finally {
    store.close();
    redis.signal('SIGCONT');
    await redis.kill();
  }
});

test('a replica is not written to until it has taken over from a server that died', async () => {
  const first = await Redis.start();
  const second = await Redis.start(['--replicaof', '127.0.0.1', String(first.port), '--masterauth', PASSWORD]);
  const places = [
    { host: '127.0.0.1', port: first.port },
    { host: '127.0.0.1', port: second.port },
  ] as const;
  const watched = open(first.port, { places });
  try {
    await roundTrip(watched);
    await first.kill();
    await until('the replica to be tried', 10_000, () => (/READONLY/.test(watched.downs.join()) ? true : null));
    assert.equal(watched.store.isUp, false);
    await runCommand('redis-cli', ['-p', String(second.port), '-a', PASSWORD, 'REPLICAOF', 'NO', 'ONE']);
    await roundTrip(watched);
  } finally {
    watched.store.close();
    await first.kill();
    await second.kill();
  }
});

test('over TLS, with certificates on both sides', async () => {
  const folder = temporaryDirectory('redis');
  const file = (name: string): string => path.join(folder, name);
  const made = await runCommand('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', file('key.pem'), '-out', file('cert.pem')],
  ]);
  assert.equal(made.exitCode, 0, made.describe());
  const tlsPort = await freePort();
  const redis = await Redis.start([
    ...['--tls-port', String(tlsPort), '--tls-cert-file', file('cert.pem')],
    ...['--tls-key-file', file('key.pem'), '--tls-ca-cert-file', file('cert.pem')],
  ]);
  const [cert, key] = ['cert.pem', 'key.pem'].map(name => readFileSync(file(name)));
  assert.ok(cert !== undefined && key !== undefined);
  try {
    const trusted = open(tlsPort, { tls: { ca: cert, cert, key } });
    await roundTrip(trusted);
    trusted.store.close();
    const stranger = open(tlsPort, { tls: {} });
    await until('a refusal', 5000, () => (stranger.downs.length > 0 ? true : null));
    assert.match(stranger.downs[0] ?? '', /self-signed|certificate/);
    stranger.store.close();
  } finally {
    await redis.kill();
  }
});

test('a cluster: whichever node is configured leads to the one that has the keys', async () => {
  const ports = [await freePort(), await freePort(), await freePort()];
  const folder = temporaryDirectory('cluster');
  const nodes: Redis[] = [];
  try {
    for (const port of ports) {
      // The bus would take port + 10000, which may be no port at all.
      nodes.push(
        await Redis.start(
          [
            ...['--cluster-enabled', 'yes', '--cluster-config-file', path.join(folder, `${port}.conf`)],
            ...['--cluster-port', String(await freePort()), '--masterauth', PASSWORD, '--cluster-node-timeout', '2000'],
          ],
          port,
        ),
      );
    }
    const created = await runCommand('redis-cli', [
      ...['-a', PASSWORD, '--cluster', 'create', ...ports.map(port => `127.0.0.1:${port}`)],
      ...['--cluster-replicas', '0', '--cluster-yes'],
    ]);
    assert.equal(created.exitCode, 0, created.describe());
    for (const port of ports) {
      const watched = open(port);
      await isUp(watched);
      // The first commands may be what learns that the keys are elsewhere.
      watched.store.onBatch({ number: 0, offers: Uint32Array.from([...KEY, ...OFFERED]), questions: NOTHING });
      await until('a reply', 8000, () => {
        if (watched.store.commands.answered > 0) return true;
        watched.store.onBatch({ number: 0, offers: Uint32Array.from([...KEY, ...OFFERED]), questions: NOTHING });
        return null;
      });
      await roundTrip(watched);
      watched.store.close();
    }
  } finally {
    for (const node of nodes) await node.kill();
  }
});
