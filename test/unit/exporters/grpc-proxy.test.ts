// OTLP/gRPC on ways that are not a plain TCP connection: through a proxy that the environment names, and to a socket of unix.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { proxyFor } from '../../../src/exporters/grpc-proxy.js';
import { createOtlpExporter } from '../../../src/exporters/otlp.js';
import { type OtlpSettings, resolveOtlpTarget } from '../../../src/exporters/otlp-settings.js';
import { startOtlpReceiver } from '../../support/otlp-receiver.js';
import { traceRequest } from './requests.js';

test('the first variable that is set names the proxy, unless the receiver is exempt', () => {
  const host = (url: string, env: NodeJS.ProcessEnv): string | undefined => proxyFor(url, env)?.host;
  assert.equal(host('otel:4317', {}), undefined);
  assert.equal(
    host('otel:4317', { http_proxy: 'http://c:1', https_proxy: 'http://b:1', grpc_proxy: 'http://a:1' }),
    'a:1',
  );
  assert.equal(host('otel:4317', { http_proxy: 'http://c:1', https_proxy: 'http://b:1', grpc_proxy: '' }), 'b:1');
  assert.equal(host('otel:4317', { http_proxy: 'https://c:1' }), undefined, 'the way to a proxy is not encrypted');
  assert.equal(host('otel:4317', { http_proxy: 'nonsense' }), undefined);
  const exempt = { http_proxy: 'http://c:1', no_proxy: ' .svc.local,10.0.0.0/8, fd00::/8,localhost' };
  for (const url of ['otel.svc.local:4317', '10.1.2.3:4317', '[fd00::1]:4317', 'localhost:4317']) {
    assert.equal(host(url, exempt), undefined, url);
  }
  for (const url of ['otel.svc.local.example:4317', '11.1.2.3:4317', '[fe80::1]:4317']) {
    assert.equal(host(url, exempt), 'c:1', url);
  }
  assert.equal(
    host('localhost:4317', { ...exempt, no_grpc_proxy: '127.0.0.1' }),
    'c:1',
    'no_proxy counts where it is alone',
  );
});

interface Proxy {
  readonly url: string;
  /** What it was asked for: the target, and by whom. */
  readonly asked: string[];
}

async function startProxy(context: TestContext, status: number): Promise<Proxy> {
  const asked: string[] = [];
  const server = http.createServer();
  server.on('connect', (request, client) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`);
    client.on('error', () => undefined);
    if (status !== 200) {
      client.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const receiver = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connected\r\n\r\n');
      receiver.pipe(client).pipe(receiver);
    });
    receiver.on('error', () => client.destroy());
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return { url: `http://me:secret@127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** Sends one request with the proxy in the environment. */
async function exportThrough(
  context: TestContext,
  proxy: string,
  endpoint: string,
  settings: OtlpSettings = {},
): Promise<string> {
  process.env.grpc_proxy = proxy;
  const target = resolveOtlpTarget('traces', { protocol: 'grpc', endpoint, timeoutMs: 3000, ...settings }, {});
  const exporter = createOtlpExporter(target, { userAgent: 'u', log: () => {} });
  context.after(() => exporter.shutdown(0));
  try {
    const result = await exporter.export(traceRequest('a', 2).bytes, 2);
    return result.kind === 'unavailable' ? `unavailable ${result.message}` : result.kind;
  } finally {
    delete process.env.grpc_proxy;
  }
}

test('a request goes through the proxy', async context => {
  const receiver = await startOtlpReceiver({ grpc: true });
  context.after(() => receiver.close());
  const proxy = await startProxy(context, 200);
  assert.equal(await exportThrough(context, proxy.url, receiver.grpcUrl), 'ok');
  assert.equal(receiver.spans().length, 2);
  const user = Buffer.from('me:secret').toString('base64');
  assert.deepEqual(proxy.asked, [`127.0.0.1:${receiver.grpcPort} Basic ${user}`]);
});

test('what goes through a proxy is encrypted for the receiver, which has to be the right one', async context => {
  const directory = mkdtempSync(join(tmpdir(), 'underspan-grpc-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=server', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert];
  execFileSync('openssl', [...kind, ...subject], { stdio: 'pipe' });
  const tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  const receiver = await startOtlpReceiver({ grpc: true, tls });
  context.after(() => receiver.close());
  const proxy = await startProxy(context, 200);
  assert.equal(await exportThrough(context, proxy.url, receiver.grpcUrl, { certificate: cert }), 'ok');
  assert.equal(receiver.spans().length, 2);
  assert.match(await exportThrough(context, proxy.url, receiver.grpcUrl), /^unavailable .*certificate/);
  assert.equal(proxy.asked.length, 2);
});

test('a proxy that says no, or is not there, is told', async context => {
  const proxy = await startProxy(context, 403);
  assert.match(await exportThrough(context, proxy.url, 'http://127.0.0.1:9'), /^unavailable .*answers 403/);
  assert.match(await exportThrough(context, 'http://127.0.0.1:9', 'http://127.0.0.1:9'), /^unavailable .*ECONNREFUSED/);
});

test('a socket of unix is a receiver, too', async context => {
  const receiver = await startOtlpReceiver({ grpc: true });
  const directory = mkdtempSync(join(tmpdir(), 'underspan-grpc-'));
  const front: Server = createServer(client => {
    const onward = connect(receiver.grpcPort, '127.0.0.1');
    for (const socket of [client, onward]) socket.on('error', () => undefined);
    client.pipe(onward).pipe(client);
  });
  await new Promise<void>(resolve => front.listen(join(directory, 'otlp'), resolve));
  context.after(async () => {
    front.close();
    await receiver.close();
    rmSync(directory, { recursive: true });
  });
  for (const scheme of ['unix:', 'unix://']) {
    assert.equal(await exportThrough(context, '', `${scheme}${directory}/otlp`), 'ok');
  }
  assert.equal(receiver.spans().length, 4);
});
