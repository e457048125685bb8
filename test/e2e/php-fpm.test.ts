// PHP behind nginx and Apache over FastCGI: requests per connection and kept connections, TCP and unix sockets. Every request
// that the logs of nginx and PHP-FPM have is a span of each, nothing else is, and the chain through them is one trace.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { collectSpans, startAgent } from '../support/agent.js';
import { Chain, judgeSpans } from '../support/chain.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { runCommand, until } from '../support/processes.js';
import { CLIENT, type DecodedSpan, number, pathOfSpan, pidOf, SERVER, statusOf, text } from '../support/spans.js';

/** Web server, the pool behind it, requests at a time: a kept connection keeps a process of PHP-FPM to itself. */
const LOADS = [
  ['web', 'php', 1],
  ['web', 'php', 10],
  ['web', 'php', 50],
  ['kept', 'lasting', 1],
  ['kept', 'lasting', 10],
  ['local', 'socket', 10],
  ['local', 'socket', 50],
  ['apache', 'php', 10],
] as const;
const COUNT = 60;

async function startChain(chain: Chain): Promise<void> {
  await chain.add('leaf', { kind: 'go' });
  await Promise.all([
    chain.add('php', { kind: 'php', calls: ['leaf'] }),
    chain.add('lasting', { kind: 'php', calls: ['leaf'], env: { WORKERS: '14', MODE: 'streams', SIZE: '9000' } }),
    chain.add('socket', { kind: 'php', calls: ['leaf'], env: { SOCKET: 'php.sock' } }),
  ]);
  await Promise.all([
    chain.add('web', { kind: 'nginx', calls: ['php'], env: { FASTCGI: 'off' } }),
    chain.add('kept', { kind: 'nginx', calls: ['lasting'], env: { FASTCGI: 'on' } }),
    chain.add('local', { kind: 'nginx', calls: ['socket'], env: { FASTCGI: 'off' } }),
    chain.add('apache', { kind: 'apache', calls: ['php'] }),
  ]);
}

function linesOf(chain: Chain, name: string, line: RegExp): string[] {
  const log = readFileSync(path.join(chain.link(name).directory, 'access.log'), 'utf8');
  return [...log.matchAll(line)].map(match => match.slice(1).join(' ')).sort();
}

/** `GET 200 /c/7`, as PHP-FPM was told to write it. */
function phpLog(chain: Chain, name: string): string[] {
  return linesOf(chain, name, /^(\S+) (\d+) ([^?\n]*)/gm);
}

function nginxLog(chain: Chain, name: string): string[] {
  return linesOf(chain, name, /"(\S+) ([^ ?]*)\S* HTTP\/1\.1" (\d+)/g).map(line => {
    const [method, target, status] = line.split(' ');
    return `${method} ${status} ${target}`;
  });
}

function lineOf(span: DecodedSpan): string {
  return `${text(span, 'http.request.method')} ${statusOf(span)} ${pathOfSpan(span)}`;
}

function isFastcgi(span: DecodedSpan): boolean {
  return text(span, 'network.protocol.name') === 'fastcgi';
}

test('each request of nginx and PHP-FPM is a span of both, and one trace goes through them', async t => {
  const chain = new Chain();
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  try {
    await startChain(chain);
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    let next = 1;
    for (const [web, , concurrency] of LOADS) {
      await chain.load(web, next, COUNT, concurrency);
      next += COUNT;
    }
    const all = LOADS.length * COUNT;
    // The last response of a kept connection that is longer than what is captured is told when the connection ends.
    await chain.link('kept').child.stop();
    await collectSpans(receiver, isFastcgi, 2 * all);
    const losses = await agent.losses();
    await agent.stop();
    const spans = receiver.spans().filter(span => pathOfSpan(span).startsWith('/c/'));

    await t.test('SERVER spans are what PHP-FPM logged', () => {
      for (const name of ['php', 'lasting', 'socket']) {
        const served = spans.filter(
          span => span.kind === SERVER && isFastcgi(span) && chain.linkOf(span)?.name === name,
        );
        assert.deepEqual(served.map(lineOf).sort(), phpLog(chain, name), `${name}\n${losses}`);
      }
    });
    await t.test('CLIENT spans are what nginx logged', () => {
      for (const name of ['web', 'kept', 'local']) {
        const called = spans.filter(
          span => span.kind === CLIENT && isFastcgi(span) && chain.linkOf(span)?.name === name,
        );
        assert.deepEqual(called.map(lineOf).sort(), nginxLog(chain, name), `${name}\n${losses}`);
      }
    });
    await t.test('both sides agree on bytes', () => {
      const calls = new Map(spans.filter(span => span.kind === CLIENT).map(span => [span.spanId, span]));
      const served = spans.filter(span => span.kind === SERVER && isFastcgi(span));
      for (const span of served) {
        const call = calls.get(span.parentSpanId);
        if (call === undefined) continue;
        const [read, written] = [number(span, 'underspan.io.read_bytes'), number(span, 'underspan.io.write_bytes')];
        assert.equal(number(call, 'underspan.io.write_bytes'), read, lineOf(span));
        assert.equal(number(call, 'underspan.io.read_bytes'), written, lineOf(span));
      }
    });
    await t.test('parents', () => {
      const { calls, requests } = judgeSpans(chain, spans, '');
      for (const [name, { right, none, wrong, unjudged, examples }] of calls) {
        const what = `${name}: ${right} right, ${none} none, ${unjudged} not judged\n${losses}`;
        assert.equal(wrong, 0, examples.join('\n'));
        const made = LOADS.filter(load => load[0] === name || load[1] === name).length * COUNT;
        assert.ok(right >= 0.95 * made, what);
      }
      assert.equal(requests.wrong, 0, requests.examples.join('\n'));
      assert.ok(
        requests.right >= 0.95 * 2 * all,
        `${requests.right} requests of ${2 * all}, ${requests.none} none\n${losses}`,
      );
    });
  } finally {
    await chain.stop();
    await receiver.close();
  }
});

/** Returns the status of the answer. */
async function curl(url: string, ...more: string[]): Promise<string> {
  const run = await runCommand('curl', [
    '--silent',
    '--output',
    '/dev/null',
    '--write-out',
    '%{http_code}',
    ...more,
    url,
  ]);
  assert.equal(run.exitCode, 0, run.describe());
  return run.stdout;
}

test('what spans say of FastCGI: bodies, statuses, failures, and no secrets', async () => {
  const chain = new Chain();
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  try {
    await chain.add('php', { kind: 'php', env: { WORKERS: '2' } });
    await chain.add('socket', { kind: 'php', env: { WORKERS: '2', SOCKET: 'php.sock' } });
    const web = await chain.add('web', { kind: 'nginx', calls: ['php'], env: { FASTCGI: 'on' } });
    const local = await chain.add('local', { kind: 'nginx', calls: ['socket'], env: { FASTCGI: 'off' } });
    const socketPath = chain.link('socket').url.slice('unix:'.length);
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    const base = `http://127.0.0.1:${web.port}`;
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await curl(
      `${base}/get?password=SECRET`,
      '-H',
      'Cookie: SECRET',
      '-u',
      'me:SECRET',
      '-H',
      `traceparent: ${parent}`,
    );
    assert.equal(await curl(`${base}/post`, '--data-binary', 'SECRET'.repeat(2000)), '200');
    await curl(`${base}/missing?status=404`);
    assert.equal(await curl(`${base}/broken?status=503`), '503');
    await curl(`http://127.0.0.1:${local.port}/local`);
    assert.equal(await curl(`${base}/die?die=1`), '502');
    const wanted = (span: DecodedSpan): boolean => isFastcgi(span) && pathOfSpan(span) !== '/die';
    await collectSpans(receiver, wanted, 10);
    await until('the request that failed', 10_000, () =>
      receiver.spans().some(span => isFastcgi(span) && pathOfSpan(span) === '/die' && span.kind === CLIENT)
        ? true
        : null,
    );
    const losses = await agent.losses();
    await agent.stop();
    const spans = receiver.spans();
    const find = (kind: number, target: string): DecodedSpan => {
      const found = spans.find(span => span.kind === kind && isFastcgi(span) && pathOfSpan(span) === target);
      const seen = spans.filter(isFastcgi).map(span => `${span.kind} ${lineOf(span)}`);
      assert.ok(found !== undefined, `no span of ${target}, but of\n${seen.join('\n')}\n${losses}`);
      return found;
    };
    for (const kind of [CLIENT, SERVER]) {
      const get = find(kind, '/get');
      assert.equal(get.traceId, '0af7651916cd43dd8448eb211c80319c');
      assert.equal(text(get, 'network.protocol.version'), '1.0');
      assert.equal(number(get, 'http.response.body.size'), 2);
      assert.match(text(get, 'user_agent.original'), /^curl/);
      const post = find(kind, '/post');
      assert.equal(text(post, 'http.request.method'), 'POST');
      assert.equal(number(post, 'http.request.body.size'), 12_000);
      assert.equal(statusOf(find(kind, '/missing')), 404);
      assert.equal(find(kind, '/missing').status.code, kind === CLIENT ? 2 : 0);
      assert.equal(statusOf(find(kind, '/broken')), 503);
      assert.equal(text(find(kind, '/broken'), 'error.type'), '503');
      assert.match(text(find(kind, '/die'), 'error.type'), /^ECONN|^connection_closed$/);
    }
    assert.equal(number(find(CLIENT, '/get'), 'server.port'), chain.link('php').port);
    assert.equal(number(find(SERVER, '/get'), 'server.port'), web.port);
    assert.equal(text(find(CLIENT, '/get'), 'url.full'), `${base}/get`);
    assert.equal(text(find(CLIENT, '/local'), 'server.address'), socketPath);
    assert.equal(text(find(CLIENT, '/local'), 'network.transport'), 'unix');
    assert.equal(find(SERVER, '/local').parentSpanId, find(CLIENT, '/local').spanId);
    assert.notEqual(pidOf(find(SERVER, '/local')), pidOf(find(CLIENT, '/local')));
    const told = JSON.stringify(spans, (_, value) =>
      value instanceof Map ? [...value] : typeof value === 'bigint' ? String(value) : value,
    );
    assert.ok(!told.includes('SECRET') && !told.includes('password'), 'a secret was told');
  } finally {
    await chain.stop();
    await receiver.close();
  }
});
