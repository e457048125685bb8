// One request, one trace through processes that nobody instruments: nginx, Node.js, gunicorn, Go, CGI programs, each calling
// others, while Node.js also calls from a timer. Every parent that is set has to be the right one, and nearly all have to be
// set: test/traces has the whole table, in which they all are.
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { get, startAgent } from '../support/agent.js';
import { Chain, judgeSpans, requestIds, traceHeaders, type Verdict } from '../support/chain.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { until } from '../support/processes.js';

const REQUESTS = 60;
/** Of the calls that have to be there and have the right parent: a machine on which others work may be late for a few. */
const FLOOR = 0.95;
/** Of a loop that serves several requests, and whose second call is put down to one only while none can be waiting for it. */
const FLOOR_OF_LOOP = 0.7;
/** The same of one whose timer calls every 5 ms: what is sent after it has run may be its own. */
const FLOOR_OF_TIMERS = 0.5;

function assertRight(name: string, verdict: Verdict | undefined, count: number, floor = FLOOR, losses = ''): void {
  assert.ok(verdict !== undefined, `no call of ${name} was seen\n${losses}`);
  const { right, none, wrong, unjudged, examples } = verdict;
  assert.equal(wrong, 0, examples.join('\n'));
  const text = `${name}: ${right} right, ${none} without a parent, ${unjudged} not judged, of ${count}\n${losses}`;
  assert.ok(right >= floor * count, text);
}

/** Waits, 10 s at most, until `count` calls of each of the links have arrived: on a busy machine the agent is late. */
async function arrive(chain: Chain, receiver: OtlpReceiver, names: readonly string[], count: number): Promise<void> {
  for (let wait = 0; wait < 10_000; wait += 500) {
    await sleep(500);
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    const seen = (verdict: Verdict | undefined): number =>
      verdict === undefined ? 0 : verdict.right + verdict.none + verdict.wrong + verdict.unjudged;
    if (names.every(name => seen(calls.get(name)) >= count)) return;
  }
}

async function withChain(body: (chain: Chain, receiver: OtlpReceiver) => Promise<void>): Promise<void> {
  const chain = new Chain();
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  try {
    await body(chain, receiver);
  } finally {
    await chain.stop();
    await receiver.close();
  }
}

test('calls become children of the request that caused them, and of no other', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('cgi', { kind: 'cgi', calls: ['leaf'] });
    await chain.add('go', { kind: 'go', calls: ['leaf', 'leaf'], env: { MODE: 'parallel' } });
    await chain.add('gunicorn', { kind: 'gunicorn', calls: ['cgi', 'go'] });
    await chain.add('node', { kind: 'node', calls: ['leaf', 'gunicorn'], env: { TICK_MS: '5' } });
    await chain.add('nginx', { kind: 'nginx', calls: ['node'] });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    // Enough at a time to show that Node.js keeps them apart.
    await chain.load('nginx', 1, REQUESTS / 2, 1);
    await chain.load('nginx', 1 + REQUESTS / 2, 2 * REQUESTS, 6);
    const count = 2.5 * REQUESTS;
    await sleep(1000);
    await agent.stop();
    const { calls, requests, background } = judgeSpans(chain, receiver.spans(), 'nginx');
    const made = { nginx: 1, gunicorn: 2, cgi: 1, go: 2 };
    for (const [name, times] of Object.entries(made)) assertRight(name, calls.get(name), times * count);
    assertRight('node', calls.get('node'), 2 * count, FLOOR_OF_TIMERS);
    assertRight('requests', requests, 8 * count);
    assert.equal(background.wrong, 0, background.examples.join('\n'));
    assert.ok(background.right > 0, 'calls from a timer were seen');
  }));

test('nginx: what waits for a timer, a name, a subrequest, a connection or a lock of Lua is for its own request, and timers are for none', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('dns', { kind: 'dns' });
    const names = 'resolver 127.0.0.1:@port(dns)@ ipv6=off; set $to $request_id.test:@port(leaf)@;';
    const proxies = [
      ['named', { MORE: `limit_req zone=slow burst=1000; ${names}`, TO: '$to' }, 1],
      ['asking', { MORE: 'auth_request /sub; mirror /sub;' }, 3],
    ] as const;
    for (const [name, env, times] of proxies)
      await chain.add(name, { kind: 'nginx', calls: Array<string>(times).fill('leaf'), env });
    const programs = ['sleep', 'semaphore', 'own'];
    for (const MODE of programs) await chain.add(MODE, { kind: 'lua', calls: ['leaf', 'leaf'], env: { MODE } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    await chain.load('sleep', 1, 20, 6, 'before');
    await until('requests to be followed', 30_000, () =>
      /requests of nginx .*lua.* followed/.test(agent.child.stderr) ? true : null,
    );
    const counts = [
      ...proxies.map(([name, , times]) => [name, times] as const),
      ...programs.map(name => [name, 2] as const),
    ];
    for (const [name] of counts) await chain.load(name, 1, REQUESTS, 6);
    for (const [name, times] of counts) await arrive(chain, receiver, [name], times * REQUESTS);
    await agent.stop();
    const { calls, background } = judgeSpans(chain, receiver.spans(), '');
    for (const [name, times] of counts)
      assertRight(name, calls.get(name), times * REQUESTS, FLOOR, agent.child.describe());
    assert.equal(background.wrong, 0, background.examples.join('\n'));
    assert.ok(background.right > 0, 'calls from a timer were seen');
  }));

test('Node.js: what waits for the next request is not for that one', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const tempting = ['relay', 'rare'];
    for (const MODE of tempting) await chain.add(MODE, { kind: 'queues', calls: ['leaf', 'leaf'], env: { MODE } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of tempting) await chain.load(name, 1, 2 * REQUESTS, 4);
    await arrive(chain, receiver, tempting, 4 * REQUESTS);
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    for (const name of tempting) {
      const verdict = calls.get(name);
      assert.equal(verdict?.wrong, 0, verdict?.examples.join('\n') ?? agent.child.describe());
    }
  }));

test('Node.js: what a worker thread calls is for the request that set it to work, and so are several calls of fetch at once', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('worker', { kind: 'queues', calls: ['leaf', 'leaf'], env: { MODE: 'worker' } });
    for (const MODE of ['once', 'rare', 'latest'])
      await chain.add(MODE, { kind: 'fetch', calls: ['leaf', 'leaf', 'leaf'], env: { MODE } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    await chain.load('worker', 1, 2 * REQUESTS, 4);
    for (const name of ['once', 'rare', 'latest']) await chain.load(name, 1, 2 * REQUESTS, 4);
    await arrive(chain, receiver, ['worker'], 4 * REQUESTS);
    await arrive(chain, receiver, ['once', 'rare', 'latest'], 6 * REQUESTS);
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    assertRight('worker', calls.get('worker'), 4 * REQUESTS, FLOOR, agent.child.describe());
    assertRight('once', calls.get('once'), 6 * REQUESTS, FLOOR_OF_LOOP, agent.child.describe());
    for (const name of ['rare', 'latest']) {
      const verdict = calls.get(name);
      assert.equal(verdict?.wrong, 0, verdict?.examples.join('\n') ?? agent.child.describe());
    }
  }));

test('connections of pools that are older than the agent answer calls, and bring no requests', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('gunicorn', { kind: 'gunicorn', calls: ['leaf', 'leaf'] });
    await chain.add('node', { kind: 'node', calls: ['gunicorn'] });
    await chain.load('node', 1, 30, 3);
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    await chain.load('node', 31, REQUESTS, 1);
    await sleep(1000);
    await agent.stop();
    const { calls, requests } = judgeSpans(chain, receiver.spans(), 'node');
    for (const [name, times] of Object.entries({ gunicorn: 2, node: 1 }))
      assertRight(name, calls.get(name), times * REQUESTS);
    assertRight('requests', requests, 3 * REQUESTS);
  }));

test('a program that hands on x-request-id, or a trace, says whom its calls are for, also out of a queue; what several requests have says nothing', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const headers = { 'x-request-id': requestIds, traceparent: traceHeaders };
    for (const [index, FORWARD] of Object.keys(headers).entries())
      for (const name of ['own', 'shared'])
        await chain.add(`${name}${index}`, { kind: 'node', calls: ['leaf', 'leaf'], env: { LIMIT: '2', FORWARD } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const [index, headersOf] of Object.values(headers).entries()) {
      await chain.load(`own${index}`, 1, REQUESTS, 6, 'c', headersOf(1));
      await chain.load(`shared${index}`, 1, REQUESTS, 6, 'c', headersOf(2));
    }
    await arrive(chain, receiver, ['own0', 'own1', 'shared0', 'shared1'], 2 * REQUESTS);
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    for (const name of ['own0', 'own1']) assertRight(name, calls.get(name), 2 * REQUESTS);
    for (const name of ['shared0', 'shared1'])
      assert.equal(calls.get(name)?.wrong, 0, calls.get(name)?.examples.join('\n') ?? agent.child.describe());
  }));

test('goroutines that take work from a channel call for the request that gets something back, and for no other one', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('reply', { kind: 'hands', calls: ['leaf', 'leaf'], env: { MODE: 'reply' } });
    const tempting = ['bell', 'again'];
    for (const MODE of tempting) await chain.add(MODE, { kind: 'hands', calls: ['leaf', 'leaf'], env: { MODE } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    // Their calls are nobody's until the channels of their program are followed, which that leads to.
    await chain.load('reply', 1, 20, 2, 'before');
    await until('channels to be followed', 30_000, () =>
      /channels of Go .* followed/.test(agent.child.stderr) ? true : null,
    );
    const names = ['reply', ...tempting];
    for (const [index, name] of names.entries()) await chain.load(name, 1000 * index + 1, REQUESTS, 6);
    await arrive(chain, receiver, names, 2 * REQUESTS);
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    assertRight('reply', calls.get('reply'), 2 * REQUESTS, FLOOR, agent.child.describe());
    for (const name of tempting) {
      const verdict = calls.get(name);
      assert.equal(verdict?.wrong, 0, verdict?.examples.join('\n') ?? agent.child.describe());
    }
  }));

test('channels that more goes through than may are left, and nothing is joined with a wrong request then', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('reply', { kind: 'hands', calls: ['leaf', 'leaf'], env: { MODE: 'reply' } });
    const config = `${chain.selection()}kernel: { max_followed_steps: 2 }\n`;
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config });
    await chain.load('reply', 1, 20, 2, 'before');
    const said = (pattern: RegExp) => until(String(pattern), 30_000, () => pattern.exec(agent.child.stderr));
    await said(/channels of Go .* followed/);
    await chain.load('reply', 1, 20, 6);
    await said(/channels of Go are followed no more.* 2 may \(kernel\.max_followed_steps\)/);
    await chain.load('reply', 21, REQUESTS, 6);
    await arrive(chain, receiver, ['reply'], 2 * (20 + REQUESTS));
    const metrics = (await get(`${agent.adminUrl}/metrics`)).body;
    assert.match(metrics, /^underspan_probes_detached_total\{kind="channels"\} 1$/m);
    await agent.stop();
    const calls = judgeSpans(chain, receiver.spans(), '').calls.get('reply');
    assert.equal(calls?.wrong, 0, calls?.examples.join('\n') ?? agent.child.describe());
  }));

test('tasks that take more steps than may be followed are left: their probes are gone, and nothing is joined with a wrong request then', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    for (const MODE of ['workers', 'tokens'])
      await chain.add(MODE, { kind: 'asyncio', calls: ['leaf', 'leaf'], env: { MODE } });
    const config = `${chain.selection()}kernel: { max_followed_steps: 20 }\n`;
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config });
    const steps = async (): Promise<number> => {
      const { body } = await get(`${agent.adminUrl}/metrics`);
      return Number(/^underspan_kernel_events_total\{kind="task_steps"\} (\d+)$/m.exec(body)?.[1]);
    };
    await chain.load('workers', 1, REQUESTS, 6);
    const losses = (): string => agent.child.describe();
    await until('tasks to be left', 30_000, () =>
      /asyncio tasks are followed no more.* 20 may \(kernel\.max_followed_steps\)/.test(agent.child.stderr)
        ? true
        : null,
    );
    // What was counted by then is read once more.
    await sleep(1500);
    const before = await steps();
    await chain.load('workers', REQUESTS + 1, REQUESTS, 6);
    await chain.load('tokens', 1, REQUESTS, 6);
    await arrive(chain, receiver, ['workers', 'tokens'], 2 * REQUESTS);
    await sleep(1500);
    assert.ok(before > 20, losses());
    assert.equal(await steps(), before, `tasks are still probed\n${losses()}`);
    const metrics = (await get(`${agent.adminUrl}/metrics`)).body;
    for (const kind of ['tasks', 'greenlets', 'queues'])
      assert.match(metrics, new RegExp(`^underspan_probes_detached_total\\{kind="${kind}"\\} [1-9]$`, 'm'), losses());
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    for (const name of ['workers', 'tokens']) assertRight(name, calls.get(name), 2 * REQUESTS, 0, losses());
  }));

test('threads of a pool (Puma, Jetty, waitress): their calls are those of the request at hand; calls after the response are nobody’s', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    await chain.add('puma', { kind: 'puma', calls: ['leaf', 'leaf'] });
    await chain.add('leaders', { kind: 'leaders', calls: ['leaf', 'leaf'] });
    await chain.add('waitress', { kind: 'waitress', calls: ['leaf', 'leaf'] });
    await chain.add('lateWaitress', { kind: 'waitress', calls: ['leaf', 'leaf'], env: { MODE: 'late' } });
    await chain.add('late', { kind: 'puma', calls: ['leaf', 'leaf'], env: { MODE: 'late' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const [name, floor] of [
      ['puma', FLOOR],
      ['leaders', FLOOR],
      ['waitress', FLOOR],
      ['late', 0],
      ['lateWaitress', FLOOR / 2],
    ] as const) {
      await chain.load(name, 1, 10, 1);
      await chain.load(name, 11, 2 * REQUESTS, 12);
      await arrive(chain, receiver, [name], 2 * (10 + 2 * REQUESTS));
      const { calls } = judgeSpans(chain, receiver.spans(), '');
      assertRight(name, calls.get(name), 2 * (10 + 2 * REQUESTS), floor);
    }
    await agent.stop();
  }));

test('jobs of an executor of Python: their calls are those of the request that asks for the results, and no other’s', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const floors = { jobs: FLOOR, jobs_within: FLOOR, jobs_late: FLOOR / 2, jobs_latest: 0, jobs_worker: 0 };
    for (const MODE of Object.keys(floors))
      await chain.add(MODE, { kind: 'gthread', calls: ['leaf', 'leaf'], env: { MODE, WORKERS: '1' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of Object.keys(floors)) await chain.load(name, 1, 2 * REQUESTS, 8);
    await arrive(chain, receiver, Object.keys(floors), 4 * REQUESTS);
    const losses = `${await agent.losses()}\n${agent.child.describe()}`;
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    for (const [name, floor] of Object.entries(floors)) assertRight(name, calls.get(name), 4 * REQUESTS, floor, losses);
  }));

test('greenlets that a request starts and waits for: their calls are the request’s, and those of workers are never another one’s', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const floors = { spawn: FLOOR, spawn_pool: FLOOR, spawn_late: FLOOR / 2, worker: 0, batch: 0 };
    for (const MODE of Object.keys(floors))
      await chain.add(MODE, { kind: 'gevent', calls: ['leaf', 'leaf'], env: { MODE, WORKERS: '1' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of Object.keys(floors)) await chain.load(name, 1, 2 * REQUESTS, name === 'spawn_late' ? 1 : 8);
    await arrive(chain, receiver, Object.keys(floors), 4 * REQUESTS);
    const losses = `${await agent.losses()}\n${agent.child.describe()}`;
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    for (const [name, floor] of Object.entries(floors)) assertRight(name, calls.get(name), 4 * REQUESTS, floor, losses);
  }));

test('Node.js: calls after timers are their request’s; those of pools, locks and queues are never another one’s', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const floors = { timers: FLOOR_OF_LOOP, pool: 0, mutex: 0, own: 0, slow: 0 };
    for (const name of Object.keys(floors)) {
      const env = name === 'slow' ? { MODE: 'own', LIMIT: '1', PERIOD_MS: '97' } : { MODE: name, LIMIT: '2' };
      await chain.add(name, { kind: 'queues', calls: ['leaf', 'leaf'], env });
    }
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of Object.keys(floors)) await chain.load(name, 1, 2 * REQUESTS, name === 'slow' ? 1 : 6);
    await arrive(chain, receiver, Object.keys(floors), 4 * REQUESTS);
    const losses = `${await agent.losses()}\n${agent.child.describe()}`;
    await agent.stop();
    const { calls, background } = judgeSpans(chain, receiver.spans(), '');
    for (const [name, floor] of Object.entries(floors)) assertRight(name, calls.get(name), 4 * REQUESTS, floor, losses);
    assert.equal(background.wrong, 0, background.examples.join('\n'));
  }));

test('a loop whose timers nobody sees: its calls are joined where it had nothing else to do', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go' });
    await chain.add('asyncio', { kind: 'asyncio', calls: ['leaf', 'leaf'], env: { MODE: 'callbacks' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    await chain.load('asyncio', 1, REQUESTS, 1);
    await sleep(500);
    await agent.stop();
    assertRight('asyncio', judgeSpans(chain, receiver.spans(), 'asyncio').calls.get('asyncio'), 2 * REQUESTS);
  }));

test('a loop that other threads give work to: its calls are not those of the request that it has just read', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2', SPREAD_MS: '8' } });
    const calls = ['leaf', 'leaf'];
    await chain.add('alone', { kind: 'native', calls, env: { SOURCE: 'loop.c' } });
    await chain.add('posts', { kind: 'native', calls, env: { SOURCE: 'loop.c', MODE: 'posts', SPIN: '300' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    await chain.load('alone', 1, REQUESTS, 1);
    await chain.load('alone', 1 + REQUESTS, REQUESTS, 12);
    // That many calls, of which one in twenty was wrong when other threads were not thought of.
    await chain.load('posts', 1, 4 * REQUESTS, 12);
    await arrive(chain, receiver, ['alone'], 4 * REQUESTS);
    await arrive(chain, receiver, ['posts'], 8 * REQUESTS);
    await agent.stop();
    const judgement = judgeSpans(chain, receiver.spans(), '');
    assertRight('alone', judgement.calls.get('alone'), 2 * REQUESTS);
    assertRight('posts', judgement.calls.get('posts'), 8 * REQUESTS, 0);
  }));

test('a thread that waits by select for what it has asked for is still at its request; a loop by select is not', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2', SPREAD_MS: '8' } });
    const calls = ['leaf', 'leaf'];
    await chain.add('thread', { kind: 'native', calls, env: { SOURCE: 'stages.c', WAIT: 'select' } });
    await chain.add('loop', { kind: 'native', calls, env: { SOURCE: 'loop.c', MODE: 'select' } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of ['thread', 'loop']) await chain.load(name, 1, 2 * REQUESTS, 8);
    await arrive(chain, receiver, ['thread', 'loop'], 4 * REQUESTS);
    await agent.stop();
    const judgement = judgeSpans(chain, receiver.spans(), '');
    // Elsewhere it is not known how many a select is of.
    const floor = /socket calls by syscall/.test(agent.child.stderr) ? FLOOR : 0;
    assertRight('thread', judgement.calls.get('thread'), 4 * REQUESTS, floor);
    assertRight('loop', judgement.calls.get('loop'), 4 * REQUESTS, 0);
  }));

test('FastAPI: who waits for its turn in a pool of httpx, or for a thread, serves its own request; calls of workers are never another’s', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const floors = { turns: FLOOR, def: FLOOR, workers: 0, looks: 0, swap: 0 };
    for (const MODE of Object.keys(floors)) {
      const env = { MODE: MODE === 'turns' ? '' : MODE, SOCKETS: MODE === 'looks' ? '1' : '' };
      await chain.add(MODE, { kind: 'asgi', calls: ['leaf', 'leaf'], env });
    }
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    // More than anyio has threads.
    for (const name of Object.keys(floors)) await chain.load(name, 1, 2 * REQUESTS, 50);
    await arrive(chain, receiver, Object.keys(floors), 4 * REQUESTS);
    const losses = `${await agent.losses()}\n${agent.child.describe()}`;
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    for (const [name, floor] of Object.entries(floors)) assertRight(name, calls.get(name), 4 * REQUESTS, floor, losses);
  }));

test('tasks of asyncio: their calls are joined with the request that they serve, and with no other', () =>
  withChain(async (chain, receiver) => {
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    const tasks = { turns: '', parallel: 'parallel', handler: 'handler', late: 'late', workers: 'workers' };
    const blocking = { threads: 'threads', executor: 'executor', threadWorker: 'thread_worker', tokens: 'tokens' };
    const own = { ...tasks, ...blocking, relay: 'relay', yields: 'relay_yield', answerers: 'answerers' };
    const looks = { batch: 'batch', looks: 'workers_yield', swap: 'swap', early: 'early' };
    const uv = { uvRequests: 'protocol', uvTurns: '', uvLate: 'late', uvTokens: 'tokens' };
    const modes = { ...own, ...looks, ...uv };
    for (const [name, MODE] of Object.entries(modes)) {
      const env = { MODE, TICK_MS: '100', THINK_MS: '1', LOOP: name in uv ? 'uvloop' : '' };
      await chain.add(name, { kind: 'asyncio', calls: ['leaf', 'leaf'], env });
    }
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    for (const name of Object.keys(modes)) await chain.load(name, 1, REQUESTS, 10);
    await arrive(chain, receiver, Object.keys(modes), 2 * REQUESTS);
    const losses = `${await agent.losses()}\n${agent.child.describe()}`;
    await agent.stop();
    const { calls, background } = judgeSpans(chain, receiver.spans(), '');
    for (const name of ['turns', 'parallel', 'handler', 'relay', 'yields', 'threads', 'executor', 'uvRequests'])
      assertRight(name, calls.get(name), 2 * REQUESTS, FLOOR, losses);
    // uvloop writes late: the next request may be there before the connection's task waits for it.
    assertRight('uvTurns', calls.get('uvTurns'), 2 * REQUESTS, FLOOR_OF_LOOP, losses);
    // Nobody can tell from outside whose those are that a worker makes, or a task that has answered: none is better than wrong.
    for (const name of [
      'late',
      'workers',
      'answerers',
      'batch',
      'looks',
      'swap',
      'early',
      'threadWorker',
      'tokens',
      'uvLate',
      'uvTokens',
    ])
      assertRight(name, calls.get(name), 2 * REQUESTS, 0, losses);
    assert.equal(background.wrong, 0, background.examples.join('\n'));
  }));

test('Java: what HttpClient sends on threads of its own is for the request of the thread that asked for it', () =>
  withChain(async (chain, receiver) => {
    const clients = ['send', 'async'];
    await chain.add('leaf', { kind: 'go', env: { THINK_MS: '2' } });
    for (const CLIENT of clients) await chain.add(CLIENT, { kind: 'java', calls: ['leaf', 'leaf'], env: { CLIENT } });
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    // From then on connections of its pool are taken, and who wakes whom is followed.
    for (const name of clients) await chain.load(name, 1, 20, 6, 'before');
    await until('wake-ups to be followed', 30_000, () =>
      /wake-ups .* followed/.test(agent.child.stderr) ? true : null,
    );
    for (const name of clients) await chain.load(name, 1, REQUESTS, 6);
    await arrive(chain, receiver, clients, 2 * REQUESTS);
    const losses = `${await agent.losses()}\n${agent.child.describe()}`;
    await agent.stop();
    const { calls } = judgeSpans(chain, receiver.spans(), '');
    assertRight('send', calls.get('send'), 2 * REQUESTS, FLOOR, losses);
    // One that waits for a pool's threads is not always asleep when these have done.
    assertRight('async', calls.get('async'), 2 * REQUESTS, FLOOR_OF_LOOP, losses);
  }));
