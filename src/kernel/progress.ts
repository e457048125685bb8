// Asks the shared connections map how far a run has come. The kernel emits nothing for calls behind the captured head, so
// the end of a long body shows here (or in the next edge's record, whichever comes first). In: connections that wait for
// bytes. Out: progress records in the rings' own layout, so that a recording replays them like any other record. The map is
// ahead of the rings: a run that has moved since they were emptied is not told of, its calls may have records that are still in them.
import {
  CONNECTION_OFFSETS,
  EVENT_HEADER_OFFSETS,
  EVENT_PROGRESS,
  PROGRESS_EVENT_OFFSETS,
  ProgressEventCursor,
} from '../records/records.gen.js';
import { type ConnectionView, connectionAt } from './connection-map.js';

/** What is asked about: a run that user space knows by its first call. */
export interface ProgressQuery {
  readonly slot: number;
  readonly generation: number;
  readonly direction: number;
  /** first_ns of the run: a newer run of the same direction is none of our business yet. */
  readonly runFirstNs: number;
  /** Position up to which everything is known. */
  readonly knownSeq: number;
  /** All records of calls up to then have been handed over. */
  readonly handedNs: number;
}

const MAX_QUERIES_PER_PASS = 4096;
const RUN_FIRST = CONNECTION_OFFSETS.run;
const RUN_LAST = CONNECTION_OFFSETS.run + 8;
const RUN_BYTES = CONNECTION_OFFSETS.run + 16;
const RUN_CALLS = CONNECTION_OFFSETS.run + 24;
const RUN_END = CONNECTION_OFFSETS.run + 28;
/** struct event_tcp */
const TCP_BYTES = 24;

export class ProgressReader {
  readonly bytes = new Uint8Array(MAX_QUERIES_PER_PASS * ProgressEventCursor.SIZE);
  readonly view = new DataView(this.bytes.buffer);
  /** Bytes of records made since `reset`. */
  length = 0;
  readonly #connections: ConnectionView;
  /** Where the connection lies that is asked about. */
  #map: DataView;

  constructor(connections: ConnectionView) {
    this.#connections = connections;
    this.#map = connections.viewOf(0);
  }

  reset(): void {
    this.length = 0;
  }

  /** Appends a record if the run has moved. False when there is no room left in this pass. */
  query(query: ProgressQuery, nowNs: number): boolean {
    if (this.length + ProgressEventCursor.SIZE > this.bytes.length) return false;
    const map = this.#connections.viewOf(query.slot);
    this.#map = map;
    const at = connectionAt(query.slot);
    const endSeq = map.getUint32(at + RUN_END, true);
    if (
      map.getUint32(at + CONNECTION_OFFSETS.generation, true) !== query.generation ||
      map.getUint8(at + CONNECTION_OFFSETS.direction) !== query.direction ||
      this.#time(at + RUN_FIRST) !== query.runFirstNs
    ) {
      return true;
    }
    const hasTail = map.getUint32(at + CONNECTION_OFFSETS.tail + 4, true) !== 0;
    if (endSeq === query.knownSeq && !hasTail) return true;
    this.#write(query, at, endSeq, nowNs);
    // Asked last: whoever moves the run meanwhile says when before all else.
    if (this.#time(at + RUN_LAST) > query.handedNs) this.length -= ProgressEventCursor.SIZE;
    return true;
  }

  #time(at: number): number {
    return this.#map.getUint32(at, true) + this.#map.getUint32(at + 4, true) * 4294967296;
  }

  #write(query: ProgressQuery, at: number, endSeq: number, nowNs: number): void {
    const out = this.view;
    const to = this.length;
    const o = PROGRESS_EVENT_OFFSETS;
    this.bytes.fill(0, to, to + ProgressEventCursor.SIZE);
    out.setUint32(to, nowNs % 4294967296, true);
    out.setUint32(to + 4, Math.floor(nowNs / 4294967296), true);
    out.setUint32(to + EVENT_HEADER_OFFSETS.size, ProgressEventCursor.SIZE, true);
    out.setUint16(to + EVENT_HEADER_OFFSETS.kind, EVENT_PROGRESS, true);
    this.#copy64(at + RUN_LAST, to + o.lastNs);
    this.#copy64(at + RUN_BYTES, to + o.bytes);
    this.#copy64(at + CONNECTION_OFFSETS.tail, to + o.tail);
    for (let word = 0; word < TCP_BYTES; word += 8) this.#copy64(at + CONNECTION_OFFSETS.tcp + word, to + o.tcp + word);
    this.#copy64(at + CONNECTION_OFFSETS.lost, to + o.lost);
    out.setUint32(to + o.slot, query.slot, true);
    out.setUint32(to + o.generation, query.generation, true);
    out.setUint32(to + o.endSeq, endSeq, true);
    out.setUint32(to + o.calls, this.#map.getUint32(at + RUN_CALLS, true), true);
    out.setUint8(to + o.direction, query.direction);
    this.length += ProgressEventCursor.SIZE;
  }

  #copy64(from: number, to: number): void {
    this.view.setUint32(to, this.#map.getUint32(from, true), true);
    this.view.setUint32(to + 4, this.#map.getUint32(from + 4, true), true);
  }
}
