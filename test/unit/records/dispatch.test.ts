// The walk over slabs: order of time over both rings up to the cut, what is left for the next run, and what is no record.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Dispatcher, type RecordHandler, Slab } from '../../../src/records/dispatch.js';
import * as gen from '../../../src/records/records.gen.js';
import { placesOf, record, slabBytes } from '../../support/record-builder.js';

/** Notes which records came, by kind and time. */
class Notes implements RecordHandler {
  readonly seen: string[] = [];
  onData(event: gen.DataEventCursor, bytes: Uint8Array, payload: number): void {
    const text = Buffer.from(bytes.subarray(payload, payload + event.chunkBytes)).toString();
    this.seen.push(`data ${event.timeNs} ${text}`.trim());
  }
  onOpened(event: gen.ConnectionOpenedEventCursor): void {
    this.seen.push(`opened ${event.timeNs}`);
  }
  onState(event: gen.ConnectionStateEventCursor): void {
    this.seen.push(`state ${event.timeNs}`);
  }
  onClosed(event: gen.ConnectionClosedEventCursor): void {
    this.seen.push(`closed ${event.timeNs}`);
  }
  onConnectFailed(event: gen.ConnectFailedEventCursor): void {
    this.seen.push(`failed ${event.timeNs}`);
  }
  onExec(event: gen.ProcessExecEventCursor): void {
    this.seen.push(`exec ${event.timeNs}`);
  }
  onFork(event: gen.ProcessForkEventCursor): void {
    this.seen.push(`fork ${event.timeNs}`);
  }
  onExit(event: gen.ProcessExitEventCursor): void {
    this.seen.push(`exit ${event.timeNs}`);
  }
  onProgress(event: gen.ProgressEventCursor): void {
    this.seen.push(`progress ${event.timeNs}`);
  }
  onWork(event: gen.WorkEventCursor): void {
    this.seen.push(`work ${event.timeNs}`);
  }
  onWake(event: gen.WakeEventCursor): void {
    this.seen.push(`wake ${event.timeNs}`);
  }
  onLost(event: gen.ConnectionLostEventCursor): void {
    this.seen.push(`lost ${event.timeNs}`);
  }
}

function data(timeNs: number, text = ''): Uint8Array {
  const payload = Buffer.from(text);
  return record(gen.DataEventCursor, gen.EVENT_DATA, { timeNs, chunkBytes: payload.length }, payload);
}

function forked(timeNs: number): Uint8Array {
  return record(gen.ProcessForkEventCursor, gen.EVENT_PROCESS_FORK, { timeNs });
}

function dispatcher(): { notes: Notes; it: Dispatcher } {
  const notes = new Notes();
  return { notes, it: new Dispatcher(notes) };
}

test('every kind of record comes to its handler', () => {
  const { notes, it } = dispatcher();
  const bytes = slabBytes([
    data(1, 'odd'),
    record(gen.ConnectionOpenedEventCursor, gen.EVENT_CONNECTION_OPENED, { timeNs: 2 }),
    record(gen.ConnectionStateEventCursor, gen.EVENT_CONNECTION_STATE, { timeNs: 3 }),
    record(gen.ConnectionClosedEventCursor, gen.EVENT_CONNECTION_CLOSED, { timeNs: 4 }),
    record(gen.ConnectFailedEventCursor, gen.EVENT_CONNECT_FAILED, { timeNs: 5 }),
    record(gen.ProcessExecEventCursor, gen.EVENT_PROCESS_EXEC, { timeNs: 6, argsBytes: 3 }, Buffer.from('ab\0')),
    forked(7),
    record(gen.ProcessExitEventCursor, gen.EVENT_PROCESS_EXIT, { timeNs: 8 }),
    record(gen.ProgressEventCursor, gen.EVENT_PROGRESS, { timeNs: 9 }),
  ]);
  it.runOne(new Slab(bytes));
  const kinds = [
    'data 1 odd',
    'opened 2',
    'state 3',
    'closed 4',
    'failed 5',
    'exec 6',
    'fork 7',
    'exit 8',
    'progress 9',
  ];
  assert.deepEqual(notes.seen, kinds);
  assert.deepEqual([it.records, it.malformed, it.lastNs], [9, 0, 9]);
});

test('both rings are handed over in order of time, a control record before a data record of the same time', () => {
  const { notes, it } = dispatcher();
  it.run(
    new Slab(slabBytes([data(1), data(4), data(5), data(9)])),
    new Slab(slabBytes([forked(3), forked(5), forked(8)])),
  );
  assert.deepEqual(notes.seen, ['data 1', 'fork 3', 'data 4', 'fork 5', 'data 5', 'fork 8', 'data 9']);
});

test('control records that were overtaken in their ring come in order of time, what is no record behind them', () => {
  const { notes, it } = dispatcher();
  const opened = record(gen.ConnectionOpenedEventCursor, gen.EVENT_CONNECTION_OPENED, { timeNs: 5 });
  const broken = forked(1);
  new DataView(broken.buffer).setUint32(gen.EVENT_HEADER_OFFSETS.size, 4096, true);
  it.run(new Slab(slabBytes([data(5), data(7)])), new Slab(slabBytes([forked(8), opened, forked(6), broken])));
  assert.deepEqual(notes.seen, ['opened 5', 'data 5', 'fork 6', 'data 7', 'fork 8']);
  assert.equal(it.malformed, 1);
});

test('what is newer than the cut waits, and is handed over with what comes behind it', () => {
  const { notes, it } = dispatcher();
  const [dataSlab, controlSlab] = [new Slab(4096), new Slab(4096)];
  const fill = (slab: Slab, records: readonly Uint8Array[]): void => {
    slab.compact();
    const bytes = slabBytes(records);
    slab.rest().set(bytes);
    slab.length += bytes.length;
  };
  fill(dataSlab, [data(1), data(6)]);
  fill(controlSlab, [forked(2), forked(7)]);
  it.run(dataSlab, controlSlab, 5);
  assert.deepEqual(notes.seen.splice(0), ['data 1', 'fork 2']);
  fill(dataSlab, [data(8)]);
  fill(controlSlab, []);
  it.run(dataSlab, controlSlab, 7);
  assert.deepEqual(notes.seen.splice(0), ['data 6', 'fork 7']);
  it.run(dataSlab, controlSlab);
  assert.deepEqual(notes.seen, ['data 8']);
  assert.equal(it.malformed, 0);
});

test('times beyond 2^32 and 2^53-ish sums are read exactly', () => {
  const { notes, it } = dispatcher();
  const times = [4294967295, 4294967296, 8_999_999_999_999_999];
  it.runOne(new Slab(slabBytes(times.map(timeNs => data(timeNs)))));
  assert.deepEqual(
    notes.seen,
    times.map(time => `data ${time}`),
  );
});

test('unknown kinds and too short records are counted and passed over', () => {
  const { notes, it } = dispatcher();
  const unknown = record(gen.ProcessForkEventCursor, 77, { timeNs: 1 });
  const short = record(gen.ProcessForkEventCursor, gen.EVENT_DATA, { timeNs: 2 });
  const lying = data(3, 'text');
  new DataView(lying.buffer).setUint32(placesOf(gen.DataEventCursor, 'chunkBytes')[0]?.at as number, 5, true);
  it.runOne(new Slab(slabBytes([unknown, short, lying, forked(4)])));
  assert.deepEqual(notes.seen, ['fork 4']);
  assert.deepEqual([it.malformed, it.records], [3, 4]);
});

test('a size that leads nowhere ends the slab, and the next one is read', () => {
  for (const size of [0, 15, 25, 4096, 0xffff_ffff]) {
    const { notes, it } = dispatcher();
    const broken = forked(1);
    new DataView(broken.buffer).setUint32(gen.EVENT_HEADER_OFFSETS.size, size, true);
    const slab = new Slab(broken);
    it.runOne(slab);
    assert.equal(slab.at, slab.length);
    it.run(new Slab(slabBytes([data(2)])), new Slab(0));
    assert.deepEqual(notes.seen, ['data 2'], `size ${size}`);
    assert.equal(it.malformed, 1, `size ${size}`);
  }
});

test('a record that was cut off does not spoil what is appended behind it', () => {
  const { notes, it } = dispatcher();
  const whole = slabBytes([forked(1), forked(2)]);
  for (let cut = 1; cut < 24; cut++) {
    const slab = new Slab(4096);
    const part = whole.subarray(0, whole.length - cut);
    slab.rest().set(part);
    slab.length += part.length;
    it.run(slab, new Slab(0));
    slab.compact();
    assert.deepEqual([slab.at, slab.length], [0, 0], `${cut} bytes missing`);
    slab.rest().set(forked(3));
    slab.length += 24;
    it.run(slab, new Slab(0));
    assert.deepEqual(notes.seen.splice(0), ['fork 1', 'fork 3']);
    assert.equal(it.malformed, cut);
  }
});

test('a slab within a larger buffer is read at its own place', () => {
  const { notes, it } = dispatcher();
  const bytes = slabBytes([forked(1), forked(2)]);
  const larger = new Uint8Array(bytes.length + 40).fill(255);
  larger.set(bytes, 8);
  it.runOne(new Slab(larger.subarray(8, 8 + bytes.length)));
  assert.deepEqual(notes.seen, ['fork 1', 'fork 2']);
});

test('any times: every record is handed over once, the control ring in any order', () => {
  const anyTimes = fc.array(fc.nat(50), { maxLength: 20 });
  const times = anyTimes.map(list => list.sort((a, b) => a - b));
  fc.assert(
    fc.property(times, anyTimes, fc.nat(50), (dataTimes, controlTimes, cutNs) => {
      const { notes, it } = dispatcher();
      const slabs = [
        new Slab(slabBytes(dataTimes.map(time => data(time)))),
        new Slab(slabBytes(controlTimes.map(forked))),
      ];
      it.run(slabs[0] as Slab, slabs[1] as Slab, cutNs);
      const seen = notes.seen.map(text => Number(text.split(' ')[1]));
      assert.deepEqual(
        seen,
        [...seen].sort((a, b) => a - b),
      );
      assert.ok(seen.every(time => time <= cutNs));
      it.run(slabs[0] as Slab, slabs[1] as Slab);
      for (const [kind, expected] of [
        ['data', dataTimes],
        ['fork', [...controlTimes].sort((a, b) => a - b)],
      ] as const) {
        const told = notes.seen.filter(text => text.startsWith(kind)).map(text => Number(text.split(' ')[1]));
        assert.deepEqual(told, expected);
      }
    }),
  );
});
