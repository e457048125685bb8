// Which functions of which TLS library get which programs (bpf/tls_*.bpf.c). A file is one of these libraries if it defines
// the functions of `needs`; a function that it does not have is not probed.
export interface LibraryProbe {
  readonly symbol: string;
  readonly enter: string;
  /** '': nothing to learn from its return. */
  readonly exit: string;
  /** Its sibling that returns the size through a pointer: both are covers of one function. */
  readonly sized?: { readonly symbol: string; readonly enter: string };
  /** Ends in this function, where that exists. */
  readonly unless?: string;
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
      {
        symbol: 'SSL_read',
        enter: 'tls_read_enter',
        exit: 'tls_call_exit',
        sized: { symbol: 'SSL_read_ex', enter: 'tls_read_sized_enter' },
      },
      { symbol: 'SSL_read_ex', enter: 'tls_read_sized_enter', exit: 'tls_call_exit' },
      { symbol: 'SSL_read_early_data', enter: 'tls_read_sized_enter', exit: 'tls_call_exit' },
      {
        symbol: 'SSL_write',
        enter: 'tls_write_enter',
        exit: 'tls_call_exit',
        sized: { symbol: 'SSL_write_ex', enter: 'tls_write_sized_enter' },
      },
      { symbol: 'SSL_write_ex', enter: 'tls_write_sized_enter', exit: 'tls_call_exit' },
      { symbol: 'SSL_write_early_data', enter: 'tls_write_sized_enter', exit: 'tls_call_exit' },
      { symbol: 'SSL_sendfile', enter: 'tls_sendfile_enter', exit: 'tls_call_exit' },
      { symbol: 'SSL_do_handshake', enter: 'tls_handshake_enter', exit: 'tls_call_exit' },
      { symbol: 'SSL_free', enter: 'tls_free_enter', exit: '' },
      { symbol: 'SSL_clear', enter: 'tls_free_enter', exit: '' },
      // Where it is linked into the same file; of a shared libcrypto see bufferProbe.
      { symbol: 'BIO_write', enter: 'tls_output_enter', exit: '' },
    ],
  },
  {
    name: 'gnutls',
    needs: ['gnutls_record_recv', 'gnutls_record_send'],
    probes: [
      { symbol: 'gnutls_record_recv', enter: 'tls_read_enter', exit: 'tls_call_exit' },
      { symbol: 'gnutls_record_recv_seq', enter: 'tls_read_enter', exit: 'tls_call_exit' },
      { symbol: 'gnutls_record_recv_early_data', enter: 'tls_read_enter', exit: 'tls_call_exit' },
      { symbol: 'gnutls_record_send', enter: 'tls_write_enter', exit: 'tls_call_exit', unless: 'gnutls_record_send2' },
      { symbol: 'gnutls_record_send2', enter: 'tls_write_enter', exit: 'tls_call_exit' },
      {
        symbol: 'gnutls_record_send_range',
        enter: 'tls_write_enter',
        exit: 'tls_call_exit',
        unless: 'gnutls_record_send2',
      },
      { symbol: 'gnutls_record_send_early_data', enter: 'tls_write_enter', exit: 'tls_call_exit' },
      { symbol: 'gnutls_record_send_file', enter: 'tls_sendfile_enter', exit: 'tls_call_exit' },
      { symbol: 'gnutls_handshake', enter: 'tls_handshake_enter', exit: 'tls_call_exit' },
      { symbol: 'gnutls_deinit', enter: 'tls_free_enter', exit: '' },
    ],
  },
];

/** How ciphertext gets into a buffer that the program itself empties into its socket. */
export const BUFFER_PROBE: LibraryProbe = { symbol: 'BIO_write', enter: 'tls_output_enter', exit: '' };

export const ALL_SYMBOLS: readonly string[] = [
  ...new Set([...TLS_LIBRARIES.flatMap(library => library.probes.map(({ symbol }) => symbol)), BUFFER_PROBE.symbol]),
];
