// CLIENT spans of clients that keep their own time: curl (its --write-out clocks) and Node's fetch. The load generator's
// own CLIENT spans (node:http) are held against its log in every <server>.test.ts.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { type Agent, collectSpans, startAgent } from '../support/agent.js';
import { compareDurations, compareSpans, distribution, head, median, type Witness } from '../support/compare.js';
import { makePunctual } from '../support/experiment.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, runCommand, temporaryDirectory } from '../support/processes.js';
import { type Server, startNodeServer } from '../support/servers.js';
import {
  CLIENT,
  type DecodedSpan,
  describe,
  durationMs,
  flag,
  number,
  phaseMs,
  pidOf,
  serviceOf,
} from '../support/spans.js';

let receiver: OtlpReceiver;
let server: Server;
let agent: Agent;

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  server = await startNodeServer();
  await makePunctual(server.pids());
  agent = await startAgent({ endpoint: receiver.grpcUrl });
});

after(async () => {
  await agent?.stop();
  await server?.stop();
  await receiver?.close();
});

/** What curl's --write-out '%{json}' says of one transfer; times in seconds from the start of the transfer. */
interface CurlTransfer {
  readonly method: string;
  readonly url: string;
  readonly http_code: number;
  readonly num_connects: number;
  readonly time_namelookup: number;
  readonly time_connect: number;
  readonly time_pretransfer: number;
  readonly time_total: number;
}

interface CurlWitness extends Witness {
  readonly connectMs: number;
  readonly isReused: boolean;
}

function curlWitness(transfer: CurlTransfer): CurlWitness {
  return {
    method: transfer.method,
    path: new URL(transfer.url).pathname,
    status: transfer.http_code,
    startMs: Number.NaN,
    durationMs: (transfer.time_total - transfer.time_pretransfer) * 1000,
    connectMs: (transfer.time_connect - transfer.time_namelookup) * 1000,
    isReused: transfer.num_connects === 0,
  };
}

/** One curl process with several transfers over one connection; each group of arguments is one transfer. */
async function curl(transfers: readonly (readonly string[])[]): Promise<{ pid: number; witnesses: CurlWitness[] }> {
  const each = transfers.flatMap((args, index) => [
    ...(index > 0 ? ['--next'] : []),
    ...['--silent', '--show-error', '--output', '/dev/null', '--write-out', '%{json}\n'],
    ...args,
  ]);
  // Before all ordinary processes, so that curl reads its clock when it says: after its request has left.
  const child = await runCommand('chrt', ['--rr', '1', 'curl', ...each]);
  assert.equal(child.exitCode, 0, child.describe());
  const lines = child.stdout.trimEnd().split('\n');
  assert.equal(lines.length, transfers.length, child.describe());
  return { pid: child.pid, witnesses: lines.map(line => curlWitness(JSON.parse(line) as CurlTransfer)) };
}

function spansOf(pid: number, kind: number): (span: DecodedSpan) => boolean {
  return span => span.kind === kind && pidOf(span) === pid;
}

test('CLIENT spans of curl equal what curl measured', async t => {
  const body = path.join(temporaryDirectory('curl'), 'body');
  writeFileSync(body, Buffer.alloc(2 * 1024 * 1024, 'b'));
  const small = path.join(temporaryDirectory('curl'), 'small');
  writeFileSync(small, Buffer.alloc(3000, 'b'));
  let next = 0;
  const at = (what: string) => `${server.url}${what}/curl-${next++}`;
  const round = () => [
    [at('/bytes/0')],
    [at('/bytes/1048576')],
    ['--head', at('/bytes/20000')],
    [at('/chunked/200000')],
    [at('/sleep/30')],
    [at('/status/404')],
    [at('/status/503')],
    [at('/status/204')],
    ['--data-binary', `@${small}`, at('/upload')],
    ['--upload-file', small, at('/upload')],
    ['--request', 'PURGE', at('/status/200')],
    ['--request', 'DELETE', at('/status/204')],
    ['--request', 'OPTIONS', at('/status/200')],
    // More than 1 MiB: curl sends `Expect: 100-continue` and the answer begins with 100.
    ['--upload-file', body, at('/upload')],
    ['--header', 'transfer-encoding: chunked', '--data-binary', `@${small}`, at('/upload')],
  ];
  const runs: { pid: number; witnesses: CurlWitness[] }[] = [];
  for (let index = 0; index < 6; index++) runs.push(await curl(round()));
  const pids = new Set(runs.map(run => run.pid));
  const witnesses = runs.flatMap(run => run.witnesses);
  const spans = await collectSpans(receiver, span => span.kind === CLIENT && pids.has(pidOf(span)), witnesses.length);
  const comparison = compareSpans(witnesses, spans);

  await t.test('same count, method, path and status', () => {
    assert.deepEqual(
      { missing: comparison.missing, extra: comparison.extra, wrong: comparison.wrong },
      { missing: [], extra: [], wrong: [] },
    );
    assert.equal(comparison.pairs.length, witnesses.length);
  });
  await t.test('same duration', inner => {
    const report = compareDurations(comparison.pairs, 0, durationMs);
    inner.diagnostic(`curl CLIENT duration error in ms: ${distribution(report.errors)}`);
    assert.ok(report.faults.length <= 0.05 * witnesses.length, head(report.faults.map(fault => fault.description)));
    assert.ok(Math.abs(median(report.errors)) < 0.5, `the middle is ${median(report.errors)} ms off`);
    assert.equal(report.errors.length, witnesses.length);
  });
  await t.test('the service is named curl', () => {
    assert.deepEqual([...new Set(spans.map(serviceOf))], ['curl']);
  });
  await t.test('the first request of each connection knows how long connect took', inner => {
    const errors: number[] = [];
    for (const { witness, span } of comparison.pairs) {
      assert.equal(flag(span, 'underspan.connection.reused'), witness.isReused, describe(span));
      if (witness.isReused) continue;
      assert.ok(number(span, 'underspan.connect.duration') > 0, describe(span));
      errors.push(phaseMs(span, 'underspan.connect.duration') - witness.connectMs);
    }
    inner.diagnostic(`connect duration error in ms: ${distribution(errors)}`);
    assert.equal(errors.length, runs.length, 'one connection per curl');
    assert.ok(Math.abs(median(errors)) <= 1, `connect is ${median(errors)} ms off`);
  });
  await t.test('each connection has its span `socket connect`, and the first request links to it', async () => {
    for (const run of runs) {
      const isConnect = (span: DecodedSpan) => span.name.startsWith('socket connect') && pidOf(span) === run.pid;
      const connects = receiver.spans().filter(isConnect);
      assert.equal(connects.length, 1, `of curl ${run.pid}`);
      const connect = connects[0] as DecodedSpan;
      assert.equal(number(connect, 'network.peer.port'), server.port, describe(connect));
      assert.equal(connect.status.code, 0, describe(connect));
      const connectMs = run.witnesses[0]?.connectMs ?? Number.NaN;
      // curl's clock starts before the call and is read when curl gets its turn.
      assert.ok(durationMs(connect) <= connectMs + 0.1, `${describe(connect)}: curl says ${connectMs} ms`);
      const first = comparison.pairs.find(({ witness }) => witness === run.witnesses[0])?.span;
      assert.ok(first !== undefined);
      const isTied = first.traceId === connect.traceId || first.links.some(link => link.spanId === connect.spanId);
      assert.ok(isTied, `${describe(connect)} has no tie to ${describe(first)}`);
      assert.ok(connect.endUnixNs <= first.startUnixNs, 'connect ends before the request begins');
    }
  });
});

const FETCH_CLIENT = `
const [base, count] = process.argv.slice(1);
const kinds = ['/bytes/0', '/bytes/20000', '/chunked/5000', '/status/404', '/status/500', '/upload', '/sleep/10'];
await (await fetch(base + '/bytes/1/fetch-warm')).arrayBuffer();
for (let n = 0; n < Number(count); n++) {
  const kind = kinds[n % kinds.length];
  const path = kind + '/fetch-' + n;
  const method = kind === '/upload' ? 'POST' : 'GET';
  const began = performance.now();
  const answer = await fetch(base + path, { method, body: method === 'POST' ? 'x'.repeat(n * 10) : undefined });
  await answer.arrayBuffer();
  const durationMs = performance.now() - began;
  console.log(JSON.stringify({ method, path, status: answer.status, startMs: performance.timeOrigin + began, durationMs }));
}
`;

test("CLIENT spans of Node's fetch lie within what fetch measured", async t => {
  const child = new Child(process.execPath, ['--input-type=module', '--eval', FETCH_CLIENT, server.url, '140']);
  await child.finished(20_000);
  assert.equal(child.exitCode, 0, child.describe());
  const witnesses = child.stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Witness);
  const warm = { method: 'GET', path: '/bytes/1/fetch-warm', status: 200, startMs: Number.NaN, durationMs: Number.NaN };
  const all = [warm, ...witnesses];
  const spans = await collectSpans(receiver, spansOf(child.pid, CLIENT), all.length);
  const { missing, extra, wrong, pairs } = compareSpans(all, spans);
  assert.deepEqual({ missing, extra, wrong }, { missing: [], extra: [], wrong: [] });
  // fetch's own work before the first and after the last byte counts for fetch, not for the socket.
  const { errors } = compareDurations(pairs, 0, durationMs);
  t.diagnostic(`fetch: span minus fetch in ms: ${distribution(errors)}`);
  for (const { witness, span } of pairs) {
    if (Number.isNaN(witness.durationMs)) continue;
    assert.ok(
      durationMs(span) <= witness.durationMs,
      `longer than the ${witness.durationMs} ms of fetch: ${describe(span)}`,
    );
    // A timer of Node may be up to one millisecond early.
    if (witness.path.startsWith('/sleep/10/')) assert.ok(durationMs(span) >= 9, `slept 10 ms: ${describe(span)}`);
  }
});
