// A link of a chain of services whose requests wait for each other, in the way that MODE names. GET /c/ID calls /c/ID.1, /c/ID.2 ...
// at the services in NEXT and then answers; what is called for several requests at once, or for none, is /c/tick.
// LIMIT: calls at a time, where the mode has a limit. PERIOD_MS: of the timer that calls for nobody.
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

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
  async worker(urls) {
    timer ??= new Worker(new URL(import.meta.url));
    const id = urls[0];
    const done = once(bus, id);
    if (timer.listenerCount('message') === 0) timer.on('message', told => bus.emit(told));
    timer.postMessage(urls);
    await done;
  },
};

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
else
  parentPort.on('message', async urls => {
    await inTurn(urls);
    parentPort.postMessage(urls[0]);
  });
