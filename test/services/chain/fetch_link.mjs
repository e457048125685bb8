// A link of a chain, see node.mjs, for Bun and Deno: their own server and fetch. MODE: in turn, `parallel`, `sleep` (a timer before each
// call), `late` (the last call follows the response), `queue` (LIMIT calls at a time, over all requests). TICK_MS: calls of no request.
const isDeno = typeof Deno !== 'undefined';
const variable = name => (isDeno ? Deno.env.get(name) : process.env[name]) ?? '';
const next = variable('NEXT').split(',').filter(Boolean);
const mode = variable('MODE');
const limit = Number(variable('LIMIT') || 2);
const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
const waiting = [];
let running = 0;

async function call(url) {
  if (mode === 'queue') {
    if (running >= limit) await new Promise(resolve => waiting.push(resolve));
    else running++;
  }
  await (await fetch(url)).text();
  if (mode !== 'queue') return;
  const first = waiting.shift();
  if (first === undefined) running--;
  else first();
}

async function serve(request) {
  const { pathname } = new URL(request.url);
  const targets = next.map((url, index) => `${url}${pathname}.${index + 1}`);
  if (mode === 'parallel') await Promise.all(targets.map(call));
  else {
    const last = mode === 'late' ? targets.pop() : undefined;
    for (const target of targets) {
      if (mode === 'sleep') await pause(Math.random() * 5);
      await call(target);
    }
    if (last !== undefined) setTimeout(() => call(last), 3);
  }
  return new Response('ok');
}

if (Number(variable('TICK_MS')) > 0) setInterval(() => call(`${next[0]}/c/tick`), Number(variable('TICK_MS')));
const place = { port: Number(variable('PORT')), hostname: '127.0.0.1' };
if (isDeno) Deno.serve(place, serve);
else Bun.serve({ ...place, fetch: serve });
