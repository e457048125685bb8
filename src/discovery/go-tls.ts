// Where Go's crypto/tls is probed (bpf/tls_go.bpf.c): entries behind the stack check, and every RET of Read and Write. In: a Go
// program. Out: places by program, null if the program has no crypto/tls, a reason if it cannot be probed.
import type { Executable, FoundSymbol } from './executable.js';
import { goFunctions } from './go-functions.js';
import { type Architecture, goEntryOf, returnsOf } from './instructions.js';

const READ = 'crypto/tls.(*Conn).Read';
const WRITE = 'crypto/tls.(*Conn).Write';
const ENTRIES: Readonly<Record<string, string>> = {
  [READ]: 'go_read_enter',
  [WRITE]: 'go_write_enter',
  'crypto/tls.(*Conn).clientHandshake': 'go_handshake_enter',
  'crypto/tls.(*Conn).serverHandshake': 'go_handshake_enter',
  'crypto/tls.(*Conn).Close': 'go_close_enter',
};
const CODE_MAX_BYTES = 65536;

export type GoPlaces = ReadonlyMap<string, readonly number[]>;

export function goTlsPlaces(executable: Executable, architecture: Architecture): GoPlaces | string | null {
  const functions = goFunctions(executable, Object.keys(ENTRIES));
  const read = functions.get(READ);
  const write = functions.get(WRITE);
  if (read === undefined || write === undefined) return null;
  const places = new Map<string, number[]>();
  for (const [program, { offset, size, name }] of [
    ['go_read_return', read],
    ['go_write_return', write],
  ] as const) {
    const returns = returnsOf(codeOf(executable, { offset, size, name }), architecture);
    if (returns === null || returns.length === 0) return `the code of ${name} cannot be walked to its returns`;
    places.set(
      program,
      returns.map(at => offset + at),
    );
  }
  for (const [name, program] of Object.entries(ENTRIES)) {
    const symbol = functions.get(name);
    if (symbol === undefined) continue;
    const place = symbol.offset + goEntryOf(codeOf(executable, symbol), architecture);
    places.set(program, [...(places.get(program) ?? []), place]);
  }
  return places;
}

function codeOf(executable: Executable, { offset, size }: FoundSymbol): Buffer {
  return executable.read(offset, Math.min(size, CODE_MAX_BYTES));
}
