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
  /** Does what the program of its name should have done where the kernel skipped that: only where it preempts programs. */
  readonly isCopy?: boolean;
}

/** How the names of copies begin. */
export const AGAIN = 'again_';

/** One way to a feature: a set of programs that are attached together. */
export interface Way {
  readonly name: WayName;
  readonly programs: readonly Program[];
  /** What a user loses where this way is the one that is taken. */
  readonly lacks?: string;
}

export interface ProbeGroup {
  readonly name: string;
  readonly ways: readonly Way[];
  /** Without it there are no spans. */
  readonly isRequired: boolean;
  /** Runs at each call of a selected process: what a budget that is too small switches off (self/budget.ts). */
  readonly isDear?: boolean;
  /** For files that not every machine has: loaded when the first one is found (late-programs.ts). */
  readonly isLate?: boolean;
  /** What a user loses without it. */
  readonly loss: string;
}

function way(name: WayName, ...programs: readonly (string | Program)[]): Way {
  return { name, programs: programs.map(program => (typeof program === 'string' ? { name: program } : program)) };
}

/** Name of the kernel's function behind a system call. */
function syscall(name: string): string {
  return `${process.arch === 'arm64' ? '__arm64_sys_' : '__x64_sys_'}${name}`;
}

/** Functions of the socket layer that every kernel has: entry and return, or one of them. */
const BOTH = [
  ...['inet_sendmsg', 'inet6_sendmsg', 'unix_stream_sendmsg', 'inet_recvmsg', 'inet6_recvmsg', 'unix_stream_recvmsg'],
  ...['tcp_splice_read', 'unix_stream_splice_read', 'inet_stream_connect', 'unix_stream_connect'],
];
/** Since 6.5 pages go through sendmsg (dc97391e6610). */
const SENDPAGE = ['inet_sendpage', 'unix_stream_sendpage'];
const WAITS = ['epoll_wait', 'epoll_pwait', 'epoll_pwait2', 'select', 'pselect6', 'io_uring_enter', 'poll', 'ppoll'];
/** Whose result tells more, by programs that are there in any number. */
const POLLS: ReadonlySet<string> = new Set(['epoll_wait', 'epoll_pwait']);
const WAKE_UPS = [
  ...['pipe_read', 'anon_pipe_read', 'fifo_pipe_read', 'eventfd_read', 'inotify_read'],
  ...['timerfd_read_iter', 'timerfd_read', 'signalfd_read_iter', 'signalfd_read'],
];

/** The socket layer, watched by programs of two kinds: at the entry of a function and at its return. */
function layer(name: WayName, entry: string, exit: string): Way {
  const where = (prefix: string) => (onlyWith: string) => ({ name: `${prefix}_${onlyWith}`, onlyWith });
  return way(
    name,
    ...BOTH.flatMap(target => [`${entry}_${target}`, `${exit}_${target}`]),
    ...['inet_accept', 'unix_accept', 'sock_create'].flatMap(target =>
      name === 'kprobe' ? [`${entry}_${target}`, `${exit}_${target}`] : [`${exit}_${target}`],
    ),
    `${entry}_unix_release`,
    where(entry)('sock_common_getsockopt'),
    ...SENDPAGE.flatMap(target => [where(entry)(target), where(exit)(target)]),
    ...WAITS.map(call => ({
      name: `${name === 'fentry' && POLLS.has(call) ? exit : entry}_${call}`,
      onlyWith: syscall(call),
    })),
    ...WAKE_UPS.map(where(exit)),
  );
}

/** Each program twice. What is attached last runs first: the copies come before. */
function withCopies({ name, programs }: Way): Way {
  const copies = programs.map(program => ({ ...program, name: `${AGAIN}${program.name}`, isCopy: true }));
  return { name, programs: [...copies, ...programs] };
}

/** Programs for where HotSpot has a Parker: bpf/java.bpf.c. */
const PARKS = [0, 1, 2, 3, 4, 5];

export const PROBE_GROUPS: readonly ProbeGroup[] = [
  {
    name: 'socket calls',
    ways: [
      withCopies(layer('fentry', 'fentry', 'fexit')),
      layer('kprobe', 'kprobe', 'kretprobe'),
      {
        ...way('syscall', 'sys_enter', 'sys_exit'),
        lacks: 'what io_uring moves is not seen, and what sendfile and splice move is counted but not read',
      },
    ],
    isRequired: true,
    isDear: true,
    loss: 'no spans and no metrics: the bytes of no socket are seen',
  },
  {
    name: 'tcp states',
    ways: [way('tracepoint', 'inet_sock_set_state', 'again_sock_state', 'tcp_destroy_sock', 'again_destroy')],
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
    ways: [
      withCopies(way('tracepoint', 'sk_data_ready')),
      way('fentry', 'fentry_data_ready'),
      way('kprobe', 'kprobe_data_ready'),
    ],
    isRequired: false,
    isDear: true,
    loss: 'underspan.receive.wait is missing, and server spans start when the application reads',
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
          'tls_handshake_enter',
          'tls_read_enter',
          'tls_read_sized_enter',
          'tls_write_enter',
          'tls_write_sized_enter',
          'tls_sendfile_enter',
          'tls_call_exit',
          'tls_free_enter',
          'tls_output_enter',
        ].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'no spans of encrypted requests: TLS connections are seen from outside only',
  },
  {
    name: 'go tls plaintext',
    ways: [
      way(
        'uprobe',
        ...[
          'go_handshake_enter',
          'go_read_enter',
          'go_write_enter',
          'go_read_return',
          'go_write_return',
          'go_close_enter',
        ].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'no spans of requests that Go programs encrypt: their connections are seen from outside only',
  },
  {
    name: 'rustls plaintext',
    ways: [
      way(
        'uprobe',
        ...[
          'rust_carry_enter',
          'rust_read_return',
          'rust_sent_return',
          'rust_taken_enter',
          'rust_reader_enter',
          'rust_reader_return',
          'rust_write_enter',
          'rust_vectored_enter',
          'rust_write_return',
        ].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'no spans of requests that are encrypted by rustls: their connections are seen from outside only',
  },
  {
    name: 'event loops',
    ways: [
      way(
        'uprobe',
        ...[
          'loop_timers',
          'loop_deferred',
          'loop_opens',
          'loop_receiving',
          'loop_received',
          'loop_posts',
          'loop_receives',
          'loop_turned',
          'loop_gives',
          'loop_queues',
          'loop_resumes',
          'loop_looked_up',
          'loop_resumed',
          'unit_made',
          'unit_left',
          'unit_first',
          'unit_second',
          'unit_following',
        ].map(name => ({
          name,
          isForFiles: true,
        })),
      ),
    ],
    isRequired: false,
    loss: 'calls of Node.js, nginx, HAProxy, lighttpd and Varnish are not joined with the request that caused them, by a link at most',
  },
  {
    name: 'goroutines',
    ways: [
      way(
        'uprobe',
        ...['go_round_trip', 'go_start_return', 'go_start_enter'].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    loss: 'calls of Go programs are not joined with the request that caused them',
  },
  {
    name: 'go channels',
    ways: [
      way(
        'uprobe',
        ...[
          'go_channel_passed',
          'go_channel_emptied',
          'go_channel_filled',
          'go_channel_send',
          'go_channel_receive',
          'go_channel_closed',
          'go_group_add',
          'go_group_wait',
          'go_cond_told',
          'go_pool_return',
          'go_pool_enter',
        ].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'calls of goroutines that take their work from a channel, or are started while others are served, are not joined with the request that caused them',
  },
  {
    name: 'asyncio tasks',
    ways: [
      way(
        'uprobe',
        ...['python_freed', 'python_copied', 'python_run', 'python_entered', 'python_future_set', 'uvloop_write'].map(
          name => ({ name, isForFiles: true }),
        ),
      ),
    ],
    isRequired: false,
    loss: 'calls of asyncio programs are joined with the request that caused them only where nothing else is going on',
  },
  {
    name: 'python queues',
    ways: [
      way(
        'uprobe',
        ...[
          'python_queue_got',
          'python_queue_get',
          'python_queue_put',
          'python_deque_popleft',
          'python_deque_append',
          'python_buffer_find',
          'python_buffer_extend',
          'python_deque_remove',
          'python_lock_taken',
          'python_lock_freed',
        ].map(name => ({ name, isForFiles: true })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'calls of threads that take their work from a queue of Python are not joined with the request that caused them',
  },
  {
    name: 'node promises',
    ways: [way('uprobe', { name: 'loop_settles', isForFiles: true })],
    isRequired: false,
    isLate: true,
    loss: 'calls of Node.js after a timer are not joined with the request that caused them',
  },
  {
    name: 'nginx requests',
    ways: [way('uprobe', ...['nginx_first', 'nginx_second'].map(name => ({ name, isForFiles: true })))],
    isRequired: false,
    isLate: true,
    loss: 'calls of nginx after a timer, a name or a lock are not joined with the request that caused them',
  },
  {
    name: 'java wake-ups',
    ways: [
      way(
        'uprobe',
        ...['unpark', 'park_end', ...PARKS.map(number => `park_${number}`)].map(name => ({
          name: `java_${name}`,
          isForFiles: true,
        })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'calls of Java that one thread hands to another are not joined with the request that caused them',
  },
  {
    name: 'tokio tasks',
    ways: [
      way(
        'uprobe',
        ...['run', 'idle', 'polled', 'ended', 'wake', 'start', 'local'].map(name => ({
          name: `tokio_${name}`,
          isForFiles: true,
        })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'calls of tasks of tokio (Rust) are not joined with the request that caused them',
  },
  {
    name: 'greenlets',
    ways: [
      way(
        'uprobe',
        ...['greenlet_made', 'greenlet_ended', 'greenlet_switched', 'greenlet_schedules'].map(name => ({
          name,
          isForFiles: true,
        })),
      ),
    ],
    isRequired: false,
    isLate: true,
    loss: 'calls of gevent and eventlet are joined with the request that caused them only where nothing else is going on',
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
  /** Ways that would have been preferred. */
  readonly refused: readonly Refusal[];
  /** Ways that would be next, in their order. */
  readonly untried: readonly WayName[];
  readonly isRequired: boolean;
  /** What is lost without the group, or by its way; '' if nothing. */
  readonly loss: string;
}
