// Client and server on one host: one trace, the right parent, in whatever order the two sides' records come.
import assert from 'node:assert/strict';
import test from 'node:test';
import { CONNECTION_PAIR_UNSURE, ROLE_CLIENT } from '../../../src/records/records.gen.js';
import { Sampler } from '../../../src/traces/sampler.js';
import { Sampling } from '../../../src/traces/sampling.js';
import { type Piece, requestText, responseText, type Story, Tape } from '../../support/record-builder.js';
import { attribute, Harness, line } from './harness.js';

const CLIENT_SEQ = 0xffff_fff0;
const SERVER_SEQ = 0x1000;
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const HEADER = `traceparent: 00-${TRACE}-${PARENT}-01`;

/** All ways to merge two sequences that `isPossible` allows (asked with how much of each has gone before). */
function* merges(
  left: readonly Piece[],
  right: readonly Piece[],
  isPossible: (leftDone: number, rightDone: number) => boolean,
  at = 0,
  other = 0,
): Generator<Piece[]> {
  if (!isPossible(at, other)) return;
  if (at === left.length && other === right.length) yield [];
  if (at < left.length) {
    for (const rest of merges(left, right, isPossible, at + 1, other)) yield [left[at] as Piece, ...rest];
  }
  if (other < right.length) {
    for (const rest of merges(left, right, isPossible, at, other + 1)) yield [right[other] as Piece, ...rest];
  }
}

function pair(harness: Harness): { client: Story; server: Story; clientTape: Tape; serverTape: Tape } {
  const clientTape = new Tape();
  const serverTape = new Tape();
  const client = harness.client({ slot: 1, egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ });
  const server = harness.server({ slot: 2, ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ });
  Object.assign(client, { tape: clientTape });
  Object.assign(server, { tape: serverTape });
  return { client, server, clientTape, serverTape };
}

test('a client that is not selected is nobody’s parent: its span will not be there', () => {
  const harness = new Harness({ isSelected: pid => pid === 100 });
  const client = harness.client({ egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ }).opened();
  const server = harness.server({ ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ }).opened();
  client.wrote(requestText('GET /a'));
  server.read(requestText('GET /a')).wrote(responseText(200)).closed();
  client.read(responseText(200)).closed();
  const spans = harness.finish().filter(span => span.kind !== 1);
  assert.deepEqual(
    spans.map(span => [line(span), span.parentSpanId]),
    [['GET /a 200', '']],
  );
  assert.deepEqual(harness.drops(), { filtered: 1 });
});

test('every order of the two sides gives one trace with the client above the server', () => {
  for (const fields of [['Host: a'], ['Host: a', HEADER]]) {
    const sample = new Harness();
    const { client, server, clientTape, serverTape } = pair(sample);
    client.opened().wrote(requestText('GET /a', fields)).read(responseText(200)).closed();
    server.opened().read(requestText('GET /a', fields)).wrote(responseText(200)).closed();
    let orders = 0;
    // The client cannot read (its third record) what the server has not been asked for (its second).
    for (const pieces of merges(clientTape.pieces, serverTape.pieces, (asked, served) => asked < 3 || served >= 2)) {
      orders++;
      const harness = new Harness({ hasConnectSpans: false });
      for (const { ring, timeNs, bytes } of pieces) {
        harness.tape.add(ring, timeNs, bytes);
        harness.tape.play(harness.pipeline);
      }
      const spans = harness.finish();
      const asked = spans.find(({ kind }) => kind === 3);
      const served = spans.find(({ kind }) => kind === 2);
      assert.equal(spans.length, 2);
      assert.equal(served?.traceId, asked?.traceId, `order ${orders}`);
      assert.equal(served?.parentSpanId, asked?.spanId, `order ${orders}`);
      assert.equal(attribute(served, 'underspan.parent.evidence'), 'sequence');
      assert.equal(asked?.parentSpanId, fields.length > 1 ? PARENT : '', `order ${orders}`);
      if (fields.length > 1) assert.equal(asked?.traceId, TRACE);
      assert.equal(harness.pipeline.correlator.joined, 1);
    }
    assert.ok(orders > 20, `${orders} orders`);
  }
});

test('a server’s span waits for its client’s record by the time up to which records have been handed over, however late they are', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const { pipeline, tape } = harness;
  const client = harness.client({ egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ });
  const server = harness.server({ ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ }).opened();
  server.read(requestText('GET /a')).wrote(responseText(200));
  tape.play(pipeline);
  const endNs = tape.nowNs;
  // A pipeline that is seconds behind: the client's record lies in what has not been handed over.
  pipeline.tick(endNs + 5e6, endNs + 5e9);
  assert.equal(pipeline.openExchanges, 1);
  client.opened().wrote(requestText('GET /a')).read(responseText(200)).closed();
  server.closed();
  const spans = harness.finish();
  const asked = spans.find(({ kind }) => kind === 3);
  assert.equal(spans.find(({ kind }) => kind === 2)?.parentSpanId, asked?.spanId);
});

test('keep-alive and pipelined requests are joined one by one, across the wrap of sequence numbers', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const client = harness.client({ egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ }).opened();
  const server = harness.server({ ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ }).opened();
  for (let turn = 0; turn < 3; turn++) {
    const requests = [`/${turn}/a`, `/${turn}/b`].map(path => requestText(`GET ${path}`)).join('');
    client.wrote(requests);
    server.read(requests).wrote(responseText(200, 'a') + responseText(200, 'b'));
    client.read(responseText(200, 'a') + responseText(200, 'b'));
  }
  const spans = harness.finish();
  assert.equal(harness.pipeline.correlator.joined, 6);
  const asked = new Map(spans.filter(({ kind }) => kind === 3).map(span => [attribute(span, 'url.path'), span]));
  for (const served of spans.filter(({ kind }) => kind === 2)) {
    assert.equal(served.parentSpanId, asked.get(attribute(served, 'url.path'))?.spanId);
  }
});

test('a server whose client is elsewhere: root, or child of the header', () => {
  const harness = new Harness();
  const story = harness.server().opened();
  story.read(requestText('GET /a')).wrote(responseText());
  story.read(requestText('GET /b', ['Host: a', HEADER, 'tracestate: x=1'])).wrote(responseText());
  story.read(requestText('GET /c', ['Host: a', 'traceparent: 00-zz'])).wrote(responseText());
  const [root, child, invalid] = harness.finish();
  assert.equal(root?.parentSpanId, '');
  assert.equal(attribute(root, 'underspan.parent.evidence'), undefined);
  assert.deepEqual([child?.traceId, child?.parentSpanId, child?.traceState], [TRACE, PARENT, 'x=1']);
  assert.equal(attribute(child, 'underspan.parent.evidence'), 'header');
  assert.equal(invalid?.parentSpanId, '');
});

test('other numbers, another tag: not joined', () => {
  for (const [server, clientOptions] of [
    [{ ingressSeq: CLIENT_SEQ + 1, egressSeq: SERVER_SEQ }, {}],
    [{ ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ + 1 }, {}],
    [{ ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ, pairTag: 7 }, {}],
    [{ ingressSeq: SERVER_SEQ, egressSeq: CLIENT_SEQ }, {}],
  ] as const) {
    const harness = new Harness();
    const client = harness.client({ egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ, ...clientOptions }).opened();
    client.wrote(requestText('GET /a'));
    harness.server(server).opened().read(requestText('GET /a')).wrote(responseText());
    client.read(responseText());
    harness.finish();
    assert.equal(harness.pipeline.correlator.joined, 0);
  }
});

test('unix sockets: named by their path, joined by tag and counters, unless not seen from birth', () => {
  const tell = (flags: number): Harness => {
    const harness = new Harness();
    const common = { unixPath: '/run/app.sock\0\0', ingressSeq: 0, egressSeq: 0, pairTag: 0x8001, flags };
    const client = harness.client(common).opened().wrote(requestText('GET /u'));
    harness.server(common).opened().read(requestText('GET /u')).wrote(responseText(200)).closed();
    client.read(responseText(200)).closed();
    harness.finish();
    return harness;
  };
  const joined = tell(0);
  assert.deepEqual(joined.spans.map(line), ['GET /u 200', 'GET /u 200']);
  const [asked, served] = [3, 2].map(kind => joined.spans.find(span => span.kind === kind));
  assert.equal(served?.parentSpanId, asked?.spanId);
  assert.equal(attribute(asked, 'network.peer.address'), '/run/app.sock');
  assert.equal(attribute(asked, 'network.transport'), 'unix');
  assert.equal(tell(CONNECTION_PAIR_UNSURE).pipeline.correlator.joined, 0);
});

test('a process that dies takes its unix connections along, which no record tells', () => {
  const harness = new Harness();
  const story = harness.client({ role: ROLE_CLIENT, slot: 21, unixPath: '\0name', pairTag: 5 }).opened();
  story.wrote(requestText('GET /u'));
  harness.tape.exited(200);
  assert.deepEqual(harness.finish().map(line), ['GET /u connection_closed']);
  assert.deepEqual(harness.evicted, [{ slot: 21, generation: 1 }]);
  assert.equal(harness.pipeline.connections.open, 0);
});

test('someone else’s decision to sample is honoured on both sides, and metrics see the request nevertheless', () => {
  const unsampled = `traceparent: 00-${TRACE}-${PARENT}-00`;
  const harness = new Harness({ hasConnectSpans: false });
  const client = harness.client({ egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ }).opened();
  const request = requestText('GET /a', ['Host: a', unsampled]);
  client.wrote(request);
  const server = harness.server({ ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ });
  server.opened().read(request).wrote(responseText());
  client.read(responseText());
  assert.equal(harness.finish().length, 0);
  assert.deepEqual(harness.drops(), { sampled: 2 });
  for (const name of ['http.server.request.duration', 'http.client.request.duration']) {
    const points = harness.families().find(family => family.name === name)?.points ?? [];
    assert.deepEqual(
      points.map(({ value }) => typeof value === 'object' && value.count),
      [1],
    );
  }
  const off = new Harness({ sampling: new Sampling(new Sampler('always_off', 0)) });
  off.client().opened({ connectNs: 1, establishedNs: 2 }).wrote(requestText('GET /a')).read(responseText());
  assert.equal(off.finish().length, 0);
});

/** Keep-alive turns of one server connection, and of its client where that is told: before, behind or after the server's records. */
function turns(harness: Harness) {
  const client = harness.client({ slot: 1, egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ });
  const server = harness.server({ slot: 2, ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ }).opened();
  const [asked, answered] = [requestText('GET /a'), responseText(200)];
  const unobserved = new Tape();
  return (who: 'no client' | 'client first' | 'client late'): void => {
    const { tape } = harness;
    // Its sequence numbers go on, whether or not its records are heard of.
    Object.assign(client, { tape: who === 'no client' ? unobserved : tape });
    if (who !== 'client late') client.wrote(asked);
    server.read(asked).wrote(answered);
    if (who === 'client late') client.wrote(asked);
    client.read(answered);
    tape.play(harness.pipeline);
  };
}

test('where no client was seen for long, spans no longer wait for one', () => {
  const harness = new Harness();
  const turn = turns(harness);
  for (let at = 0; at < 64; at++) turn('no client');
  assert.equal(harness.pipeline.openExchanges, 64);
  for (let at = 0; at < 32; at++) turn('no client');
  // One of many still does.
  assert.equal(harness.pipeline.openExchanges, 65);
  harness.finish();
  assert.equal(harness.exchangeSpans().length, 96);
});

test('a client that is heard of after long is joined, from its first record on if it comes in time', () => {
  for (const [who, missed] of [
    ['client first', 0],
    ['client late', 28],
  ] as const) {
    const harness = new Harness();
    const turn = turns(harness);
    harness.client({ slot: 1, egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ }).opened();
    for (let at = 0; at < 100; at++) turn('no client');
    for (let at = 0; at < 100; at++) turn(who);
    assert.equal(harness.pipeline.correlator.joined, 100 - missed, who);
    // And from then on late ones, too.
    for (let at = 0; at < 10; at++) turn('client late');
    assert.equal(harness.pipeline.correlator.joined, 110 - missed, who);
    harness.finish();
  }
});

test('late clients of pipelined requests are waited for, however many there are', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const client = harness.client({ slot: 1, egressSeq: CLIENT_SEQ, ingressSeq: SERVER_SEQ }).opened();
  const server = harness.server({ slot: 2, ingressSeq: CLIENT_SEQ, egressSeq: SERVER_SEQ }).opened();
  const requests = requestText('GET /a').repeat(80);
  const responses = responseText(200).repeat(80);
  server.read(requests).wrote(responses);
  client.wrote(requests).read(responses);
  harness.finish();
  assert.equal(harness.pipeline.correlator.joined, 80);
});
