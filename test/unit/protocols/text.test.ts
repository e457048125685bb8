// Bytes to strings: nothing is lost, strings that recur are the same string.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { cutText, decodeText, StringTable } from '../../../src/protocols/text.js';

test('valid UTF-8 encodes back to the same bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      const bytes = Buffer.from(text, 'utf8');
      assert.ok(Buffer.from(decodeText(bytes, 0, bytes.length), 'utf8').equals(bytes));
    }),
  );
});

test('what is not UTF-8 is one character a byte', () => {
  const bytes = Uint8Array.of(0x61, 0xff, 0xc3, 0x28, 0x80);
  assert.equal(decodeText(bytes, 0, 5), 'a\xff\xc3(\x80');
  assert.equal(decodeText(bytes, 1, 2), '\xff');
  assert.equal(decodeText(bytes, 2, 2), '');
});

test('a range of a view that does not begin with its buffer', () => {
  const whole = Buffer.from('..größe..', 'utf8');
  const part = new Uint8Array(whole.buffer, whole.byteOffset + 2, 7);
  assert.equal(decodeText(part, 0, 7), 'größe');
});

test('a cut never falls within a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.nat(), (text, place) => {
      const bytes = Buffer.from(text, 'utf8');
      const at = place % (bytes.length + 1);
      const cut = cutText(bytes, 0, at);
      assert.ok(cut <= at && cut > at - 4);
      assert.ok(text.startsWith(decodeText(bytes, 0, cut)));
    }),
  );
});

test('an empty range is not cut into what stands before it', () => {
  const bytes = Buffer.from('é', 'utf8');
  assert.equal(cutText(bytes, 1, 1), 1);
});

test('a table gives what decoding gives, for any text and after any other', () => {
  const table = new StringTable(4);
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 150 })), list => {
      for (const bytes of [...list, ...list]) {
        assert.equal(table.get(bytes, 0, bytes.length), decodeText(bytes, 0, bytes.length));
      }
    }),
  );
});

test('texts that differ only in the middle are told apart', () => {
  const table = new StringTable(1);
  for (const middle of ['a', 'b', 'a']) {
    const text = `${'x'.repeat(40)}${middle}${'y'.repeat(40)}`;
    assert.equal(table.get(Buffer.from(text, 'latin1'), 0, text.length), text);
  }
});
