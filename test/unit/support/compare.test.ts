// The judge of the end-to-end tests must see every kind of fault: a comparison that cannot fail proves nothing.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  apacheFormat,
  goFormat,
  gunicornFormat,
  nginxFormat,
  parseLog,
  pumaFormat,
  pythonFormat,
} from '../../support/access-log.js';
import { compareDurations, compareSpans, shareOf, toleranceMs, type Witness } from '../../support/compare.js';
import { planRequest } from '../../support/load-plan.js';
import { type DecodedSpan, durationMs, SERVER, takenDurationMs } from '../../support/spans.js';

function witness(number: number, changes: Partial<Witness> = {}): Witness {
  return { method: 'GET', path: `/bytes/1/${number}`, status: 200, startMs: 1000, durationMs: 10, ...changes };
}

/** The span that a flawless agent would make of a witness. */
function spanOf(entry: Witness, attributes: Readonly<Record<string, string | number>> = {}, errorMs = 0): DecodedSpan {
  const startUnixNs = BigInt(Math.round(entry.startMs * 1e6));
  return {
    resource: { attributes: new Map<string, string | number>([['process.pid', 7]]), schemaUrl: '' },
    scope: { name: 'underspan', version: '0', attributes: new Map(), schemaUrl: '' },
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    parentSpanId: '',
    traceState: '',
    flags: 1,
    name: entry.method,
    kind: SERVER,
    startUnixNs,
    endUnixNs: startUnixNs + BigInt(Math.round((entry.durationMs + errorMs) * 1e6)),
    attributes: new Map<string, string | number>([
      ['http.request.method', entry.method],
      ['url.path', entry.path],
      ['http.response.status_code', entry.status],
      ...Object.entries(attributes),
    ]),
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: [],
    droppedLinksCount: 0,
    status: { code: entry.status >= 500 ? 2 : 0, message: '' },
  };
}

test('equal sides compare equal', () => {
  const witnesses = [witness(1), witness(2, { method: 'HEAD', status: 404 })];
  const result = compareSpans(witnesses, witnesses.map(entry => spanOf(entry)).reverse());
  assert.deepEqual([result.missing, result.extra, result.wrong], [[], [], []]);
  assert.equal(result.pairs.length, 2);
});

test('a missing, an unknown and a doubled span are found', () => {
  const witnesses = [witness(1), witness(2)];
  const spans = [spanOf(witness(1)), spanOf(witness(1)), spanOf(witness(3))];
  const result = compareSpans(witnesses, spans);
  assert.deepEqual(result.missing, ['GET /bytes/1/2 200']);
  assert.equal(result.extra.length, 2);
  assert.deepEqual(result.wrong, []);
});

test('each wrong field is found', () => {
  const entry = witness(1, { status: 500 });
  const faults = (span: DecodedSpan) => compareSpans([entry], [span]).wrong.length;
  assert.equal(faults(spanOf(entry, { 'error.type': '500' })), 0);
  assert.equal(faults(spanOf(entry)), 1, 'no error.type');
  assert.equal(faults(spanOf(entry, { 'error.type': '500', 'http.response.status_code': 200 })), 1);
  assert.equal(faults({ ...spanOf(entry, { 'error.type': '500' }), status: { code: 0, message: '' } }), 1);
  assert.equal(faults(spanOf(entry, { 'error.type': '500', 'http.request.method': 'POST' })), 2);
  const custom = witness(1, { method: 'PURGE' });
  assert.equal(compareSpans([custom], [spanOf(custom)]).wrong.length, 1, 'http.request.method must be _OTHER');
  const other = spanOf(custom, { 'http.request.method': '_OTHER', 'http.request.method_original': 'PURGE' });
  assert.deepEqual(compareSpans([custom], [other]).wrong, []);
});

test('durations: 1 ms or 5 %, plus what the witness rounds away', () => {
  assert.equal(toleranceMs(10, 0), 1);
  assert.equal(toleranceMs(100, 0), 5);
  assert.equal(toleranceMs(10, 1), 2);
  const report = (errorMs: number) => {
    const entry = witness(1);
    return compareDurations([{ witness: entry, span: spanOf(entry, {}, errorMs) }], 0, durationMs);
  };
  assert.equal(report(0.99).faults.length, 0);
  assert.equal(report(1.01).faults.length, 1);
  assert.equal(report(-1.01).faults.length, 1);
  const unknown = witness(1, { durationMs: Number.NaN });
  const pairs = [{ witness: unknown, span: spanOf(witness(1)) }];
  assert.deepEqual(compareDurations(pairs, 0, durationMs), { errors: [], faults: [], kinds: [] });

  test('the middle error of a kind of request is found whatever single ones do', () => {
    const pairs = Array.from({ length: 21 }, (_, number) => {
      const entry = witness(number, number < 20 ? {} : { path: '/chunked/1/x' });
      return { witness: entry, span: spanOf(entry, {}, number < 8 ? 50 : number < 20 ? -3 : 0) };
    });
    const { kinds } = compareDurations(pairs, 0, durationMs);
    assert.deepEqual(
      kinds.map(({ kind, count, medianErrorMs, toleranceMs: allowed }) => [
        kind,
        count,
        Math.round(medianErrorMs),
        allowed,
      ]),
      [
        ['GET /bytes/1', 20, -3, 1],
        ['GET /chunked/1', 1, 0, 1],
      ],
    );
  });
  assert.equal(takenDurationMs(spanOf(witness(1), { 'underspan.receive.wait': 0.004 })), 6);
});

test('access logs are read as their servers write them', () => {
  const nginxLine = (rest: string) =>
    `{"method":"GET","path":"/a?b","status":200,"seconds":0.250,"end":1700000000.500,${rest}}\n`;
  const [nginx] = parseLog(nginxFormat, nginxLine('"length":"","coding":"","connection":"keep-alive"'));
  assert.deepEqual(nginx, { method: 'GET', path: '/a', status: 200, startMs: 1_700_000_000_250, durationMs: 250 });
  const [lingering] = parseLog(nginxFormat, nginxLine('"length":"5","coding":"","connection":"close"'));
  assert.equal(lingering?.durationMs, Number.NaN);
  const [apache] = parseLog(apacheFormat, '1500 404 1700000000000250 HEAD /x HTTP/1.1\n');
  assert.deepEqual(apache, { method: 'HEAD', path: '/x', status: 404, startMs: 1_700_000_000_000.25, durationMs: 1.5 });
  assert.equal(parseLog(gunicornFormat, 'PUT /u/1 200 321\n')[0]?.durationMs, 0.321);
  assert.equal(parseLog(goFormat, 'PUT /u/1 200 1700000000000250 321\n')[0]?.durationMs, 0.321);
  assert.equal(parseLog(pumaFormat, '127.0.0.1 - - [x] "POST /u/1 HTTP/1.1" 201 - 0.0123\n')[0]?.durationMs, 12.3);
  assert.equal(parseLog(pythonFormat, '127.0.0.1 - - [x] "GET /u/1 HTTP/1.0" 404 -\n')[0]?.status, 404);
  assert.throws(() => parseLog(goFormat, 'nonsense\n'), /not an access log line/);
});

test('the plan is a function of its arguments, and every path is unique', () => {
  const plans = Array.from({ length: 2000 }, (_, number) => planRequest('app', 1, number));
  assert.deepEqual(planRequest('app', 1, 77), plans[77]);
  assert.equal(new Set(plans.map(plan => plan.path)).size, plans.length);
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PURGE']) {
    assert.ok(
      shareOf(
        plans.map(plan => (plan.method === method ? 1 : 0)),
        value => value === 1,
      ) > 0,
      method,
    );
  }
  assert.ok(plans.some(plan => plan.isChunked && plan.bodyBytes > 100_000));
  assert.ok(plans.some(plan => plan.expectedBytes === 1_048_576));
});
