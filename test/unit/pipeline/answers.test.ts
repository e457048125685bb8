// Calls of an event loop of which the answer tells whose they were.
import assert from 'node:assert/strict';
import test from 'node:test';
import { requestText, responseText, type Story } from '../../support/record-builder.js';
import { attribute, Harness } from './harness.js';

const PID = 100;
const ask = (path: string): string => requestText(`GET ${path}`);

/** A loop that serves two requests at a time: one calls twice, the other waits for something that is not seen. */
class Loop {
  readonly harness = new Harness({ hasConnectSpans: false });
  readonly calling: Story;
  readonly waiting: Story;
  readonly call: Story;

  constructor() {
    this.harness.tape.thread(PID).turned();
    this.calling = this.harness.server({ pid: PID, tid: PID }).opened();
    this.waiting = this.harness.server({ pid: PID, tid: PID }).opened();
    this.wait();
    this.call = this.harness.client({ pid: PID, tid: PID, local: { address: '10.0.0.1', port: 50000 } }).opened();
  }

  wait(): void {
    this.harness.tape.thread(PID).waited();
  }

  /** `isStray`: the one that waits is answered because of the other one's call. */
  serve(index: number, isStray = false): void {
    this.calling.read(ask(`/${index}`));
    this.call.wrote(ask(`/${index}/first`));
    this.wait();
    this.waiting.read(ask('/other'));
    this.wait();
    this.call.read(responseText(200)).wrote(ask(`/${index}/second`));
    this.wait();
    this.call.read(responseText(200));
    if (isStray) this.waiting.wrote(responseText(200));
    this.calling.wrote(responseText(200));
    this.wait();
    if (!isStray) this.waiting.wrote(responseText(200));
  }

  /** Second calls by whether they have the parent that they should have, and how that is known. */
  seconds(): string[] {
    this.harness.finish();
    const { spans } = this.harness;
    return spans
      .filter(span => span.kind === 3 && String(attribute(span, 'url.path')).endsWith('/second'))
      .map(span => {
        if (span.parentSpanId === '') return 'none';
        const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
        const isRight = `${attribute(parent as typeof span, 'url.path')}/second` === attribute(span, 'url.path');
        return `${isRight ? 'right' : 'wrong'} (${attribute(span, 'underspan.parent.evidence')})`;
      });
  }
}

test('a call that may have been put off is the request’s whose answer follows, once that has held for long enough', () => {
  for (const [rounds, expected] of [
    [31, 'none'],
    [32, 'right (slice)'],
  ] as const) {
    const loop = new Loop();
    for (let index = 0; index < rounds; index++) loop.serve(index);
    assert.deepEqual(loop.seconds(), Array(rounds).fill(expected), `${rounds} requests`);
  }
});

test('where another request is answered instead, nobody knows whose such calls are', () => {
  const loop = new Loop();
  for (let index = 0; index < 40; index++) loop.serve(index, index === 39);
  assert.deepEqual(loop.seconds(), Array(40).fill('none'));
});
