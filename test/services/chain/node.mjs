// A link of a chain of services: GET /c/ID calls /c/ID.1, /c/ID.2 ... at the services in NEXT, one after the other or (MODE)
// all at once, then answers. THINK_MS: a timer before the first call. LIMIT: calls at a time, by a queue of promises over all
// requests. SOCKETS: the pool's size, 0: none is kept. TICK_MS: a call of its own, /c/tick, from a timer. RESOLVE: names instead of
// addresses. FILE: a file is read before each call. FORWARD: a header of the request that its calls have, too, `traceparent` with a span of their own. PAUSE_MS: jobs of two calls are limited, not calls, and every second request's pauses
// between them.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';

const { PORT, NEXT = '', MODE = 'sequential', THINK_MS = '0', LIMIT = '0', SOCKETS, TICK_MS = '0' } = process.env;
const { RESOLVE, FILE, FORWARD, PAUSE_MS = '0' } = process.env;
const next = NEXT.split(',')
  .filter(url => url !== '')
  .map(url => (RESOLVE === undefined ? url : url.replace('127.0.0.1', 'localhost')));
const agent = new http.Agent({ keepAlive: SOCKETS !== '0', maxSockets: Number(SOCKETS) || Number.POSITIVE_INFINITY });
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

async function call(url, headers = {}, triesLeft = 3) {
  if (FILE !== undefined) await readFile(FILE);
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, family: 4, headers }, response => response.resume().on('end', resolve));
    // A kept connection may end at the moment when it is used again, and gunicorn on a busy machine hangs up on new ones, too:
    // clients ask once more.
    request.on('error', error => {
      if (error.code === 'ECONNRESET' && triesLeft > 0) call(url, headers, triesLeft - 1).then(resolve, reject);
      else reject(error);
    });
  });
}

const queue = [];
let running = 0;
function limited(job) {
  if (Number(LIMIT) === 0) return job();
  return new Promise((resolve, reject) => {
    queue.push({ job, resolve, reject });
    refill();
  });
}
function refill() {
  while (running < Number(LIMIT) && queue.length > 0) {
    const { job, resolve, reject } = queue.shift();
    running++;
    job()
      .finally(() => {
        running--;
        refill();
      })
      .then(resolve, reject);
  }
}

async function inPairs(urls, headers, pauseMs) {
  for (let at = 0; at < urls.length; at += 2) {
    await limited(async () => {
      await call(urls[at], headers);
      if (pauseMs > 0) await sleep(pauseMs);
      await call(urls[at + 1], headers);
    });
  }
}

function forwarded(value) {
  if (value === undefined) return {};
  const isTrace = FORWARD === 'traceparent';
  return { [FORWARD]: isTrace ? value.replace(/-[0-9a-f]{16}-/, `-${randomBytes(8).toString('hex')}-`) : value };
}

http
  .createServer(async (request, response) => {
    if (Number(THINK_MS) > 0) await sleep(Number(THINK_MS));
    const headers = forwarded(request.headers[FORWARD]);
    const urls = next.map((base, index) => `${base}${request.url}.${index + 1}`);
    if (Number(PAUSE_MS) > 0) await inPairs(urls, headers, /[13579]$/.test(request.url) ? Number(PAUSE_MS) : 0);
    else if (MODE === 'parallel') await Promise.all(urls.map(url => limited(() => call(url, headers))));
    else for (const url of urls) await limited(() => call(url, headers));
    response.end('ok');
  })
  .listen(Number(PORT), '127.0.0.1');
if (Number(TICK_MS) > 0)
  setInterval(() => call(`${next[0]}/c/tick`).catch(error => console.error(error)), Number(TICK_MS));
