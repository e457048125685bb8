// What the shared connections map tells of a run becomes a record that the dispatcher reads like any other.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ProgressReader } from '../../../src/kernel/progress.js';
import {
  CONNECTION_OFFSETS,
  ConnectionCursor,
  DIRECTION_EGRESS,
  EVENT_PROGRESS,
  PROGRESS_EVENT_OFFSETS,
  ProgressEventCursor,
} from '../../../src/records/records.gen.js';
import { writeField } from '../../support/record-builder.js';

const SLOT = 3;
const FIRST_NS = 7_000_000_000_123;

function map(): DataView {
  const view = new DataView(new ArrayBuffer(ConnectionCursor.SIZE * 8));
  const own = new DataView(view.buffer, SLOT * ConnectionCursor.SIZE);
  const fields = {
    generation: 5,
    direction: DIRECTION_EGRESS,
    runFirstNs: FIRST_NS,
    runLastNs: FIRST_NS + 50,
    runBytes: 5_000_000_000,
    runCalls: 9,
    runEndSeq: 0xffff_ffff,
  };
  for (const [field, value] of Object.entries(fields)) writeField(own, ConnectionCursor, field, value);
  return view;
}

const QUERY = {
  slot: SLOT,
  generation: 5,
  direction: DIRECTION_EGRESS,
  runFirstNs: FIRST_NS,
  knownSeq: 100,
  handedNs: FIRST_NS + 50,
};

test('a run that has moved gives a record with its state', () => {
  const reader = new ProgressReader({ viewOf: map });
  assert.equal(reader.query(QUERY, FIRST_NS + 1000), true);
  assert.equal(reader.length, ProgressEventCursor.SIZE);
  const cursor = new ProgressEventCursor();
  cursor.seek(reader.view, 0);
  assert.deepEqual(
    [cursor.timeNs, cursor.size, cursor.kind, cursor.slot, cursor.generation, cursor.direction],
    [FIRST_NS + 1000, ProgressEventCursor.SIZE, EVENT_PROGRESS, SLOT, 5, DIRECTION_EGRESS],
  );
  assert.deepEqual(
    [cursor.lastNs, cursor.bytes, cursor.calls, cursor.endSeq],
    [FIRST_NS + 50, 5_000_000_000, 9, 0xffff_ffff],
  );
});

test('another tenant, another direction, a newer run, nothing new: no record', () => {
  const reader = new ProgressReader({ viewOf: map });
  for (const other of [
    { generation: 7 },
    { direction: 0 },
    { runFirstNs: FIRST_NS - 1 },
    { knownSeq: 0xffff_ffff },
    { slot: 2 },
  ]) {
    assert.equal(reader.query({ ...QUERY, ...other }, FIRST_NS), true);
    assert.equal(reader.length, 0, JSON.stringify(other));
  }
});

test('a run that has moved since the rings were emptied is not told of: its calls may have records there', () => {
  const reader = new ProgressReader({ viewOf: map });
  assert.equal(reader.query({ ...QUERY, handedNs: FIRST_NS + 49 }, FIRST_NS + 1000), true);
  assert.equal(reader.length, 0);
});

test('the last bytes are asked for even if no more have come', () => {
  const view = map();
  const tail = Buffer.from('x\r\n0\r\n\r\n');
  new Uint8Array(view.buffer).set(tail, SLOT * ConnectionCursor.SIZE + CONNECTION_OFFSETS.tail);
  const reader = new ProgressReader({ viewOf: () => view });
  reader.query({ ...QUERY, knownSeq: 0xffff_ffff }, FIRST_NS);
  assert.deepEqual(
    Buffer.from(reader.bytes.subarray(PROGRESS_EVENT_OFFSETS.tail, PROGRESS_EVENT_OFFSETS.tail + 8)),
    tail,
  );
});

test('a pass has an end: what finds no room is refused, not forgotten, and reset makes room', () => {
  const reader = new ProgressReader({ viewOf: map });
  let taken = 0;
  while (reader.query(QUERY, FIRST_NS)) taken++;
  assert.equal(reader.length, taken * ProgressEventCursor.SIZE);
  assert.ok(reader.length <= reader.bytes.length);
  reader.reset();
  assert.equal(reader.query(QUERY, FIRST_NS), true);
});
