// Many TLS sessions on one event loop, each socket known to both sides: a log line tells which ports a request went
// between. `server PORTS LOG`: https on each port, {path, server, client}. `client PORTS LOG TAG SESSIONS REQUESTS PAUSE_MS
// [close]`: sessions at the same time, each with REQUESTS requests, or as many as there are until SIGTERM, on one connection
// or (close) each on its own, spread over the ports. Certificate in TLS_KEY and TLS_CERTIFICATE.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

const [mode, portList, logPath, tag, sessions, requests, pauseMs, closes] = process.argv.slice(2);
const ports = portList.split(',').map(Number);
writeFileSync(logPath, '');
const log = entry => appendFileSync(logPath, `${JSON.stringify(entry)}\n`);
let count = 0;
let isEnding = false;

async function answer(server, req, res) {
  const number = Number(req.url.split('/').pop());
  if (number % 3 === 0) await sleep(number % 7);
  log({ path: req.url, server, client: req.socket.remotePort });
  res.end('x'.repeat((number * 37) % 3000));
}

function request(agent, server, path) {
  return new Promise((resolve, reject) => {
    const call = https.request({ agent, host: '127.0.0.1', port: server, path }, res => {
      log({ path, server, client: res.socket.localPort });
      res.resume().on('end', resolve);
    });
    call.on('error', reject).end();
  });
}

async function session(index) {
  const agent = new https.Agent({ keepAlive: closes !== 'close', maxSockets: 1, rejectUnauthorized: false });
  for (let turn = 0; turn < Number(requests) && !isEnding; turn++) {
    const number = count++;
    const server = ports[(index + (closes === 'close' ? turn : 0)) % ports.length];
    await request(agent, server, `/${tag}/${number}`);
    await sleep(Number(pauseMs) + (number % 4));
  }
  agent.destroy();
}

if (mode === 'server') {
  const certificate = { key: readFileSync(process.env.TLS_KEY), cert: readFileSync(process.env.TLS_CERTIFICATE) };
  for (const port of ports)
    https.createServer(certificate, (req, res) => answer(port, req, res)).listen(port, '127.0.0.1', 512);
} else {
  process.once('SIGTERM', () => {
    isEnding = true;
  });
  await Promise.all(Array.from({ length: Number(sessions) }, (_, index) => session(index)));
}
