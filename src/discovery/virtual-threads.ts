// Where HotSpot keeps which virtual thread runs on a thread (bpf/virtual_thread.h). It tells tools that debug it where the fields of its
// objects lie, in a table that it exports, `gHotSpotVMStructs`: the names are in the file, the offsets are there once it runs. In: a
// library. Out: addresses at which the kernel side finds them in a process.
// Layout of an entry (vmStructs.hpp): names of the type, the field and the field's type, whether it is static, the offset, the address.
import { readFileSync } from 'node:fs';
import type { Executable } from './executable.js';
import { Pointers } from './pointers.js';

const TABLE = 'gHotSpotVMStructs';
const ENTRY_BYTES = 48;
const OFFSET_AT = 32;
const ADDRESS_AT = 40;
const ENTRIES_MAX = 4096;
const NAME_MAX_BYTES = 64;
/** The offset of java.lang.Thread's id is in no table. */
const ID_OFFSET = '_ZN16java_lang_Thread11_tid_offsetE';

/** By the order of enum java_place (bpf/maps.h): fields, under whichever of their types' names. */
const FIELDS = [
  '_stack_base',
  '_stack_size',
  '_cont_entry',
  '_monitor_owner_id',
  '_vthread',
  '_threadObj',
  '',
  '_is_stw_gc_active',
] as const;
const HEAP = '_collectedHeap';
const TYPES: ReadonlySet<string> = new Set(['JavaThread', 'Thread', 'CollectedHeap', 'Universe']);
const OWNER = 3;
const ID = 6;
/** What is needed of these: from Java 24 on, or before. */
const STACK = [0, 1];
const TOLD = [2, OWNER];
const FOUND = [4, 5, ID, 7, FIELDS.length];

export interface JavaLayout {
  /** Of enum java_place: addresses in the file, 0: it has none. */
  readonly places: readonly number[];
  /** From a byte of code in the file to its address. */
  readonly codeShift: number;
}

/** null: it has no virtual threads, or does not tell enough of them. */
export function javaLayout(executable: Executable): JavaLayout | null {
  const table = executable.dynamicAddress(TABLE);
  const code = executable.section('.text');
  if (table === 0 || code === null) return null;
  const places = fieldPlaces(executable, new Pointers(executable), table);
  places[ID] = executable.staticAddress(ID_OFFSET);
  const has = (wanted: readonly number[]): boolean => wanted.every(place => (places[place] as number) > 0);
  if (!has(STACK) || !(has(TOLD) || has(FOUND))) return null;
  return { places, codeShift: code.address - code.offset };
}

/** Of ZGC, by which a process has its heap, or is told to have it. */
const COLOURED: readonly (readonly [file: string, word: string])[] = [
  ['maps', '/memfd:java_heap'],
  ['cmdline', '+UseZGC'],
  ['environ', '+UseZGC'],
];

/** Before Java 24 an object is found by what leads to it; with ZGC that may lead to where it was, and where another one is by now. */
export function isTraceable(pid: number, { places }: JavaLayout): boolean {
  if ((places[OWNER] as number) > 0) return true;
  return !COLOURED.some(([file, word]) => hasWord(`/proc/${pid}/${file}`, word));
}

function hasWord(file: string, word: string): boolean {
  try {
    return readFileSync(file, 'latin1').includes(word);
  } catch {
    return true; // it cannot be excluded
  }
}

function fieldPlaces(executable: Executable, pointers: Pointers, table: number): number[] {
  const places = new Array<number>(FIELDS.length + 1).fill(0);
  const textAt = (address: number): string => {
    const bytes = executable.read(executable.offsetOf(address), NAME_MAX_BYTES);
    const end = bytes.indexOf(0);
    return bytes.toString('latin1', 0, Math.max(end, 0));
  };
  let entry = pointers.at(table);
  for (let count = 0; count < ENTRIES_MAX; count++, entry += ENTRY_BYTES) {
    const type = pointers.at(entry);
    if (type === 0) break;
    if (!TYPES.has(textAt(type))) continue;
    const field = textAt(pointers.at(entry + 8));
    const place = FIELDS.indexOf(field as (typeof FIELDS)[number]);
    if (field !== '' && place >= 0) places[place] = entry + OFFSET_AT;
    else if (field === HEAP) places[FIELDS.length] = pointers.at(entry + ADDRESS_AT);
  }
  return places;
}
