// A connection whose slot has moved on and whose closed record never came is told as lost: after a second look only, and only
// when control records are known to have been lost.
import assert from 'node:assert/strict';
import test from 'node:test';
import { type LiveConnection, LostConnections } from '../../../src/kernel/lost-connections.js';
import {
  ConnectionCursor,
  ConnectionLostEventCursor,
  EVENT_CONNECTION_LOST,
} from '../../../src/records/records.gen.js';
import { writeField } from '../../support/record-builder.js';

class Machine {
  readonly map = new DataView(new ArrayBuffer(ConnectionCursor.SIZE * 8));
  readonly lost = new LostConnections({ viewOf: () => this.map });
  live: LiveConnection[] = [];

  slot(slot: number, generation: number): void {
    writeField(new DataView(this.map.buffer, slot * ConnectionCursor.SIZE), ConnectionCursor, 'generation', generation);
  }

  look(losses: number, handedNs: number, nowNs: number): number[][] {
    const bytes = this.lost.look(visit => this.live.forEach(visit), losses, handedNs, nowNs);
    const cursor = new ConnectionLostEventCursor();
    const found: number[][] = [];
    for (let at = 0; at < bytes.length; at += ConnectionLostEventCursor.SIZE) {
      cursor.seek(new DataView(bytes.buffer), at);
      assert.deepEqual([cursor.kind, cursor.size], [EVENT_CONNECTION_LOST, ConnectionLostEventCursor.SIZE]);
      found.push([cursor.slot, cursor.generation]);
    }
    return found;
  }
}

function machine(): Machine {
  const made = new Machine();
  made.live = [1, 2, 3].map(slot => ({ slot, generation: 5 }));
  made.slot(1, 5);
  made.slot(2, 6);
  made.slot(3, 7);
  return made;
}

test('what is still live although its slot has moved on and all records have been handed over is lost', () => {
  const one = machine();
  assert.deepEqual(one.look(4, 1000, 1000), []);
  assert.deepEqual(one.look(4, 999, 2000), [], 'records from before the look may still come');
  one.live = one.live.filter(({ slot }) => slot !== 3); // its record was only late
  assert.deepEqual(one.look(4, 1000, 3000), [[2, 5]]);
  one.live = one.live.filter(({ slot }) => slot !== 2);
  assert.deepEqual(one.look(4, 4000, 4000), []);
});

test('nobody is suspected while no control record has been lost', () => {
  const one = machine();
  for (const nowNs of [1000, 2000, 3000]) assert.deepEqual(one.look(0, nowNs, nowNs), []);
});

test('a slot that is not in the map has moved on', () => {
  const one = machine();
  one.live = [{ slot: 100, generation: 1 }];
  assert.deepEqual(one.look(1, 0, 5), []);
  assert.deepEqual(one.look(1, 5, 6), [[100, 1]]);
});
