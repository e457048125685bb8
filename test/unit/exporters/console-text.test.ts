import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  formatBytes,
  formatCount,
  formatDuration,
  toPrintable,
  truncateEnd,
  truncateMiddle,
  widthOf,
} from '../../../src/exporters/console-text.js';

/** What a terminal obeys, or what changes the order or place of other characters. */
const OBEYED = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

test('nothing that a terminal obeys survives, whatever the text is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.boolean(), (text, isUnicode) => {
      const printable = toPrintable(text, isUnicode);
      assert.doesNotMatch(printable, OBEYED);
      if (!isUnicode) assert.match(printable, /^[\x20-\x7e]*$/);
    }),
    { numRuns: 2000 },
  );
});

test('known attacks come out as text', () => {
  assert.equal(toPrintable('\x1b]0;owned\x07', true), '\\x1b]0;owned\\x07');
  assert.equal(toPrintable('\x9b2J', true), '\\x9b2J');
  assert.equal(toPrintable('a\r\nb\tc\x7f', true), 'a\\x0d\\x0ab\\x09c\\x7f');
  assert.equal(toPrintable('/a\u202ecod.exe', true), '/a\\u{202e}cod.exe');
  assert.equal(toPrintable('\u{e0041}\u200b\ufeff', true), '\\u{e0041}\\u{200b}\\u{feff}');
  assert.equal(toPrintable('\ud83d', true), '\\u{d83d}');
  assert.equal(toPrintable(`z${'\u0300'.repeat(5)}`, true), 'z\u0300\u0300\\u{300}\\u{300}\\u{300}');
});

test('letters of any script pass where the terminal has them, and are written out where not', () => {
  assert.equal(toPrintable('/café/東京', true), '/café/東京');
  assert.equal(toPrintable('/café/東', false), '/caf\\xe9/\\u{6771}');
});

test('width counts columns, not characters', () => {
  assert.equal(widthOf('abc'), 3);
  assert.equal(widthOf('東京'), 4);
  assert.equal(widthOf('e\u0301'), 1);
  assert.equal(widthOf('🙂'), 2);
});

test('shortened texts fit, and texts that fit are left alone', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), fc.integer({ min: 1, max: 60 }), (text, width) => {
      const printable = toPrintable(text, true);
      for (const shorten of [truncateEnd, truncateMiddle]) {
        const shortened = shorten(printable, width, '…');
        assert.ok(widthOf(shortened) <= width, `${shortened} is wider than ${width}`);
        if (widthOf(printable) <= width) assert.equal(shortened, printable);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a long path keeps its beginning and its end', () => {
  assert.equal(truncateMiddle('/api/v1/customers/4711/invoices.pdf', 20, '…'), '/api/v1/cust…ces.pdf');
  assert.equal(truncateEnd('background-worker', 10, '…'), 'backgroun…');
});

test('durations have three digits and at most seven columns', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0µs'],
    [412_300, '412µs'],
    [999_499, '999µs'],
    [999_500, '1.00ms'],
    [12_400_000, '12.4ms'],
    [999_000_000, '999ms'],
    [1_230_000_000, '1.23s'],
    [59_990_000_000, '60.0s'],
    [60_000_000_000, '1m00s'],
    [125_000_000_000, '2m05s'],
    [7_380_000_000_000, '2h03m'],
  ];
  for (const [ns, text] of cases) assert.equal(formatDuration(ns, true), text);
  assert.equal(formatDuration(5_000, false), '5us');
  fc.assert(fc.property(fc.integer({ min: 0, max: 3.5e14 }), ns => formatDuration(ns, true).length <= 7));
});

test('bytes and counts', () => {
  assert.equal(formatBytes(0), '0B');
  assert.equal(formatBytes(999), '999B');
  assert.equal(formatBytes(1000), '1.0kB');
  assert.equal(formatBytes(34_200_000), '34MB');
  assert.equal(formatBytes(999_999), '1.0MB');
  assert.equal(formatCount(1204000), '1 204 000');
  assert.equal(formatCount(999), '999');
});
