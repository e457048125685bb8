// Event loops whose own functions tell when they turn to something else than a descriptor's bytes (bpf/loop.bpf.c), by the
// symbols that they are built to export. A loop is watched when all of them are found.
export interface EventLoop {
  readonly name: string;
  /** Run timers, callbacks that were put off, ends of handles. */
  readonly deferred: readonly string[];
  /** Every turn passes through it. Attached last: it says that the loop is watched. */
  readonly turned: string;
}

export const EVENT_LOOPS: readonly EventLoop[] = [
  {
    name: 'node',
    deferred: ['_ZN4node11Environment9RunTimersEP10uv_timer_s', '_ZN4node10HandleWrap7OnCloseEP11uv_handle_s'],
    // setImmediate
    turned: '_ZN4node11Environment14CheckImmediateEP10uv_check_s',
  },
  { name: 'nginx', deferred: [], turned: 'ngx_event_expire_timers' },
];

export const LOOP_SYMBOLS: readonly string[] = EVENT_LOOPS.flatMap(({ deferred, turned }) => [...deferred, turned]);
