// One hop of a chain over hosts, without any tracing: serves GET requests, each of which it first sends on to the next hop (if
// there is one) over a keep-alive pool, and sets no header of its own but the request's. Or, with `load`, the chain's client:
// RATE requests a second for SECONDS over CONNECTIONS connections, paths /PREFIX/N, one `N` a line for each answer 200.
// Usage: node hop.mjs serve ADDRESS PORT NEXT-URL|- [marks]    node hop.mjs load URL PREFIX RATE SECONDS CONNECTIONS [marks]
import http from 'node:http';

const [what, ...args] = process.argv.slice(2);

function ask(base, path, agent) {
  return new Promise((resolve, reject) => {
    const request = http.get(`${base}${path}`, { agent }, response => {
      response.resume().on('end', () => resolve(response.statusCode));
    });
    request.on('error', reject);
  });
}

function serve(address, port, next) {
  const agent = new http.Agent({ keepAlive: true });
  http
    .createServer(async (request, response) => {
      const status = next === '-' ? 200 : await ask(next, request.url, agent).catch(() => 502);
      response.writeHead(status).end('done\n');
    })
    .listen(Number(port), address, () => console.log('ready'));
  process.on('SIGTERM', () => process.exit(0));
}

async function load(base, prefix, rate, seconds, connections) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: Number(connections) });
  const total = Math.round(Number(rate) * Number(seconds));
  const beganMs = performance.now();
  const answered = [];
  const pending = [];
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - beganMs) / 1000) * Number(rate)) + 1);
    for (; sent < due; sent++) {
      const path = `/${prefix}/${sent}`;
      pending.push(
        ask(base, path, agent).then(
          status => status === 200 && answered.push(path),
          () => undefined,
        ),
      );
    }
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  await Promise.all(pending);
  console.error(`${answered.length} of ${total} in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
  console.log(answered.join('\n'));
  agent.destroy();
}

if (what === 'serve') serve(...args);
else await load(...args);
