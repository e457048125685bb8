// A link of a chain of services whose calls are made by undici: CLIENT `fetch` (the one in Node.js), or `request` of the package with its
// default Agent, or (SOCKETS) with a Pool of so many connections. GET /c/ID calls /c/ID.1, /c/ID.2 ... at the services in NEXT, in the way
// that MODE names, and then answers; what is called for several requests at once, or for none, is /c/tick. THINK_MS: a timer before the
// first call. LIMIT: calls at a time, where the mode has a limit. TICK_MS: a call of its own from a timer.
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool, request } from 'undici';

const { PORT, NEXT = '', MODE = 'turn', CLIENT = 'fetch', THINK_MS = '0', SOCKETS = '0', LIMIT = '2' } = process.env;
const { TICK_MS = '0' } = process.env;
const next = NEXT.split(',').filter(url => url !== '');
const tick = () => `${next[0]}/c/tick`;

const pools = new Map();
function poolOf(origin) {
  if (Number(SOCKETS) === 0) return undefined;
  if (!pools.has(origin)) pools.set(origin, new Pool(origin, { connections: Number(SOCKETS) }));
  return pools.get(origin);
}

async function call(url) {
  if (CLIENT === 'fetch') {
    const response = await fetch(url);
    await response.text();
    return;
  }
  const dispatcher = poolOf(new URL(url).origin);
  const { body } = await request(url, dispatcher === undefined ? {} : { dispatcher });
  await body.text();
}
const quietly = url => call(url).catch(error => console.error(error));
async function inTurn(urls) {
  for (const url of urls) await call(url);
}

let waiting = [];
let waiter = null;
let running = 0;
let count = 0;

/** `limit` at a time, the first or the last that came next. */
const limited = take => job =>
  new Promise((resolve, reject) => {
    waiting.push({ job, resolve, reject });
    refill(take);
  });
function refill(take) {
  while (running < Number(LIMIT) && waiting.length > 0) {
    const { job, resolve, reject } = waiting[take]();
    running++;
    job()
      .finally(() => {
        running--;
        refill(take);
      })
      .then(resolve, reject);
  }
}

const MODES = {
  turn: inTurn,
  once: urls => Promise.all(urls.map(call)),
  // Two at once, then what is left.
  async steps(urls) {
    await Promise.all(urls.slice(0, 2).map(call));
    await inTurn(urls.slice(2));
  },
  async pauses(urls) {
    for (const url of urls) {
      await call(url);
      await sleep(3);
    }
  },
  // -- whose calls nothing tells
  async queue(urls) {
    for (const url of urls) await limited('shift')(() => call(url));
  },
  async stack(urls) {
    for (const url of urls) await limited('pop')(() => call(url));
  },
  async queueOnce(urls) {
    await Promise.all(urls.map(url => limited('shift')(() => call(url))));
  },
  // Each immediate does what came last.
  async latest(urls) {
    const jobs = urls.map(
      url =>
        new Promise((resolve, reject) => {
          waiting.push(() => call(url).then(resolve, reject));
          setImmediate(() => waiting.pop()());
        }),
    );
    await Promise.all(jobs);
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
    await Promise.all(urls.map(call));
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
      await Promise.all(urls.map(call));
      await sleep(30);
      return;
    }
    await Promise.all(urls.map(call));
  },
  // An immediate for each call does what is first; what each 20th one has to do comes first, and that one pauses before it answers.
  async urgent(urls) {
    const isUrgent = ++count % 20 === 0;
    const jobs = urls.map(
      url =>
        new Promise((resolve, reject) => {
          waiting[isUrgent ? 'unshift' : 'push'](() => call(url).then(resolve, reject));
          setImmediate(() => waiting.shift()());
        }),
    );
    await Promise.all(jobs);
    if (isUrgent) await sleep(30);
  },
  // Who has come before is served by the next one, or after 20 ms.
  async swap(urls) {
    const others = waiter;
    if (others === null) {
      await new Promise((resolve, reject) => {
        waiter = () => Promise.all(urls.map(call)).then(resolve, reject);
        setTimeout(() => {
          if (waiter === null) return;
          waiter();
          waiter = null;
        }, 20);
      });
      return;
    }
    waiter = null;
    others();
    await Promise.all(urls.map(call));
  },
  // One call for all who come in the same turn of the loop: for the one, if there is no other.
  async batch(urls) {
    for (const url of urls) {
      await new Promise((resolve, reject) => {
        waiting.push([url, resolve, reject]);
        if (waiting.length > 1) return;
        setImmediate(() => {
          const all = waiting;
          waiting = [];
          const done = index => value => {
            for (const one of all) one[index](value);
          };
          call(all.length > 1 ? tick() : all[0][0]).then(done(1), done(2));
        });
      });
    }
  },
};

http
  .createServer(async (incoming, response) => {
    if (Number(THINK_MS) > 0) await sleep(Number(THINK_MS));
    const urls = next.map((base, index) => `${base}${incoming.url}.${index + 1}`);
    try {
      await MODES[MODE](urls);
      response.end('ok');
    } catch (error) {
      console.error(error);
      response.writeHead(502).end();
    }
  })
  .listen(Number(PORT), '127.0.0.1');
if (Number(TICK_MS) > 0) setInterval(() => quietly(tick()), Number(TICK_MS));
