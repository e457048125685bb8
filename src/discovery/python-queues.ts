// Where Python's queues are filled and emptied, and locks of futures taken (bpf/python_queue.bpf.c): methods of `_queue.SimpleQueue`, of
// `collections.deque`, of bytearray and of `threading.RLock`, found by the tables that hold them, in the interpreter or in modules of their own, stripped or not.
// What `buffer += bytes` and `del buffer[:n]` call has no name: the type's tables of operators have it.
// In: an executable or a library. Out: places by program, in the order in which they are to be probed.
// Layout of a PyMethodDef (CPython's methodobject.h): a name, a function, an int and a text. PyTypeObject (cpython/object.h) has
// tp_as_sequence at 104, tp_as_mapping at 112; in those are sq_inplace_concat at 64, mp_ass_subscript at 16. A type that is made when its
// module is loaded has a table of PyType_Slot instead (object.h, typeslots.h): an int and what it is for, Py_tp_methods 64, Py_tp_dealloc
// 52; else tp_dealloc is 184 bytes before tp_methods.
import type { Executable } from './executable.js';
import { type Architecture, entrySiteOf } from './instructions.js';
import { Pointers } from './pointers.js';
import type { TaskPlace } from './python-tasks.js';

export const QUEUE_MODULE = 'PyInit__queue';
/** What has them as a part of it: an interpreter, or a module. */
const INTERPRETER_SYMBOLS = ['PyContext_CopyCurrent', 'PyInit__collections'] as const;
/** Methods that no other type has: they lead to the table. */
const OF_SIMPLE_QUEUE = 'get_nowait';
const OF_DEQUE = 'popleft';
const OF_BUFFER = '__alloc__';
const OF_LOCK = '_is_owned';
const BUFFER_TYPE = 'PyByteArray_Type';
/** `+=` and `del`. */
const ADDS = '+=';
const DELETES = 'del';
/** What ends an object. */
const FREED = 'free';
const ADDS_AT = [104, 64] as const;
const DELETES_AT = [112, 16] as const;
const METHOD_BYTES = 32;
const METHODS_MAX = 64;
const NAME_MAX_BYTES = 16;
const PROLOGUE_BYTES = 64;
const SLOT_BYTES = 16;
const SLOTS_MAX = 16;
const SLOT_METHODS = 64;
const SLOT_DEALLOC = 52;
const DEALLOC_BEFORE_METHODS = 184;

/** How executors hand work to their threads. */
export function executorPlaces(executable: Executable, architecture: Architecture): readonly TaskPlace[] {
  const { methods } = tableWith(executable, new Pointers(executable), OF_SIMPLE_QUEUE);
  const got = offsetsOf(executable, methods, ['get', 'get_nowait'], architecture, true);
  const put = offsetsOf(executable, methods, ['put', 'put_nowait'], architecture, false);
  if (got.length === 0 || put.length === 0) return [];
  return [
    { program: 'python_queue_got', offsets: got, isReturn: true },
    { program: 'python_queue_get', offsets: got, isReturn: false },
    { program: 'python_queue_put', offsets: put, isReturn: false },
  ];
}

export function queuePlaces(executable: Executable, architecture: Architecture): readonly TaskPlace[] {
  if (executable.dynamicSymbols(INTERPRETER_SYMBOLS).size === 0) return [];
  const pointers = new Pointers(executable);
  const deque = tableWith(executable, pointers, OF_DEQUE).methods;
  const buffer = new Map([...tableWith(executable, pointers, OF_BUFFER).methods, ...operatorsOf(executable, pointers)]);
  const lock = tableWith(executable, pointers, OF_LOCK);
  const lockFreed = new Map([[FREED, freeOf(executable, pointers, lock.address)]]);
  const place = (program: string, methods: ReadonlyMap<string, number>, names: readonly string[]): TaskPlace => ({
    program,
    offsets: offsetsOf(executable, methods, names, architecture, false),
    isReturn: false,
  });
  const pairs = [
    [place('python_deque_popleft', deque, ['popleft']), place('python_deque_append', deque, ['append'])],
    [place('python_buffer_find', buffer, ['find', DELETES]), place('python_buffer_extend', buffer, ['extend', ADDS])],
    [
      place('python_lock_freed', lockFreed, [FREED]),
      place('python_lock_taken', lock.methods, ['acquire', '__enter__', '_acquire_restore']),
      place('python_deque_remove', deque, ['remove']),
    ],
  ];
  return pairs.filter(pair => pair.every(({ offsets }) => offsets.length > 0)).flat();
}

/** Where the operators of bytearray are, by names that no method has. */
function operatorsOf(executable: Executable, pointers: Pointers): ReadonlyMap<string, number> {
  const type = executable.dynamicAddress(BUFFER_TYPE);
  const operators = new Map<string, number>();
  if (type === 0) return operators;
  for (const [name, [tableAt, at]] of [
    [ADDS, ADDS_AT],
    [DELETES, DELETES_AT],
  ] as const) {
    const table = pointers.at(type + tableAt);
    const offset = table === 0 ? 0 : executable.offsetOf(pointers.at(table + at));
    if (executable.isCode(offset)) operators.set(name, offset);
  }
  return operators;
}

interface MethodTable {
  /** 0: there is none. */
  readonly address: number;
  /** Where the functions are, by their names. */
  readonly methods: ReadonlyMap<string, number>;
}

/** The table that has a method of this name. */
function tableWith(executable: Executable, pointers: Pointers, name: string): MethodTable {
  for (const place of pointers.toText(name)) {
    const methods = new Map<string, number>();
    const isMethod = (at: number) => pointers.at(at) !== 0 && executable.isCode(offsetAt(at));
    const offsetAt = (at: number) => executable.offsetOf(pointers.at(at + 8));
    let address = place;
    for (let left = METHODS_MAX; left > 0 && isMethod(address - METHOD_BYTES); left--) address -= METHOD_BYTES;
    let at = address;
    for (let left = METHODS_MAX; left > 0 && isMethod(at); left--, at += METHOD_BYTES) {
      const text = executable.read(executable.offsetOf(pointers.at(at)), NAME_MAX_BYTES).toString('latin1');
      methods.set(text.split('\0', 1)[0] as string, offsetAt(at));
    }
    if (methods.has(name)) return { address, methods };
  }
  return { address: 0, methods: new Map() };
}

/** What frees objects of the type that has this table of methods; 0: it was not found. */
function freeOf(executable: Executable, pointers: Pointers, methods: number): number {
  if (methods === 0) return 0;
  for (const place of pointers.toAddress(methods)) {
    const slot = (at: number) => executable.read(executable.offsetOf(at), 4).readUInt32LE();
    const isSlots = executable.offsetOf(place - 8) > 0 && slot(place - 8) === SLOT_METHODS;
    const first = place - 8 - SLOTS_MAX * SLOT_BYTES;
    let free = isSlots ? 0 : pointers.at(place - DEALLOC_BEFORE_METHODS);
    for (let at = place - 8; isSlots && at >= first && free === 0; at -= SLOT_BYTES)
      if (slot(at) === SLOT_DEALLOC) free = pointers.at(at + 8);
    for (let at = place - 8; isSlots && at < place + SLOTS_MAX * SLOT_BYTES && free === 0; at += SLOT_BYTES)
      if (slot(at) === SLOT_DEALLOC) free = pointers.at(at + 8);
    const offset = free === 0 ? 0 : executable.offsetOf(free);
    if (executable.isCode(offset)) return offset;
  }
  return 0;
}

function offsetsOf(
  executable: Executable,
  methods: ReadonlyMap<string, number>,
  names: readonly string[],
  architecture: Architecture,
  hasReturn: boolean,
): number[] {
  const offsets = names.flatMap(name => methods.get(name) || []);
  const sites = offsets.map(
    offset => offset + Math.max(0, entrySiteOf(executable.read(offset, PROLOGUE_BYTES), architecture, hasReturn)),
  );
  return [...new Set(sites)];
}
