// curl -> nginx -> node: on one host a CLIENT span and the SERVER span that it caused are one trace, without a header; a
// `traceparent` that comes with the request is honoured.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { type Agent, collectSpans, onlyPorts, startAgent } from '../support/agent.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { runCommand } from '../support/processes.js';
import { type Server, startNginx, startNodeServer } from '../support/servers.js';
import { CLIENT, type DecodedSpan, describe, pathOfSpan, pidOf, SERVER, text } from '../support/spans.js';

let receiver: OtlpReceiver;
let upstream: Server;
let nginx: Server;
let agent: Agent;

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  upstream = await startNodeServer();
  nginx = await startNginx({ upstreamPort: upstream.port });
  agent = await startAgent({ endpoint: receiver.grpcUrl, config: onlyPorts([nginx.port, upstream.port]) });
});

after(async () => {
  await agent?.stop();
  await nginx?.stop();
  await upstream?.stop();
  await receiver?.close();
});

interface Hops {
  readonly curlClient: DecodedSpan;
  readonly nginxServer: DecodedSpan;
  readonly nginxClient: DecodedSpan;
  readonly nodeServer: DecodedSpan;
}

/** One request through all three; the pid of its curl. */
async function send(name: string, curlArgs: readonly string[] = []): Promise<number> {
  const child = await runCommand('curl', [
    ...['--silent', '--show-error', '--fail', '--output', '/dev/null', ...curlArgs],
    `${nginx.url}/proxy/bytes/20000/${name}`,
  ]);
  assert.equal(child.exitCode, 0, child.describe());
  return child.pid;
}

/** The four spans of a request. */
async function hopsOf(name: string, curlPid: number): Promise<Hops> {
  const spans = await collectSpans(receiver, span => pathOfSpan(span).endsWith(`/bytes/20000/${name}`), 4);
  const nginxPids = new Set(nginx.pids());
  const find = (what: string, isIt: (span: DecodedSpan) => boolean): DecodedSpan => {
    const found = spans.filter(isIt);
    assert.equal(found.length, 1, `${what}: one span expected among\n${spans.map(describe).join('\n')}`);
    return found[0] as DecodedSpan;
  };
  assert.equal(spans.length, 4, spans.map(describe).join('\n'));
  return {
    curlClient: find('client span of curl', span => span.kind === CLIENT && pidOf(span) === curlPid),
    nginxServer: find('server span of nginx', span => span.kind === SERVER && nginxPids.has(pidOf(span))),
    nginxClient: find('client span of nginx', span => span.kind === CLIENT && nginxPids.has(pidOf(span))),
    nodeServer: find('server span of node', span => span.kind === SERVER && pidOf(span) === upstream.child.pid),
  };
}

async function request(name: string, curlArgs: readonly string[] = []): Promise<Hops> {
  return hopsOf(name, await send(name, curlArgs));
}

function assertChild(child: DecodedSpan, parent: DecodedSpan): void {
  const both = `${describe(child)}\n${describe(parent)}`;
  assert.equal(child.traceId, parent.traceId, both);
  assert.equal(child.parentSpanId, parent.spanId, both);
  assert.ok(child.startUnixNs >= parent.startUnixNs, `the child starts first:\n${both}`);
}

test('each client span and the server span that it caused are parent and child of one trace', async () => {
  const requests: (readonly [name: string, pid: number])[] = [];
  for (let index = 0; index < 20; index++) requests.push([`plain-${index}`, await send(`plain-${index}`)]);
  const all = await collectSpans(receiver, span => /\/plain-\d+$/.test(pathOfSpan(span)), 4 * requests.length);
  assert.equal(all.length, 4 * requests.length);
  const traces = new Set<string>();
  for (const [name, pid] of requests) {
    const hops = await hopsOf(name, pid);
    assertChild(hops.nginxServer, hops.curlClient);
    assertChild(hops.nodeServer, hops.nginxClient);
    assert.equal(hops.curlClient.parentSpanId, '', 'curl has no parent');
    assert.equal(text(hops.nginxServer, 'underspan.parent.evidence'), 'sequence');
    assert.equal(text(hops.nodeServer, 'underspan.parent.evidence'), 'sequence');
    traces.add(hops.curlClient.traceId);
  }
  assert.equal(traces.size, requests.length, 'each request is a trace of its own');
});

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT_ID = '00f067aa0ba902b7';

test('an incoming traceparent is the parent of all that the request causes', async () => {
  const headers = ['--header', `traceparent: 00-${TRACE_ID}-${PARENT_ID}-01`, '--header', 'tracestate: vendor=value'];
  const hops = await request('header', headers);
  const spans = Object.values(hops) as DecodedSpan[];
  const ids = new Set(spans.map(span => span.spanId));
  for (const span of spans) {
    assert.equal(span.traceId, TRACE_ID, describe(span));
    assert.equal(span.traceState, 'vendor=value', describe(span));
    const isRooted = span.parentSpanId === PARENT_ID || ids.has(span.parentSpanId);
    assert.ok(isRooted, `the parent is neither the header's span nor one of ours: ${describe(span)}`);
  }
  assert.ok(
    spans.some(span => span.parentSpanId === PARENT_ID),
    "no span has the header's span as its parent",
  );
  assert.equal(new Set([...ids, PARENT_ID]).size, 5, 'span ids are our own');
});

test('a traceparent that is not valid is ignored', async () => {
  for (const [index, value] of [
    `00-${'0'.repeat(32)}-${PARENT_ID}-01`,
    `ff-${TRACE_ID}-${PARENT_ID}-01`,
    'x',
  ].entries()) {
    const hops = await request(`invalid-${index}`, ['--header', `traceparent: ${value}`]);
    assert.notEqual(hops.nginxServer.traceId, TRACE_ID);
    assert.notEqual(hops.nginxServer.traceId, '0'.repeat(32));
    assertChild(hops.nginxServer, hops.curlClient);
  }
});

test('the sampled flag of the header is honoured', async () => {
  const child = await runCommand('curl', [
    ...['--silent', '--fail', '--output', '/dev/null', '--header', `traceparent: 00-${TRACE_ID}-${PARENT_ID}-00`],
    `${nginx.url}/bytes/1/unsampled`,
  ]);
  assert.equal(child.exitCode, 0, child.describe());
  await request('after-unsampled');
  const spans = receiver.spans().filter(span => pathOfSpan(span).endsWith('/unsampled'));
  assert.deepEqual(spans.map(describe), [], 'parentbased_always_on drops what the caller did not sample');
});
