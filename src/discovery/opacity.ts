// Why TLS of a process is not read, and which library it is, as far as that can be told: from the names of files that it has
// mapped, or from texts that a library leaves in an executable that it is linked into, stripped or not.
import type { Executable } from './executable.js';

/** `underspan.tls.opaque.reason`. */
export const NOT_LOOKED_AT = 'process_not_inspected';
export const NO_LIBRARY = 'library_unknown';
/** It is known, and there is no way to its plaintext. */
export const NO_WAY = 'library_not_supported';
/** The library could be read if its functions could be found. */
export const STRIPPED = 'symbols_stripped';
export const REFUSED = 'probe_refused';
/** The library is read, but of this connection no plaintext was seen, or its session could not be bound to it. */
export const NOT_BOUND = 'session_not_seen';

export const UNKNOWN = 'unknown';

export const OPACITY_REASONS = [NOT_LOOKED_AT, NO_LIBRARY, NO_WAY, STRIPPED, REFUSED, NOT_BOUND, UNKNOWN] as const;
export type OpacityReason = (typeof OPACITY_REASONS)[number];

export interface Opacity {
  readonly reason: OpacityReason;
  /** '' if it is not known. */
  readonly library: string;
}

const FILES: readonly (readonly [RegExp, Opacity])[] = [
  [/\/libjvm\.so$/, { reason: NO_WAY, library: 'java' }],
  [/\/lib(ssl3|nss3)\.so$/, { reason: NO_WAY, library: 'nss' }],
  [/\/libmbedtls\.so/, { reason: NO_WAY, library: 'mbedtls' }],
  [/\/libwolfssl\.so/, { reason: NO_WAY, library: 'wolfssl' }],
  [/\/libs2n\.so/, { reason: NO_WAY, library: 's2n' }],
  [/\/libbotan-\d\.so/, { reason: NO_WAY, library: 'botan' }],
  [/\/lib(netty_tcnative|conscrypt)[^/]*\.so/, { reason: STRIPPED, library: 'boringssl' }],
];

/** Names of source files, which errors and panics refer to. */
const TEXTS: readonly (readonly [string, Opacity])[] = [
  ['/rustls-0.', { reason: STRIPPED, library: 'rustls' }],
  ['/rustls/src/', { reason: STRIPPED, library: 'rustls' }],
  ['ssl/ssl_lib.cc', { reason: STRIPPED, library: 'boringssl' }],
  ['ssl/ssl_lib.c\0', { reason: STRIPPED, library: 'openssl' }],
];
const TEXT_MAX_BYTES = 16;
const FILE_MAX_BYTES = 256 << 20;
const PIECE_BYTES = 1 << 20;

/** What the name of a mapped file tells; null if nothing. */
export function opacityOfFile(path: string): Opacity | null {
  return FILES.find(([pattern]) => pattern.test(path.replace(/ \(deleted\)$/, '')))?.[1] ?? null;
}

/** What an executable that speaks TLS has in it; null if nothing that is known. Reads up to all of it. */
export function opacityIn(executable: Executable): Opacity | null {
  for (let offset = 0; offset < FILE_MAX_BYTES; offset += PIECE_BYTES - TEXT_MAX_BYTES) {
    const piece = executable.read(offset, PIECE_BYTES);
    for (const [text, opacity] of TEXTS) if (piece.includes(text, 0, 'latin1')) return opacity;
    if (piece.length < PIECE_BYTES) break;
  }
  return null;
}
