// A link of a chain of services: GET /c/ID calls /c/ID.1, /c/ID.2 ... at the services in NEXT, one after the other or (MODE)
// all at once, then answers. THINK_MS: a timer before the first call. LIMIT: calls at a time, by a queue of promises over all
// requests. SOCKETS: the pool's size. TICK_MS: a call of its own, /c/tick, from a timer. RESOLVE: names instead of addresses.
import http from 'node:http';

const { PORT, NEXT = '', MODE = 'sequential', THINK_MS = '0', LIMIT = '0', SOCKETS = '0', TICK_MS = '0' } = process.env;
const next = NEXT.split(',').filter(url => url !== '');
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(SOCKETS) || Number.POSITIVE_INFINITY });

function call(url) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent }, response => response.resume().on('end', resolve));
    // A kept connection may end at the moment when it is used again: clients ask once more.
    request.on('error', error => {
      if (request.reusedSocket && error.code === 'ECONNRESET') call(url).then(resolve, reject);
      else reject(error);
    });
  });
}

const queue = [];
let running = 0;
function limited(url) {
  if (Number(LIMIT) === 0) return call(url);
  return new Promise((resolve, reject) => {
    queue.push({ url, resolve, reject });
    refill();
  });
}
function refill() {
  while (running < Number(LIMIT) && queue.length > 0) {
    const { url, resolve, reject } = queue.shift();
    running++;
    call(url)
      .finally(() => {
        running--;
        refill();
      })
      .then(resolve, reject);
  }
}

http
  .createServer(async (request, response) => {
    if (Number(THINK_MS) > 0) await new Promise(resolve => setTimeout(resolve, Number(THINK_MS)));
    const urls = next.map((base, index) => `${base}${request.url}.${index + 1}`);
    if (MODE === 'parallel') await Promise.all(urls.map(limited));
    else for (const url of urls) await limited(url);
    response.end('ok');
  })
  .listen(Number(PORT), '127.0.0.1');
if (Number(TICK_MS) > 0) setInterval(() => call(`${next[0]}/c/tick`), Number(TICK_MS));
