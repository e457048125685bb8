// Where greenlets are made, switched to and end (bpf/greenlet.bpf.c), and where gevent has its hub run something. In: a module. Out:
// places by program, in the order in which they are to be probed. greenlet exports its C++ functions, from 2.0 on; the method of gevent's
// loop in C is found by the table that has it (libev; where the loop is libuv's, it is written in Python).
import type { Executable, FoundSymbol } from './executable.js';
import type { Architecture } from './instructions.js';
import { Pointers } from './pointers.js';
import { entryOf, methodsIn, type TaskPlace } from './python-tasks.js';

const MADE =
  '_ZN8greenlet12UserGreenletC1EP9_greenletNS_4refs17_BorrowedGreenletIS1_XadL_ZNS3_15GreenletCheckerEPvEEEE';
const ENDED = '_ZN8greenlet11PythonState10did_finishEP3_ts';
const SWITCHED = '_ZN8greenlet8Greenlet21g_switchstack_successEv';
const LOOP_MODULE = 'PyInit_corecext';
const SCHEDULES = 'run_callback';
export const GREENLET_SYMBOLS: readonly string[] = [MADE, ENDED, SWITCHED, LOOP_MODULE];

/** Empty: it is neither. */
export function greenletPlaces(
  executable: Executable,
  symbols: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): readonly TaskPlace[] {
  if (symbols.has(LOOP_MODULE)) {
    const functions = methodsIn(executable, new Pointers(executable), [SCHEDULES]);
    const offsets = functions.map(offset => entryOf(executable, offset, architecture, false));
    return offsets.length === 0 ? [] : [{ program: 'greenlet_schedules', offsets, isReturn: false }];
  }
  const [made, ended, switched] = [MADE, ENDED, SWITCHED].map(name => symbols.get(name));
  if (made === undefined || switched === undefined) return [];
  return [
    // First: what was started must not be taken for another one that was there.
    { program: 'greenlet_made', offsets: [made.offset], isReturn: false },
    ...(ended === undefined ? [] : [{ program: 'greenlet_ended', offsets: [ended.offset], isReturn: false }]),
    { program: 'greenlet_switched', offsets: [switched.offset], isReturn: false },
  ];
}
