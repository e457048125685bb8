// The admin listener over real sockets, and the health that it reports.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AdminListener, type AdminOptions, startAdmin } from '../../../src/self/admin.js';
import { Health } from '../../../src/self/health.js';
import { Logger } from '../../../src/self/log.js';

interface Setup {
  readonly admin: AdminListener;
  readonly health: Health;
  readonly lines: string[];
  readonly url: string;
}

async function withAdmin(options: Partial<AdminOptions>, use: (setup: Setup) => Promise<void>): Promise<void> {
  const lines: string[] = [];
  const log = new Logger({ level: 'debug', format: 'text', write: line => lines.push(line) });
  const health = new Health();
  const metrics = async (): Promise<string> => 'a_total 1\n';
  const admin = await startAdmin({ host: '127.0.0.1', port: 0, health, metrics, log, ...options });
  assert.ok(admin !== null);
  try {
    await use({ admin, health, lines, url: `http://127.0.0.1:${admin.port}` });
  } finally {
    await admin.close();
  }
}

test('/readyz is 503 with the reason until ready', () =>
  withAdmin({}, async ({ url, health }) => {
    const before = await fetch(`${url}/readyz`);
    assert.equal(before.status, 503);
    assert.equal(await before.text(), 'starting\n');
    health.markReady();
    assert.equal((await fetch(`${url}/readyz?x=1`)).status, 200);
    health.markNotReady('stopping');
    assert.equal((await fetch(`${url}/readyz`)).status, 503);
  }));

test('/healthz is 200 while the watched parts beat', () => {
  let nowMs = 0;
  const health = new Health(() => nowMs);
  assert.deepEqual(health.liveness(), { isOk: true, detail: 'alive' });
  health.watch('pipeline', 1000);
  nowMs = 1000;
  assert.equal(health.liveness().isOk, true);
  nowMs = 3000;
  assert.deepEqual(health.liveness(), { isOk: false, detail: 'pipeline silent for 3 s' });
  health.beat('pipeline');
  assert.equal(health.liveness().isOk, true);
  nowMs = 9000;
  health.unwatch('pipeline');
  assert.equal(health.liveness().isOk, true);
});

test('/metrics hands over the Accept header and the text', () =>
  withAdmin(
    { metrics: async accept => (accept.includes('openmetrics') ? { contentType: 'x/y', body: 'om' } : 'text') },
    async ({ url }) => {
      const plain = await fetch(`${url}/metrics`);
      assert.equal(plain.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
      assert.equal(await plain.text(), 'text');
      const open = await fetch(`${url}/metrics`, { headers: { accept: 'application/openmetrics-text' } });
      assert.equal(open.headers.get('content-type'), 'x/y');
      assert.equal(await open.text(), 'om');
      const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
      assert.equal(head.headers.get('content-length'), '4');
      assert.equal(await head.text(), '');
    },
  ));

test('other paths are 404, other methods 405', () =>
  withAdmin({}, async ({ url }) => {
    assert.equal((await fetch(`${url}/`)).status, 404);
    assert.equal((await fetch(`${url}/metrics/x`)).status, 404);
    const post = await fetch(`${url}/metrics`, { method: 'POST', body: 'x' });
    assert.equal(post.status, 405);
    assert.equal(post.headers.get('allow'), 'GET, HEAD');
    assert.equal(post.headers.get('connection'), 'close');
  }));

test('metrics that fail are a 500 and a line in the log, without details for the caller', () =>
  withAdmin(
    {
      metrics: async () => {
        throw new Error('inner detail');
      },
    },
    async ({ url, lines }) => {
      const response = await fetch(`${url}/metrics`);
      assert.equal(response.status, 500);
      assert.equal(await response.text(), 'internal error\n');
      assert.match(lines.join(''), /inner detail/);
    },
  ));

test('a taken port: a clear warning, and no listener', () =>
  withAdmin({}, async ({ admin }) => {
    const lines: string[] = [];
    const log = new Logger({ level: 'info', format: 'text', write: line => lines.push(line) });
    const options = { host: '127.0.0.1', port: admin.port, health: new Health(), metrics: async () => '', log };
    assert.equal(await startAdmin(options), null);
    assert.match(
      lines.join(''),
      new RegExp(`no admin listener, 127\\.0\\.0\\.1:${admin.port} is in use by another process`),
    );
  }));

test('a client that sends no request is cut off, and garbage does not harm', () =>
  withAdmin({}, async ({ admin, url }) => {
    const garbage = connect(admin.port, '127.0.0.1');
    garbage.on('error', () => undefined);
    garbage.write('\x16\x03\x01garbage\r\n\r\n');
    const silent = connect(admin.port, '127.0.0.1');
    silent.on('error', () => undefined);
    const closed = new Promise(resolve => silent.once('close', resolve));
    silent.write('GET /readyz HTTP/1.1\r\n');
    silent.resume();
    const outcome = await Promise.race([closed.then(() => 'closed'), sleep(9000).then(() => 'open')]);
    assert.equal(outcome, 'closed');
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    garbage.destroy();
  }));

test('connections beyond the cap are refused, not queued', () =>
  withAdmin({}, async ({ admin }) => {
    let refused = 0;
    const sockets = Array.from({ length: 80 }, () => {
      const socket = connect(admin.port, '127.0.0.1');
      socket.on('close', () => refused++).on('error', () => undefined);
      return socket.resume();
    });
    // A busy machine takes its time; once 16 are refused, nobody else may be.
    for (let looks = 0; looks < 100 && refused < 16; looks++) await sleep(100);
    await sleep(300);
    for (const socket of sockets) socket.removeAllListeners('close').destroy();
    assert.equal(refused, 16);
  }));
