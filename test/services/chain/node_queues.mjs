// A link of a chain of services whose requests wait for each other, in the way that MODE names. GET /c/ID calls /c/ID.1, /c/ID.2 ...
// at the services in NEXT and then answers; what is called for several requests at once, or for none, is /c/tick.
// LIMIT: calls at a time, where the mode has a limit. PERIOD_MS: of the timer that calls for nobody.
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { isMainThread, MessageChannel, parentPort, Worker } from 'node:worker_threads';

const { PORT, NEXT = '', MODE, LIMIT = '2', PERIOD_MS = '3' } = process.env;
const next = NEXT.split(',').filter(url => url !== '');
const agent = new http.Agent({ keepAlive: true });
const limit = Number(LIMIT);
const tick = () => `${next[0]}/c/tick`;

function get(url, done, options = { agent }, triesLeft = 3) {
  const request = http.get(url, options, response => response.resume().on('end', () => done(null)));
  request.on('error', error => {
    if (error.code === 'ECONNRESET' && triesLeft > 0) get(url, done, options, triesLeft - 1);
    else done(error);
  });
}
const call = (url, options) =>
  new Promise((resolve, reject) => get(url, error => (error ? reject(error) : resolve()), options));
const quietly = url => call(url).catch(error => console.error(error));
async function inTurn(urls, options) {
  for (const url of urls) await call(url, options);
}

/** Jobs with a callback, `limit` at a time. */
class Queue {
  #jobs = [];
  #running = 0;

  add(job) {
    this.#jobs.push(job);
    this.#refill();
  }

  #refill() {
    while (this.#running < limit && this.#jobs.length > 0) {
      this.#running++;
      this.#jobs.shift()(() => {
        this.#running--;
        this.#refill();
      });
    }
  }
}
const queue = new Queue();

/** All callbacks, no promises. */
function chained(urls, each, done) {
  if (urls.length === 0) done();
  else each(urls[0], () => chained(urls.slice(1), each, done));
}
const byCallbacks = each => urls => new Promise(resolve => chained(urls, each, resolve));

/** One call for all who come before it is made: for the one, if there is no other. */
function together(url, done, later) {
  waiting.push([url, done]);
  if (waiting.length > 1) return;
  later(() => {
    const all = waiting;
    waiting = [];
    get(all.length > 1 ? tick() : url, () => {
      for (const [, one] of all) one();
    });
  });
}

const both = (one, other) => () => {
  one();
  other();
};
let waiting = [];
let waiter = null;
let count = 0;
let timer = null;
let shared = null;
const bus = new EventEmitter().setMaxListeners(0);
const keptOptions = { agent: new http.Agent({ keepAlive: true, maxSockets: limit }) };

const MODES = {
  // -- whose calls are known by what the program made for them
  timers: byCallbacks((url, done) => setTimeout(get, 3, url, done)),
  immediates: byCallbacks((url, done) => setImmediate(get, url, done)),
  pool: byCallbacks((url, done) => get(url, done, keptOptions)),
  bound: byCallbacks((url, done) => queue.add(AsyncResource.bind(free => get(url, both(done, free))))),
  async turns(urls) {
    for (const url of urls) {
      await turn();
      await sleep(1);
      await call(url);
    }
  },
  async pipes(urls) {
    for (const url of urls) {
      const [response] = await once(http.get(url, { agent }), 'response');
      const to = new PassThrough();
      to.resume();
      await pipeline(response, to);
    }
  },
  // -- whose calls nothing tells
  callbacks: byCallbacks((url, done) => queue.add(free => get(url, both(done, free)))),
  async mutex(urls) {
    for (const url of urls) {
      const before = shared;
      let free;
      shared = new Promise(resolve => {
        free = resolve;
      });
      await before;
      await call(url);
      free();
    }
  },
  // Jobs wait for a timer that the first one has made, and that makes the next.
  paced: byCallbacks((url, done) => {
    waiting.push([url, done]);
    const one = () => {
      const [first, firstDone] = waiting.shift();
      timer = waiting.length > 0 ? setTimeout(one, 1) : null;
      get(first, firstDone);
    };
    timer ??= setTimeout(one, 1);
  }),
  // A request waits until the next one comes, and both call then.
  async meet(urls) {
    if (waiter !== null) waiter();
    else {
      await new Promise(resolve => {
        waiter = resolve;
        setTimeout(resolve, 20);
      });
    }
    waiter = null;
    await inTurn(urls);
  },
  // Each one's calls are made when the next one comes, or 30 ms have passed.
  async relay(urls) {
    const before = waiter;
    const mine = new Promise(resolve => {
      waiter = resolve;
      setTimeout(resolve, 30);
    });
    before?.();
    await mine;
    await inTurn(urls);
  },
  // Each 20th one waits for the next, and pauses before it answers; all others call at once.
  async rare(urls) {
    if (waiter !== null) {
      waiter();
      waiter = null;
    } else if (++count % 20 === 0) {
      await new Promise(resolve => {
        waiter = resolve;
      });
      await inTurn(urls);
      await sleep(30);
      return;
    }
    await Promise.all(urls.map(url => call(url)));
  },
  // -- calls for several requests, or for none
  async batch(urls) {
    for (const url of urls) await new Promise(resolve => together(url, resolve, flush => setTimeout(flush, 2)));
  },
  async turnBatch(urls) {
    for (const url of urls) await new Promise(resolve => together(url, resolve, setImmediate));
  },
  async lazy(urls) {
    timer ??= setInterval(() => quietly(tick()), 2);
    await inTurn(urls);
  },
  async refresh(urls) {
    if (timer === null) timer = setTimeout(() => quietly(tick()), 3);
    else timer.refresh();
    await inTurn(urls);
  },
  async poll(urls) {
    await once(bus, 'news');
    await inTurn(urls);
  },
  async flight(urls) {
    // Whoever comes while it is under way waits for the same.
    shared ??= call(urls[0]).finally(() => {
      shared = null;
    });
    await shared;
    await inTurn(urls.slice(1));
  },
  async own(urls) {
    timer ??= setInterval(() => queue.add(free => get(tick(), free)), Number(PERIOD_MS));
    for (const url of urls) await new Promise(resolve => queue.add(free => get(url, both(resolve, free))));
  },
  // -- threads that call
  worker: ask,
  heldWorker: ask,
  lastWorker: ask,
  batchWorker: ask,
  pausedWorker: ask,
  ownWorker: ask,
  // Each request's answer comes by a channel of its own.
  async channels(urls) {
    const { port1, port2 } = new MessageChannel();
    const done = once(port1, 'message');
    thread().postMessage({ urls, port: port2 }, [port2]);
    await done;
    port1.close();
  },
  async workers(urls) {
    // Each of two threads has one job at a time; a job waits for a thread that is free.
    timer ??= [new Worker(new URL(import.meta.url)), new Worker(new URL(import.meta.url))];
    await new Promise(resolve => {
      queue.add(free => {
        const thread = timer.pop();
        thread.once('message', () => {
          timer.push(thread);
          both(resolve, free)();
        });
        thread.postMessage(urls);
      });
    });
  },
};

/** One thread for all. */
function thread() {
  timer ??= new Worker(new URL(import.meta.url));
  return timer;
}
async function ask(urls) {
  const done = once(bus, urls[0]);
  if (thread().listenerCount('message') === 0) timer.on('message', told => bus.emit(told));
  timer.postMessage(urls);
  await done;
}

/** What a thread does with a message. */
async function work(urls) {
  await inTurn(urls);
  parentPort.postMessage(urls[0]);
}
const WORKERS = {
  worker: work,
  workers: work,
  async channels({ urls, port }) {
    await inTurn(urls);
    port.postMessage('done');
  },
  // Until there are three, or 10 ms have passed.
  heldWorker(urls) {
    waiting.push(urls);
    timer ??= setTimeout(() => {
      timer = null;
      waiting.splice(0).forEach(work);
    }, 10);
    if (waiting.length > 2) waiting.splice(0).forEach(work);
  },
  // The last that came is done next, two at a time.
  lastWorker(urls) {
    waiting.push(urls);
    refill();
  },
  // One call for all that come while one is under way.
  async batchWorker(urls) {
    waiting.push(urls);
    if (timer !== null) return;
    timer = true;
    while (waiting.length > 0) {
      const all = waiting.splice(0);
      for (const [index] of all[0].entries()) await call(all.length > 1 ? tick() : all[0][index]);
      for (const [first] of all) parentPort.postMessage(first);
    }
    timer = null;
  },
  // What comes next sets it off; it answers only when it has slept.
  async pausedWorker(urls) {
    const before = waiter;
    const mine = new Promise(resolve => {
      waiter = resolve;
      setTimeout(resolve, 30);
    });
    before?.();
    await mine;
    await inTurn(urls);
    await sleep(20);
    parentPort.postMessage(urls[0]);
  },
  ownWorker(urls) {
    timer ??= setInterval(() => queue.add(free => get(tick(), free)), Number(PERIOD_MS));
    chained(
      urls,
      (url, done) => queue.add(free => get(url, both(done, free))),
      () => parentPort.postMessage(urls[0]),
    );
  },
};
function refill() {
  while (count < limit && waiting.length > 0) {
    count++;
    work(waiting.pop()).finally(() => {
      count--;
      refill();
    });
  }
}

if (MODE === 'poll') setInterval(() => get(tick(), () => bus.emit('news')), 3);
if (isMainThread)
  http
    .createServer(async (request, response) => {
      const urls = next.map((base, index) => `${base}${request.url}.${index + 1}`);
      if (MODE === 'late') {
        response.end('ok');
        for (const url of urls) {
          await sleep(2);
          await quietly(url.replace(/\/c\/.*/, '/c/tick'));
        }
        return;
      }
      await MODES[MODE](urls);
      response.end('ok');
    })
    .listen(Number(PORT), '127.0.0.1');
else parentPort.on('message', WORKERS[MODE]);
