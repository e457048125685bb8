// The wire format by round trip: what ProtoWriter writes, protobufjs' Reader (an independent implementation) reads back.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import protobuf from 'protobufjs/light.js';
import { ProtoWriter, tagBytes, varintSize, WIRE_FIXED32, WIRE_VARINT } from '../../../src/otlp/proto-writer.js';

function written(write: (writer: ProtoWriter) => void): protobuf.Reader {
  const writer = new ProtoWriter(1);
  write(writer);
  return protobuf.Reader.create(Buffer.from(writer.copy()));
}

function unsigned(value: number | { low: number; high: number }): bigint {
  if (typeof value === 'number') return BigInt(value);
  return (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0);
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme-ascii', maxLength: 200 }),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
);

test('varints of every size come back', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), value => {
      const reader = written(writer => writer.varint(value));
      assert.equal(unsigned(reader.uint64()), BigInt(value));
      assert.equal(reader.pos, varintSize(value));
      assert.equal(reader.pos, reader.len);
    }),
  );
  for (const value of [0, 127, 128, 16383, 16384, 2 ** 32 - 1, 2 ** 32, 2 ** 35, Number.MAX_SAFE_INTEGER]) {
    assert.equal(unsigned(written(writer => writer.varint(value)).uint64()), BigInt(value));
  }
});

test('int64 takes negative numbers as 64-bit two complement', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), value => {
      const reader = written(writer => writer.int64(value));
      assert.equal(BigInt.asIntN(64, unsigned(reader.int64())), BigInt(value));
      assert.equal(reader.pos, value < 0 ? 10 : varintSize(value));
      assert.equal(reader.pos, reader.len);
    }),
  );
});

test('fixed numbers come back, in the right byte order', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeInteger(), fc.nat(), fc.double(), (natural, integer, small, real) => {
      const reader = written(writer => {
        writer.fixed64(natural);
        writer.sfixed64(integer);
        writer.fixed32(small);
        writer.double(real);
        writer.word(0x01020304);
      });
      assert.equal(unsigned(reader.fixed64()), BigInt(natural));
      assert.equal(BigInt.asIntN(64, unsigned(reader.sfixed64())), BigInt(integer));
      assert.equal(reader.fixed32(), small);
      assert.ok(Object.is(reader.double(), real));
      assert.deepEqual([...reader.buf.subarray(reader.pos)], [1, 2, 3, 4]);
    }),
  );
});

test('nanoseconds since the epoch are exact', () => {
  const seconds = fc.oneof(
    fc.nat(),
    fc.integer({ min: 0, max: 2 ** 34 }),
    fc.constantFrom(0, 65535, 65536, 2 ** 31, 2 ** 32),
  );
  fc.assert(
    fc.property(seconds, fc.integer({ min: 0, max: 999_999_999 }), (second, nanos) => {
      const reader = written(writer => writer.fixed64Time(second, nanos));
      assert.equal(unsigned(reader.fixed64()), BigInt.asUintN(64, BigInt(second) * 1_000_000_000n + BigInt(nanos)));
    }),
  );
});

test('strings come back as UTF-8, lone surrogates replaced', () => {
  fc.assert(
    fc.property(text, value => {
      const reader = written(writer => writer.stringField(0x0a, value));
      assert.equal(reader.uint32(), 0x0a);
      assert.equal(reader.string(), Buffer.from(value).toString());
      assert.equal(reader.pos, reader.len);
    }),
  );
  const lone = written(writer => writer.stringField(0x0a, 'a\ud800b'));
  lone.uint32();
  assert.equal(lone.string(), 'a\ufffdb');
});

test('nested messages of every length class close correctly', () => {
  for (const size of [0, 1, 127, 128, 16383, 16384, 2 ** 21, 2 ** 21 + 5]) {
    const payload = Buffer.alloc(size, 7);
    const reader = written(writer => {
      const outer = writer.open(0x0a);
      const inner = writer.open(0x12);
      writer.raw(payload);
      writer.close(inner);
      writer.byte(0x18);
      writer.varint(5);
      writer.close(outer);
      writer.byte(0x20);
      writer.varint(6);
    });
    assert.equal(reader.uint32(), 0x0a);
    const end = reader.uint32() + reader.pos;
    assert.equal(reader.uint32(), 0x12);
    assert.ok(Buffer.from(reader.bytes()).equals(payload), `${size} bytes`);
    assert.equal(reader.uint32(), 0x18);
    assert.equal(reader.uint32(), 5);
    assert.equal(reader.pos, end);
    assert.equal(reader.uint32(), 0x20);
    assert.equal(reader.uint32(), 6);
    assert.equal(reader.pos, reader.len);
  }
});

test('reset gives memory back and keeps the writer usable', () => {
  const writer = new ProtoWriter(64);
  writer.raw(Buffer.alloc(1_000_000, 1));
  assert.ok(writer.capacityBytes >= 1_000_000);
  writer.reset(4096);
  assert.equal(writer.capacityBytes, 4096);
  assert.equal(writer.at, 0);
  writer.varint(300);
  assert.deepEqual([...writer.copy()], [172, 2]);
});

test('tags of one and two bytes', () => {
  assert.deepEqual(tagBytes(9, 2), [0x4a]);
  assert.deepEqual(tagBytes(16, WIRE_FIXED32), [0x85, 0x01]);
  assert.deepEqual(tagBytes(2047, WIRE_VARINT), [0xf8, 0x7f]);
});
