// What is kept: rules by the first request of a trace, and traces that turn out to be worth it. Metrics see every request.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Sampler } from '../../../src/traces/sampler.js';
import { Sampling, type SamplingRule } from '../../../src/traces/sampling.js';
import { type TailOptions, TailSampling } from '../../../src/traces/tail.js';
import { MS, requestText, responseText, type Story } from '../../support/record-builder.js';
import { attribute, Harness } from './harness.js';

const SHOP = 100;
const BUYER = 200;
const TRACE = '0af7651916cd43dd8448eb211c80319c';

function rule(service: string, path: string, ratio: number): SamplingRule {
  const is = (wanted: string, text: string): boolean => wanted === '*' || wanted === text;
  return { matches: (name, target) => is(service, name) && is(path, target), ratio };
}

/** A request of the buyer to the shop over connection `slot`, both on this host. */
function call(harness: Harness, slot: number, path: string, fields: readonly string[] = [], status = 200): void {
  const request = requestText(`GET ${path}`, ['Host: a', ...fields]);
  const [mine, theirs] = [1000 * slot, 7000 * slot];
  const client = harness.client({ slot, pid: BUYER, egressSeq: mine, ingressSeq: theirs }).opened().wrote(request);
  const server = harness.server({ slot: 100 + slot, pid: SHOP, ingressSeq: mine, egressSeq: theirs });
  server.opened().read(request).wrote(responseText(status));
  client.read(responseText(status));
}

function paths(harness: Harness): string[] {
  return harness.finish().map(span => `${span.kind} ${attribute(span, 'url.path')}`);
}

function make(
  kind: 'parentbased_always_on' | 'parentbased_always_off',
  rules: SamplingRule[],
  tail?: Partial<TailOptions>,
) {
  return new Harness({
    hasConnectSpans: false,
    sampling: new Sampling(new Sampler(kind, 1), rules),
    tail:
      tail === undefined
        ? null
        : new TailSampling({ isError: null, slowNs: 0, keepsResent: false, waitNs: 50 * MS, ...tail }),
  });
}

test('the first matching rule decides, for all of the trace, by its first request', () => {
  const harness = make('parentbased_always_on', [
    rule('buyer', '/keep', 1),
    rule('buyer', '*', 0),
    rule('shop', '*', 1),
  ]);
  call(harness, 1, '/keep?secret=1');
  call(harness, 2, '/drop');
  // Its first request on this host is the shop's own.
  harness.server({ slot: 90, pid: SHOP }).opened().read(requestText('GET /from-outside')).wrote(responseText());
  assert.deepEqual(paths(harness).sort(), ['2 /from-outside', '2 /keep', '3 /keep']);
  assert.deepEqual(harness.drops(), { sampled: 2 });
  assert.equal(harness.pointSum('http.server.active_requests'), 0);
});

test('a decision that came with the request goes before a rule', () => {
  const harness = make('parentbased_always_on', [rule('*', '/yes', 0), rule('*', '/no', 1)]);
  call(harness, 1, '/yes', [`traceparent: 00-${TRACE}-b7ad6b7169203331-01`]);
  call(harness, 2, '/no', [`traceparent: 00-${TRACE}-b7ad6b7169203331-00`]);
  assert.deepEqual(paths(harness).sort(), ['2 /yes', '3 /yes']);
});

const isError: TailOptions['isError'] = ({ status }) => status >= 500;

test('a failure keeps its whole trace on this host, other traces are dropped when their wait is over', () => {
  const harness = make('parentbased_always_off', [], { isError });
  call(harness, 1, '/good');
  call(harness, 2, '/bad', [], 503);
  call(harness, 3, '/named', [`traceparent: 00-${TRACE}-b7ad6b7169203331-00`], 500);
  assert.deepEqual(paths(harness).sort(), ['2 /bad', '2 /named', '3 /bad', '3 /named']);
  assert.deepEqual(harness.drops(), { sampled: 2 });
  assert.equal(harness.pipeline.tail?.found.error, 4);
  assert.equal(harness.pipeline.tail?.size, 0);
});

test('what ended before the failure waits for it', () => {
  const harness = make('parentbased_always_off', [], { isError, waitNs: 1000 * MS });
  const header = [`traceparent: 00-${TRACE}-b7ad6b7169203331-00`];
  call(harness, 1, '/first', header);
  assert.equal(harness.play().length, 0);
  assert.equal(harness.pipeline.openExchanges, 2);
  call(harness, 2, '/second', header, 500);
  assert.equal(harness.play().length, 0);
  assert.deepEqual(paths(harness).sort(), ['2 /first', '2 /second', '3 /first', '3 /second']);
});

/** The shop is a loop: whose its calls are is known at once. */
function loopOf(harness: Harness): { readonly server: Story; readonly calls: Story } {
  const thread = harness.tape.thread(SHOP);
  thread.turned();
  thread.waited();
  const calls = harness.client({ slot: 2, pid: SHOP, tid: SHOP }).opened();
  return { server: harness.server({ slot: 1, pid: SHOP, tid: SHOP }).opened(), calls };
}

/** A request of the shop that calls /early at once and, much longer than the wait later, answers or calls /late; the spans that left. */
function longRequest(tail: Partial<TailOptions>, lateStatus: number, lastsMs = 500): string[] {
  const harness = make('parentbased_always_off', [], tail);
  const { server, calls } = loopOf(harness);
  server.read(requestText('GET /long'));
  calls.wrote(requestText('GET /early')).read(responseText());
  for (let ms = 0; ms < lastsMs; ms += 250) {
    harness.tape.nowNs += 250 * MS;
    harness.play();
  }
  calls.wrote(requestText('GET /late')).read(responseText(lateStatus));
  server.wrote(responseText());
  return paths(harness).sort();
}

test('the calls of a request that lasts longer than the wait are kept with it', () => {
  const all = ['2 /long', '3 /early', '3 /late'];
  assert.deepEqual(longRequest({ slowNs: 300 * MS }, 200), all);
  assert.deepEqual(longRequest({ isError }, 500), all);
  assert.deepEqual(longRequest({ isError }, 200), []);
  // A minute, and no longer.
  assert.deepEqual(longRequest({ isError }, 500, 61_000), ['2 /long', '3 /late']);
});

test('a failure early in a long request keeps what ends last, however short the wait', () => {
  const harness = make('parentbased_always_off', [], { isError });
  const { server, calls } = loopOf(harness);
  server.read(requestText('GET /long'));
  calls.wrote(requestText('GET /bad')).read(responseText(503));
  for (let turn = 0; turn < 10; turn++) {
    harness.tape.nowNs += 250 * MS;
    harness.play();
  }
  server.wrote(responseText());
  assert.deepEqual(paths(harness).sort(), ['2 /long', '3 /bad']);
});

test('slow requests, and those during which TCP sent again', () => {
  const slow = make('parentbased_always_off', [], { slowNs: 20 * MS });
  const story = slow.server().opened().read(requestText('GET /slow'));
  slow.tape.nowNs += 30 * MS;
  story.wrote(responseText()).read(requestText('GET /fast')).wrote(responseText());
  assert.deepEqual(paths(slow), ['2 /slow']);
  const resent = make('parentbased_always_off', [], { keepsResent: true });
  const client = resent.client().opened();
  client.wrote(requestText('GET /a')).read(responseText()).wrote(requestText('GET /b'));
  client.tcp = { tcpTotalRetrans: 3 };
  client.read(responseText()).wrote(requestText('GET /c')).read(responseText());
  assert.deepEqual(paths(resent), ['3 /b']);
});

test('a service whose requests were all said not to be sampled is named once, one of which a request was sampled is not', () => {
  const flags: Record<string, (index: number) => string> = {
    never: () => '00',
    lately: index => (index === 50 ? '01' : '00'),
  };
  for (const [when, flagOf] of Object.entries(flags)) {
    const named: string[] = [];
    const harness = new Harness({ hasConnectSpans: false, onUnsampled: ({ name }) => named.push(name) });
    const shop = harness.server({ slot: 1, pid: SHOP }).opened();
    for (let index = 0; index < 250; index++) {
      harness.tape.nowNs += 60 * MS;
      if (index % 50 === 0) harness.play();
      const header = `traceparent: 00-${TRACE}-b7ad6b7169203331-${flagOf(index)}`;
      shop.read(requestText('GET /a', ['Host: a', header])).wrote(responseText());
    }
    assert.equal(harness.finish().length, when === 'never' ? 0 : 1);
    assert.deepEqual(named, when === 'never' ? ['shop'] : []);
  }
});
