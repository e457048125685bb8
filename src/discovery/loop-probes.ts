// Event loops whose own functions tell when they turn to something else than a descriptor's bytes, and servers whose own
// functions tell which request they are at (bpf/loop.bpf.c, bpf/unit.h), by the symbols that they are built to export. One is
// watched when all of them are found.
import { EXECUTION_ID } from './node-ids.js';

export interface EventLoop {
  readonly name: string;
  /** Threads of its own that it gives work to: the loop goes on with what it was at when the work is done. */
  readonly pool: WorkPool | null;
  /** Runs timers that are due, among them such as the program has for itself; null: nothing of it that matters. */
  readonly timers: string | null;
  /** Run callbacks that were put off, ends of handles. */
  readonly deferred: readonly string[];
  /** Makes a socket; null: nothing that would tell more. */
  readonly opens: string | null;
  /** How its threads send each other messages; null: they do not. */
  readonly messages: LoopMessages | null;
  /** Every turn passes through it. Attached last: it says that the loop is watched. */
  readonly turned: string;
}

/**
 * What a server's function has to do with one of the program's own objects, which stands for one request at a time.
 * `first`, `second`: it runs for its first or second argument, until it returns, and reads the request. `following`: for the
 * first, and has just read the request before. `says`: the thread is at the first argument from now on, or at nothing if that
 * is 0. `makes`: it returns one that it has made for the object at hand.
 */
export type UnitRole = 'first' | 'second' | 'following' | 'says' | 'makes';

export interface UnitServer {
  readonly name: string;
  readonly functions: Readonly<Record<string, UnitRole>>;
}

export interface LoopMessages {
  /** The first argument is the message; before it is sent. */
  readonly posts: string;
  /** Likewise; when it is taken. */
  readonly receives: string;
  /** Takes all that there are, and has the program called back for each. */
  readonly receiving: string;
}

/** Functions that are not for others: only the full symbol table has them. */
export interface WorkPool {
  /** Gives work away. */
  readonly gives: string;
  /** The same for programs, by a request of its own. */
  readonly queues: string;
  /** Take up one piece of work that is done; those of them that the program has. */
  readonly resumes: readonly string[];
  /** Takes up a name that was looked up. */
  readonly looked: string;
  /** Calls these one after the other, and returns. */
  readonly runs: string;
}

/** Of V8: a promise for which somebody waits has been settled. Only the full symbol table has it. */
export const SETTLES = 'Builtins_EnqueueMicrotask';

/** Files, names, digests, compression: what libuv does on other threads. */
const LIBUV: WorkPool = {
  gives: 'uv__work_submit',
  queues: 'uv_queue_work',
  resumes: ['queue', 'getnameinfo', 'fs', 'random'].map(what => `uv__${what}_done`),
  looked: 'uv__getaddrinfo_done',
  runs: 'uv__work_done',
};

const MESSAGES: LoopMessages = {
  posts:
    '_ZN4node6worker7Message9SerializeEPNS_11EnvironmentEN2v85LocalINS4_7ContextEEENS5_INS4_5ValueEEE' +
    'RKNS_16MaybeStackBufferIS9_Lm8EEENS5_INS4_6ObjectEEE',
  receives: '_ZN4node6worker7Message11DeserializeEPNS_11EnvironmentEN2v85LocalINS4_7ContextEEEPNS5_INS4_5ValueEEE',
  receiving: '_ZN4node6worker11MessagePort9OnMessageENS1_21MessageProcessingModeE',
};

export const EVENT_LOOPS: readonly EventLoop[] = [
  {
    name: 'node',
    pool: LIBUV,
    timers: '_ZN4node11Environment9RunTimersEP10uv_timer_s',
    deferred: ['_ZN4node10HandleWrap7OnCloseEP11uv_handle_s'],
    opens: '_ZN4node7TCPWrap3NewERKN2v820FunctionCallbackInfoINS1_5ValueEEE',
    messages: MESSAGES,
    // setImmediate
    turned: '_ZN4node11Environment14CheckImmediateEP10uv_check_s',
  },
  {
    name: 'nginx',
    pool: null,
    timers: null,
    deferred: [],
    opens: null,
    messages: null,
    turned: 'ngx_event_expire_timers',
  },
];

export const UNIT_SERVERS: readonly UnitServer[] = [
  // A connection's multiplexer reads a request, and makes a stream for it; the stream's task calls.
  { name: 'haproxy', functions: { h1_io_cb: 'second', stream_new: 'makes', process_stream: 'second' } },
  // A thread that has read a request makes a fetch for it, which another thread runs.
  { name: 'varnish', functions: { CNT_Request: 'following', VBO_GetBusyObj: 'makes', THR_SetBusyobj: 'says' } },
  { name: 'lighttpd', functions: { connection_state_machine: 'first' } },
];

/**
 * Functions of nginx and of its module for Lua that go on with a request, by the program that finds it in their first or second
 * argument (bpf/nginx.bpf.c): each call that nginx makes itself, and each time that a program in Lua goes on.
 */
export const NGINX_REQUESTS: Readonly<Record<string, readonly string[]>> = {
  nginx_first: ['ngx_http_upstream_init_round_robin_peer', 'ngx_http_upstream_create_round_robin_peer'],
  nginx_second: ['ngx_http_lua_run_thread'],
};

export const LOOP_SYMBOLS: readonly string[] = [
  ...EVENT_LOOPS.flatMap(({ timers, deferred, opens, messages, turned }) =>
    [timers, ...deferred, opens, ...Object.values(messages ?? {}), turned].filter(name => name !== null),
  ),
  EXECUTION_ID,
  ...UNIT_SERVERS.flatMap(({ functions }) => Object.keys(functions)),
  ...Object.values(NGINX_REQUESTS).flat(),
];
