// Parents inside a process: what a thread had taken last, and whatever speaks against it.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { DecodedSpan } from '../../../src/otlp/decode.js';
import {
  CAUSE_CAME,
  CAUSE_DIRECT,
  CAUSE_INHERITED,
  CAUSE_RESUMED,
  CAUSE_SOLE,
  CAUSE_START_SHIFT,
  CAUSE_TAKEN,
  CAUSE_TASK,
  WORK_RETURNED,
  WORK_SPREAD,
  WORK_STRAYED,
} from '../../../src/records/records.gen.js';
import { ProcessWork } from '../../../src/traces/process-work.js';
import { MS, requestText, responseText, type Story, Thread } from '../../support/record-builder.js';
import { attribute, Harness } from './harness.js';

const PID = 100;
const OWN_TRACE = '0af7651916cd43dd8448eb211c80319c';
const OWN_HEADER = `00-${OWN_TRACE}-b7ad6b7169203331-01`;
const ASKED = CAUSE_TAKEN | CAUSE_CAME | CAUSE_INHERITED | CAUSE_DIRECT;

class Process {
  readonly harness: Harness;
  readonly tid: number;

  constructor(harness: Harness, tid = PID) {
    this.harness = harness;
    this.tid = tid;
  }

  server(): Story {
    return this.harness.server({ pid: PID, tid: this.tid }).opened();
  }

  /** A connection of a pool: nobody in particular opened it. */
  pooled(): Story {
    this.wait();
    return this.harness.client({ pid: PID, tid: this.tid, local: { address: '10.0.0.1', port: 50000 } }).opened();
  }

  wait(): void {
    this.harness.tape.thread(this.tid).waited();
  }

  wake(): void {
    this.harness.tape.thread(this.tid).woken();
  }
}

function loop(): Process {
  const process = new Process(new Harness({ hasConnectSpans: false }));
  process.harness.tape.thread(PID).turned();
  return process;
}

function threads(): Process {
  return new Process(new Harness({ hasConnectSpans: false }));
}

/** `/call < /request (grade)` of each call, `/call` where it has no parent. */
function parents(spans: readonly DecodedSpan[]): string[] {
  const paths = new Map(spans.map(span => [span.spanId, String(attribute(span, 'url.path'))]));
  return spans
    .filter(({ kind }) => kind === 3)
    .map(span => {
      const call = String(attribute(span, 'url.path'));
      if (span.parentSpanId === '') return call;
      const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
      assert.equal(parent?.traceId, span.traceId, `${call} is in its parent's trace`);
      return `${call} < ${paths.get(span.parentSpanId)} (${attribute(span, 'underspan.parent.evidence')})`;
    })
    .sort();
}

const ask = (path: string): string => requestText(`GET ${path}`);

test('a thread that serves one request at a time: its calls are for it, whatever else it reads meanwhile', () => {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  const database = harness.client({ pid: PID, tid: PID }).opened();
  const call = harness.client({ pid: PID, tid: PID }).opened();
  for (const path of ['/a', '/b']) {
    server.read(ask(path));
    database.wrote('\x00\x01query').read('\x00\x02rows');
    call.wrote(ask(`${path}1`)).read(responseText(200));
    database.wrote('\x00\x01query').read('\x00\x02rows');
    call.wrote(ask(`${path}2`)).read(responseText(200));
    server.wrote(responseText(200));
  }
  const expected = ['/a1 < /a (thread)', '/a2 < /a (thread)', '/b1 < /b (thread)', '/b2 < /b (thread)'];
  assert.deepEqual(parents(harness.finish()), expected);
});

test('a call with the x-request-id that one request brought is for that, whatever came between', () => {
  const process = threads();
  const { harness } = process;
  const withId = (path: string, id: string): string => requestText(`GET ${path}`, ['Host: a', `X-Request-Id: ${id}`]);
  const [first, second, third] = [process.server(), process.server(), process.server()];
  const call = harness.client({ pid: PID, tid: 7 }).opened();
  const stranger = harness.client({ pid: 300, tid: 300 }).opened();
  first.read(withId('/a', 'request-a'));
  second.read(withId('/b', 'request-b'));
  call.wrote(withId('/a1', 'request-a')).read(responseText(200));
  stranger.wrote(withId('/of-another-process', 'request-b')).read(responseText(200));
  call.wrote(withId('/with-an-id-of-its-own', 'request-c')).read(responseText(200));
  call.wrote(withId('/b1', 'request-b')).read(responseText(200));
  third.read(withId('/b-again', 'request-b'));
  call.wrote(withId('/of-either', 'request-b')).read(responseText(200));
  third.wrote(responseText(200));
  call.wrote(withId('/of-either-still', 'request-b')).read(responseText(200));
  second.wrote(responseText(200));
  call.wrote(withId('/a2', 'request-a')).read(responseText(200));
  first.wrote(responseText(200));
  call.wrote(withId('/after-the-response', 'request-a')).read(responseText(200));
  first.read(withId('/short', '12'));
  second.read(withId('/other', 'request-d'));
  call.wrote(withId('/a-number', '12')).read(responseText(200));
  second.wrote(responseText(200));
  first.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), [
    '/a-number',
    '/a1 < /a (header)',
    '/a2 < /a (header)',
    '/after-the-response',
    '/b1 < /b (header)',
    '/of-another-process',
    '/of-either',
    '/of-either-still',
    '/with-an-id-of-its-own',
  ]);
});

test('the trace of a call and of all that it caused waits until the thread has been judged', () => {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  const call = harness.client({ pid: PID, tid: PID, egressSeq: 100, ingressSeq: 900 }).opened();
  const called = harness.server({ pid: 300, tid: 300, egressSeq: 900, ingressSeq: 100 }).opened();
  server.read(ask('/a'));
  call.wrote(ask('/a1'));
  called.read(ask('/a1')).wrote(responseText(200));
  call.read(responseText(200));
  assert.deepEqual(harness.play(), [], 'nothing of the trace leaves');
  server.wrote(responseText(200));
  const spans = harness.finish();
  assert.equal(spans.length, 3);
  assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1);
});

test('threads that serve several requests at once tell nothing', () => {
  const process = threads();
  const { harness } = process;
  const [first, second] = [process.server(), process.server()];
  const call = harness.client({ pid: PID, tid: PID }).opened();
  first.read(ask('/a'));
  second.read(ask('/b'));
  call.wrote(ask('/x')).read(responseText(200));
  first.wrote(responseText(200));
  second.wrote(responseText(200));
  first.read(ask('/c'));
  call.wrote(ask('/y')).read(responseText(200));
  first.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/x', '/y']);
});

test('a call whose response the thread did not wait for is not put down to its request', () => {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  const call = harness.client({ pid: PID, tid: PID }).opened();
  server.read(ask('/a'));
  call.wrote(ask('/a1'));
  server.wrote(responseText(200));
  call.read(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1']);
});

/** Two threads at requests, one call that the first one sends, and threads of a pool. */
function javaThreads() {
  const { harness } = threads();
  const [one, pooled, selector] = [1, 3, 4].map(tid => harness.tape.thread(tid)) as [Thread, Thread, Thread];
  const [first, second] = [1, 2].map(tid => harness.server({ pid: PID, tid }).opened()) as [Story, Story];
  const call = harness.client({ pid: PID, tid: 1 }).opened();
  const by = (story: Story, tid: number): Story => Object.assign(story, { tid });
  return { harness, one, pooled, selector, first, second, call, by };
}

test('a call whose response another thread reads is for the request of the thread that this sets to work', () => {
  for (const [wakers, expected] of [
    [[4], '/a1 < /a (thread)'],
    [[4, 3], '/a1 < /a (thread)'],
    [[], '/a1'],
    [[3], '/a1'],
  ] as const) {
    const { harness, one, selector, first, call, by } = javaThreads();
    first.read(ask('/a'));
    call.wrote(ask('/a1'));
    selector.waited();
    by(call, 4).read(responseText(200));
    const chain = wakers.map(tid => harness.tape.thread(tid));
    for (const [at, waker] of chain.entries()) waker.wakes(chain[at + 1] ?? one, chain[at + 1] === undefined);
    first.wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), [expected], `woken by ${wakers}`);
  }
});

test('what an I/O thread has read is handed to the worker that it wakes, if that answers it', () => {
  for (const [tid, expected] of [[3, ['/a1 < /a (thread)', '/late']] as const, [2, ['/a1', '/late']] as const]) {
    const { harness, one, pooled, first, call, by } = javaThreads();
    one.waited();
    first.read(ask('/a'));
    one.wakes(pooled, false);
    by(call, 3).wrote(ask('/a1')).read(responseText(200));
    by(first, tid).wrote(responseText(200));
    call.wrote(ask('/late')).read(responseText(200));
    assert.deepEqual(parents(harness.finish()), expected, `answered by ${tid}`);
  }
});

test('a worker that takes something else out of the queue than what it was woken for has called for nobody known', () => {
  const { harness, one, pooled, first, second, call, by } = javaThreads();
  one.waited();
  first.read(ask('/a'));
  one.wakes(pooled, false);
  second.read(ask('/b'));
  by(call, 3).wrote(ask('/b1')).read(responseText(200));
  by(second, 3).wrote(responseText(200));
  pooled.request.flags = 0; // cause_of_write in bpf/cause.h
  call.wrote(ask('/a1')).read(responseText(200));
  by(first, 3).wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1', '/b1']);
});

test("a job that a thread gives to a pool is nobody known's, whoever is woken when it is done", () => {
  for (const tid of [1, 2]) {
    const { harness, one, pooled, first, second, call, by } = javaThreads();
    first.read(ask('/a'));
    second.read(ask('/b'));
    one.wakes(pooled, false);
    by(call, 3).wrote(ask('/x')).read(responseText(200));
    pooled.wakes(harness.tape.thread(tid), true);
    second.wrote(responseText(200));
    first.wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), ['/x'], `${tid} is woken`);
  }
});

test('a call that a thread was set to work for is for the one request that waits, and whose thread its response wakes', () => {
  for (const [what, expected] of [
    ['in time', ['/x < /a (thread)']],
    ['waits since before', ['/x']],
    ['two are woken', ['/x']],
    ['another one is served', ['/x']],
    ['nobody is woken', ['/x']],
  ] as const) {
    const { harness, selector, pooled, first, second, call, by } = javaThreads();
    const { tape } = harness;
    first.read(ask('/a'));
    if (what === 'another one is served') second.read(ask('/b'));
    const parkedNs = tape.later();
    const askedFromUs = Math.floor((what === 'waits since before' ? parkedNs + 1e6 : parkedNs - 1e6) / 1000) % 2 ** 32;
    const asked = { slot: 0, generation: askedFromUs, seq: 0, flags: CAUSE_CAME | CAUSE_INHERITED };
    pooled.request = asked;
    by(call, 3).wrote(ask('/x'));
    if (what === 'two are woken') second.read(ask('/b'));
    by(call, 4).read(responseText(200));
    if (what !== 'nobody is woken') tape.woken(PID, 1, selector, parkedNs);
    if (what === 'two are woken') tape.woken(PID, 2, selector, parkedNs);
    first.wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), [...expected], what);
  }
});

test("whoever sends it, a call for which a request's thread has taken the connection out of a pool is that request's", () => {
  for (const [what, expected] of [
    ['nobody is woken', '/x < /a (thread)'],
    ['its thread is woken, and another one', '/x < /a (thread)'],
    ['another one is woken', '/x'],
    ['it may not wait', '/x'],
    ['it is answered first', '/x'],
    ['another thread answers', '/x'],
  ] as const) {
    const { harness, one, selector, pooled, first, second, call, by } = javaThreads();
    const { tape } = harness;
    const isLate = what === 'it is answered first';
    first.read(ask('/a'));
    second.read(ask('/b'));
    pooled.request = { ...one.request, flags: what === 'it may not wait' ? ASKED : ASKED | CAUSE_SOLE };
    by(call, 3).wrote(ask('/x'));
    if (isLate) first.wrote(responseText(200));
    by(call, 4).read(responseText(200));
    if (what.startsWith('its thread')) tape.woken(PID, 1, selector, tape.later());
    if (what.includes('another one')) tape.woken(PID, 2, selector, tape.later());
    if (!isLate) by(first, what === 'another thread answers' ? 2 : 1).wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), [expected], what);
  }
});

test("what a client's thread asks for that a request's has set to work is for that one, if its response wakes that and no other", () => {
  const { harness, one, selector, pooled, first, call, by } = javaThreads();
  const { tape } = harness;
  const expected: string[] = [];
  for (let at = 0; at < 12; at++) {
    const isWoken = at < 10;
    first.read(ask(`/${at}`));
    pooled.request = { ...one.request, flags: ASKED | CAUSE_RESUMED };
    by(call, 3).wrote(ask(`/${at}.1`));
    by(call, 4).read(responseText(200));
    if (isWoken) tape.woken(PID, 1, selector, tape.later());
    if (at === 9) tape.woken(PID, 2, selector, tape.later());
    first.wrote(responseText(200));
    harness.play();
    tape.nowNs += 200 * MS;
    harness.play();
    expected.push(at > 6 && at < 9 ? `/${at}.1 < /${at} (thread)` : `/${at}.1`);
  }
  assert.deepEqual(parents(harness.finish()), expected.sort());
});

test('a call that a task of tokio was woken for is for the request whose task its response wakes, alone, and once for each waking', () => {
  const TASK = CAUSE_TASK | CAUSE_CAME;
  for (const [what, expected] of [
    ['both agree', ['/x < /a (task)']],
    ['another one is woken', ['/x']],
    ['two are woken', ['/x']],
    ['nobody is woken', ['/x']],
    ['nobody has woken it', ['/x']],
    ['the same waking again', ['/x < /a (task)', '/y']],
    ['two wakings', ['/x < /a (task)', '/y < /a (task)']],
    ['another task answers', ['/x']],
  ] as const) {
    const { harness, selector, pooled, first, second, call, by } = javaThreads();
    const { tape } = harness;
    first.read(ask('/a'));
    second.read(ask('/b'));
    for (const tid of [1, 2]) tape.thread(tid).request.flags |= TASK;
    const make = (path: string, waking: number): void => {
      const flags = what === 'nobody has woken it' ? TASK : TASK | CAUSE_TAKEN | (waking << CAUSE_START_SHIFT);
      pooled.request = { ...tape.thread(1).request, flags };
      by(call, 3).wrote(ask(path));
      by(call, 4).read(responseText(200));
      if (what !== 'another one is woken' && what !== 'nobody is woken') tape.woken(PID, 1, selector, 0);
      if (what === 'another one is woken' || what === 'two are woken') tape.woken(PID, 2, selector, 0);
    };
    make('/x', 1);
    if (what === 'the same waking again') make('/y', 1);
    if (what === 'two wakings') make('/y', 2);
    if (what === 'another task answers') tape.thread(1).request = { ...tape.thread(2).request };
    first.wrote(responseText(200));
    second.wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), [...expected], what);
  }
});

test('a request that was answered causes nothing any more', () => {
  for (const process of [threads(), loop()]) {
    const { harness } = process;
    const call = process.pooled();
    const server = process.server();
    server.read(ask('/a')).wrote(responseText(200));
    call.wrote(ask('/later')).read(responseText(200));
    assert.deepEqual(parents(harness.finish()), ['/later']);
  }
});

test('an event loop: what it sends before it takes from the next is for what it took', () => {
  const process = loop();
  const { harness } = process;
  const [x, y] = [process.pooled(), process.pooled()];
  const [first, second] = [process.server(), process.server()];
  process.wait();
  first.read(ask('/a'));
  x.wrote(ask('/a1'));
  second.read(ask('/b'));
  y.wrote(ask('/b1'));
  process.wait();
  y.read(responseText(200));
  y.wrote(ask('/b2'));
  x.read(responseText(200));
  x.wrote(ask('/a2'));
  process.wait();
  x.read(responseText(200));
  first.wrote(responseText(200));
  y.read(responseText(200));
  second.wrote(responseText(200));
  const expected = ['/a1 < /a (slice)', '/a2 < /a (slice)', '/b1 < /b (slice)', '/b2 < /b (slice)'];
  assert.deepEqual(parents(harness.finish()), expected);
});

test("what a loop sends after it has waited, or was woken otherwise, is nobody's", () => {
  for (const interrupt of ['wait', 'wake'] as const) {
    const process = loop();
    const { harness } = process;
    const call = process.pooled();
    const server = process.server();
    process.wait();
    server.read(ask('/a'));
    process[interrupt]();
    call.wrote(ask('/timer')).read(responseText(200));
    server.wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), ['/timer'], interrupt);
  }
});

test("a request that may be waiting for a call makes the call of another one's response nobody's", () => {
  const process = loop();
  const { harness } = process;
  const call = process.pooled();
  const [first, second] = [process.server(), process.server()];
  process.wait();
  first.read(ask('/a'));
  call.wrote(ask('/a1'));
  second.read(ask('/b'));
  process.wait();
  call.read(responseText(200));
  call.wrote(ask('/b1')); // the pool had one connection: /b was waiting for it
  process.wait();
  call.read(responseText(200));
  first.wrote(responseText(200));
  second.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (slice)', '/b1']);
});

test('what a loop calls for itself, one call after the other, does not hang together in memory', () => {
  const process = loop();
  const { harness } = process;
  const call = process.pooled();
  process.wait();
  for (let count = 0; count < 20; count++) call.wrote(ask(`/own${count}`)).read(responseText(200));
  harness.play();
  let length = 0;
  const last = harness.pipeline.connections.find(call.slot, call.generation)?.matcher?.lastResponded ?? null;
  assert.ok(last !== null);
  for (let one = last; one.after !== null; one = one.after) length++;
  assert.equal(length, 0);
  harness.finish();
});

test("what is sent when a call has been responded to may be the program's own once its timers have run meanwhile", () => {
  for (const hasTimers of [false, true]) {
    const process = loop();
    const { harness } = process;
    const call = process.pooled();
    const server = process.server();
    process.wait();
    server.read(ask('/a'));
    call.wrote(ask('/a1'));
    process.wait();
    if (hasTimers) harness.tape.thread(PID).ranTimers();
    process.wait();
    call.read(responseText(200));
    call.wrote(ask('/next')); // a queue of one call: a timer's may have waited in it
    process.wait();
    call.read(responseText(200));
    call.wrote(ask('/last'));
    process.wait();
    call.read(responseText(200));
    server.wrote(responseText(200));
    const [next, last] = hasTimers ? ['', ''] : [' < /a (slice)', ' < /a (slice)'];
    assert.deepEqual(parents(harness.finish()), ['/a1 < /a (slice)', `/last${last}`, `/next${next}`]);
  }
});

test('timers of a program that has been without a request for five minutes, and has not called for itself, call nobody', () => {
  for (const [idleMs, hasOwnCall] of [
    [301_000, false],
    [301_000, true],
    [290_000, false],
  ] as const) {
    const process = loop();
    const { harness } = process;
    const [call, server] = [process.pooled(), process.server()];
    process.wait();
    server.read(ask('/before')).wrote(responseText(200));
    harness.tape.nowNs += idleMs * MS;
    if (hasOwnCall) {
      process.wait();
      call.wrote(ask('/own')).read(responseText(200));
    }
    process.wait();
    server.read(ask('/a'));
    call.wrote(ask('/a1'));
    process.wait();
    harness.tape.thread(PID).ranTimers();
    process.wait();
    call.read(responseText(200));
    call.wrote(ask('/a2'));
    process.wait();
    call.read(responseText(200));
    server.wrote(responseText(200));
    const found = parents(harness.finish()).filter(line => !line.startsWith('/own'));
    assert.deepEqual(found, ['/a1 < /a (slice)', idleMs > 300_000 && !hasOwnCall ? '/a2 < /a (slice)' : '/a2']);
  }
});

test('what immediates send that were made amid a request is for that, if they run next; else if the response to one of them leads to the answer', () => {
  for (const [isNext, isAnswered] of [
    [true, false],
    [false, true],
    [false, false],
  ] as const) {
    const process = loop();
    const { harness } = process;
    const thread = harness.tape.thread(PID);
    const [one, other, server] = [process.pooled(), process.pooled(), process.server()];
    process.wait();
    server.read(ask('/a'));
    thread.made({ ...thread.cause }, 'immediate', isNext);
    one.wrote(ask('/a1'));
    other.wrote(ask('/a2'));
    for (const call of [one, other]) {
      process.wait();
      call.read(responseText(200));
    }
    if (!isAnswered) process.wait();
    server.wrote(responseText(200));
    const parent = isNext || isAnswered ? ' < /a (slice)' : '';
    assert.deepEqual(parents(harness.finish()), [`/a1${parent}`, `/a2${parent}`]);
  }
});

test("what an immediate sends next may be another request's, or the program's own, where there are such", () => {
  for (const what of ['another request', 'a call of its own']) {
    const process = loop();
    const { harness } = process;
    const thread = harness.tape.thread(PID);
    const [one, other, idle, server] = [process.pooled(), process.pooled(), process.server(), process.server()];
    process.wait();
    if (what === 'another request') idle.read(ask('/idle'));
    else one.wrote(ask('/own')).read(responseText(200));
    process.wait();
    server.read(ask('/a'));
    thread.made({ ...thread.cause }, 'immediate', true);
    one.wrote(ask('/a1'));
    other.wrote(ask('/a2'));
    for (const call of [one, other]) {
      process.wait();
      call.read(responseText(200));
    }
    process.wait();
    server.wrote(responseText(200));
    if (what === 'another request') idle.wrote(responseText(200));
    const expected = ['/a1', '/a2', ...(what === 'another request' ? [] : ['/own'])];
    assert.deepEqual(parents(harness.finish()), expected, what);
  }
});

test("what a request's timer sends is the program's own if the program calls for itself later: it was an interval", () => {
  for (const isInterval of [false, true]) {
    const process = loop();
    const { harness } = process;
    const thread = harness.tape.thread(PID);
    const [call, server] = [process.pooled(), process.server()];
    process.wait();
    server.read(ask('/a'));
    const amid = { ...thread.cause };
    process.wait();
    thread.made(amid, 'timer');
    call.wrote(ask('/a1'));
    process.wait();
    call.read(responseText(200));
    server.wrote(responseText(200));
    process.wait();
    if (isInterval) call.wrote(ask('/own')).read(responseText(200));
    assert.deepEqual(parents(harness.finish()), isInterval ? ['/a1', '/own'] : ['/a1 < /a (slice)']);
  }
});

test('a call that is only supposed to be for a request keeps what it is for when its connection has ended', () => {
  const process = loop();
  const { harness } = process;
  const thread = harness.tape.thread(PID);
  const [one, other, server] = [process.pooled(), process.pooled(), process.server()];
  process.wait();
  server.read(ask('/a'));
  const amid = { ...thread.cause };
  process.wait();
  thread.made(amid, 'timer');
  one.wrote(ask('/a1'));
  process.wait();
  one.read(responseText(200));
  const after = { ...thread.cause };
  one.closed();
  thread.resumed(after, false);
  other.wrote(ask('/a2'));
  process.wait();
  other.read(responseText(200));
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (slice)', '/a2 < /a (slice)']);
});

test('a connection that a request opened carries its call, whatever was read before it could be written', () => {
  const process = loop();
  const { harness } = process;
  const [first, second] = [process.server(), process.server()];
  process.wait();
  first.read(ask('/a'));
  const call = harness.client({ pid: PID, tid: PID }).opened({ connectNs: 1, establishedNs: 2 });
  second.read(ask('/b'));
  call.wrote(ask('/a1'));
  process.wait();
  call.read(responseText(200));
  first.wrote(responseText(200));
  second.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (slice)']);
});

test('a connection that a request opens for its call is no second call beside it', () => {
  const process = loop();
  const { harness } = process;
  const pooled = process.pooled();
  const [first, second] = [process.server(), process.server()];
  process.wait();
  first.read(ask('/a'));
  const call = harness.client({ pid: PID, tid: PID }).opened({ connectNs: 1, establishedNs: 2 }).wrote(ask('/a1'));
  process.wait();
  second.read(ask('/b'));
  pooled.wrote(ask('/b1'));
  process.wait();
  call.read(responseText(200));
  call.wrote(ask('/a2')); // everybody else has a call under way: nobody waits
  process.wait();
  call.read(responseText(200));
  first.wrote(responseText(200));
  pooled.read(responseText(200));
  second.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (slice)', '/a2 < /a (slice)', '/b1 < /b (slice)']);
});

test('a loop whose timers cannot be seen gives links, and parents only to those who ask for them', () => {
  for (const parentEvidence of ['slice', 'loop'] as const) {
    const harness = new Harness({ hasConnectSpans: false, parentEvidence });
    const process = new Process(harness);
    const call = process.pooled();
    const server = process.server();
    process.wait();
    server.read(ask('/a'));
    call.wrote(ask('/a1'));
    process.wait();
    call.read(responseText(200));
    server.wrote(responseText(200));
    const spans = harness.finish();
    assert.deepEqual(parents(spans), [parentEvidence === 'loop' ? '/a1 < /a (loop)' : '/a1']);
    const asked = spans.find(({ kind }) => kind === 3);
    const served = spans.find(({ kind }) => kind === 2);
    if (parentEvidence === 'slice') assert.equal(asked?.links[0]?.spanId, served?.spanId);
  }
});

test('what an idle loop does when it is told of one descriptor is for that, whether or not its timers can be seen', () => {
  const process = threads();
  const { harness } = process;
  const call = process.pooled();
  const server = process.server();
  const told = (): void => harness.tape.thread(PID).toldOfOne();
  told();
  server.read(ask('/a'));
  call.wrote(ask('/a1'));
  told();
  call.read(responseText(200));
  call.wrote(ask('/a2'));
  process.wait(); // told of several, or a timer may have been due
  call.read(responseText(200));
  call.wrote(ask('/unknown'));
  told();
  call.read(responseText(200));
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (slice)', '/a2 < /a (slice)', '/unknown']);
});

test('a forked process goes on with the request that was taken last', () => {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  server.read(ask('/a'));
  harness.tape.threads.set(400, harness.tape.thread(PID).forked());
  harness.tape.forked(400, PID);
  const call = harness.client({ pid: 400, tid: 400 }).opened();
  call.wrote(ask('/a1')).read(responseText(200));
  server.wrote(responseText(200));
  call.wrote(ask('/a2')).read(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (fork)', '/a2']);
});

/** A goroutine, in the place of a thread. */
function routine(harness: Harness, tid: number, thread = Thread.routine()): Process {
  harness.tape.threads.set(tid, thread);
  return new Process(harness, tid);
}

test('a goroutine calls for the request that it took, whichever goroutine took another one meanwhile', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const [first, second] = [routine(harness, 1), routine(harness, 2)];
  const calls = [first, second].map(({ tid }) => harness.client({ pid: PID, tid }).opened());
  const servers = [first.server().read(ask('/a')), second.server().read(ask('/b'))];
  for (const [index, call] of calls.entries()) call.wrote(ask(`/${'ab'[index]}1`)).read(responseText(200));
  for (const server of servers) server.wrote(responseText(200));
  calls[0]?.wrote(ask('/late')).read(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (goroutine)', '/b1 < /b (goroutine)', '/late']);
});

/** The calls that a virtual thread makes for its own request /a; `takes`: who takes the response of the first one, and who gives that of /a. */
function virtualCalls(takes: number, answers: number): string[] {
  const harness = new Harness({ hasConnectSpans: false });
  const own = routine(harness, 1, Thread.virtual());
  const other = routine(harness, 2, Thread.virtual());
  const calls = [1, 2].map(() => harness.client({ pid: PID, tid: own.tid }).opened());
  const server = own.server().read(ask('/a'));
  const others = other.server().read(ask('/b'));
  calls[0]?.wrote(ask('/a1'));
  if (calls[0] !== undefined) calls[0].tid = takes;
  calls[0]?.read(responseText(200));
  calls[1]?.wrote(ask('/a2')).read(responseText(200));
  others.wrote(responseText(200));
  server.tid = answers;
  server.wrote(responseText(200));
  calls[1]?.wrote(ask('/late')).read(responseText(200));
  return parents(harness.finish());
}

test('a virtual thread calls for the request that it took, if it takes the response, and gives that of the request', () => {
  assert.deepEqual(virtualCalls(1, 1), ['/a1 < /a (thread)', '/a2 < /a (thread)', '/late']);
  assert.deepEqual(virtualCalls(2, 1), ['/a1', '/a2 < /a (thread)', '/late'], 'another one takes a response');
  assert.deepEqual(virtualCalls(1, 2), ['/a1', '/a2', '/late'], 'another one answers');
});

test('goroutines go on with the request of the one that started them, as it was then', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const server = routine(harness, 1).server().read(ask('/a'));
  const child = routine(harness, 2, harness.tape.thread(1).started(7));
  const grandchild = routine(harness, 3, harness.tape.thread(2).started(8));
  for (const { tid } of [child, grandchild]) {
    harness
      .client({ pid: PID, tid })
      .opened()
      .wrote(ask(`/a${tid}`))
      .read(responseText(200));
  }
  harness.tape.play(harness.pipeline);
  harness.pipeline.tick(harness.tape.nowNs);
  assert.deepEqual(harness.pipeline.flush(), [], 'nothing leaves before the request has been answered');
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a2 < /a (goroutine)', '/a3 < /a (goroutine)']);
});

test('goroutines that serve several requests are trusted no more, nor is any that was started like them', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const [first, second] = [routine(harness, 1).server(), routine(harness, 2).server()];
  first.read(ask('/a'));
  second.read(ask('/b'));
  const workers = [1, 2].map(tid => routine(harness, 2 + tid, harness.tape.thread(tid).started(7)));
  const [one, other] = workers.map(({ tid }) => harness.client({ pid: PID, tid }).opened());
  one?.wrote(ask('/b1')).read(responseText(200)); // the worker that /a started serves /b
  first.wrote(responseText(200));
  harness.tape.nowNs += 5 * MS;
  one?.wrote(ask('/b2')).read(responseText(200));
  other?.wrote(ask('/b3')).read(responseText(200));
  second.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/b1', '/b2', '/b3']);
});

/** A request that has started a goroutine, while another one is served: its call, and what is told of it. */
function afterStart(isFollowed: boolean, isAlone: boolean, ...spread: readonly number[]): string[] {
  const harness = new Harness({ hasConnectSpans: false });
  const { tape } = harness;
  const server = routine(harness, 1).server().read(ask('/a'));
  const other = routine(harness, 2).server();
  if (!isAlone) other.read(ask('/b'));
  routine(harness, 3, tape.thread(1).started(7, isFollowed));
  harness.client({ pid: PID, tid: 3 }).opened().wrote(ask('/a1')).read(responseText(200));
  for (const start of spread) tape.worked(PID, tape.thread(1), start, WORK_SPREAD);
  server.wrote(responseText(200));
  if (!isAlone) other.wrote(responseText(200));
  return parents(harness.finish());
}

test('a goroutine that was started calls for its request if it would have shown that it does something for others, or there are none', () => {
  assert.deepEqual(afterStart(true, false), ['/a1 < /a (goroutine)']);
  assert.deepEqual(afterStart(false, true), ['/a1 < /a (goroutine)']);
  assert.deepEqual(afterStart(false, false), ['/a1'], 'it may be a loader that collects what several ask for');
  assert.deepEqual(afterStart(true, false, 8), ['/a1 < /a (goroutine)'], 'another one has');
  assert.deepEqual(afterStart(true, false, 7), ['/a1']);
  assert.deepEqual(afterStart(true, true, 7), ['/a1']);
});

test('channels are followed once a goroutine that was started calls while others are served, and what came before waits for what that shows', () => {
  const asked: number[] = [];
  const harness = new Harness({ hasConnectSpans: false, onHandOver: pid => asked.push(pid) });
  const { tape } = harness;
  const others = routine(harness, 2).server().read(ask('/b'));
  const server = routine(harness, 1).server();
  const play = (path: string, isFollowed: boolean): void => {
    server.read(ask(path));
    routine(harness, 3, tape.thread(1).started(7, isFollowed));
    harness
      .client({ pid: PID, tid: 3 })
      .opened()
      .wrote(ask(`${path}1`))
      .read(responseText(200));
    server.wrote(responseText(200));
    tape.nowNs += 300 * MS;
    tape.play(harness.pipeline);
    harness.pipeline.tick(tape.nowNs);
    harness.pipeline.tick(tape.nowNs + 200 * MS);
  };
  play('/first', false);
  assert.deepEqual(asked, [PID]);
  for (let at = 0; at < 32; at++) {
    tape.nowNs -= 200 * MS;
    play(`/${at}/`, true);
  }
  others.wrote(responseText(200));
  assert.ok(parents(harness.finish()).includes('/first1 < /first (goroutine)'));
  assert.deepEqual(asked, [PID], 'once');
});

/** Three items of one request, each with a call; what is told of them, in this order. */
function afterWork(...told: readonly (readonly [item: number, outcome: number])[]): string[] {
  const harness = new Harness({ hasConnectSpans: false });
  const { tape } = harness;
  const server = routine(harness, 1).server().read(ask('/a'));
  for (const item of [1, 2, 3]) {
    routine(harness, 1 + item, tape.thread(1).gave(item));
    harness
      .client({ pid: PID, tid: 1 + item })
      .opened()
      .wrote(ask(`/a${item}`))
      .read(responseText(200));
  }
  const [before, after] = [told.slice(0, -1), told.slice(-1)];
  for (const [item, outcome] of before) tape.worked(PID, tape.thread(1), item, outcome);
  tape.play(harness.pipeline);
  harness.pipeline.tick(tape.nowNs);
  assert.deepEqual(harness.pipeline.flush(), [], 'nothing leaves before the request has been answered');
  server.wrote(responseText(200));
  for (const [item, outcome] of after) tape.worked(PID, tape.thread(1), item, outcome);
  return parents(harness.finish());
}

test('a goroutine that works on an item calls for its request once something has come back to that', () => {
  assert.deepEqual(afterWork([1, WORK_RETURNED], [3, WORK_RETURNED], [9, WORK_RETURNED]), [
    '/a1 < /a (goroutine)',
    '/a2',
    '/a3 < /a (goroutine)',
  ]);
});

test('a goroutine that gives something to another request as well has called for nobody knows which', () => {
  assert.deepEqual(afterWork([1, WORK_RETURNED], [2, WORK_RETURNED], [1, WORK_STRAYED]), [
    '/a1',
    '/a2 < /a (goroutine)',
    '/a3',
  ]);
});

test('a call that is made after something has come back is not told of by that', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const { tape } = harness;
  const server = routine(harness, 1).server().read(ask('/a'));
  routine(harness, 2, tape.thread(1).gave(5));
  const call = harness.client({ pid: PID, tid: 2 }).opened();
  call.wrote(ask('/a1')).read(responseText(200));
  tape.worked(PID, tape.thread(1), 5, WORK_RETURNED);
  call.wrote(ask('/a2')).read(responseText(200));
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (goroutine)', '/a2']);
});

test('that goroutines hand requests over shows by calls of nobody, if they are not but a few among many requests', () => {
  const busy = new ProcessWork();
  busy.serving = 1;
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => busy.orphaned()),
    [false, false, false, true, false],
    'four, and it is said once',
  );
  const idle = new ProcessWork();
  assert.deepEqual([idle.orphaned(), idle.orphaned(), idle.orphaned(), idle.orphaned()], [false, false, false, false]);
});

test('a task calls for the request that it was set to work by, if it gives the response', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const [first, second] = [1, 2].map(tid => routine(harness, tid, Thread.task(tid)));
  const calls = [1, 2].map(tid => harness.client({ pid: PID, tid }).opened());
  const servers = [first, second].map((task, index) => task?.server().read(ask(`/${'ab'[index]}`)));
  for (const [index, call] of calls.entries()) call.wrote(ask(`/${'ab'[index]}1`));
  for (const call of calls) call.read(responseText(200));
  harness.tape.play(harness.pipeline);
  harness.pipeline.tick(harness.tape.nowNs);
  assert.deepEqual(harness.pipeline.flush(), [], 'nothing leaves before the request has been answered');
  for (const server of servers) server?.wrote(responseText(200));
  calls[0]?.wrote(ask('/late')).read(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (task)', '/b1 < /b (task)', '/late']);
});

test('a task that answers another request right after has called for nobody knows which', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const [first, second] = [1, 2].map(tid => routine(harness, tid, Thread.task(tid)));
  const servers = [first, second].map((task, index) => task?.server().read(ask(`/${'ab'[index]}`)));
  harness.client({ pid: PID, tid: 1 }).opened().wrote(ask('/x')).read(responseText(200));
  servers[0]?.wrote(responseText(200));
  harness.tape.threads.set(2, Thread.task(1));
  servers[1]?.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/x']);
});

test('a worker of asyncio: another task gives the response, and nobody knows whom it called for', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const server = routine(harness, 1, Thread.task(1)).server().read(ask('/a'));
  const worker = routine(harness, 2, Thread.task(2));
  worker.harness.tape.thread(2).request = { ...harness.tape.thread(1).request };
  worker.harness.tape.thread(2).request.flags ^= 3 << 16;
  harness.client({ pid: PID, tid: 2 }).opened().wrote(ask('/x')).read(responseText(200));
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/x']);
});

for (const isStray of [false, true]) {
  test(`tasks that were started for a request count ${isStray ? 'not' : ''} while the others sleep until they end`, () => {
    const harness = new Harness({ hasConnectSpans: false });
    const server = routine(harness, 1, Thread.task(1)).server().read(ask('/a'));
    const own = harness.client({ pid: PID, tid: 1 }).opened();
    own.wrote(ask('/a1')).read(responseText(200));
    routine(harness, 2, harness.tape.thread(1).startedTask());
    harness.client({ pid: PID, tid: 2 }).opened().wrote(ask('/a2')).read(responseText(200));
    if (isStray) harness.tape.thread(1).strayed();
    server.wrote(responseText(200));
    assert.deepEqual(parents(harness.finish()), ['/a1 < /a (task)', isStray ? '/a2' : '/a2 < /a (task)']);
  });
}

test('a task that was started gives the response: what the one that started it called is not certain', () => {
  const harness = new Harness({ hasConnectSpans: false });
  const server = routine(harness, 1, Thread.task(1)).server().read(ask('/a'));
  harness.client({ pid: PID, tid: 1 }).opened().wrote(ask('/x')).read(responseText(200));
  const child = harness.tape.thread(1).startedTask();
  routine(harness, 2, child);
  harness.client({ pid: PID, tid: 2 }).opened().wrote(ask('/a1')).read(responseText(200));
  harness.tape.threads.set(1, child);
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (task)', '/x']);
});

test('pipelined requests are several candidates', () => {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  const call = harness.client({ pid: PID, tid: PID }).opened();
  server.read(ask('/a') + ask('/b'));
  call.wrote(ask('/x')).read(responseText(200));
  server.wrote(responseText(200) + responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/x']);
});

/** A thread serves a request, which comes with `incoming`, and calls with this header in a trace of its own. */
function callWithHeader(incoming: readonly string[]): readonly DecodedSpan[] {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  const call = harness.client({ pid: PID, tid: PID }).opened();
  server.read(requestText('GET /a', ['Host: a', ...incoming]));
  call.wrote(requestText('GET /a1', ['Host: a', `traceparent: ${OWN_HEADER}`])).read(responseText(200));
  server.wrote(responseText(200));
  const spans = harness.finish();
  return [2, 3].map(kind => spans.find(span => span.kind === kind) as DecodedSpan);
}

test('a header that begins a trace: it is that of the request, which is the parent as nobody tells the span of the header', () => {
  const [served, asked] = callWithHeader([]);
  assert.deepEqual([served?.traceId, asked?.traceId], [OWN_TRACE, OWN_TRACE]);
  assert.equal(asked?.parentSpanId, served?.spanId);
});

test('a header of another trace than the request came in outweighs what the thread did', () => {
  const [served, asked] = callWithHeader([`traceparent: 00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`]);
  assert.deepEqual([served?.traceId, asked?.traceId], ['1'.repeat(32), OWN_TRACE]);
  assert.equal(asked?.parentSpanId, 'b7ad6b7169203331');
});

test('a request that lasts for ever has no endless trace', () => {
  const process = threads();
  const { harness } = process;
  const server = process.server();
  const call = harness.client({ pid: PID, tid: PID }).opened();
  server.read(ask('/a'));
  for (let turn = 0; turn < 300; turn++) call.wrote(ask(`/${turn}`)).read(responseText(200));
  server.wrote(responseText(200));
  const found = parents(harness.finish()).filter(line => line.includes('<'));
  assert.equal(found.length, 256);
});

test('a cycle of services has no endless trace: what goes on beyond the limit begins another, with a link', () => {
  const harness = new Harness({ hasConnectSpans: false, traceLimits: { maxRequests: 5, maxAgeNs: 1e18 } });
  const hops = 20;
  const stories = Array.from({ length: hops }, (_, hop) => {
    const [tid, seq] = [1000 + hop, 1000 * (hop + 1)];
    const server = harness.server({ pid: PID, tid, slot: 2 * hop, ingressSeq: seq, egressSeq: 7 * seq }).opened();
    const options = { pid: PID, tid, slot: 2 * hop + 1, egressSeq: seq + 1000, ingressSeq: 7 * (seq + 1000) };
    return { server, call: harness.client(options).opened() };
  });
  for (const { server, call } of stories) {
    server.read(ask('/again'));
    call.wrote(ask('/again'));
  }
  for (const { server, call } of stories.reverse()) {
    call.read(responseText(200));
    server.wrote(responseText(200));
  }
  const spans = harness.finish();
  const sizes = new Map<string, number>();
  for (const { traceId } of spans) sizes.set(traceId, (sizes.get(traceId) ?? 0) + 1);
  assert.equal(spans.length, 2 * hops);
  assert.ok(Math.max(...sizes.values()) <= 2 * 5 + 2, `traces of ${[...sizes.values()].join(', ')} spans`);
  const parted = spans.filter(span => span.kind === 3 && span.parentSpanId === '');
  assert.ok(parted.length > 0 && parted.length < hops);
  for (const { links } of parted) assert.ok(links.some(({ spanId }) => spans.some(span => span.spanId === spanId)));
});

test('a program that says which request it is at: its calls are for that, however many it has read since', () => {
  const process = loop();
  const { harness } = process;
  const thread = harness.tape.thread(PID);
  const [first, second] = [process.server(), process.server()];
  const pooled = process.pooled();
  const pooledToo = process.pooled();
  process.wait();
  first.read(ask('/a'));
  const a = thread.request;
  second.read(ask('/b'));
  const b = thread.request;
  thread.told(a);
  pooled.wrote(ask('/a1'));
  thread.told(b);
  pooledToo.wrote(ask('/b1'));
  process.wait();
  pooledToo.read(responseText(200));
  pooled.read(responseText(200));
  thread.told(b);
  second.wrote(responseText(200));
  thread.told(a);
  pooled.wrote(ask('/a2')).read(responseText(200));
  first.wrote(responseText(200));
  thread.told(a);
  pooled.wrote(ask('/late')).read(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (task)', '/a2 < /a (task)', '/b1 < /b (task)', '/late']);
});

test('a program that says which request it is at, and now says nothing, calls for none: a health check', () => {
  const process = loop();
  const { harness } = process;
  const thread = harness.tape.thread(PID);
  const server = process.server();
  const pooled = process.pooled();
  thread.toldOfOne();
  server.read(ask('/a'));
  thread.told(null);
  pooled.wrote(ask('/check')).read(responseText(200));
  const opened = harness.client({ pid: PID, tid: PID }).opened({ connectNs: harness.tape.nowNs });
  opened.wrote(ask('/check2')).read(responseText(200));
  server.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/check', '/check2']);
});

test('a connection that was opened for a request carries its call, although the program says nothing when it sends it', () => {
  const process = loop();
  const { harness } = process;
  const thread = harness.tape.thread(PID);
  const [first, second] = [process.server(), process.server()];
  process.wait();
  first.read(ask('/a'));
  const a = thread.request;
  second.read(ask('/b'));
  thread.told(a);
  const opened = harness.client({ pid: PID, tid: PID }).opened({ connectNs: harness.tape.nowNs });
  process.wait();
  thread.told(null);
  opened.wrote(ask('/a1')).read(responseText(200));
  opened.wrote(ask('/x')).read(responseText(200));
  first.wrote(responseText(200));
  second.wrote(responseText(200));
  assert.deepEqual(parents(harness.finish()), ['/a1 < /a (task)', '/x']);
});
