// What a watched loop goes on with: after a response, and after work that it had given to threads of its own. A queue in the
// program (a pool, a limit on jobs) may make that somebody else's, which is what counts against it.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { DecodedSpan } from '../../../src/otlp/decode.js';
import { requestText, responseText, type Story, type Thread } from '../../support/record-builder.js';
import { attribute, Harness } from './harness.js';

const PID = 100;
const ask = (path: string): string => requestText(`GET ${path}`);
const ANSWER = responseText(200);

class Loop {
  readonly harness = new Harness({ hasConnectSpans: false });
  readonly thread: Thread = this.harness.tape.thread(PID);

  constructor() {
    this.thread.turned();
  }

  server(): Story {
    return this.harness.server({ pid: PID, tid: PID }).opened();
  }

  /** A connection of a pool: nobody in particular opened it. */
  pooled(): Story {
    this.thread.waited();
    return this.harness.client({ pid: PID, tid: PID, local: { address: '10.0.0.1', port: 50000 } }).opened();
  }

  /** A request comes. */
  serve(path: string): Story {
    this.thread.waited();
    return this.server().read(ask(path));
  }

  /** The response to a call comes; `isDirect`: and nothing else has, since it was sent. */
  answered(call: Story, isDirect = false): void {
    this.thread.waited();
    call.read(ANSWER);
    if (isDirect) this.thread.direct();
  }

  /** A timer of the program sends a call. */
  tick(call: Story): void {
    this.thread.waited();
    this.thread.woken();
    call.wrote(ask('/tick'));
  }

  parents(): string[] {
    const spans: DecodedSpan[] = this.harness.finish();
    const paths = new Map(spans.map(span => [span.spanId, String(attribute(span, 'url.path'))]));
    return spans
      .filter(({ kind }) => kind === 3)
      .map(span => `${attribute(span, 'url.path')} < ${paths.get(span.parentSpanId) ?? ''}`)
      .sort();
  }
}

test('where the program also calls for itself, a pool may have put such a call off until a response came', () => {
  const loop = new Loop();
  const call = loop.pooled();
  loop.tick(call);
  loop.answered(call);
  const server = loop.serve('/a');
  call.wrote(ask('/a1'));
  // The timer rings, and its call has to wait for the one connection.
  loop.answered(call);
  call.wrote(ask('/tick'));
  loop.answered(call);
  server.wrote(ANSWER);
  assert.deepEqual(loop.parents(), ['/a1 < /a', '/tick < ', '/tick < ']);
});

test('but none can have been put off while the loop was at nothing else', () => {
  const loop = new Loop();
  const call = loop.pooled();
  loop.tick(call);
  loop.answered(call);
  const server = loop.serve('/a');
  call.wrote(ask('/a1'));
  loop.answered(call, true);
  call.wrote(ask('/a2'));
  loop.answered(call, true);
  call.wrote(ask('/a3'));
  loop.answered(call);
  server.wrote(ANSWER);
  assert.deepEqual(loop.parents(), ['/a1 < /a', '/a2 < /a', '/a3 < /a', '/tick < ']);
});

test('what follows from a call whose cause was not certain is not either, however directly', () => {
  const loop = new Loop();
  const [x, y] = [loop.pooled(), loop.pooled()];
  const first = loop.serve('/a');
  x.wrote(ask('/a1'));
  const second = loop.serve('/b');
  loop.answered(x);
  x.wrote(ask('/of-a-or-b'));
  loop.answered(x, true);
  y.wrote(ask('/of-whom'));
  loop.answered(y);
  first.wrote(ANSWER);
  second.wrote(ANSWER);
  assert.deepEqual(loop.parents(), ['/a1 < /a', '/of-a-or-b < ', '/of-whom < ']);
});

test('that fewer calls are under way than before says nothing where jobs are limited that also sleep', () => {
  const loop = new Loop();
  const calls = [loop.pooled(), loop.pooled(), loop.pooled()] as const;
  const [first, second] = calls.slice(0, 2).map((call, index) => {
    const server = loop.serve(`/${'ab'[index]}`);
    call.wrote(ask(`/${'ab'[index]}1`));
    return server;
  }) as [Story, Story];
  const third = loop.serve('/c'); // its job waits until one of the two has ended
  loop.answered(calls[1]); // the second one's job sleeps
  loop.answered(calls[0]); // the first one's ends
  calls[0].wrote(ask('/c1'));
  loop.answered(calls[0]);
  for (const server of [first, second, third]) server.wrote(ANSWER);
  assert.deepEqual(loop.parents(), ['/a1 < /a', '/b1 < /b', '/c1 < ']);
});

test('work that was given away when a request came goes on for that request', () => {
  const loop = new Loop();
  const call = loop.pooled();
  const first = loop.serve('/a');
  const given = { ...loop.thread.cause };
  loop.thread.waited();
  loop.thread.woken();
  loop.thread.resumed(given, true);
  call.wrote(ask('/a1'));
  loop.answered(call);
  // Something has come between, but nobody else is there.
  loop.thread.waited();
  loop.thread.resumed(given, false);
  call.wrote(ask('/a2'));
  loop.answered(call);
  const second = loop.serve('/b');
  loop.thread.waited();
  loop.thread.resumed(given, false);
  call.wrote(ask('/of-a-or-b')); // of /a, or of a job of /b that had to wait for the work's end
  loop.answered(call);
  first.wrote(ANSWER);
  second.wrote(ANSWER);
  assert.deepEqual(loop.parents(), ['/a1 < /a', '/a2 < /a', '/of-a-or-b < ']);
});

test('work that was given away when a response came goes on, although its connection has ended', () => {
  const loop = new Loop();
  const call = loop.pooled();
  const other = loop.pooled();
  const server = loop.serve('/a');
  call.wrote(ask('/a1'));
  loop.answered(call, true);
  const given = { ...loop.thread.cause };
  loop.thread.waited();
  call.closed();
  loop.thread.resumed(given, true);
  other.wrote(ask('/a2'));
  loop.answered(other);
  server.wrote(ANSWER);
  assert.deepEqual(loop.parents(), ['/a1 < /a', '/a2 < /a']);
});
