// Client and server on different hosts, each with a pipeline of its own and one store of keys between them.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { DecodedSpan } from '../../../src/otlp/decode.js';
import type { TraceContext } from '../../../src/traces/context.js';
import { ANSWER_WORDS, OFFER_WORDS, QUESTION_WORDS } from '../../../src/traces/join-batch.js';
import type { RemoteJoins } from '../../../src/traces/remote-joins.js';
import { Sampler } from '../../../src/traces/sampler.js';
import { Sampling } from '../../../src/traces/sampling.js';
import { MS, requestText, responseText, type Story } from '../../support/record-builder.js';
import { attribute, Harness, HOLD_NS } from './harness.js';

const WAIT_NS = 500 * MS;
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

/** The keys of all hosts, as joins/join-store.ts keeps them. */
class Keys {
  readonly #byKey = new Map<string, readonly number[]>();
  offers = 0;

  exchange(joins: RemoteJoins): void {
    const batch = joins.take();
    if (batch === null) return;
    const { number, offers, questions } = batch;
    for (let at = 0; at < offers.length; at += OFFER_WORDS) {
      this.offers++;
      this.#byKey.set(`${offers[at]} ${offers[at + 1]}`, [...offers.subarray(at + 2, at + OFFER_WORDS)]);
    }
    const answers: number[] = [];
    for (let at = 0; at < questions.length; at += QUESTION_WORDS) {
      const found = this.#byKey.get(`${questions[at + 1]} ${questions[at + 2]}`);
      if (found !== undefined) answers.push(questions[at] as number, ...found);
    }
    assert.equal(answers.length % ANSWER_WORDS, 0);
    if (questions.length > 0) joins.onAnswers(Uint32Array.from(answers), number);
  }

  tamper(change: (words: number[]) => void): void {
    for (const [key, words] of this.#byKey) {
      const changed = [...words];
      change(changed);
      this.#byKey.set(key, changed);
    }
  }
}

/** A store that takes everything and does not answer. */
class Silence extends Keys {
  override exchange(joins: RemoteJoins): void {
    joins.take();
  }
}

class Host {
  readonly harness: Harness;
  readonly joins: RemoteJoins;
  #nowNs = 0;

  constructor(options: ConstructorParameters<typeof Harness>[0] = {}) {
    this.harness = new Harness({ joinWaitNs: WAIT_NS, hasConnectSpans: false, ...options });
    this.joins = this.harness.pipeline.remoteJoins as RemoteJoins;
    this.joins.setUp(true);
  }

  /** Plays what was told; time goes on by `ms` in steps of a drain, keys are exchanged after each. */
  live(keys: Keys, ms: number): void {
    this.harness.tape.play(this.harness.pipeline);
    this.#nowNs = Math.max(this.#nowNs, this.harness.tape.nowNs);
    for (let passed = 0; passed <= ms; passed += 10) {
      this.harness.pipeline.tick(this.#nowNs);
      keys.exchange(this.joins);
      this.#nowNs += 10 * MS;
    }
  }

  end(): DecodedSpan[] {
    this.harness.pipeline.tick(this.#nowNs + HOLD_NS);
    return this.harness.finish();
  }
}

/** A connection between two hosts: what the client writes has these numbers at the server, addresses do not matter. */
function client(host: Host, name: number, options = {}): Story {
  return host.harness.client({ slot: name, egressSeq: 1000 * name, ingressSeq: 77 * name, ...options }).opened();
}

function server(host: Host, name: number, options = {}): Story {
  return host.harness.server({ slot: 50 + name, ingressSeq: 1000 * name, egressSeq: 77 * name, ...options }).opened();
}

function only(spans: readonly DecodedSpan[], kind: number): DecodedSpan {
  const found = spans.filter(span => span.kind === kind);
  assert.equal(found.length, 1);
  return found[0] as DecodedSpan;
}

function assertChild(child: DecodedSpan, parent: DecodedSpan): void {
  assert.deepEqual([child.traceId, child.parentSpanId], [parent.traceId, parent.spanId]);
}

test('whoever is first: the server becomes the child of the client, in its trace', () => {
  for (const isServerFirst of [false, true]) {
    const keys = new Keys();
    const [a, b] = [new Host(), new Host()];
    client(a, 1).wrote(requestText('GET /a')).read(responseText());
    server(b, 1).read(requestText('GET /a')).wrote(responseText());
    if (isServerFirst) b.live(keys, 100);
    a.live(keys, 100);
    b.live(keys, 300);
    const served = only(b.end(), 2);
    assertChild(served, only(a.end(), 3));
    assert.equal(attribute(served, 'underspan.parent.evidence'), 'remote_sequence');
    assert.equal(b.joins.questions.found, 1);
    assert.equal(b.harness.pipeline.serverParents.remote_sequence, 1);
    assert.equal(b.harness.pipeline.joinWaits.count, 1);
  }
});

/** An address of the internet, and a private one. */
const FAR = { address: '203.0.113.7', port: 40001 };
const NEAR = { address: '10.0.0.9', port: 40001 };

test('nobody offers: after the wait the span leaves as a root, not before', () => {
  const keys = new Keys();
  const b = new Host();
  server(b, 1, { remote: FAR }).read(requestText('GET /a')).wrote(responseText());
  b.live(keys, 480);
  assert.equal(b.harness.pipeline.flush().length, 0);
  assert.equal(b.joins.waiting, 1);
  b.live(keys, 80);
  assert.equal(b.joins.waiting, 0);
  const served = only(b.end(), 2);
  assert.equal(served.parentSpanId, '');
  assert.equal(b.joins.questions.expired, 1);
});

test('a thread that was kept from asking asks before it gives up', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  client(a, 1).wrote(requestText('GET /a')).read(responseText());
  a.live(keys, 50);
  server(b, 1).read(requestText('GET /a')).wrote(responseText());
  b.harness.tape.play(b.harness.pipeline);
  b.harness.pipeline.tick(b.harness.tape.nowNs);
  b.harness.pipeline.tick(b.harness.tape.nowNs + 3 * WAIT_NS);
  keys.exchange(b.joins);
  assert.equal(b.joins.questions.found, 1);
  assertChild(only(b.end(), 2), only(a.end(), 3));
});

test('an agent that is behind with its offers is waited for, also where it was not met before', () => {
  for (const lateMs of [700, 4500]) {
    const keys = new Keys();
    const [a, b] = [new Host(), new Host()];
    client(a, 1).wrote(requestText('GET /a')).read(responseText());
    server(b, 1, { remote: NEAR }).read(requestText('GET /a')).wrote(responseText());
    b.live(keys, lateMs);
    assert.equal(b.joins.waiting, 1, `${lateMs} ms`);
    a.live(keys, 10);
    b.live(keys, 1500);
    assert.equal(b.joins.questions.found, 1, `${lateMs} ms`);
    assertChild(only(b.end(), 2), only(a.end(), 3));
  }
});

test('a private address from which nobody offers is waited for once; an answer changes that', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  const serve = (name: number): Story =>
    server(b, name, { remote: NEAR }).read(requestText('GET /a')).wrote(responseText());
  serve(1);
  b.live(keys, 4900);
  assert.equal(b.joins.waiting, 1);
  b.live(keys, 200);
  assert.deepEqual([b.joins.waiting, b.joins.questions.expired], [0, 1]);
  serve(2);
  b.live(keys, 560);
  assert.deepEqual([b.joins.waiting, b.joins.questions.expired], [0, 2]);
  serve(3);
  client(a, 3).wrote(requestText('GET /a')).read(responseText());
  a.live(keys, 10);
  b.live(keys, 100);
  assert.equal(b.joins.questions.found, 1);
  serve(4);
  b.live(keys, 2000);
  assert.equal(b.joins.waiting, 1);
});

test('once a later question of the same address was answered, an earlier one is asked a last time and given up', () => {
  for (const isOffered of [false, true]) {
    const keys = new Keys();
    const [a, b] = [new Host(), new Host()];
    const serve = (name: number): Story =>
      server(b, name, { remote: NEAR }).read(requestText('GET /a')).wrote(responseText());
    serve(1);
    b.live(keys, 600);
    serve(2);
    b.live(keys, 200);
    if (isOffered) client(a, 1).wrote(requestText('GET /a')).read(responseText());
    client(a, 2).wrote(requestText('GET /a')).read(responseText());
    a.live(keys, 10);
    b.live(keys, 120);
    const { found, expired } = b.joins.questions;
    assert.deepEqual([found, expired], isOffered ? [2, 0] : [1, 1]);
  }
});

test('an agent that has ended is not waited for any more after some time', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  const serve = (name: number): Story =>
    server(b, name, { remote: NEAR }).read(requestText('GET /a')).wrote(responseText());
  client(a, 1).wrote(requestText('GET /a')).read(responseText());
  a.live(keys, 10);
  serve(1);
  b.live(keys, 100);
  assert.equal(b.joins.questions.found, 1);
  for (let name = 2; name < 80; name++) serve(name);
  b.live(keys, 5200);
  assert.deepEqual([b.joins.waiting, b.joins.questions.expired], [0, 78]);
  serve(90);
  b.live(keys, 560);
  assert.deepEqual([b.joins.waiting, b.joins.questions.expired], [0, 79]);
});

test('no question is given up while the store has not answered it', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  client(a, 1).wrote(requestText('GET /a')).read(responseText());
  server(b, 1, { remote: FAR }).read(requestText('GET /a')).wrote(responseText());
  b.live(new Silence(), 900);
  assert.equal(b.joins.waiting, 1);
  a.live(keys, 10);
  b.live(keys, 700);
  assert.equal(b.joins.questions.found, 1);
});

test('while the store is away nobody waits and nothing is kept; what waited is let go', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  server(b, 1).read(requestText('GET /a')).wrote(responseText());
  b.live(keys, 50);
  assert.equal(b.joins.waiting, 1);
  b.joins.setUp(false);
  assert.equal(b.joins.waiting, 0);
  server(b, 2).read(requestText('GET /b')).wrote(responseText());
  a.joins.setUp(false);
  client(a, 2).wrote(requestText('GET /b')).read(responseText());
  a.live(keys, 50);
  b.live(keys, 50);
  assert.equal(b.joins.waiting, 0);
  assert.equal(keys.offers, 0);
  assert.deepEqual([b.joins.questions.away, a.joins.offers.sent], [1, 0]);
  assert.equal(b.end().length, 2);
  assert.equal(a.end().length, 1);
});

test('a header says the trace, the key puts the client’s span between', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  const request = requestText('GET /a', ['Host: a', `traceparent: 00-${TRACE}-${PARENT}-01`]);
  client(a, 1).wrote(request).read(responseText());
  server(b, 1).read(request).wrote(responseText());
  a.live(keys, 50);
  b.live(keys, 50);
  const asked = only(a.end(), 3);
  assertChild(only(b.end(), 2), asked);
  assert.deepEqual([asked.traceId, asked.parentSpanId], [TRACE, PARENT]);
});

test('a header that .NET wrote by itself says that its trace is not sampled: the agent of its host knows that nobody has decided so', () => {
  for (const [pid, sampled] of [
    [300, 1],
    [200, 0],
  ] as const) {
    const [here, there, keys] = [new Host(), new Host(), new Keys()];
    const request = requestText('GET /a', ['Host: a', `traceparent: 00-${TRACE}-${PARENT}-00`]);
    client(here, 1, { pid }).wrote(request).read(responseText());
    server(there, 1).read(request).wrote(responseText());
    here.live(keys, 10);
    there.live(keys, 20);
    const traces = [here, there].map(host => host.end().map(({ traceId }) => traceId));
    assert.deepEqual(
      traces,
      [sampled, sampled].map(count => Array.from({ length: count }, () => TRACE)),
    );
  }
});

test('another trace in the header: the header counts', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  client(a, 1)
    .wrote(requestText('GET /a', ['Host: a']))
    .read(responseText());
  server(b, 1)
    .read(requestText('GET /a', ['Host: a', `traceparent: 00-${TRACE}-${PARENT}-01`]))
    .wrote(responseText());
  a.live(keys, 50);
  b.live(keys, 50);
  const served = only(b.end(), 2);
  assert.deepEqual([served.traceId, served.parentSpanId], [TRACE, PARENT]);
  assert.equal(b.joins.questions.conflict, 1);
});

test('a trace that comes again and again from other hosts is joined only so often, then linked', () => {
  const keys = new Keys();
  const a = new Host();
  const b = new Host({ traceLimits: { maxRequests: 2, maxAgeNs: 1e18 } });
  for (const name of [1, 2, 3]) {
    client(a, name).wrote(requestText('GET /a')).read(responseText());
    server(b, name).read(requestText('GET /a')).wrote(responseText());
  }
  a.live(keys, 50);
  keys.tamper(words => words.splice(1, 4, 1, 2, 3, 4));
  b.live(keys, 50);
  const spans = b.end();
  const endless = '00000001000000020000000300000004';
  assert.equal(spans.filter(({ traceId }) => traceId === endless).length, 2);
  const last = spans.find(({ traceId }) => traceId !== endless);
  assert.deepEqual(
    last?.links.map(({ traceId }) => traceId),
    [endless],
  );
  assert.equal(b.joins.questions.limited, 1);
});

test('the same numbers of another request: not joined', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  client(a, 1).wrote(requestText('GET /a')).read(responseText());
  server(b, 1).read(requestText('GET /b')).wrote(responseText());
  a.live(keys, 50);
  b.live(keys, 50);
  assert.equal(only(b.end(), 2).parentSpanId, '');
  assert.equal(b.joins.questions.mismatch, 1);
});

test('client and server on one host, or over loopback: nothing is offered or asked', () => {
  const keys = new Keys();
  const a = new Host();
  client(a, 1).wrote(requestText('GET /a'));
  server(a, 1).read(requestText('GET /a')).wrote(responseText());
  a.live(keys, 50);
  assert.equal(keys.offers, 0);
  assert.equal(a.joins.waiting, 0);
  assert.equal(a.harness.pipeline.serverParents.sequence, 1);
});

test('the caller’s decision not to sample is honoured, and metrics see the request', () => {
  const keys = new Keys();
  const [a, b] = [new Host({ sampling: new Sampling(new Sampler('parentbased_always_off', 0)) }), new Host()];
  client(a, 1).wrote(requestText('GET /a')).read(responseText());
  server(b, 1).read(requestText('GET /a')).wrote(responseText());
  a.live(keys, 50);
  b.live(keys, 50);
  assert.equal(b.end().length, 0);
  assert.deepEqual(b.harness.drops(), { sampled: 1 });
});

test('a provisional offer is asked for again and again, and taken at the end of a longer wait', () => {
  const keys = new Keys();
  const [a, b] = [new Host(), new Host()];
  client(a, 1).wrote(requestText('GET /a')).read(responseText());
  server(b, 1).read(requestText('GET /a')).wrote(responseText());
  a.live(keys, 20);
  keys.tamper(words => {
    words[words.length - 1] = (words[words.length - 1] as number) | 2;
  });
  b.live(keys, 4800);
  assert.equal(b.joins.waiting, 1);
  b.live(keys, 400);
  assert.equal(b.joins.waiting, 0);
  assert.equal(b.joins.questions.provisional, 1);
  assertChild(only(b.end(), 2), only(a.end(), 3));
});

test('spans of a trace that waits leave with it, in the trace that is found, and its calls are offered again', () => {
  const keys = new Keys();
  const b = new Host();
  // What joins a call to the request that caused it is not this test's matter: every exchange shares one trace.
  const { pipeline } = b.harness;
  const begin = pipeline.beginExchange.bind(pipeline);
  let shared: TraceContext | null = null;
  pipeline.beginExchange = (connection, position) => {
    const exchange = begin(connection, position);
    shared ??= exchange.trace;
    exchange.trace = shared;
    return exchange;
  };
  const served = server(b, 1, { pid: 100 }).read(requestText('GET /in'));
  const called = client(b, 2, { pid: 100 }).wrote(requestText('GET /out'));
  b.live(keys, 20);
  assert.deepEqual([b.joins.offers.sent, keys.offers], [1, 1]);
  called.read(responseText());
  served.wrote(responseText());
  b.live(keys, 20);
  assert.equal(b.harness.pipeline.flush().length, 0, 'nothing leaves while the trace may change');
  const a = new Host();
  client(a, 1).wrote(requestText('GET /in')).read(responseText());
  a.live(keys, 20);
  b.live(keys, 200);
  assert.equal(b.joins.offers.again, 1);
  const c = new Host();
  server(c, 2).read(requestText('GET /out')).wrote(responseText());
  c.live(keys, 100);
  const asked = only(a.end(), 3);
  const spans = b.end();
  assertChild(only(spans, 2), asked);
  assert.equal(only(spans, 3).traceId, asked.traceId);
  assertChild(only(c.end(), 2), only(spans, 3));
});
