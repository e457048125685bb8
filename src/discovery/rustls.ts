// Where rustls is probed (bpf/tls_rust.bpf.c), which is always linked into an executable: by the symbols that release builds keep
// unless they are stripped. Names are mangled, end in a hash or have it within, and generic functions are there once for
// each use of them. In: an executable. Out: places by program, null if there is no rustls in it, a reason if its functions
// cannot be found.
import type { Executable, FoundSymbol } from './executable.js';
import { type Architecture, entrySiteOf, returnsOf } from './instructions.js';

/** Parts of a connection's life, as functions of rustls 0.20 to 0.23. */
type Part = 'write' | 'vectored' | 'send' | 'receive' | 'taken' | 'reader' | 'old reader';

/** By the legacy mangling and by that of RFC 2603 (v0), which writes the last names of a path as they are. */
const NAMES: readonly (readonly [RegExp, Part])[] = [
  [/PlaintextSink(\$GT\$)?5write(17h|[BC]|$)/, 'write'],
  [/PlaintextSink(\$GT\$)?14write_vectored(17h|[BC]|$)/, 'vectored'],
  [/6vecbuf\w*14ChunkVecBuffer8write_to(17h|[BC]|$)/, 'send'],
  [/8deframer\w*(15MessageDeframer|17DeframerVecBuffer)4read(17h|[BC]|$)/, 'receive'],
  [/12common_state\w*11CommonState23take_received_plaintext(17h|[BC]|$)/, 'taken'],
  [/rustls\.\.conn\.\.connection\.\.Reader\$u20\$as\$u20\$std\.\.io\.\.Read\$GT\$4read17h/, 'reader'],
  [/rustls\.\.conn\.\.Reader\$u20\$as\$u20\$std\.\.io\.\.Read\$GT\$4read17h/, 'old reader'],
  [/^_RNvX.*6rustls4conn10connection\w*6Reader.*4Read4read([BC]|$)/, 'reader'],
  [/^_RNvX.*6rustls4conn\w*6Reader.*4Read4read([BC]|$)/, 'old reader'],
];
/** One of them is in every name above. */
const WORDS = [
  'PlaintextSink',
  'ChunkVecBuffer8write_to',
  '15MessageDeframer4read',
  '17DeframerVecBuffer4read',
  'take_received_plaintext',
  'conn..Reader',
  'connection..Reader',
  '6Reader',
] as const;
const CODE_MAX_BYTES = 65536;
const PROLOGUE_BYTES = 64;

export type RustlsPlaces = ReadonlyMap<string, readonly number[]>;

export function rustlsPlaces(executable: Executable, architecture: Architecture): RustlsPlaces | string | null {
  const parts = new Map<Part, FoundSymbol[]>();
  for (const symbol of executable.staticSymbolsWith(WORDS, partOf)) {
    const known = parts.get(symbol.name as Part) ?? [];
    if (!known.some(({ offset }) => offset === symbol.offset)) parts.set(symbol.name as Part, [...known, symbol]);
  }
  if (parts.size === 0) return null;
  const of = (...names: Part[]) => names.flatMap(name => parts.get(name) ?? []);
  // What a reader gives out was taken before where that is seen, but for copies of the library in which it is not.
  const readers = of('taken').length === 0 ? of('reader', 'old reader') : [];
  const olderToo = of('taken').length > 0 && of('taken').length < of('send').length ? of('old reader') : [];
  const reads = [...readers, ...olderToo];
  for (const [what, found] of [
    ['encrypts', of('write')],
    ['sends records', of('send')],
    ['receives records', of('receive')],
    ['gives out plaintext', [...of('taken'), ...reads]],
  ] as const) {
    if (found.length === 0) return `no function was found by which rustls ${what}: the compiler has inlined it`;
  }
  const returns = (symbols: readonly FoundSymbol[]) =>
    symbols.map(symbol => returnsIn(executable, symbol, architecture));
  const entries = (symbols: readonly FoundSymbol[]) => symbols.map(symbol => entryIn(executable, symbol, architecture));
  const places = new Map<string, number[]>();
  for (const [program, found] of [
    ['rust_write_return', returns(of('write', 'vectored'))],
    ['rust_sent_return', returns(of('send'))],
    ['rust_read_return', returns(of('receive'))],
    ['rust_reader_return', returns(reads)],
  ] as const) {
    if (found.some(one => one === null)) return 'the code of a function of rustls cannot be walked to its returns';
    if (found.length > 0) places.set(program, found.flat() as number[]);
  }
  for (const [program, found] of [
    ['rust_carry_enter', entries(of('send', 'receive'))],
    ['rust_write_enter', entries(of('write'))],
    ['rust_vectored_enter', entries(of('vectored'))],
    ['rust_taken_enter', entries(of('taken'))],
    ['rust_reader_enter', entries(reads)],
  ] as const) {
    if (found.length > 0) places.set(program, found);
  }
  return places;
}

/** Which part of a connection's life a function is, '' for none. */
export function partOf(name: string): string {
  return NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? '';
}

function entryIn(executable: Executable, { offset }: FoundSymbol, architecture: Architecture): number {
  return offset + Math.max(0, entrySiteOf(executable.read(offset, PROLOGUE_BYTES), architecture, false));
}

/** Where a function returns; null if that cannot be told. */
function returnsIn(executable: Executable, symbol: FoundSymbol, architecture: Architecture): number[] | null {
  const code = executable.read(symbol.offset, Math.min(symbol.size, CODE_MAX_BYTES));
  const returns = returnsOf(code, architecture);
  return returns === null || returns.length === 0 ? null : returns.map(at => symbol.offset + at);
}
