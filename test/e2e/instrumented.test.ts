// hop -> told -> hop, where OpenTelemetry's own SDK tells of the one in the middle, and nobody of the others: their spans and its
// spans are one trace for each request, whether or not it came with a header, and nothing is told twice.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { type Agent, collectSpans, onlyPorts, startAgent } from '../support/agent.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, freePort, runCommand, until } from '../support/processes.js';
import { CLIENT, type DecodedSpan, describe, pathOfSpan, SERVER, serviceOf } from '../support/spans.js';

const HOP = 'test/services/hop.mjs';
const HEADER_SPAN = '00f067aa0ba902b7';

let receiver: OtlpReceiver;
/** Of the SDK. */
let backend: OtlpReceiver;
let agent: Agent;
let entry = '';
const services: Child[] = [];

async function start(...args: readonly string[]): Promise<void> {
  const service = new Child(process.execPath, args);
  services.push(service);
  await until('a service', 10_000, () => (service.stdout.includes('ready') ? true : null));
}

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  backend = await startOtlpReceiver({ grpc: false, http: true });
  const [first, told, last] = [await freePort(), await freePort(), await freePort()];
  const at = (port: number): string => `http://127.0.0.1:${port}`;
  await start(HOP, 'serve', '127.0.0.1', String(last), '-');
  await start('test/services/told.mjs', '127.0.0.1', String(told), at(last), backend.httpUrl);
  await start(HOP, 'serve', '127.0.0.1', String(first), at(told));
  entry = at(first);
  const config = `${onlyPorts([first, told, last, backend.httpPort])}traces: { connect_spans: false }\n`;
  agent = await startAgent({ endpoint: receiver.grpcUrl, config });
  await load('first', 1, 1);
  await until('the SDK to be recognised', 20_000, () =>
    /told exports traces itself/.test(agent.child.stderr) ? true : null,
  );
});

after(async () => {
  await agent?.stop();
  for (const service of services) await service.stop();
  await backend?.close();
  await receiver?.close();
});

async function load(prefix: string, count: number, connections: number): Promise<void> {
  const done = await runCommand(process.execPath, [
    HOP,
    'load',
    entry,
    prefix,
    '100',
    String(count / 100),
    String(connections),
  ]);
  assert.equal(done.stdout.trim().split('\n').length, count, done.describe());
}

/** Spans of the path, by who is behind them; `told` has those of the SDK. */
async function spansOf(prefix: string, count: number): Promise<readonly DecodedSpan[]> {
  const isIts = (span: DecodedSpan): boolean => pathOfSpan(span).startsWith(`/${prefix}`);
  const ours = await collectSpans(receiver, isIts, 4 * count, 20_000);
  const theirs = await collectSpans(backend, isIts, 2 * count, 20_000);
  assert.deepEqual([ours.length, theirs.length], [4 * count, 2 * count], await agent.losses());
  assert.deepEqual(ours.filter(span => serviceOf(span) === 'told').map(describe), [], 'told twice');
  return [...ours, ...theirs];
}

test('requests without a header, several at a time: the trace that the SDK began is that of the whole chain', async () => {
  const count = 200;
  await load('plain', count, 10);
  const paths = new Map<string, Set<string>>();
  for (const span of await spansOf('plain/', count)) {
    const known = paths.get(span.traceId) ?? new Set();
    paths.set(span.traceId, known.add(pathOfSpan(span)));
  }
  assert.deepEqual(
    [...paths.values()].filter(those => those.size > 1).map(those => [...those]),
    [],
    'mixed up',
  );
  // What a busy loop did for whom is not always certain; then the SDK's part is a trace of its own.
  assert.ok(paths.size <= 1.1 * count, `${paths.size} traces for ${count} requests`);
});

test('requests with a header that is not handed on keep its trace, with a link to the one that the SDK began', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const child = await runCommand('curl', [
    ...['--silent', '--fail', '--header', `traceparent: 00-${trace}-${HEADER_SPAN}-01`, `${entry}/named`],
  ]);
  assert.equal(child.exitCode, 0, child.describe());
  const spans = await spansOf('named', 1);
  const [served, ...others] = spans.filter(span => span.traceId === trace && span.kind === SERVER);
  assert.equal(others.length, 0);
  assert.equal(spans.find(span => span.spanId === served?.parentSpanId)?.parentSpanId, HEADER_SPAN);
  const asked = spans.find(span => span.parentSpanId === served?.spanId);
  const called = spans.find(span => span.kind === CLIENT && serviceOf(span) === 'told');
  assert.ok(
    asked?.links.some(link => link.traceId === called?.traceId && link.spanId === called?.spanId),
    spans.map(describe).join('\n'),
  );
});
