// `X-Amzn-Trace-Id` as the X-Ray developer guide describes it.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseXray } from '../../../src/traces/xray.js';
import { line } from './headers.js';

const ROOT = 'Root=1-5759e988-bd862e3fe1be46a994272793';
const TRACE = '5759e988bd862e3fe1be46a994272793';
const PARENT = 'Parent=53995c3f42cd8ad8';
const SPAN = '53995c3f42cd8ad8';

test('fields in any order; who did not decide leaves it to us', () => {
  for (const [value, wanted] of [
    [`${ROOT};${PARENT};Sampled=1`, `${TRACE} ${SPAN} 1`],
    [`Sampled=0; ${PARENT} ;${ROOT}`, `${TRACE} ${SPAN} 0`],
    [`${ROOT};${PARENT}`, `${TRACE} ${SPAN} 1?`],
    [`Self=1-67891234-12456789abcdef012345678;${ROOT};${PARENT};Sampled=?;Lineage=a:1`, `${TRACE} ${SPAN} 1?`],
  ] as const) {
    assert.equal(line(parseXray(value)), wanted, value);
  }
});

test('without a parent there is none; any other text is ignored', () => {
  for (const value of [
    ...['', ';', '=', ROOT, `${ROOT};Sampled=1`, PARENT, `${ROOT};${PARENT};Sampled=2`, `${ROOT}0;${PARENT}`],
    ...[`root=${ROOT.slice(5)};${PARENT}`, `${ROOT};Parent=${'0'.repeat(16)}`, `${ROOT.replace('1-', '2-')};${PARENT}`],
    `Root=1-${'0'.repeat(8)}-${'0'.repeat(24)};${PARENT}`,
    `${';'.repeat(20)}${ROOT};${PARENT}`,
  ]) {
    assert.equal(parseXray(value), null, value);
  }
  fc.assert(fc.property(fc.string({ maxLength: 512 }), value => parseXray(value) === null));
});
