// The attach table: which programs make up which feature, in which ways a feature can be had, and what is lost without
// it. The ways of a group are tried in their order until one loads and attaches; exactly one is attached at a time, so
// that nothing is counted twice. What the kernel refuses costs the way, then the feature, and never the agent, unless the
// group is needed for anything to work at all.

export type WayName = 'fentry' | 'kprobe' | 'syscall' | 'tracepoint' | 'uprobe';

export interface Program {
  readonly name: string;
  /** Left out where the kernel does not have this function: what it does happens elsewhere there. */
  readonly onlyWith?: string;
  /** Loaded with the others, attached to files as they are found (discovery/tls-attacher.ts). */
  readonly isForFiles?: boolean;
}

/** One way to a feature: a set of programs that are attached together. */
export interface Way {
  readonly name: WayName;
  readonly programs: readonly Program[];
}

export interface ProbeGroup {
  readonly name: string;
  readonly ways: readonly Way[];
  /** Without it there are no spans. */
  readonly isRequired: boolean;
  /** What a user loses without it. */
  readonly loss: string;
}

function way(name: WayName, ...programs: readonly (string | Program)[]): Way {
  return { name, programs: programs.map(program => (typeof program === 'string' ? { name: program } : program)) };
}

export const PROBE_GROUPS: readonly ProbeGroup[] = [
  {
    name: 'socket calls',
    ways: [way('syscall', 'sys_enter', 'sys_exit')],
    isRequired: true,
    loss: 'no spans and no metrics: the bytes of no socket are seen',
  },
  {
    name: 'tcp states',
    ways: [way('tracepoint', 'inet_sock_set_state', 'tcp_destroy_sock')],
    isRequired: true,
    loss: 'no connection times, and connections would never be forgotten',
  },
  {
    name: 'tcp resets',
    ways: [way('tracepoint', 'tcp_receive_reset', 'tcp_send_reset')],
    isRequired: false,
    loss: 'who reset a connection is not known',
  },
  {
    name: 'arrival',
    ways: [way('tracepoint', 'sk_data_ready')],
    isRequired: false,
    loss: 'underspan.receive.wait is missing, and server spans start when the application reads (needs Linux 6.3)',
  },
  {
    name: 'processes',
    ways: [way('tracepoint', 'sched_process_exec', 'sched_process_fork', 'sched_process_exit')],
    isRequired: false,
    loss: 'processes that live for less than a moment have no name, and new processes are found late',
  },
  {
    name: 'tls plaintext',
    ways: [
      way(
        'uprobe',
        ...[
          'ssl_handshake_enter',
          'ssl_read_enter',
          'ssl_read_ex_enter',
          'ssl_write_enter',
          'ssl_write_ex_enter',
          'ssl_sendfile_enter',
          'ssl_call_exit',
          'ssl_free_enter',
          'bio_write_enter',
        ].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    loss: 'no spans of encrypted requests: TLS connections are seen from outside only',
  },
];

/** A way that was not taken. */
export interface Refusal {
  readonly way: WayName;
  readonly reason: string;
}

/** What became of a group on this kernel. */
export interface ProbeReport {
  readonly group: string;
  /** The way that is attached; null: the feature is lost. */
  readonly way: WayName | null;
  /** Ways that were tried before, or would have been preferred. */
  readonly refused: readonly Refusal[];
  readonly isRequired: boolean;
  /** What is lost; '' if nothing. */
  readonly loss: string;
}
