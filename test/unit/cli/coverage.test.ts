// `underspan coverage` on pages that the real renderer made of a real pipeline's books, and the command as a process:
// what it prints, and its exit codes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSamples, readCoverage, renderJson, renderText } from '../../../src/cli/coverage.js';
import { renderPrometheus } from '../../../src/exporters/prometheus.js';
import { LOSS_COUNT, LOSS_REQUESTS_UNTOLD, STAT_EDGES } from '../../../src/records/records.gen.js';
import { KernelCounters, observeKernel, observePipeline } from '../../../src/self/agent-metrics.js';
import { Counters } from '../../../src/self/counters.js';
import { Ledger } from '../../../src/self/ledger.js';
import { requestText, responseText } from '../../support/record-builder.js';
import { Harness } from '../pipeline/harness.js';
import { service } from '../signals/exchanges.js';

const MAIN = fileURLToPath(new URL('../../../src/main.js', import.meta.url));

/** The /metrics page of an agent in mid-life: two services, one request open, one dropped, losses everywhere. */
function page(): string {
  const harness = new Harness();
  const shop = harness.server({ slot: 1 }).opened();
  for (let turn = 0; turn < 3; turn++) shop.read(requestText(`GET /${turn}`)).wrote(responseText(200));
  shop.read(requestText('GET /open'));
  const buyer = harness.client({ slot: 2 }).opened();
  buyer.wrote(requestText('GET /x')).read('HTTP/1.1 abc\r\n\r\n');
  buyer.wrote(requestText('POST /v1/traces', ['Host: a', 'Content-Type: application/x-protobuf', 'Content-Length: 0']));
  buyer.read(responseText(200));
  harness.play();
  const counters = new Counters(1);
  observePipeline(counters, harness.pipeline);
  const kernel = new KernelCounters();
  kernel.values[0] = 7; // data_ring_full
  kernel.values[2] = 3; // slots_exhausted
  kernel.values[7] = 2; // read_fault
  kernel.values[LOSS_COUNT + STAT_EDGES] = 99;
  kernel.values[LOSS_REQUESTS_UNTOLD] = 6;
  observeKernel(counters, kernel, harness.pipeline);
  counters.observe('underspan.spans.exported', 'otlp-grpc', () => 2);
  counters.observe('underspan.spans.dropped', 'queue_full', () => 1);
  counters.observe('underspan.queue.size', 'otlp-grpc spans', () => 0);
  return renderPrometheus([...harness.pipeline.ledger.families(1), ...counters.snapshot()]).body;
}

test('a page becomes books that balance', () => {
  const coverage = readCoverage(parseSamples(page()));
  assert.ok(coverage !== null);
  assert.deepEqual(coverage.services, [
    { service: 'shop', seen: 4, exported: 3, dropped: {}, lost: 0, open: 1, share: 1 },
    { service: 'buyer', seen: 2, exported: 0, dropped: { unparsed: 1, otlp: 1 }, lost: 1, open: 0, share: 0.5 },
  ]);
  const { seen, exported, lost, open, share } = coverage.total;
  assert.deepEqual([seen, exported, lost, open, share], [6, 3, 1, 1, 0.8]);
  assert.equal(coverage.open, 1);
  assert.equal(coverage.isBalanced, true);
  assert.equal(coverage.isComplete, false, 'what the kernel lost may have been requests');
  assert.equal(coverage.edges, 99);
  assert.deepEqual(coverage.recordsDropped, { data_ring_full: 7 });
  assert.deepEqual(coverage.connectionsDropped, { slots_exhausted: 3 });
  assert.deepEqual(coverage.callsUnread, { read_fault: 2 });
  assert.deepEqual(coverage.spansExported, { 'otlp-grpc': 2 });
  assert.deepEqual(coverage.spansDropped, { queue_full: 1 });
  assert.deepEqual(coverage.queueBytes, {});
});

test('the table', () => {
  const coverage = readCoverage(parseSamples(page()));
  assert.ok(coverage !== null);
  const [headings, ...lines] = renderText(coverage).split('\n');
  assert.equal(headings, 'service  seen  exported  lost    share  open  dropped by cause');
  assert.deepEqual(lines.slice(0, 3), [
    'shop        4         3     0    100 %     1',
    'buyer       2         0     1  50.00 %     0  unparsed 1, otlp 1',
    'all         6         3     1  80.00 %     1  unparsed 1, otlp 1',
  ]);
  const text = lines.join('\n');
  assert.match(text, /^kernel {5}99 message edges, \d+ records read$/m);
  assert.match(text, /records lost: data_ring_full 7$/m);
  assert.match(text, /connections not followed: slots_exhausted 3$/m);
  assert.match(text, /requests not among those seen: ring_full 6$/m);
  assert.match(text, /spans accepted: otlp-grpc 2$/m);
  assert.match(text, /spans lost: queue_full 1$/m);
  assert.match(text, /^Records, connections or bytes were lost or given up: requests that went with them whole/m);
  assert.doesNotMatch(text, /do not balance/);
  const strays = page().replace(
    /^(underspan_(records|connections)_dropped_total\{reason="(data|slots).*\}) \d+$/gm,
    '$1 0',
  );
  const complete = readCoverage(
    parseSamples(`${strays}underspan_records_dropped_total{reason="unknown_connection"} 5\n`),
  );
  assert.ok(complete?.isComplete);
  assert.doesNotMatch(renderText(complete), /kernel lost/);
});

test('100 % is said only where nothing was lost', () => {
  const ledger = new Ledger();
  for (let turn = 0; turn < 1_000_000; turn++) {
    ledger.begin(service());
    ledger.export(service());
  }
  ledger.begin(service());
  ledger.drop(service(), 'gap');
  const open = '\nunderspan_exchanges_open 0\n';
  const coverage = readCoverage(parseSamples(renderPrometheus(ledger.families(1)).body + open));
  assert.ok(coverage !== null);
  assert.match(renderText(coverage), /^shop .* 99\.99 % /m);
});

test('an exchange that is neither open nor ended: said, and no balance', () => {
  const wrong = page().replace(/^underspan_exchanges_open 1$/m, 'underspan_exchanges_open 0');
  const coverage = readCoverage(parseSamples(wrong));
  assert.ok(coverage !== null);
  assert.equal(coverage.isBalanced, false);
  assert.match(renderText(coverage), /The books do not balance: 1 exchanges should be open and 0 are/);
  assert.equal((JSON.parse(renderJson(coverage)) as { balanced: boolean }).balanced, false);
});

test('names of services come from outside: quotes, backslashes, braces, line feeds, escapes', () => {
  const name = 'a "b" \\n{c="d"} \x1b[31m\ne';
  const ledger = new Ledger();
  ledger.begin({ ...service(), name });
  const coverage = readCoverage(
    parseSamples(`${renderPrometheus(ledger.families(1)).body}underspan_exchanges_open 1\n`),
  );
  assert.equal(coverage?.services[0]?.service, name);
  const text = coverage === null ? '' : renderText(coverage);
  assert.ok(!text.includes('\x1b'), 'no control character reaches the terminal');
  assert.equal(text.split('\n')[1]?.trimEnd().endsWith('100 %     1'), true, text);
});

test('a page of something else has no books', () => {
  assert.equal(readCoverage(parseSamples('')), null);
  assert.equal(readCoverage(parseSamples('<html>\nup 1\nprocess_cpu_seconds_total{} x y z\n')), null);
  assert.equal(readCoverage(parseSamples('underspan_exchanges_open 1\n')), null);
});

/** Runs the command against a server that answers so. */
async function run(answer: (path: string) => { status: number; body: string }, words: readonly string[] = []) {
  const server = http.createServer((request, response) => {
    const { status, body } = answer(request.url ?? '');
    response.writeHead(status).end(body);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await underspan(['coverage', '--url', `http://127.0.0.1:${port}`, ...words]);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function underspan(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [MAIN, ...words], { env: { PATH, ...env } });
  let out = '';
  let error = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    error += text;
  });
  return new Promise<{ code: number | null; out: string; error: string }>(resolve =>
    child.once('close', code => resolve({ code, out, error })),
  );
}

test('the command asks for /metrics and prints the table or JSON; exit code 0', async () => {
  const body = page();
  const paths: string[] = [];
  const answer = (path: string): { status: number; body: string } => {
    paths.push(path);
    return { status: 200, body };
  };
  const table = await run(answer);
  assert.deepEqual([table.code, table.error], [0, '']);
  assert.match(table.out, /^all {2,}6 /m);
  const json = await run(answer, ['--json']);
  assert.equal(json.code, 0);
  const parsed = JSON.parse(json.out) as { services: { service: string }[]; total: { seen: number } };
  assert.deepEqual(
    parsed.services.map(one => one.service),
    ['shop', 'buyer'],
  );
  assert.equal(parsed.total.seen, 6);
  assert.deepEqual(paths, ['/metrics', '/metrics']);
});

test('nobody there, an error, a stranger: one sentence, exit code 3; a wrong URL: 2; books that do not balance: 1', async () => {
  // Port 9 (discard) is not served here; the same by the configured listener.
  const nobody = await underspan(['coverage', '--url', 'http://127.0.0.1:9']);
  assert.equal(nobody.code, 3);
  assert.match(
    nobody.error,
    /^underspan: no agent answers at http:\/\/127\.0\.0\.1:9\/metrics: .*ECONNREFUSED.*\n {2}Start one/,
  );
  const configured = await underspan(['coverage'], { UNDERSPAN_ADMIN_PORT: '9' });
  assert.equal(configured.code, 3);
  assert.match(configured.error, /127\.0\.0\.1:9\/metrics/);
  const failing = await run(() => ({ status: 503, body: 'no' }));
  assert.equal(failing.code, 3);
  assert.match(failing.error, /status 503/);
  const stranger = await run(() => ({ status: 200, body: 'up 1\n' }));
  assert.equal(stranger.code, 3);
  assert.match(stranger.error, /is no agent that keeps these books/);
  const wrong = await underspan(['coverage', '--url', 'ftp://x']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.error, /--url ftp:\/\/x: expected a URL like/);
  const unbalanced = await run(() => ({ status: 200, body: page().replace('exchanges_open 1', 'exchanges_open 5') }));
  assert.equal(unbalanced.code, 1);
});
