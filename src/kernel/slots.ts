// Slots of the kernel's `connections` map, as user space has a say in them: verdicts, and the end of tenants of whose end the kernel has
// no event. In: a slot and its generation, which is the tenant; what is said of another one is ignored.
import { CONNECTION_OFFSETS, CONNECTION_TLS, ROLE_CLIENT } from '../records/records.gen.js';
import { type ConnectionView, connectionAt } from './connection-map.js';
import type { Host, ObjectHandle } from './host.js';

/** Stacks have no keys. */
const EMPTY_KEY = new Uint8Array(0);
/** In struct event_lost. */
const LOST_INGRESS = 4;
const LOST_EGRESS = 6;

interface Tenant {
  readonly slot: number;
  readonly generation: number;
}

export class Slots {
  readonly #host: Host;
  readonly #maps: ObjectHandle;
  readonly #connections: ConnectionView;
  #evicted: Tenant[] = [];
  #reclaimable: Tenant[] = [];
  #untold = 0;
  readonly #slotKey = new Uint8Array(4);
  readonly #slotView = new DataView(this.#slotKey.buffer);
  readonly #socketKey = new Uint8Array(8);
  readonly #socketView = new DataView(this.#socketKey.buffer);

  constructor(host: Host, maps: ObjectHandle, connections: ConnectionView) {
    this.#host = host;
    this.#maps = maps;
    this.#connections = connections;
  }

  /** Requests of evicted connections that no record has told of. */
  get untold(): number {
    return this.#untold;
  }

  /** User space's word on a connection; ignored if the slot has a new tenant. */
  setVerdict(slot: number, generation: number, verdict: number): void {
    const at = connectionAt(slot);
    const view = this.#connections.viewOf(slot);
    if (view.getUint32(at + CONNECTION_OFFSETS.generation, true) !== generation) return;
    view.setUint32(at + CONNECTION_OFFSETS.verdict, verdict, true);
  }

  /** Bytes that a connection has moved; null if the slot has another tenant. */
  bytesOf(slot: number, generation: number): { readonly ingress: number; readonly egress: number } | null {
    const at = connectionAt(slot);
    const view = this.#connections.viewOf(slot);
    if (view.getUint32(at + CONNECTION_OFFSETS.generation, true) !== generation) return null;
    const read = (offset: number): number =>
      view.getUint32(at + offset, true) + view.getUint32(at + offset + 4, true) * 4294967296;
    return { ingress: read(CONNECTION_OFFSETS.bytesIngress), egress: read(CONNECTION_OFFSETS.bytesEgress) };
  }

  /**
   * Takes back the slot of a unix socket or of a TLS session whose process has ended: the kernel has no event for that.
   * Who deletes the entry in `sockets` ends the tenancy (bpf/connection.h); the slot is freed by `reclaim` when no program
   * can still be using it.
   */
  evict(slot: number, generation: number): void {
    const at = connectionAt(slot);
    const view = this.#connections.viewOf(slot);
    if (view.getUint32(at + CONNECTION_OFFSETS.generation, true) !== generation) return;
    const isSession = (view.getUint16(at + CONNECTION_OFFSETS.flags, true) & CONNECTION_TLS) !== 0;
    if (isSession) {
      this.#socketView.setUint32(0, slot, true);
      this.#socketView.setUint32(4, generation, true);
    } else this.#socketView.setBigUint64(0, view.getBigUint64(at + CONNECTION_OFFSETS.sk, true), true);
    if (!this.#host.mapDelete(this.#maps, 'sockets', this.#socketKey)) return;
    // From here on no program finds it by its socket (connection_find). It stays counted in `socket_hints`: a look too many.
    if (!isSession) view.setBigUint64(at + CONNECTION_OFFSETS.sk, 0n, true);
    this.#evicted.push({ slot, generation });
  }

  /** Frees the slots that were evicted before the last call: to be called at intervals of milliseconds. */
  reclaim(): void {
    for (const { slot, generation } of this.#reclaimable) {
      const at = connectionAt(slot);
      const view = this.#connections.viewOf(slot);
      this.#untold += untoldRequests(view, at);
      view.setBigUint64(at + CONNECTION_OFFSETS.sk, 0n, true);
      view.setUint32(at + CONNECTION_OFFSETS.generation, generation + 1, true);
      this.#slotView.setUint32(0, slot, true);
      this.#host.mapSet(this.#maps, 'free_slots', EMPTY_KEY, this.#slotKey);
    }
    this.#reclaimable = this.#evicted;
    this.#evicted = [];
  }
}

/** As connection_end of bpf/connection.h counts them. */
function untoldRequests(view: DataView, at: number): number {
  const isClient = view.getUint8(at + CONNECTION_OFFSETS.role) === ROLE_CLIENT;
  const lost = view.getUint16(at + CONNECTION_OFFSETS.lost + (isClient ? LOST_EGRESS : LOST_INGRESS), true);
  return (lost - view.getUint16(at + CONNECTION_OFFSETS.toldRequests, true)) & 0xffff;
}
