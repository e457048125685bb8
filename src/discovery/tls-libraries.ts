// Which functions of which TLS library get which programs (bpf/tls_*.bpf.c). A file is one of these libraries if it defines
// the functions of `needs`; a function that it does not have is not probed.
export interface LibraryProbe {
  readonly symbol: string;
  readonly enter: string;
  /** '': nothing to learn from its return. */
  readonly exit: string;
}

export interface TlsLibrary {
  readonly name: string;
  readonly needs: readonly string[];
  readonly probes: readonly LibraryProbe[];
}

export const TLS_LIBRARIES: readonly TlsLibrary[] = [
  {
    name: 'openssl',
    needs: ['SSL_read', 'SSL_write'],
    probes: [
      { symbol: 'SSL_read', enter: 'ssl_read_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_read_ex', enter: 'ssl_read_ex_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_read_early_data', enter: 'ssl_read_ex_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_write', enter: 'ssl_write_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_write_ex', enter: 'ssl_write_ex_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_write_early_data', enter: 'ssl_write_ex_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_sendfile', enter: 'ssl_sendfile_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_do_handshake', enter: 'ssl_handshake_enter', exit: 'ssl_call_exit' },
      { symbol: 'SSL_free', enter: 'ssl_free_enter', exit: '' },
      { symbol: 'SSL_clear', enter: 'ssl_free_enter', exit: '' },
      // Where it is linked into the same file; of a shared libcrypto see bufferProbe.
      { symbol: 'BIO_write', enter: 'bio_write_enter', exit: '' },
    ],
  },
];

/** How ciphertext gets into a buffer that the program itself empties into its socket. */
export const BUFFER_PROBE: LibraryProbe = { symbol: 'BIO_write', enter: 'bio_write_enter', exit: '' };

export const ALL_SYMBOLS: readonly string[] = [
  ...new Set([...TLS_LIBRARIES.flatMap(library => library.probes.map(({ symbol }) => symbol)), BUFFER_PROBE.symbol]),
];
