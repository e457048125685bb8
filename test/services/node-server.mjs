// A plain node:http server that keeps its own access log with in-process clocks: one JSON line per request, written when
// the last byte of the response was handed to the operating system. With TLS_KEY and TLS_CERTIFICATE (files) it is a
// node:https server. Usage: node node-server.mjs <port|socket path> <log>
// Paths: /bytes/SIZE/N, /chunked/SIZE/N, /status/CODE/N, /upload/N, /sleep/MS/N.
import { createWriteStream, readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const [listen, logPath] = process.argv.slice(2);
const log = createWriteStream(logPath);
const filler = Buffer.alloc(64 * 1024, 'x');

function sendBytes(res, size) {
  let left = size;
  const more = () => {
    while (left > 0) {
      const part = left < filler.length ? filler.subarray(0, left) : filler;
      left -= part.length;
      if (left === 0) res.end(part);
      else if (!res.write(part)) return res.once('drain', more);
    }
    if (size === 0) res.end();
  };
  more();
}

function answer(req, res) {
  const [, kind, argument] = req.url.split('?')[0].split('/');
  const value = Number(argument);
  if (kind === 'bytes') {
    res.writeHead(200, { 'content-length': value, 'content-type': 'application/octet-stream' });
    if (req.method === 'HEAD') res.end();
    else sendBytes(res, value);
  } else if (kind === 'chunked') {
    res.writeHead(200, { 'content-type': 'application/octet-stream' });
    sendBytes(res, value);
  } else if (kind === 'status') {
    res.writeHead(value, value >= 300 && value < 400 && value !== 304 ? { location: '/elsewhere' } : {});
    res.end(value === 204 || value === 304 ? undefined : `${value}\n`);
  } else if (kind === 'sleep') {
    setTimeout(() => res.end('slept\n'), value);
  } else if (kind === 'upload') {
    let received = 0;
    req.on('data', part => {
      received += part.length;
    });
    req.on('end', () => res.end(String(received)));
  } else {
    res.writeHead(404).end('not found\n');
  }
}

const { TLS_KEY, TLS_CERTIFICATE } = process.env;
const createServer = listener =>
  TLS_KEY === undefined
    ? http.createServer(listener)
    : https.createServer({ key: readFileSync(TLS_KEY), cert: readFileSync(TLS_CERTIFICATE) }, listener);
const server = createServer((req, res) => {
  const startMs = performance.now();
  let isLogged = false;
  const write = () => {
    if (isLogged) return;
    isLogged = true;
    const durationMs = performance.now() - startMs;
    const entry = {
      method: req.method,
      path: req.url.split('?')[0],
      status: res.statusCode,
      startMs: performance.timeOrigin + startMs,
      durationMs,
      traceparent: req.headers.traceparent,
    };
    log.write(`${JSON.stringify(entry)}\n`);
  };
  res.on('finish', write);
  res.on('close', write);
  answer(req, res);
});
server.keepAliveTimeout = 60_000;
server.listen(/^\d+$/.test(listen) ? { port: Number(listen), host: '127.0.0.1' } : { path: listen });
process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  log.end(() => process.exit(0));
});
