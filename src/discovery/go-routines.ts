// Where goroutines are followed (bpf/goroutine.bpf.c): where one starts another, and where a request is handed to a connection
// of net/http's pool. In: functions of a Go program. Out: places by program, in the order in which they are to be probed, or a
// reason: with some of them only, calls would be put down to the wrong request.
import type { Executable, FoundSymbol } from './executable.js';
import { entryIn, type GoPlaces, returnsIn } from './go-functions.js';
import type { Architecture } from './instructions.js';

const START = 'runtime.newproc1';
const ROUND_TRIP = 'net/http.(*persistConn).roundTrip';
export const ROUTINE_FUNCTIONS: readonly string[] = [START, ROUND_TRIP];

export function goRoutinePlaces(
  executable: Executable,
  functions: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): GoPlaces | string {
  const start = functions.get(START);
  if (start === undefined) return `${START} was not found`;
  const returns = returnsIn(executable, start, architecture);
  if (returns === null) return `the code of ${START} cannot be walked to its returns`;
  const places = new Map<string, readonly number[]>();
  const roundTrip = functions.get(ROUND_TRIP);
  // First: a goroutine that writes for others must not be known before those who hand requests to it are.
  if (roundTrip !== undefined) places.set('go_round_trip', [entryIn(executable, roundTrip, architecture)]);
  places.set('go_start_return', returns);
  places.set('go_start_enter', [entryIn(executable, start, architecture)]);
  return places;
}
