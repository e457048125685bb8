// `traceparent` as Trace Context level 2 (section 3.2) defines it: what is valid, and that all else is ignored as a whole.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { wordToHex } from '../../../src/traces/context.js';
import { parseTraceparent } from '../../../src/traces/traceparent.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

test('valid values', () => {
  for (const [value, flags] of [
    [`00-${TRACE}-${SPAN}-01`, 1],
    [`00-${TRACE}-${SPAN}-00`, 0],
    [`00-${TRACE}-${SPAN}-ff`, 255],
    [`  00-${TRACE}-${SPAN}-01\t`, 1],
    [`01-${TRACE}-${SPAN}-03`, 3],
    [`cc-${TRACE}-${SPAN}-01-what-the-future-brings`, 1],
  ] as const) {
    const parsed = parseTraceparent(value);
    assert.ok(parsed !== null, value);
    assert.equal([parsed.id0, parsed.id1, parsed.id2, parsed.id3].map(wordToHex).join(''), TRACE);
    assert.equal([parsed.span0, parsed.span1].map(wordToHex).join(''), SPAN);
    assert.equal(parsed.flags, flags);
  }
});

test('values to be ignored', () => {
  for (const value of [
    '',
    'x',
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01-`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE}-${SPAN}`,
    `cc-${TRACE}-${SPAN}-01.more`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE}-${SPAN.toUpperCase()}-01`,
    `0G-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-0G`,
    `00_${TRACE}_${SPAN}_01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.slice(1)}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
    `00-${TRACE.slice(0, 31)} -${SPAN}-01`,
  ]) {
    assert.equal(parseTraceparent(value), null, value);
  }
});

test('any text is either exactly one traceparent or ignored', () => {
  const piece = fc.constantFrom('00', 'ff', '-', TRACE, SPAN, '01', '0', 'g', ' ', '\0', 'é', '-01');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 9 }).map(parts => parts.join('')),
      ),
      text => {
        const isValid =
          /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(text.trim()) ||
          /^(?!00|ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/s.test(text.trim());
        assert.equal(parseTraceparent(text) !== null, isValid);
      },
    ),
    { numRuns: 2000 },
  );
});
