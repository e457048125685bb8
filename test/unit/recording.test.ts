// A recording comes back as it was written; one that was cut off ends at its last whole frame; anything else is an error
// with a code, never an exception of its own making.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type TestContext } from 'node:test';
import fc from 'fast-check';
import { unknownFacts } from '../../src/enrichment/process-facts.js';
import { AgentError } from '../../src/errors.js';
import { type RecordedBatch, RecordingReader, RecordingWriter } from '../../src/recording.js';
import { EVENT_PROCESS_EXIT, ProcessExitEventCursor } from '../../src/records/records.gen.js';
import { record } from '../support/record-builder.js';

const HEADER = {
  version: '1',
  offsetSeconds: 1_700_000_000,
  offsetNanos: 5,
  headBytes: 4096,
  startNs: 123_456_789_012,
};
const BATCHES: readonly RecordedBatch[] = [
  { nowNs: 1e15 + 1, cutNs: 1e15, data: bytes(24, 1), control: bytes(16, 2), progress: bytes(0, 0) },
  { nowNs: 2, cutNs: 1.5, data: bytes(0, 0), control: bytes(0, 0), progress: bytes(64, 3) },
];
const CLOCK = { fromNs: 7e9, rate: -3e-4, offsetSeconds: 1_700_000_000, offsetNanos: 6 };
const FACTS = { ...unknownFacts(42), exeName: 'shop', args: ['ä\n"'] };

function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

function folder(context: TestContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'underspan-recording-'));
  context.after(() => rmSync(made, { recursive: true }));
  return made;
}

function write(file: string): void {
  const writer = new RecordingWriter(file, HEADER);
  writer.facts(FACTS);
  for (const batch of BATCHES) writer.batch(batch);
  writer.clock(CLOCK);
  writer.close();
  assert.equal(writer.bytesWritten, statSync(file).size);
}

/** All frames; facts as their pid, clocks as their begin. */
function readAll(file: string): (number | RecordedBatch)[] {
  const reader = new RecordingReader(file);
  const out: (number | RecordedBatch)[] = [];
  try {
    for (let frame = reader.next(); frame !== null; frame = reader.next()) {
      out.push('facts' in frame ? frame.facts.pid : 'clock' in frame ? frame.clock.fromNs : frame.batch);
    }
  } finally {
    reader.close();
  }
  return out;
}

function plain(batch: RecordedBatch): unknown {
  return { ...batch, data: [...batch.data], control: [...batch.control], progress: [...batch.progress] };
}

function hasCode(code: string): (error: unknown) => boolean {
  return error => error instanceof AgentError && error.code === code;
}

test('what was written is read again, and nobody but the owner may read it', context => {
  const file = path.join(folder(context), 'a');
  write(file);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const reader = new RecordingReader(file);
  assert.deepEqual(reader.header, HEADER);
  const first = reader.next();
  assert.ok(first !== null && 'facts' in first);
  assert.deepEqual(first.facts, FACTS);
  for (const batch of BATCHES) {
    const frame = reader.next();
    assert.ok(frame !== null && 'batch' in frame);
    assert.deepEqual(plain(frame.batch), plain(batch));
  }
  assert.deepEqual(reader.next(), { clock: CLOCK });
  assert.equal(reader.next(), null);
  assert.equal(reader.bytesRead, reader.bytesTotal);
  reader.close();
});

test('cut off anywhere behind its first line it ends at the last whole frame', context => {
  const file = path.join(folder(context), 'a');
  write(file);
  const whole = readFileSync(file);
  const start = whole.indexOf(10) + 1;
  const counts = new Set<number>();
  for (let length = start; length <= whole.length; length++) {
    writeFileSync(file, whole.subarray(0, length));
    counts.add(readAll(file).length);
  }
  assert.deepEqual([...counts], [0, 1, 2, 3, 4]);
});

test('what is no recording has a code and a reason', context => {
  const file = path.join(folder(context), 'a');
  write(file);
  const whole = readFileSync(file);
  const start = whole.indexOf(10) + 1;
  const header = JSON.parse(whole.subarray(0, start).toString()) as Record<string, unknown>;
  for (const text of [
    '',
    'no newline',
    '\n',
    'null\n',
    '[]\n',
    '7\n',
    '{}\n',
    '{"format":"other"}\n',
    `${JSON.stringify({ ...header, layout: '1.2.3' })}\n`,
    `${JSON.stringify({ ...header, layout: {} })}\n`,
    `${JSON.stringify({ ...header, layout: { data_event: { kind: 1, size: 1e9, fields: {} } } })}\n`,
    `${JSON.stringify({ ...header, layout: { data_event: { kind: 1, size: 32, fields: { slot: [30, 4] } } } })}\n`,
    `${JSON.stringify({ ...header, layout: { data_event: { kind: 1, size: 32, fields: { slot: [0, 1, 2] } } } })}\n`,
    `${JSON.stringify({ ...header, layout: { data_event: { kind: -1, size: 32, fields: {} } } })}\n`,
    `${JSON.stringify({ ...header, layout: { data_event: { kind: 1, size: 32 } } })}\n`,
    `${JSON.stringify({ ...header, layout: { data_event: null } })}\n`,
    `${JSON.stringify({ ...header, startNs: 'soon' })}\n`,
    `${JSON.stringify({ ...header, headBytes: undefined })}\n`,
    whole.subarray(0, start - 1).toString(),
    'x'.repeat(100_000),
  ]) {
    writeFileSync(file, text);
    assert.throws(() => readAll(file), hasCode('RECORDING_INVALID'), JSON.stringify(text.slice(0, 40)));
  }
});

test('a recording of another layout is read as one of today', context => {
  const file = path.join(folder(context), 'a');
  const writer = new RecordingWriter(file, HEADER);
  const exit = record(ProcessExitEventCursor, EVENT_PROCESS_EXIT, { timeNs: 5, pid: 77 });
  writer.batch({ nowNs: 1, cutNs: 1, data: bytes(0, 0), control: exit, progress: bytes(0, 0) });
  writer.close();
  const whole = readFileSync(file);
  const start = whole.indexOf(10) + 1;
  const header = JSON.parse(whole.subarray(0, start).toString()) as { layout: Record<string, unknown> };
  // What lies at `pid` today was the parent's then, the process itself in the word behind.
  const fields = {
    'header.time_ns': [0, 8],
    'header.size': [8, 4],
    'header.kind': [12, 2],
    parent: [16, 4],
    pid: [20, 4],
  };
  const layout = { ...header.layout, process_exit_event: { kind: EVENT_PROCESS_EXIT, size: 24, fields } };
  whole.writeUInt32LE(78, whole.length - 4);
  writeFileSync(
    file,
    Buffer.concat([Buffer.from(`${JSON.stringify({ ...header, layout })}\n`), whole.subarray(start)]),
  );
  const [batch] = readAll(file) as RecordedBatch[];
  const cursor = new ProcessExitEventCursor();
  const control = Uint8Array.from(batch?.control ?? []);
  cursor.seek(new DataView(control.buffer), 0);
  assert.deepEqual([cursor.timeNs, cursor.pid, control.length], [5, 78, ProcessExitEventCursor.SIZE]);
});

test('frames that cannot be: type, length, sizes that do not add up, facts that are no object', context => {
  const file = path.join(folder(context), 'a');
  write(file);
  const whole = readFileSync(file);
  const start = whole.subarray(0, whole.indexOf(10) + 1);
  const frame = (type: number, payload: Uint8Array, length = payload.length): Buffer => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(type, 0);
    head.writeUInt32LE(length, 4);
    return Buffer.concat([start, head, payload]);
  };
  const batch = Buffer.alloc(40);
  batch.writeUInt32LE(9, 16);
  for (const [what, content] of [
    ['type', frame(9, bytes(3, 0))],
    ['length', frame(2, bytes(3, 0), 0xffff_ffff)],
    ['short batch', frame(2, bytes(8, 0))],
    ['sum', frame(2, batch)],
    ['broken JSON', frame(1, Buffer.from('{"pid":'))],
    ['null', frame(1, Buffer.from('null'))],
    ['no pid', frame(1, Buffer.from('{}'))],
    ['array', frame(1, Buffer.from('[1]'))],
    ['clock', frame(3, bytes(32, 0xff))],
  ] as const) {
    writeFileSync(file, content);
    assert.throws(() => readAll(file), hasCode('RECORDING_INVALID'), what);
  }
});

test('any damage is an error with a code, or goes unnoticed where only content changed', context => {
  const file = path.join(folder(context), 'a');
  write(file);
  const whole = readFileSync(file);
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
      const damaged = Buffer.from(whole);
      damaged[at] = value;
      writeFileSync(file, damaged);
      try {
        assert.ok(readAll(file).length <= 4);
      } catch (error) {
        assert.ok(hasCode('RECORDING_INVALID')(error), String(error));
      }
    }),
    { numRuns: 400 },
  );
});

test('files that cannot be opened', context => {
  const directory = folder(context);
  assert.throws(() => new RecordingReader(path.join(directory, 'none')), hasCode('RECORDING_UNREADABLE'));
  assert.throws(() => new RecordingReader(directory), hasCode('RECORDING_UNREADABLE'));
  assert.throws(
    () => new RecordingWriter(path.join(directory, 'no', 'folder'), HEADER),
    hasCode('RECORDING_UNWRITABLE'),
  );
  assert.throws(() => new RecordingWriter(directory, HEADER), hasCode('RECORDING_UNWRITABLE'));
  chmodSync(directory, 0o700);
});
