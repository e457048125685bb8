// The scenarios of the correctness table: chains of real services, and how they are asked.
import type { LinkOptions } from '../support/chain.js';

export interface Scenario {
  readonly name: string;
  /** In the order in which they start: the called before those that call. The last one is asked. */
  readonly links: Readonly<Record<string, LinkOptions>>;
  readonly concurrency: readonly number[];
  /** Requests at a concurrency of 1; more for more. */
  readonly requests: number;
  /** Requests before those: a process that hands requests over through queues shows by its first ones that it does. */
  readonly before?: number;
}

const LEAF: LinkOptions = { kind: 'go', env: { THINK_MS: '2' } };
const ALL = [1, 10, 50];
const think = { THINK_MS: '5' };

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'nginx, kept connections',
    links: { leaf: LEAF, nginx: { kind: 'nginx', calls: ['leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'nginx, new connections',
    links: { leaf: LEAF, nginx: { kind: 'nginx', calls: ['leaf'], env: { KEEP: '1' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'nginx, new connections by TLS',
    links: {
      leaf: { kind: 'go', env: { THINK_MS: '2', TLS: '1' } },
      nginx: { kind: 'nginx', calls: ['leaf'], env: { KEEP: '1', CALL_TLS: '1' } },
    },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'HAProxy, kept connections',
    links: { leaf: LEAF, haproxy: { kind: 'haproxy', calls: ['leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'HAProxy, new connections',
    links: { leaf: LEAF, haproxy: { kind: 'haproxy', calls: ['leaf'], env: { KEEP: '0' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'HAProxy, one thread',
    links: { leaf: LEAF, haproxy: { kind: 'haproxy', calls: ['leaf'], env: { THREADS: '1' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'HAProxy, with health checks',
    links: { leaf: LEAF, haproxy: { kind: 'haproxy', calls: ['leaf'], env: { CHECK: '5' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'Apache as a proxy, event',
    links: { leaf: LEAF, apache: { kind: 'apache-proxy', calls: ['leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'Apache as a proxy, worker',
    links: { leaf: LEAF, apache: { kind: 'apache-proxy', calls: ['leaf'], env: { MPM: 'worker' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'lighttpd as a proxy',
    links: { leaf: LEAF, lighttpd: { kind: 'lighttpd', calls: ['leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'Varnish, with health checks',
    links: { leaf: LEAF, varnish: { kind: 'varnish', calls: ['leaf'], env: { CHECK: '5' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'node, one call',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'node, three calls in turn',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf', 'leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'node, three calls at once',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf', 'leaf'], env: { MODE: 'parallel' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'node, names instead of addresses',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { RESOLVE: '1' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'node, names and new connections',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { RESOLVE: '1', SOCKETS: '0' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'node, a file before each call',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { FILE: '/etc/hostname' } } },
    concurrency: ALL,
    requests: 100,
  },
  // What tempts to join wrongly: nothing may be wrong here, how much is joined is not the point.
  {
    name: 'node, timers before the calls',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: think } },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'node, calls of its own from a timer',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { TICK_MS: '1' } } },
    concurrency: [1, 10],
    requests: 100,
  },
  {
    name: 'node, a pool of two connections',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { SOCKETS: '2' } } },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'node, a pool of two connections that its timer uses, too',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { SOCKETS: '2', TICK_MS: '5' } } },
    concurrency: [1, 10],
    requests: 100,
  },
  {
    name: 'node, a queue of jobs, some of which pause',
    links: {
      leaf: LEAF,
      node: { kind: 'node', calls: ['leaf', 'leaf', 'leaf', 'leaf'], env: { LIMIT: '4', PAUSE_MS: '5' } },
    },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'node, a queue of promises',
    links: { leaf: LEAF, node: { kind: 'node', calls: ['leaf', 'leaf'], env: { LIMIT: '3' } } },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'node, a queue of promises, three calls at once',
    links: {
      leaf: LEAF,
      node: { kind: 'node', calls: ['leaf', 'leaf', 'leaf'], env: { LIMIT: '4', MODE: 'parallel' } },
    },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'gunicorn sync, two calls',
    links: { leaf: LEAF, gunicorn: { kind: 'gunicorn', calls: ['leaf', 'leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'gunicorn threads, two calls, think time',
    links: { leaf: LEAF, gthread: { kind: 'gthread', calls: ['leaf', 'leaf'], env: think } },
    concurrency: ALL,
    requests: 100,
  },
  ...[
    ['two calls', '', ALL],
    ['a call after the response', 'late', [1, 10]],
    ['a greenlet for each call', 'spawn', [10]],
    ['a greenlet that comes and goes', 'worker', [10, 50]],
  ].map(([what, MODE, concurrency]) => ({
    name: `gevent, ${what}`,
    links: { leaf: LEAF, gevent: { kind: 'gevent' as const, calls: ['leaf', 'leaf'], env: { MODE: MODE as string } } },
    concurrency: concurrency as readonly number[],
    requests: 100,
  })),
  {
    name: 'asyncio, two calls',
    links: { leaf: LEAF, asyncio: { kind: 'asyncio', calls: ['leaf', 'leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'uvloop, two calls',
    links: { leaf: LEAF, asyncio: { kind: 'asyncio', calls: ['leaf', 'leaf'], env: { LOOP: 'uvloop' } } },
    concurrency: ALL,
    requests: 100,
    before: 30,
  },
  ...[
    ['two calls at once', 'parallel', ALL],
    ['a task for each request', 'handler', ALL],
    ['a task for each request, without streams', 'protocol', ALL],
    ['callbacks without tasks', 'callbacks', [1, 10]],
    ['a call after the response', 'late', [1, 10]],
    ['a call that nobody waits for', 'stray', [1, 10]],
    ['a worker that comes and goes', 'workers', [1, 10]],
    ['a task that hands the response on', 'relay', [1, 10]],
    ['functions that block, on threads', 'threads', ALL],
    ['functions that block, by run_in_executor', 'executor', ALL],
    ['functions that make the latest call', 'tokens', [1, 10]],
    ['a thread that comes and goes', 'thread_worker', [1, 10]],
    ['a worker that answers when it has called for several', 'batch', [1, 10]],
    ['tasks that take the latest request', 'servers', [1, 10]],
  ].map(([what, MODE, concurrency]) => ({
    name: `uvloop, ${what}`,
    links: {
      leaf: LEAF,
      asyncio: { kind: 'asyncio' as const, calls: ['leaf', 'leaf'], env: { LOOP: 'uvloop', MODE: MODE as string } },
    },
    concurrency: concurrency as readonly number[],
    requests: 100,
    before: 30,
  })),
  ...[
    ['two calls at once', 'parallel'],
    ['a task for each request', 'handler'],
    ['a task for each request, without streams', 'protocol'],
    ['a task that hands the response on', 'relay'],
    ['functions that block, on threads', 'threads'],
    ['functions that block, by run_in_executor', 'executor'],
    ['requests out of buffers', 'buffers'],
  ].map(([what, MODE = '']) => ({
    name: `asyncio, ${what}`,
    links: { leaf: LEAF, asyncio: { kind: 'asyncio' as const, calls: ['leaf', 'leaf'], env: { MODE } } },
    concurrency: ALL,
    requests: 100,
    ...(MODE === 'buffers' ? { before: 30 } : {}),
  })),
  ...[
    ['callbacks without tasks', 'callbacks'],
    ['a call after the response', 'late'],
    ['a call that nobody waits for', 'stray'],
    ['a worker that comes and goes', 'workers'],
    ['a worker that the first request starts', 'lazy'],
    ['a worker that answers, too', 'answerers'],
    ['a worker that answers when it has called for several', 'batch'],
    ['tasks that take the latest call', 'pool'],
    ['tasks that take the latest request', 'servers'],
    ['a thread that comes and goes', 'thread_worker'],
    ['functions that make the latest call', 'tokens'],
  ].map(([what, MODE = '']) => ({
    name: `asyncio, ${what}`,
    links: { leaf: LEAF, asyncio: { kind: 'asyncio' as const, calls: ['leaf', 'leaf'], env: { MODE } } },
    concurrency: ALL,
    requests: 100,
  })),
  {
    name: 'asyncio, timers before the calls',
    links: { leaf: LEAF, asyncio: { kind: 'asyncio', calls: ['leaf', 'leaf'], env: think } },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'asyncio, calls of its own from a timer',
    links: { leaf: LEAF, asyncio: { kind: 'asyncio', calls: ['leaf', 'leaf'], env: { TICK_MS: '1' } } },
    concurrency: [1, 10],
    requests: 100,
  },
  {
    name: 'asyncio, a pool of two connections',
    links: { leaf: LEAF, asyncio: { kind: 'asyncio', calls: ['leaf', 'leaf'], env: { SOCKETS: '2' } } },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'waitress, two calls',
    links: { leaf: LEAF, waitress: { kind: 'waitress', calls: ['leaf', 'leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'waitress, a call after the response',
    links: { leaf: LEAF, waitress: { kind: 'waitress', calls: ['leaf', 'leaf'], env: { MODE: 'late' } } },
    concurrency: [10, 50],
    requests: 100,
  },
  {
    name: 'puma, two calls',
    links: { leaf: LEAF, puma: { kind: 'puma', calls: ['leaf', 'leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'puma, calls after the response',
    links: { leaf: LEAF, puma: { kind: 'puma', calls: ['leaf', 'leaf'], env: { MODE: 'late' } } },
    concurrency: [10, 50],
    requests: 100,
  },
  {
    name: 'java, three calls, think time',
    links: { leaf: LEAF, java: { kind: 'java', calls: ['leaf', 'leaf', 'leaf'], env: think } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'threads that take turns at waiting, two calls',
    links: { leaf: LEAF, leaders: { kind: 'leaders', calls: ['leaf', 'leaf'] } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'apache prefork, CGI',
    links: { leaf: LEAF, cgi: { kind: 'cgi', calls: ['leaf', 'leaf'] } },
    concurrency: [1, 10],
    requests: 20,
  },
  ...[
    ['a connection for each request', 'off', {}],
    ['kept connections', 'on', { WORKERS: '60' }],
    ['a unix socket', 'off', { SOCKET: 'php.sock' }],
    ['kept connections, long responses', 'on', { WORKERS: '60', SIZE: '20000', MODE: 'streams' }],
  ].map(([what, FASTCGI, env]) => ({
    name: `nginx and PHP-FPM, ${what}`,
    links: {
      leaf: LEAF,
      php: { kind: 'php' as const, calls: ['leaf', 'leaf'], env: env as Record<string, string> },
      nginx: { kind: 'nginx' as const, calls: ['php'], env: { FASTCGI: FASTCGI as string } },
    },
    concurrency: ALL,
    requests: 100,
  })),
  {
    name: 'go, three calls in turn',
    links: { leaf: LEAF, go: { kind: 'go', calls: ['leaf', 'leaf', 'leaf'], env: think } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'go, three calls at once',
    links: { leaf: LEAF, go: { kind: 'go', calls: ['leaf', 'leaf', 'leaf'], env: { MODE: 'parallel' } } },
    concurrency: ALL,
    requests: 100,
  },
  {
    name: 'the long chain',
    links: {
      leaf: LEAF,
      cgi: { kind: 'cgi', calls: ['leaf'] },
      java: { kind: 'java', calls: ['leaf', 'leaf'] },
      go: { kind: 'go', calls: ['java', 'leaf'], env: { MODE: 'parallel' } },
      php: { kind: 'php', calls: ['go'] },
      web: { kind: 'nginx', calls: ['php'], env: { FASTCGI: 'on' } },
      gunicorn: { kind: 'gunicorn', calls: ['cgi', 'web'] },
      node: { kind: 'node', calls: ['gunicorn', 'leaf'] },
      nginx: { kind: 'nginx', calls: ['node'] },
    },
    concurrency: [1, 10],
    requests: 20,
  },
  {
    name: 'go stripped, three calls at once',
    links: {
      leaf: LEAF,
      go: { kind: 'go', calls: ['leaf', 'leaf', 'leaf'], env: { MODE: 'parallel', BUILD: '-ldflags=-s -w' } },
    },
    concurrency: [10],
    requests: 100,
  },
  {
    name: 'go over TLS, two calls at once',
    links: {
      leaf: { kind: 'go', env: { THINK_MS: '2', TLS: '1' } },
      middle: { kind: 'go', calls: ['leaf', 'leaf'], env: { MODE: 'parallel', TLS: '1', CALL_TLS: '1' } },
      go: { kind: 'go', calls: ['middle', 'middle'], env: { CALL_TLS: '1' } },
    },
    concurrency: [1, 10],
    requests: 50,
  },
  {
    name: 'go, calls of its own beside',
    links: { leaf: LEAF, go: { kind: 'go', calls: ['leaf', 'leaf'], env: { TICK_MS: '1' } } },
    concurrency: [1, 10],
    requests: 100,
  },
  {
    name: 'go, workers that the first requests start',
    links: { leaf: LEAF, go: { kind: 'go', calls: ['leaf', 'leaf'], env: { MODE: 'lazy' } } },
    concurrency: ALL,
    requests: 100,
    before: 30,
  },
  {
    name: 'go, workers that come and go',
    links: { leaf: LEAF, go: { kind: 'go', calls: ['leaf', 'leaf'], env: { MODE: 'workers' } } },
    concurrency: ALL,
    requests: 100,
    before: 30,
  },
  ...[
    ['workers that answer by a channel', 'reply', ALL],
    ['workers that answer by a channel with room', 'buffered', ALL],
    ['workers, with select', 'select', ALL],
    ['workers and a WaitGroup', 'group', ALL],
    ['workers that close a channel', 'close', ALL],
    ['workers that run functions', 'funcs', ALL],
    ['workers that start a goroutine for each item', 'spawn', ALL],
    ['workers in two stages', 'stages', ALL],
    ['workers with a pool of connections', 'conns', ALL],
    ['workers, items of no request between', 'shared', [1, 10]],
    ['a channel as a lock', 'mutex', [1, 10]],
    ['workers that collect items', 'batch', [1, 10, 50]],
    ['workers that answer for several at once', 'single', [1, 10, 50]],
    ['workers that take the next item first', 'ahead', [1, 10, 50]],
    ['workers that answer in another order', 'async', [1, 10, 50]],
    ['a dispatcher that gives the latest first', 'stack', [1, 10, 50]],
    ['a channel that only wakes', 'bell', [1, 10, 50]],
    ['calls of its own with the same pool', 'tokens', [1, 10]],
    ['workers that call after the answer', 'late', [1, 10]],
    ['a call for each five items', 'notes', [1, 10]],
  ].map(([what, MODE, concurrency]) => ({
    name: `go, ${what}`,
    links: { leaf: LEAF, go: { kind: 'hands' as const, calls: ['leaf', 'leaf'], env: { MODE: MODE as string } } },
    concurrency: concurrency as readonly number[],
    requests: 100,
    before: 30,
  })),
];
