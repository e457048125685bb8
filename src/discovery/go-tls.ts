// Where Go's crypto/tls is probed (bpf/tls_go.bpf.c): entries behind the stack check, and every RET of Read and Write. In: a Go
// program. Out: places by program, null if the program has no crypto/tls, a reason if it cannot be probed.
import type { Executable, FoundSymbol } from './executable.js';
import { entryIn, type GoPlaces, returnsIn } from './go-functions.js';
import type { Architecture } from './instructions.js';

const READ = 'crypto/tls.(*Conn).Read';
const WRITE = 'crypto/tls.(*Conn).Write';
const ENTRIES: Readonly<Record<string, string>> = {
  [READ]: 'go_read_enter',
  [WRITE]: 'go_write_enter',
  'crypto/tls.(*Conn).clientHandshake': 'go_handshake_enter',
  'crypto/tls.(*Conn).serverHandshake': 'go_handshake_enter',
  'crypto/tls.(*Conn).Close': 'go_close_enter',
};
export const TLS_FUNCTIONS: readonly string[] = Object.keys(ENTRIES);

export function goTlsPlaces(
  executable: Executable,
  functions: ReadonlyMap<string, FoundSymbol>,
  architecture: Architecture,
): GoPlaces | string | null {
  const read = functions.get(READ);
  const write = functions.get(WRITE);
  if (read === undefined || write === undefined) return null;
  const places = new Map<string, number[]>();
  for (const [program, symbol] of [
    ['go_read_return', read],
    ['go_write_return', write],
  ] as const) {
    const returns = returnsIn(executable, symbol, architecture);
    if (returns === null) return `the code of ${symbol.name} cannot be walked to its returns`;
    places.set(program, returns);
  }
  for (const [name, program] of Object.entries(ENTRIES)) {
    const symbol = functions.get(name);
    if (symbol === undefined) continue;
    places.set(program, [...(places.get(program) ?? []), entryIn(executable, symbol, architecture)]);
  }
  return places;
}
