// Conversations of which every message is known beforehand (test/fuzz/http1-conversation.ts), cut into chunks of any size,
// with and without bytes that were not captured.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Conversation, requests, responses } from '../../fuzz/http1-conversation.js';
import { readAll } from '../../fuzz/http1-reference.js';
import { checkResync, checkSound, type Piece, replay } from '../../fuzz/http1-replay.js';

const RUNS = 400;

/** Where to cut, as parts of 1000. */
const cuts = fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 12 });

function split(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const points = places.map(place => Math.floor((place * bytes.length) / 1000)).sort((a, b) => a - b);
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const to of [...points, bytes.length]) {
    pieces.push(bytes.subarray(from, to));
    from = to;
  }
  return pieces;
}

function checkConversation(conversation: Conversation, places: readonly number[]): void {
  const run = replay(split(conversation.bytes, places), conversation);
  assert.deepEqual(run.lines, conversation.lines);
  assert.equal(run.state, 'idle');
}

/** With some of the pieces missing: nothing is said that is not so, and after a resync all is well. */
function checkLoss(conversation: Conversation, places: readonly number[], missing: readonly boolean[]): void {
  const pieces = split(conversation.bytes, places);
  const isMissing = (index: number): boolean => missing[index % missing.length] === true;
  const lossy = pieces.map<Piece>((piece, index) => (isMissing(index) ? piece.length : piece));
  const gaps: number[] = [];
  let at = 0;
  for (const [index, piece] of pieces.entries()) {
    if (isMissing(index) && piece.length > 0) gaps.push(at);
    at += piece.length;
  }
  const run = replay(lossy, { ...conversation, isFinished: true });
  checkSound(run.log, replay([conversation.bytes], conversation).log, gaps);
  checkResync(run, conversation.isRequest);
}

for (const [name, conversations] of [
  ['requests', requests],
  ['responses', responses],
] as const) {
  test(`generated ${name} are read as they were made, however they are cut`, () => {
    fc.assert(fc.property(conversations, cuts, checkConversation), { numRuns: RUNS });
  });

  test(`generated ${name}: the reference agrees`, () => {
    const check = (conversation: Conversation): void => {
      const { lines, state } = readAll(conversation.bytes, conversation);
      assert.deepEqual(lines, conversation.lines);
      assert.equal(state, 'idle');
    };
    fc.assert(fc.property(conversations, check), { numRuns: RUNS });
  });

  test(`generated ${name} with missing pieces: nothing is invented`, () => {
    const flags = fc.array(fc.boolean(), { minLength: 1, maxLength: 8 });
    fc.assert(fc.property(conversations, cuts, flags, checkLoss), { numRuns: RUNS });
  });
}
