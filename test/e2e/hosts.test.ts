// Three hosts in a row, a NAT between each two, an agent on each, and a real Redis server that all of them reach: each
// server's span is the child of the client's span on the host before. The server dies and comes back.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { type Agent, collectSpans, get, startAgent } from '../support/agent.js';
import { Hosts } from '../support/hosts.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { type Child, until } from '../support/processes.js';
import { Redis } from '../support/redis.js';
import { CLIENT, type DecodedSpan, describe, pathOfSpan, SERVER, text } from '../support/spans.js';

const HOSTS = 3;
const PORT = 8000;
const HOP = 'test/services/hop.mjs';

let receiver: OtlpReceiver;
let redis: Redis;
let hosts: Hosts;
let agents: Agent[] = [];
const services: Child[] = [];

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  redis = await Redis.start();
  hosts = await Hosts.create(HOSTS);
  // A busy machine must not decide what is found: the wait is longer than its stalls.
  const config = (index: number): string => `
selection: { include: [{ command: '${hosts.mark(index)}' }] }
traces: { connect_spans: false, join: { wait_ms: 10000, redis: { url: '${redis.url}', ttl_ms: 60000 } } }
`;
  agents = await Promise.all(
    Array.from({ length: HOSTS }, (_, index) => startAgent({ endpoint: receiver.grpcUrl, config: config(index) })),
  );
  for (let index = HOSTS - 1; index > 0; index--) {
    const next = index === HOSTS - 1 ? '-' : `http://${hosts.address(index + 1)}:${PORT}`;
    const args = [HOP, 'serve', '0.0.0.0', String(PORT), next, hosts.mark(index)];
    const service = hosts.start(index, process.execPath, args);
    services.push(service);
    await until('a service', 10_000, () => (service.stdout.includes('ready') ? true : null));
  }
});

after(async () => {
  for (const service of services) await service.stop();
  for (const agent of agents) await agent.stop();
  await redis?.kill();
  await hosts?.remove();
  await receiver?.close();
});

/** Sends `count` requests through all hosts; their spans. */
async function send(prefix: string, count: number): Promise<DecodedSpan[]> {
  const args = ['load', `http://${hosts.address(1)}:${PORT}`, prefix, '150', String(count / 150), '10', hosts.mark(0)];
  const load = await hosts.start(0, process.execPath, [HOP, ...args]).finished(60_000);
  assert.equal(load.stdout.trim().split('\n').length, count, load.describe());
  const perRequest = 2 * (HOSTS - 1);
  const spans = await collectSpans(
    receiver,
    span => pathOfSpan(span).startsWith(`/${prefix}/`),
    count * perRequest,
    30_000,
  );
  assert.equal(spans.length, count * perRequest);
  return spans;
}

async function metric(agent: Agent, name: string): Promise<number> {
  const { body } = await get(`${agent.adminUrl}/metrics`);
  return Number(
    body
      .split('\n')
      .find(line => line.startsWith(`${name} `))
      ?.split(' ')[1] ?? Number.NaN,
  );
}

async function allConnected(state: 0 | 1): Promise<void> {
  for (const agent of agents) {
    await until(`connected = ${state}`, 20_000, async () =>
      (await metric(agent, 'underspan_joins_connected_ratio')) === state ? true : null,
    );
  }
}

/** Every server's span is the child of the one client's span with its path and its host's address as the peer. */
function assertJoined(spans: readonly DecodedSpan[]): void {
  const byId = new Map(spans.map(span => [span.spanId, span]));
  for (const served of spans.filter(span => span.kind === SERVER)) {
    const parent = byId.get(served.parentSpanId);
    assert.ok(parent !== undefined, `no such parent: ${describe(served)}`);
    const both = `${describe(served)}\n${describe(parent)}`;
    assert.equal(parent.kind, CLIENT, both);
    assert.equal(parent.traceId, served.traceId, both);
    assert.equal(pathOfSpan(parent), pathOfSpan(served), both);
    assert.equal(text(served, 'underspan.parent.evidence'), 'remote_sequence', both);
    // The host before: the addresses that the two sides see are not the same ones, which is what the NAT is for.
    assert.notEqual(text(served, 'network.peer.address'), '', both);
    assert.equal(text(parent, 'network.peer.address'), text(served, 'server.address'), both);
  }
}

test('each server’s span has the client’s span on the host before as its parent', async () => {
  await allConnected(1);
  assertJoined(await send('all', 600));
  const found = await Promise.all(agents.map(agent => metric(agent, 'underspan_joins_asked_total{outcome="found"}')));
  const provisional = await Promise.all(
    agents.map(agent => metric(agent, 'underspan_joins_asked_total{outcome="provisional"}')),
  );
  assert.equal(
    [...found, ...provisional].reduce((sum, count) => sum + count, 0),
    1200,
  );
});

test('without the Redis server traces end at each host, and no span is late or lost; with it they are joined again', async () => {
  await redis.kill();
  await allConnected(0);
  const spans = await send('alone', 300);
  for (const served of spans.filter(span => span.kind === SERVER)) {
    assert.notEqual(text(served, 'underspan.parent.evidence'), 'remote_sequence', describe(served));
  }
  for (const agent of agents) {
    assert.equal(await metric(agent, 'underspan_joins_waiting'), 0);
    assert.match(agent.child.stderr, /no Redis at 127\.0\.0\.1:\d+: until it is back, traces end at this host/);
  }
  await redis.resume();
  await allConnected(1);
  assertJoined(await send('again', 300));
});
