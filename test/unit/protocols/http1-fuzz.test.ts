// A short run of test/fuzz/http1-fuzz.ts: the corpus, then some thousand mutations of it, the same ones every time.
import assert from 'node:assert/strict';
import test from 'node:test';
import { fuzz, readCorpus } from '../../fuzz/http1-fuzz.js';

const INPUTS = 3000;

test('the corpus is there', () => {
  assert.ok(readCorpus().length > 80);
});

test(`${INPUTS} mutated inputs are read alike, whole, split and by the reference`, () => {
  assert.equal(
    fuzz(20_251_123, inputs => inputs === INPUTS),
    INPUTS,
  );
});
