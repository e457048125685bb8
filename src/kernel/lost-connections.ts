// Connections whose end has no record because the control ring was full: their slots have moved on in the shared map, and
// nothing more will come of them. In: the live connections and the kernel's count of lost control records. Out: lost records
// in the rings' own layout, so that a recording replays them. A closed record is made before its slot moves on, so that
// once everything up to the look has been handed over, what is still live has lost its record.
import {
  CONNECTION_LOST_EVENT_OFFSETS,
  CONNECTION_OFFSETS,
  ConnectionLostEventCursor,
  EVENT_CONNECTION_LOST,
  EVENT_HEADER_OFFSETS,
} from '../records/records.gen.js';
import { type ConnectionView, connectionAt } from './connection-map.js';

export interface LiveConnection {
  readonly slot: number;
  readonly generation: number;
}

/** How the live connections are walked. */
type ForEach = (visit: (connection: LiveConnection) => void) => void;

export class LostConnections {
  readonly #map: ConnectionView;
  /** Live at the last look although the slot had moved on. */
  #suspects: readonly LiveConnection[] = [];
  #lookNs = 0;
  #countedLosses = 0;

  constructor(connections: ConnectionView) {
    this.#map = connections;
  }

  /**
   * `losses`: control records that found the ring full so far; `handedNs`: all records up to then have been handed over.
   * Returns records of the connections that are now known to be lost; empty most of the time.
   */
  look(forEach: ForEach, losses: number, handedNs: number, nowNs: number): Uint8Array {
    const lost: LiveConnection[] = [];
    if (this.#suspects.length > 0) {
      if (handedNs < this.#lookNs) return new Uint8Array(0);
      const suspects = new Set(this.#suspects.map(keyOf));
      forEach(connection => {
        if (suspects.has(keyOf(connection))) lost.push(connection);
      });
      this.#suspects = [];
    }
    if (losses > this.#countedLosses) {
      this.#countedLosses = losses;
      this.#lookNs = nowNs;
      const gone = new Set(lost.map(keyOf));
      const suspects: LiveConnection[] = [];
      forEach(({ slot, generation }) => {
        const has = this.#generationOf(slot) === generation;
        if (!has && !gone.has(keyOf({ slot, generation }))) suspects.push({ slot, generation });
      });
      this.#suspects = suspects;
    }
    return recordsOf(lost, nowNs);
  }

  #generationOf(slot: number): number {
    const at = connectionAt(slot) + CONNECTION_OFFSETS.generation;
    const view = this.#map.viewOf(slot);
    return at + 4 <= view.byteLength ? view.getUint32(at, true) : 0;
  }
}

function keyOf({ slot, generation }: LiveConnection): string {
  return `${slot} ${generation}`;
}

function recordsOf(lost: readonly LiveConnection[], nowNs: number): Uint8Array {
  const bytes = new Uint8Array(lost.length * ConnectionLostEventCursor.SIZE);
  const view = new DataView(bytes.buffer);
  for (const [index, { slot, generation }] of lost.entries()) {
    const at = index * ConnectionLostEventCursor.SIZE;
    view.setUint32(at, nowNs % 4294967296, true);
    view.setUint32(at + 4, Math.floor(nowNs / 4294967296), true);
    view.setUint32(at + EVENT_HEADER_OFFSETS.size, ConnectionLostEventCursor.SIZE, true);
    view.setUint16(at + EVENT_HEADER_OFFSETS.kind, EVENT_CONNECTION_LOST, true);
    view.setUint32(at + CONNECTION_LOST_EVENT_OFFSETS.slot, slot, true);
    view.setUint32(at + CONNECTION_LOST_EVENT_OFFSETS.generation, generation, true);
  }
  return bytes;
}
