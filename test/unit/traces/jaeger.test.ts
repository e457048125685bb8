// `uber-trace-id` as Jaeger's clients write it.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseJaeger } from '../../../src/traces/jaeger.js';
import { line, SPAN, TRACE } from './headers.js';

test('valid values, with and without leading zeros, also percent-encoded', () => {
  for (const [value, wanted] of [
    [`${TRACE}:${SPAN}:0:1`, `${TRACE} ${SPAN} 1`],
    [`${TRACE}:${SPAN.replace(/^0+/, '')}:0:0`, `${TRACE} ${SPAN} 0`],
    [`1:2:3:3`, `${'1'.padStart(32, '0')} ${'2'.padStart(16, '0')} 1`],
    [`abcdef0123:2::2`, `${'abcdef0123'.padStart(32, '0')} ${'2'.padStart(16, '0')} 1`],
    [` ${TRACE.toUpperCase()}%3A${SPAN}%3a0%3A01`, `${TRACE} ${SPAN} 1`],
    [`${TRACE}:${SPAN}:0:8`, `${TRACE} ${SPAN} 0`],
  ] as const) {
    assert.equal(line(parseJaeger(value)), wanted, value);
  }
});

test('any other text is ignored', () => {
  for (const value of [
    ...['', ':::', `${TRACE}:${SPAN}:0`, `${TRACE}:${SPAN}:0:`, `${TRACE}:${SPAN}:0:1:`, `0:${SPAN}:0:1`],
    ...[
      `${TRACE}:0:0:1`,
      `${TRACE}0:${SPAN}:0:1`,
      `${TRACE}:${SPAN}0:0:1`,
      `${TRACE}:${SPAN}:x:1`,
      `${TRACE}:${SPAN}:0:x`,
    ],
    `${TRACE}:${SPAN}:0:1,${TRACE}:${SPAN}:0:1`,
  ]) {
    assert.equal(parseJaeger(value), null, value);
  }
  fc.assert(fc.property(fc.string({ maxLength: 128 }), value => parseJaeger(value) === null || value.includes(':')));
});
