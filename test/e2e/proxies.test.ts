// One request, one trace through proxies that are not nginx: HAProxy, Apache, lighttpd, Varnish, each in front of the same server,
// over kept connections, one request at a time and several; two of them also ask the server by themselves. Each request has a
// SERVER and a CLIENT span, as the proxy's own log has it, and each call hangs below its request. nginx calls by TLS.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startAgent } from '../support/agent.js';
import { Chain, judgeSpans, type Link } from '../support/chain.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { CLIENT, type DecodedSpan, pathOfSpan, SERVER } from '../support/spans.js';

const ALONE = 20;
const TOGETHER = 80;
const CONCURRENCY = 10;
const REQUESTS = ALONE + TOGETHER;
const NAMES = ['haproxy', 'apache', 'lighttpd', 'varnish', 'nginx'];
const PATIENCE_MS = 15_000;

/** Requests by the log of the proxy, where it keeps one. */
function logged({ kind, child, directory }: Link): number | null {
  if (kind !== 'haproxy' && kind !== 'apache-proxy') return null;
  const log = kind === 'haproxy' ? child.stdout : readFileSync(path.join(directory, 'access.log'), 'utf8');
  return log.split('\n').filter(line => line.includes(' /c/') && !line.includes('/c/tick')).length;
}

test('HAProxy, Apache, lighttpd, Varnish, nginx by TLS: each request has its two spans, and each call is below its request', async () => {
  const chain = new Chain();
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  try {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('secure', { kind: 'go', env: { THINK_MS: '2', TLS: '1' } });
    await chain.add('haproxy', { kind: 'haproxy', calls: ['leaf'], env: { CHECK: '20' } });
    await chain.add('apache', { kind: 'apache-proxy', calls: ['leaf'] });
    await chain.add('lighttpd', { kind: 'lighttpd', calls: ['leaf'] });
    await chain.add('varnish', { kind: 'varnish', calls: ['leaf'], env: { CHECK: '20' } });
    await chain.add('nginx', { kind: 'nginx', calls: ['secure'], env: { KEEP: '1', CALL_TLS: '1' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of NAMES) {
      await chain.load(name, 1, ALONE, 1);
      await chain.load(name, 1 + ALONE, TOGETHER, CONCURRENCY);
    }
    const of = (name: string, kind: number): DecodedSpan[] =>
      receiver
        .spans()
        .filter(span => span.kind === kind && chain.linkOf(span)?.name === name && pathOfSpan(span) !== '/c/tick');
    const isThere = (): boolean =>
      NAMES.every(name => of(name, SERVER).length + of(name, CLIENT).length >= 2 * REQUESTS);
    for (let waited = 0; waited < PATIENCE_MS && !isThere(); waited += 250) await sleep(250);
    const losses = await agent.losses();
    await agent.stop();
    const { calls, background } = judgeSpans(chain, receiver.spans(), '');
    for (const name of NAMES) {
      const log = logged(chain.link(name));
      if (log !== null) assert.equal(log, REQUESTS, `${name}'s own log`);
      assert.equal(of(name, SERVER).length, REQUESTS, `requests of ${name}\n${losses}`);
      assert.equal(of(name, CLIENT).length, REQUESTS, `calls of ${name}\n${losses}`);
      const verdict = calls.get(name);
      assert.deepEqual(verdict?.examples, [], `${name}: no call is below another request than its own`);
      assert.equal(verdict.right, REQUESTS, `${name}: ${JSON.stringify(verdict)}\n${losses}`);
    }
    assert.deepEqual(background.examples, [], 'health checks are for no request');
    assert.ok(background.right > 0, `health checks were seen\n${losses}`);
  } finally {
    await chain.stop();
    await receiver.close();
  }
});
