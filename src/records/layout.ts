// Records of an earlier layout made readable: a recording says where the fields of its records lie, and they are moved to
// where today's readers look for them, by name. In: slabs of the rings as they were recorded. Out: slabs as today's kernel
// side would write them; a field that there was not yet is 0, one that there is no more is left out, a record of an
// unknown kind stays as it is. What cannot be walked is handed on as it is, for the dispatcher to count.
import { RECORD_LAYOUT } from './records.gen.js';

/** A record's fixed part: what follows it (payload, arguments) has no layout. */
export interface StructLayout {
  /** enum event_kind */
  readonly kind: number;
  readonly size: number;
  /** Offset and bytes by field, `prev.calls` for one of a struct inside. */
  readonly fields: Readonly<Record<string, readonly [offset: number, bytes: number]>>;
}

/** By name of the struct. */
export type RecordLayout = Readonly<Record<string, StructLayout>>;

interface Move {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

interface Mapping {
  readonly oldSize: number;
  readonly newSize: number;
  readonly moves: readonly Move[];
}

const STRUCTS_MAX = 256;
const FIELDS_MAX = 512;
/** A record's fixed part, and the ring's header in it, which every layout begins with: time, size, kind. */
const STRUCT_MAX_BYTES = 65536;
const HEADER_BYTES = 16;
const SIZE_AT = 8;
const KIND_AT = 12;

export class LayoutMapper {
  readonly #byKind = new Map<number, Mapping>();

  /** `old` has been checked by `parseLayout`. */
  constructor(old: RecordLayout, current: RecordLayout = RECORD_LAYOUT) {
    for (const [name, { kind, size, fields }] of Object.entries(current)) {
      const before = Object.hasOwn(old, name) ? old[name] : undefined;
      if (before === undefined) continue;
      const moves: Move[] = [];
      for (const [field, [to, bytes]] of Object.entries(fields)) {
        const place = Object.hasOwn(before.fields, field) ? before.fields[field] : undefined;
        if (place !== undefined) moves.push({ from: place[0], to, bytes: Math.min(bytes, place[1]) });
      }
      this.#byKind.set(kind, { oldSize: before.size, newSize: size, moves });
    }
  }

  /** A slab of whole records, each padded to 8 bytes. */
  map(slab: Uint8Array): Uint8Array {
    const view = new DataView(slab.buffer, slab.byteOffset, slab.length);
    const parts: Uint8Array[] = [];
    let at = 0;
    while (at + HEADER_BYTES <= slab.length) {
      const size = view.getUint32(at + SIZE_AT, true);
      if (size < HEADER_BYTES || at + size > slab.length) break;
      const mapping = this.#byKind.get(view.getUint16(at + KIND_AT, true));
      const record = slab.subarray(at, at + size);
      parts.push(mapping === undefined || size < mapping.oldSize ? padded(record) : moved(record, mapping));
      at = Math.min(slab.length, at + ((size + 7) & ~7));
    }
    parts.push(slab.subarray(at));
    return Buffer.concat(parts);
  }
}

function moved(record: Uint8Array, { oldSize, newSize, moves }: Mapping): Uint8Array {
  const size = newSize + record.length - oldSize;
  const out = new Uint8Array((size + 7) & ~7);
  for (const { from, to, bytes } of moves) out.set(record.subarray(from, from + bytes), to);
  out.set(record.subarray(oldSize), newSize);
  new DataView(out.buffer).setUint32(SIZE_AT, size, true);
  return out;
}

function padded(record: Uint8Array): Uint8Array {
  const out = new Uint8Array((record.length + 7) & ~7);
  out.set(record);
  return out;
}

export function isSameLayout(one: RecordLayout, other: RecordLayout): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** A layout out of a file; null if it is none. */
export function parseLayout(value: unknown): RecordLayout | null {
  if (!isObject(value)) return null;
  const entries = Object.entries(value);
  if (entries.length === 0 || entries.length > STRUCTS_MAX) return null;
  return entries.every(([, struct]) => isStruct(struct)) ? (value as unknown as RecordLayout) : null;
}

function isStruct(value: unknown): value is StructLayout {
  if (!isObject(value) || !isObject(value.fields)) return false;
  const { kind, size, fields } = value;
  if (!isWithin(kind, 0, 65535) || !isWithin(size, HEADER_BYTES, STRUCT_MAX_BYTES)) return false;
  const places = Object.values(fields as Readonly<Record<string, unknown>>);
  return places.length <= FIELDS_MAX && places.every(place => isPlace(place, size));
}

function isPlace(value: unknown, structBytes: number): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [offset, bytes] = value as readonly unknown[];
  return isWithin(offset, 0, structBytes) && isWithin(bytes, 1, structBytes - offset);
}

function isWithin(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
