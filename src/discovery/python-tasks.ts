// Where asyncio's tasks are followed (bpf/python.bpf.c): where the interpreter runs, copies and frees contexts, and where futures are
// set. Neither has exported functions for all of that, but types and tables of methods that lead to them, also when stripped.
// In: an executable or a library. Out: places by program, in the order in which they are to be probed.
// Layout (CPython's object.h, methodobject.h, cpython/object.h; the same from 3.7 on, but for free-threaded builds, whose
// objects have another head): PyTypeObject has tp_basicsize at 32, tp_dealloc at 48, tp_weaklistoffset at 208, tp_methods at 232;
// PyMethodDef is a name, a function, an int and a text.
import type { Executable, FoundSymbol } from './executable.js';
import { type Architecture, entrySiteOf } from './instructions.js';
import { Pointers } from './pointers.js';

const COPY = 'PyContext_CopyCurrent';
const ENTER = 'PyContext_Enter';
const CONTEXT_TYPE = 'PyContext_Type';
const RUN = 'run';
/** How a module of asyncio's own types begins. */
const MODULE = 'PyInit__asyncio';
const SETTERS = ['set_result', 'set_exception'] as const;
/** How uvloop begins, and what its streams are written with; other types of it have methods of these names, too. */
const UV_MODULE = 'PyInit_loop';
const UV_TYPE = 'uvloop.loop.Handle';
const WRITERS = ['write', 'writelines'] as const;
export const TASK_SYMBOLS: readonly string[] = [COPY, ENTER, MODULE, UV_MODULE];

const BASIC_SIZE_AT = 32;
const DEALLOC_AT = 48;
const WEAK_LIST_AT = 208;
const METHODS_AT = 232;
const METHOD_BYTES = 32;
const METHODS_MAX = 64;
/** sizeof(PyContext) and the offset of its ctx_weakreflist: bpf/python.h rests on them. */
const CONTEXT_BYTES = 48;
const CONTEXT_WEAK_LIST = 32;
const PROLOGUE_BYTES = 64;
const NAME_MAX_BYTES = 16;

export interface TaskPlace {
  readonly program: string;
  readonly offsets: readonly number[];
  readonly isReturn: boolean;
}

/** null if it is neither an interpreter nor asyncio's module; a reason if it cannot be probed. */
export function taskPlaces(
  executable: Executable,
  symbols: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): readonly TaskPlace[] | string | null {
  const copy = symbols.get(COPY);
  const hasModule = symbols.has(MODULE);
  const mayBeUv = symbols.has(UV_MODULE);
  if (copy === undefined && !hasModule && !mayBeUv) return null;
  const pointers = new Pointers(executable);
  if (mayBeUv && copy === undefined) return writePlaces(executable, pointers, architecture);
  const contexts =
    copy === undefined ? [] : contextPlaces(executable, pointers, copy, symbols.get(ENTER), architecture);
  if (typeof contexts === 'string') return contexts;
  const futures = hasModule ? futurePlaces(executable, pointers, architecture) : [];
  return typeof futures === 'string' ? futures : [...futures, ...contexts];
}

function contextPlaces(
  executable: Executable,
  pointers: Pointers,
  copy: FoundSymbol,
  enter: FoundSymbol | undefined,
  architecture: Architecture,
): readonly TaskPlace[] | string {
  const type = executable.dynamicAddress(CONTEXT_TYPE);
  if (type === 0) return `${CONTEXT_TYPE} was not found`;
  if (pointers.at(type + BASIC_SIZE_AT) !== CONTEXT_BYTES || pointers.at(type + WEAK_LIST_AT) !== CONTEXT_WEAK_LIST)
    return 'contexts have a layout that is not known';
  const free = executable.offsetOf(pointers.at(type + DEALLOC_AT));
  const run = executable.offsetOf(methodOf(executable, pointers, pointers.at(type + METHODS_AT), RUN));
  if (!executable.isCode(free) || !executable.isCode(run)) return `the functions of ${CONTEXT_TYPE} were not found`;
  const entry = (offset: number) => entryOf(executable, offset, architecture, false);
  return [
    // First: who was at a request must not be taken for whoever is there next.
    { program: 'python_freed', offsets: [entry(free)], isReturn: false },
    { program: 'python_copied', offsets: [entryOf(executable, copy.offset, architecture, true)], isReturn: true },
    { program: 'python_run', offsets: [entry(run)], isReturn: false },
    ...(enter === undefined ? [] : [{ program: 'python_entered', offsets: [entry(enter.offset)], isReturn: false }]),
  ];
}

/** Modules of other packages are called `loop`, too. */
function writePlaces(executable: Executable, pointers: Pointers, architecture: Architecture): TaskPlace[] | null {
  if (pointers.toText(UV_TYPE).length === 0) return null;
  const offsets = methodsIn(executable, pointers, WRITERS, true).map(offset =>
    entryOf(executable, offset, architecture, false),
  );
  return offsets.length === 0 ? null : [{ program: 'uvloop_write', offsets, isReturn: false }];
}

function futurePlaces(
  executable: Executable,
  pointers: Pointers,
  architecture: Architecture,
): readonly TaskPlace[] | string {
  const functions = methodsIn(executable, pointers, SETTERS);
  if (functions.length === 0) return 'the functions of futures were not found';
  const offsets = functions.map(offset => entryOf(executable, offset, architecture, false));
  return [{ program: 'python_future_set', offsets, isReturn: false }];
}

/** Where the functions are that any table has as methods of these names. */
export function methodsIn(
  executable: Executable,
  pointers: Pointers,
  names: readonly string[],
  isTail = false,
): number[] {
  const functions = names
    .flatMap(name => pointers.toText(name, isTail))
    .map(place => executable.offsetOf(pointers.at(place + 8)))
    .filter(offset => executable.isCode(offset));
  return [...new Set(functions)];
}

/** The function of a method, by the type's table; 0 if it has none of that name. */
function methodOf(executable: Executable, pointers: Pointers, table: number, name: string): number {
  for (let at = table; at < table + METHODS_MAX * METHOD_BYTES; at += METHOD_BYTES) {
    const nameAt = pointers.at(at);
    if (nameAt === 0) break;
    const text = executable.read(executable.offsetOf(nameAt), NAME_MAX_BYTES).toString('latin1');
    if (text.startsWith(`${name}\0`)) return pointers.at(at + 8);
  }
  return 0;
}

export function entryOf(
  executable: Executable,
  offset: number,
  architecture: Architecture,
  hasReturn: boolean,
): number {
  return offset + Math.max(0, entrySiteOf(executable.read(offset, PROLOGUE_BYTES), architecture, hasReturn));
}
