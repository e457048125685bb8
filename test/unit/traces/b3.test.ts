// B3 as openzipkin/b3-propagation defines it: one header or several, and that all else is ignored.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { TraceHeaders } from '../../../src/protocols/protocol.js';
import { parseB3, parseB3Multi } from '../../../src/traces/b3.js';
import { line, SPAN, TRACE } from './headers.js';

const SHORT = TRACE.slice(16);
const PADDED = '0'.repeat(16) + SHORT;
const NO_IDS = `${'0'.repeat(32)} ${'0'.repeat(16)}`;

test('one header: ids, state, and the state alone', () => {
  for (const [value, wanted] of [
    [`${TRACE}-${SPAN}-1`, `${TRACE} ${SPAN} 1`],
    [`${TRACE}-${SPAN}-0-05e3ac9a4f6e3b90`, `${TRACE} ${SPAN} 0`],
    [`${TRACE}-${SPAN}-d`, `${TRACE} ${SPAN} 1`],
    [`${TRACE}-${SPAN}`, `${TRACE} ${SPAN} 1?`],
    [` ${SHORT}-${SPAN}-1\t`, `${PADDED} ${SPAN} 1`],
    [`${TRACE.toUpperCase()}-${SPAN.toUpperCase()}-1`, `${TRACE} ${SPAN} 1`],
    ['0', `${NO_IDS} 0`],
    ['1', `${NO_IDS} 1`],
    ['d', `${NO_IDS} 1`],
  ] as const) {
    assert.equal(line(parseB3(value)), wanted, value);
  }
});

test('one header: what is ignored', () => {
  for (const value of [
    ...['', '-', '--', '--1', '--0', '2', 'x', TRACE, `${TRACE}-`, `-${SPAN}-1`, `${TRACE}--1`],
    ...[`${TRACE}-${SPAN}-`, `${TRACE}-${SPAN}-2`, `${TRACE}-${SPAN}-1-`, `${TRACE}-${SPAN}-1-x`],
    ...[`${TRACE}-${SPAN}-1-${SPAN}-more`, `${TRACE}0-${SPAN}-1`, `${TRACE.slice(1)}-${SPAN}-1`, `${TRACE}-${SPAN}0-1`],
    ...[`${'0'.repeat(32)}-${SPAN}-1`, `${TRACE}-${'0'.repeat(16)}-1`, `${TRACE}-${SPAN}-1,${TRACE}-${SPAN}-1`],
  ]) {
    assert.equal(parseB3(value), null, value);
  }
});

function multi(fields: Partial<TraceHeaders>): string {
  return line(parseB3Multi(Object.assign(new TraceHeaders(), fields)));
}

test('several headers', () => {
  const ids = { b3TraceId: TRACE, b3SpanId: SPAN };
  assert.equal(multi(ids), `${TRACE} ${SPAN} 1?`);
  assert.equal(multi({ ...ids, b3TraceId: SHORT, b3Sampled: '1' }), `${PADDED} ${SPAN} 1`);
  assert.equal(multi({ ...ids, b3Sampled: '0' }), `${TRACE} ${SPAN} 0`);
  assert.equal(multi({ ...ids, b3Sampled: 'false' }), `${TRACE} ${SPAN} 0`);
  assert.equal(multi({ ...ids, b3Sampled: 'true' }), `${TRACE} ${SPAN} 1`);
  assert.equal(multi({ ...ids, b3Sampled: '0', b3Flags: '1' }), `${TRACE} ${SPAN} 1`);
  assert.equal(multi({ b3Sampled: '0' }), `${NO_IDS} 0`);
  assert.equal(multi({}), 'null');
  assert.equal(multi({ b3TraceId: TRACE, b3Sampled: '1' }), 'null');
  assert.equal(multi({ b3SpanId: SPAN, b3Sampled: '1' }), 'null');
  assert.equal(multi({ ...ids, b3Sampled: '2' }), 'null');
  assert.equal(multi({ ...ids, b3TraceId: `${TRACE},${TRACE}` }), 'null');
});

test('any text is one context or ignored, and never throws', () => {
  const piece = fc.constantFrom('-', TRACE, SHORT, SPAN, '1', '0', 'd', ' ', '\0', 'é', ',');
  const text = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 9 }).map(parts => parts.join('')),
  );
  for (const value of ['--0', '--', '-', 'true', `${TRACE}-${SPAN}-true`]) assert.equal(parseB3(value), null, value);
  const ids = /^([0-9a-f]{32}|[0-9a-f]{16})-[0-9a-f]{16}(-[01d](-[0-9a-f]{16})?)?$/i;
  fc.assert(
    fc.property(text, value => {
      const isValid = ids.test(value.trim()) || /^[01d]$/.test(value.trim());
      assert.equal(parseB3(value) !== null, isValid && !/(^|-)(0{16}|0{32})(-|$)/.test(value.trim()));
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(text, text, text, text, (b3TraceId, b3SpanId, b3Sampled, b3Flags) => {
      parseB3Multi(Object.assign(new TraceHeaders(), { b3TraceId, b3SpanId, b3Sampled, b3Flags }));
    }),
  );
});
