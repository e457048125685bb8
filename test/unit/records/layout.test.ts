// Records of any earlier layout are read by the names of their fields: moved, widened, missing, or gone since.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { LayoutMapper, parseLayout, type RecordLayout, type StructLayout } from '../../../src/records/layout.js';
import { RECORD_LAYOUT } from '../../../src/records/records.gen.js';

const HEADER_BYTES = 16;
const IN_HEADER = /^header\./;
const KINDS = Object.entries(RECORD_LAYOUT as RecordLayout);

/** Today's struct as another version might have had it: other order, holes, some fields missing, one that is gone. */
function otherLayout(struct: StructLayout, order: readonly number[], isKept: readonly boolean[]): StructLayout {
  const names = Object.keys(struct.fields).filter(name => !IN_HEADER.test(name));
  const sorted = names
    .map((name, index) => ({ name, rank: order[index % order.length] as number }))
    .filter((_, index) => isKept[index % isKept.length])
    .sort((one, two) => one.rank - two.rank);
  const fields: Record<string, readonly [number, number]> = Object.fromEntries(
    Object.entries(struct.fields).filter(([name]) => IN_HEADER.test(name)),
  );
  let at = HEADER_BYTES + 4;
  fields.gone_since = [HEADER_BYTES, 4];
  for (const { name } of sorted) {
    const bytes = (struct.fields[name] as readonly [number, number])[1];
    fields[name] = [at, bytes];
    at += bytes + 1;
  }
  return { kind: struct.kind, size: at, fields };
}

/** A record of `struct` whose bytes tell fields apart, with `tail` behind it. */
function recordOf(struct: StructLayout, tail: Uint8Array): Uint8Array {
  const size = struct.size + tail.length;
  const bytes = new Uint8Array((size + 7) & ~7);
  bytes.fill(0xee, HEADER_BYTES, struct.size);
  for (const [name, [at, length]] of Object.entries(struct.fields)) {
    for (let index = 0; index < length; index++) bytes[at + index] = byteOf(name, index);
  }
  bytes.set(tail, struct.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(8, size, true);
  view.setUint16(12, struct.kind, true);
  return bytes;
}

function byteOf(name: string, index: number): number {
  let value = index + 1;
  for (const letter of name) value = (value * 31 + letter.charCodeAt(0)) & 0xff;
  return value;
}

const SHAPE = fc.record({
  order: fc.array(fc.nat(1000), { minLength: 5, maxLength: 40 }),
  isKept: fc.array(fc.boolean(), { minLength: 3, maxLength: 40 }),
  tail: fc.uint8Array({ maxLength: 40 }),
});

test('whatever the layout was: what it had is where it is looked for, what it had not is 0, the rest is left out', () => {
  fc.assert(
    fc.property(SHAPE, ({ order, isKept, tail }) => {
      const old: RecordLayout = Object.fromEntries(
        KINDS.map(([name, struct]) => [name, otherLayout(struct, order, isKept)]),
      );
      assert.equal(parseLayout(JSON.parse(JSON.stringify(old))) !== null, true);
      const slab = Buffer.concat(Object.values(old).map(struct => recordOf(struct, tail)));
      const mapped = new LayoutMapper(old).map(slab);
      let at = 0;
      for (const [name, today] of KINDS) {
        const before = old[name] as StructLayout;
        const view = new DataView(mapped.buffer, mapped.byteOffset + at);
        const size = view.getUint32(8, true);
        assert.equal(size, today.size + tail.length, name);
        assert.equal(view.getUint16(12, true), today.kind, name);
        for (const [field, [to, length]] of Object.entries(today.fields)) {
          if (field === 'header.size' || field === 'header.kind') continue;
          const expected = Array.from({ length }, (_, index) => (field in before.fields ? byteOf(field, index) : 0));
          assert.deepEqual([...mapped.subarray(at + to, at + to + length)], expected, `${name}.${field}`);
        }
        assert.deepEqual([...mapped.subarray(at + today.size, at + size)], [...tail], name);
        at += (size + 7) & ~7;
      }
      assert.equal(at, mapped.length);
    }),
    { numRuns: 60 },
  );
});

test('a field that was narrower keeps its value', () => {
  const { data_event: today } = RECORD_LAYOUT as RecordLayout as { data_event: StructLayout };
  const old: RecordLayout = {
    data_event: {
      kind: 1,
      size: 24,
      fields: { 'header.time_ns': [0, 8], 'header.size': [8, 4], 'header.kind': [12, 2], slot: [16, 2] },
    },
  };
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(8, 24, true);
  view.setUint16(12, 1, true);
  view.setUint16(16, 0xfffe, true);
  const mapped = new LayoutMapper(old).map(bytes);
  const slotAt = (today.fields.slot as readonly [number, number])[0];
  assert.equal(new DataView(mapped.buffer, mapped.byteOffset).getUint32(slotAt, true), 0xfffe);
});

test('unknown kinds, records shorter than their struct and what cannot be walked stay as they are', () => {
  const old = { data_event: { ...(RECORD_LAYOUT as RecordLayout).data_event, size: 200 } as StructLayout };
  const mapper = new LayoutMapper(old);
  const record = (kind: number, size: number, bytes = size): Uint8Array => {
    const out = new Uint8Array(bytes).fill(7);
    new DataView(out.buffer).setUint32(8, size, true);
    new DataView(out.buffer).setUint16(12, kind, true);
    return out;
  };
  for (const slab of [
    record(99, 24),
    record(1, 64),
    record(1, 4, 24),
    record(1, 4096, 256),
    new Uint8Array(7).fill(1),
    Buffer.concat([record(99, 24), record(1, 4096, 256)]),
    new Uint8Array(0),
  ]) {
    assert.deepEqual([...mapper.map(slab)], [...slab]);
  }
});

test('a layout out of a file is none unless every field lies in its struct', () => {
  const struct = { kind: 1, size: 32, fields: { 'header.size': [8, 4] } };
  assert.notEqual(parseLayout({ any: struct }), null);
  assert.equal(parseLayout(JSON.parse(JSON.stringify(RECORD_LAYOUT))) !== null, true);
  for (const wrong of [null, 7, 'x', [], {}, { any: null }, { any: { ...struct, size: 8 } }]) {
    assert.equal(parseLayout(wrong), null, JSON.stringify(wrong));
  }
  for (const place of [[29, 4], [-1, 4], [0, 0], [0, 33], [0.5, 4], ['0', 4], [0], null, [0, 4, 0]]) {
    assert.equal(parseLayout({ any: { ...struct, fields: { field: place } } }), null, JSON.stringify(place));
  }
});
