// Bursts of ciphertext: counted as the requests that they are where a protocol takes turns.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Connection } from '../../../src/connections/connection.js';
import { TlsBursts } from '../../../src/connections/tls-bursts.js';
import {
  DATA_EDGE,
  DataEventCursor,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  EVENT_DATA,
  ROLE_CLIENT,
  ROLE_SERVER,
} from '../../../src/records/records.gen.js';
import { MS, record, T0 } from '../../support/record-builder.js';

const IN = DIRECTION_INGRESS;
const OUT = DIRECTION_EGRESS;

class Wire {
  readonly bursts = new TlsBursts();
  readonly #connection = new Connection(1, 1);

  constructor(role: number) {
    this.#connection.role = role;
  }

  /** The direction changes at `ms`; the run before had so many bytes and ended at `endedMs`. */
  edge(direction: number, ms: number, prevBytes: number, endedMs: number, flags = DATA_EDGE): this {
    const timeNs = T0 + ms * MS;
    const at = direction === OUT ? { enterNs: timeNs } : { arrivedNs: timeNs };
    const prev = { prevBytes, prevLastNs: T0 + endedMs * MS };
    const bytes = record(DataEventCursor, EVENT_DATA, { timeNs: timeNs + MS, direction, flags, ...prev, ...at });
    const event = new DataEventCursor();
    event.seek(new DataView(bytes.buffer), 0);
    this.bursts.onData(this.#connection, event);
    return this;
  }

  facts(endMs: number) {
    this.bursts.close(T0 + endMs * MS);
    const { count, sumNs, maxNs } = this.bursts;
    return { count, sumMs: sumNs / MS, maxMs: maxNs / MS };
  }
}

test("a server: from the request's arrival to the end of the response", () => {
  const wire = new Wire(ROLE_SERVER);
  wire.edge(IN, 10, 4000, 5).edge(OUT, 14, 300, 11).edge(IN, 40, 900, 20).edge(OUT, 41, 300, 40);
  assert.deepEqual(wire.facts(43), { count: 2, sumMs: 13, maxMs: 10 });
});

test('a client: from the first byte given to the last byte taken', () => {
  const wire = new Wire(ROLE_CLIENT);
  wire.edge(OUT, 10, 4000, 5).edge(IN, 14, 300, 11);
  assert.deepEqual(wire.facts(24), { count: 1, sumMs: 14, maxMs: 14 });
});

test('a request right behind the end of the handshake is one; the end of the handshake alone is none', () => {
  const behind = new Wire(ROLE_CLIENT);
  behind.bursts.begin(T0);
  behind.edge(IN, 5, 74 + 200, 0);
  assert.deepEqual(behind.facts(8), { count: 1, sumMs: 8, maxMs: 8 });
  const tickets = new Wire(ROLE_SERVER);
  tickets.bursts.begin(T0);
  tickets.edge(OUT, 1, 80, 0).edge(IN, 20, 500, 1).edge(OUT, 22, 200, 21);
  assert.deepEqual(tickets.facts(25), { count: 1, sumMs: 5, maxMs: 5 });
});

test('a goodbye and its answer are no burst', () => {
  const wire = new Wire(ROLE_SERVER);
  wire.edge(IN, 10, 0, 0).edge(OUT, 14, 300, 11).edge(IN, 40, 900, 20).edge(OUT, 41, 24, 40);
  assert.deepEqual(wire.facts(42), { count: 1, sumMs: 10, maxMs: 10 });
});

test('what is not answered, and what is no edge, does not count', () => {
  const wire = new Wire(ROLE_SERVER);
  wire.edge(IN, 10, 0, 0).edge(OUT, 11, 0, 0, 0);
  assert.deepEqual(wire.facts(20), { count: 0, sumMs: 0, maxMs: 0 });
});
