// One direction by sequence number: positions, gaps and overlaps, also where the numbers wrap around.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Stream } from '../../../src/connections/stream.js';
import { LOST, type MessageParser, OK } from '../../../src/protocols/protocol.js';

class NotingParser implements MessageParser {
  readonly calls: string[] = [];
  skipResult: typeof OK | typeof LOST = OK;
  readonly isIdle = false;
  readonly isOpenEnded = false;
  readonly isEndHidden = false;
  readonly heldBytes = 0;
  readonly expectedEnd = -1;
  feed(_bytes: Uint8Array, from: number, to: number, position: number): typeof OK {
    this.calls.push(`feed ${to - from} at ${position}`);
    return OK;
  }
  skip(count: number, position: number): typeof OK | typeof LOST {
    this.calls.push(`skip ${count} at ${position}`);
    return this.skipResult;
  }
  hidden(count: number): number {
    return count;
  }
  finish(position: number): void {
    this.calls.push(`finish at ${position}`);
  }
  giveUpHead(): typeof LOST {
    return LOST;
  }
  beginUnread(): void {}
  resync(): void {
    this.calls.push('resync');
  }
}

function stream(seq: number): { stream: Stream; parser: NotingParser } {
  const made = new Stream();
  const parser = new NotingParser();
  made.parser = parser;
  made.restart(seq);
  parser.calls.length = 0;
  return { stream: made, parser };
}

const BYTES = new Uint8Array(100);

test('bytes in order, gaps named, across the wrap', () => {
  const { stream: one, parser } = stream(0xffff_fffa);
  assert.equal(one.feed(BYTES, 10, 20), OK);
  assert.equal(one.nextSeq, 4);
  assert.equal(one.advance(4), OK);
  assert.equal(one.advance(10), OK);
  assert.equal(one.feed(BYTES, 0, 3), OK);
  assert.deepEqual(parser.calls, ['feed 10 at 0', 'skip 6 at 10', 'feed 3 at 16']);
  assert.deepEqual([one.position, one.nextSeq], [19, 13]);
});

test('a sequence number that goes backwards is LOST, also around the wrap', () => {
  const { stream: one, parser } = stream(5);
  assert.equal(one.advance(4), LOST);
  assert.equal(one.advance(0xffff_fff0), LOST);
  assert.deepEqual(parser.calls, []);
  assert.deepEqual([one.position, one.nextSeq], [0, 5]);
});

test('what the parser says of a gap is what advance says', () => {
  const { stream: one, parser } = stream(5);
  parser.skipResult = LOST;
  assert.equal(one.advance(6), LOST);
});

test('without a parser positions go on, and the first number seen is the beginning', () => {
  const one = new Stream();
  assert.equal(one.advance(1000), OK);
  assert.deepEqual([one.position, one.nextSeq], [0, 1000]);
  assert.equal(one.advance(1010), OK);
  assert.equal(one.feed(BYTES, 0, 5), OK);
  assert.deepEqual([one.position, one.nextSeq], [15, 1015]);
});

test('a restart goes on behind what was missed, and the parser begins anew', () => {
  const { stream: one, parser } = stream(0xffff_fff0);
  one.feed(BYTES, 0, 10);
  one.restart(4);
  assert.deepEqual([one.position, one.nextSeq], [20, 4]);
  assert.deepEqual(parser.calls, ['feed 10 at 0', 'resync']);
});

test('calls are counted over runs', () => {
  const one = new Stream();
  one.beginRun(1);
  one.runCalls = 3;
  one.runCaptured = 4096;
  assert.equal(one.calls, 3);
  one.beginRun(9);
  assert.deepEqual([one.calls, one.runCalls, one.runCaptured, one.runFirstNs], [3, 0, 0, 9]);
  one.runCalls = 2;
  assert.equal(one.calls, 5);
});

test('the last eight captured bytes are kept in their order, over pieces of any size', () => {
  const text = Buffer.from('abcdefgh\r\n0\r\n\r\n');
  for (const size of [1, 2, 3, 5, 8, 20]) {
    const one = new Stream();
    for (let from = 0; from < text.length; from += size) {
      const to = Math.min(text.length, from + size);
      one.keepTail(text, from, to, to - 3);
    }
    const tail = Buffer.alloc(8);
    tail.writeUInt32LE(one.tailLow, 0);
    tail.writeUInt32LE(one.tailHigh, 4);
    assert.equal(tail.toString(), text.subarray(-8).toString(), `pieces of ${size}`);
  }
});

test('bytes that do not follow those kept before begin a new tail', () => {
  const one = new Stream();
  const text = Buffer.from('abcdefgh');
  one.keepTail(text, 0, 8, 8);
  one.keepTail(text, 0, 4, 13);
  assert.deepEqual([one.tailLow, one.tailHigh, one.tailSeq], [0, 0x64636261, 13]);
});
