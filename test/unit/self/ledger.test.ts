// The account of exchanges: whatever happens, begun = exported + dropped by cause + open, for each service, for all of
// them, and in what goes out as metrics; and what it says was exported are the spans that left.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Service } from '../../../src/enrichment/service.js';
import { DROP_REASONS, type DropReason } from '../../../src/exchanges/matcher.js';
import { type Account, INTENDED, Ledger } from '../../../src/self/ledger.js';
import type { MetricFamily } from '../../../src/signals/metric-model.js';
import { requestText, responseText } from '../../support/record-builder.js';
import { Harness } from '../pipeline/harness.js';
import { service } from '../signals/exchanges.js';

const OUTCOMES = ['exported', ...DROP_REASONS] as const;
type Outcome = (typeof OUTCOMES)[number];

function end(ledger: Ledger, whose: Service, outcome: Outcome): void {
  if (outcome === 'exported') ledger.export(whose);
  else ledger.drop(whose, outcome);
}

function sumOf(accounts: readonly Account[], count: (account: Account) => number): number {
  return accounts.reduce((sum, account) => sum + count(account), 0);
}

/** Sum of the points of a family that `holds`. */
function points(families: readonly MetricFamily[], name: string, holds: (service: string, outcome: string) => boolean) {
  let sum = 0;
  for (const point of families.find(family => family.name === name)?.points ?? []) {
    const outcome = point.attributes.find(([key]) => key === 'outcome')?.[1] ?? '';
    if (holds(point.service?.name ?? '', String(outcome))) sum += point.value as number;
  }
  return sum;
}

test('any sequence of beginnings and ends balances, for each service, in all, and as metrics', () => {
  const acts = fc.array(fc.record({ who: fc.nat(7), end: fc.option(fc.constantFrom(...OUTCOMES)) }), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(acts, fc.integer({ min: 0, max: 9 }), (list, maxServices) => {
      const ledger = new Ledger(maxServices);
      // Two instances of each of four services.
      const instances = Array.from({ length: 8 }, (_, id) => service(id, `service-${id % 4}`));
      const open: Service[] = [];
      const expected = new Map<string, number>();
      const note = (key: string): void => void expected.set(key, (expected.get(key) ?? 0) + 1);
      for (const act of list) {
        if (act.end === null || open.length === 0) {
          const whose = instances[act.who] as Service;
          ledger.begin(whose);
          open.push(whose);
          note(`${whose.name} begun`);
        } else {
          const whose = open.splice(act.who % open.length, 1)[0] as Service;
          end(ledger, whose, act.end);
          note(`${whose.name} ${act.end}`);
          note(act.end);
        }
      }
      const accounts = ledger.accounts();
      assert.ok(accounts.length <= maxServices + 1);
      assert.equal(ledger.open, open.length);
      assert.equal(ledger.started, ledger.total.ended + open.length);
      assert.equal(
        sumOf(accounts, account => account.begun),
        ledger.started,
      );
      for (const reason of DROP_REASONS) {
        assert.equal(ledger.dropped[reason], expected.get(reason) ?? 0);
        const dropped = (account: Account): number => account.dropped[reason];
        assert.equal(sumOf(accounts, dropped), ledger.dropped[reason]);
      }
      for (const account of accounts) {
        const name = account.service?.name;
        assert.ok(account.open >= 0);
        if (name === undefined) continue;
        assert.equal(account.begun, expected.get(`${name} begun`) ?? 0);
        assert.equal(account.exported, expected.get(`${name} exported`) ?? 0);
        assert.equal(account.open, open.filter(one => one.name === name).length);
      }
      const families = ledger.families(1);
      assert.equal(
        points(families, 'underspan.exchanges.begun', () => true) -
          points(families, 'underspan.exchanges.ended', () => true),
        open.length,
      );
    }),
  );
});

test('instances of a service share an account, namespaces do not; it outlives its processes', () => {
  const ledger = new Ledger();
  for (const whose of [service(1, 'shop'), service(2, 'shop'), service(3, 'shop', 'test')]) ledger.begin(whose);
  ledger.drop(service(4, 'shop'), 'gap');
  const told = ledger.accounts().map(({ service: whose, begun, open }) => [whose?.namespace, whose?.name, begun, open]);
  assert.deepEqual(told, [
    ['', 'shop', 2, 1],
    ['test', 'shop', 1, 1],
    [undefined, undefined, 0, 0],
  ]);
});

test('its resource is the service without the process', () => {
  const ledger = new Ledger();
  const attributes = [
    ['service.name', 'shop'],
    ['service.namespace', 'prod'],
    ['service.instance.id', 'x'],
    ['process.pid', 5],
    ['container.id', 'y'],
    ['host.name', 'h'],
    ['telemetry.sdk.language', 'go'],
    ['telemetry.distro.name', 'underspan'],
  ] as const;
  ledger.begin({ id: 7, name: 'shop', namespace: 'prod', instanceId: 'x', attributes });
  const whose = ledger.families(1)[0]?.points[0]?.service;
  assert.deepEqual(
    whose?.attributes.map(([key]) => key),
    ['service.name', 'service.namespace', 'host.name', 'telemetry.distro.name'],
  );
  assert.equal(whose?.instanceId, '');
  assert.ok((whose?.id ?? 0) < -1, 'no process has this id');
});

test('services beyond the bound share one account under the agent, marked as the overflow', () => {
  const ledger = new Ledger(2);
  for (let id = 0; id < 5; id++) {
    ledger.begin(service(id, `s${id}`));
    ledger.export(service(id, `s${id}`));
  }
  const [begun, ended] = ledger.families(9);
  assert.deepEqual(
    begun?.points.map(point => [point.service?.name ?? null, point.attributes, point.value, point.startNs]),
    [
      ['s0', [], 1, 9],
      ['s1', [], 1, 9],
      [null, [['otel.metric.overflow', true]], 3, 9],
    ],
  );
  const outcome = ['outcome', 'exported'];
  assert.deepEqual(ended?.points[2]?.attributes, [['otel.metric.overflow', true], outcome]);
  assert.deepEqual(
    new Ledger().families(1).map(({ points: all }) => all.map(({ value }) => value)),
    [[0], []],
    'the books are there before anything is in them',
  );
});

test('what was left out on request is no loss', () => {
  const ledger = new Ledger();
  for (const reason of DROP_REASONS) {
    ledger.begin(service());
    ledger.drop(service(), reason);
  }
  const intended: DropReason[] = ['otlp', 'instrumented', 'filtered', 'sampled', 'no_exporter'];
  assert.deepEqual([...INTENDED], intended);
  assert.equal(ledger.total.ended, DROP_REASONS.length);
  assert.equal(ledger.total.lost, DROP_REASONS.length - intended.length);
});

test('the pipeline: what a service exported are its spans, and every request that was seen is in the books', () => {
  const harness = new Harness({ maxExchanges: 45 });
  const calm = harness.server({ slot: 2 }).opened();
  for (let turn = 0; turn < 3; turn++) calm.read(requestText(`GET /${turn}`)).wrote(responseText(200));
  const buyer = harness.client({ slot: 3 }).opened();
  buyer.wrote(requestText('GET /x')).read(responseText(200));
  buyer.wrote(requestText('GET /y')).read('HTTP/1.1 abc\r\n\r\n');
  harness.server({ slot: 1 }).opened().read(requestText('GET /p').repeat(50));
  const spans = harness.finish().filter(({ kind }) => kind !== 1);
  const { ledger } = harness.pipeline;
  assert.equal(ledger.started, 50 + 3 + 2);
  assert.deepEqual(harness.drops(), { unparsed: 1, evicted: 5, unfinished: 45 });
  const families = ledger.families(1);
  const names = new Set(ledger.accounts().map(({ service: whose }) => whose?.name ?? ''));
  assert.deepEqual([...names], ['shop', 'buyer', '']);
  for (const name of names) {
    const left = spans.filter(span => span.resource.attributes.get('service.name') === name).length;
    const isOurs = (whose: string): boolean => whose === name;
    assert.equal(
      points(families, 'underspan.exchanges.ended', (whose, outcome) => isOurs(whose) && outcome === 'exported'),
      left,
      name,
    );
    assert.equal(
      points(families, 'underspan.exchanges.begun', isOurs),
      points(families, 'underspan.exchanges.ended', isOurs),
    );
  }
});

test('more pipelined requests than a connection may owe: evicted, the one that was too many as well', () => {
  const headBytes = 16_384;
  const harness = new Harness({ headBytes });
  const story = harness.server({ headBytes }).opened();
  for (let call = 0; call < 10; call++) story.read('GET / HTTP/1.1\r\n\r\n'.repeat(30));
  story.closed();
  harness.finish();
  // The 257th made the first 256 worthless, and came with 13 more in the same call; what follows is not read.
  assert.equal(harness.pipeline.ledger.started, 270);
  assert.deepEqual(harness.drops(), { evicted: 270 });
});
