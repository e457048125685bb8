import assert from 'node:assert/strict';
import test from 'node:test';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base';
import fc from 'fast-check';
import { TraceContext, wordToHex } from '../../../src/traces/context.js';
import { Sampler, type SamplerKind } from '../../../src/traces/sampler.js';

function trace(words: readonly number[], flags = 1, isRemote = false): TraceContext {
  const context = new TraceContext();
  [context.id0, context.id1, context.id2, context.id3] = words as [number, number, number, number];
  context.flags = flags;
  context.isRemote = isRemote;
  return context;
}

function decideAsSdk(ratio: number, words: readonly number[]): boolean {
  const sampler = new TraceIdRatioBasedSampler(ratio);
  const id = words.map(wordToHex).join('');
  return sampler.shouldSample(ROOT_CONTEXT, id).decision === SamplingDecision.RECORD_AND_SAMPLED;
}

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const ids = fc.tuple(word, word, word, word).filter(words => words.some(part => part !== 0));

test('the ratio sampler decides as the SDK does, on every id and ratio', () => {
  fc.assert(
    fc.property(ids, fc.double({ min: -1, max: 2, noNaN: false }), (words, ratio) => {
      assert.equal(new Sampler('traceidratio', ratio).isSampled(trace(words)), decideAsSdk(ratio, words));
    }),
    { numRuns: 3000 },
  );
  for (const ratio of [0, 1e-9, 0.1, 0.5, 0.999999999, 1]) {
    for (const words of [
      [0xffff_ffff, 0, 0, 0],
      [0, 0, 0, 1],
      [1, 1, 0, 0],
      [0x8000_0000, 0, 0, 0],
      [0x7fff_ffff, 0, 0, 0],
    ]) {
      assert.equal(
        new Sampler('traceidratio', ratio).isSampled(trace(words)),
        decideAsSdk(ratio, words),
        `${words} ${ratio}`,
      );
    }
  }
});

test('samplers with a parent follow it if it came in a header, and only then', () => {
  const words = [0xffff_ffff, 0, 0, 0];
  const table: readonly (readonly [SamplerKind, root: boolean, asked: boolean, askedNot: boolean])[] = [
    ['always_on', true, true, true],
    ['always_off', false, false, false],
    ['traceidratio', false, false, false],
    ['parentbased_always_on', true, true, false],
    ['parentbased_always_off', false, true, false],
    ['parentbased_traceidratio', false, true, false],
  ];
  for (const [kind, root, asked, askedNot] of table) {
    const sampler = new Sampler(kind, 0.5);
    const decisions = [trace(words), trace(words, 1, true), trace(words, 0, true)].map(one => sampler.isSampled(one));
    assert.deepEqual(decisions, [root, asked, askedNot], kind);
  }
});
