// The attach table: which programs make up which feature, and what is lost without them. A program that the kernel
// refuses costs its group's feature and never the agent, unless the group is needed for anything to work at all.

export interface ProbeGroup {
  readonly name: string;
  readonly programs: readonly string[];
  /** Without it there are no spans. */
  readonly isRequired: boolean;
  /** What a user loses without it. */
  readonly loss: string;
}

export const PROBE_GROUPS: readonly ProbeGroup[] = [
  {
    name: 'socket calls',
    programs: ['sys_enter', 'sys_exit'],
    isRequired: true,
    loss: 'no spans and no metrics: the bytes of no socket are seen',
  },
  {
    name: 'tcp states',
    programs: ['inet_sock_set_state', 'tcp_destroy_sock'],
    isRequired: true,
    loss: 'no connection times, and connections would never be forgotten',
  },
  {
    name: 'tcp resets',
    programs: ['tcp_receive_reset', 'tcp_send_reset'],
    isRequired: false,
    loss: 'who reset a connection is not known',
  },
  {
    name: 'arrival',
    programs: ['sk_data_ready'],
    isRequired: false,
    loss: 'underspan.receive.wait is missing, and server spans start when the application reads (needs Linux 6.3)',
  },
  {
    name: 'processes',
    programs: ['sched_process_exec', 'sched_process_fork', 'sched_process_exit'],
    isRequired: false,
    loss: 'processes that live for less than a moment have no name, and new processes are found late',
  },
];

/** What became of a group on this kernel. */
export interface ProbeReport {
  readonly group: string;
  readonly name: string;
  readonly ok: boolean;
  /** Why not, and what is lost. */
  readonly detail: string;
}
