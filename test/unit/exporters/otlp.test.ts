// The OTLP exporters over real loopback connections against the receiver: each protocol, what is sent (headers,
// compression, encoding), and each way in which a receiver can disappoint.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before, describe, type TestContext } from 'node:test';
import { AgentError } from '../../../src/errors.js';
import type { Exporter, Log } from '../../../src/exporters/exporter.js';
import { createOtlpExporter, createOtlpExporters } from '../../../src/exporters/otlp.js';
import { parseRetryAfter } from '../../../src/exporters/otlp-post.js';
import { type OtlpProtocol, type OtlpSettings, resolveOtlpTarget } from '../../../src/exporters/otlp-settings.js';
import { type OtlpReceiver, type OtlpReceiverOptions, startOtlpReceiver } from '../../support/otlp-receiver.js';
import { startTunnel, type Tunnel } from '../../support/tunnel.js';
import { metricsRequest, traceRequest } from './requests.js';

const PROTOCOLS: readonly OtlpProtocol[] = ['grpc', 'http/protobuf', 'http/json'];

interface Setup {
  readonly receiver: OtlpReceiver;
  readonly exporter: Exporter;
  readonly lines: string[];
}

async function setUp(
  context: TestContext,
  protocol: OtlpProtocol,
  settings: OtlpSettings = {},
  options: OtlpReceiverOptions = {},
): Promise<Setup> {
  const isGrpc = protocol === 'grpc';
  const receiver = await startOtlpReceiver({ grpc: isGrpc, http: !isGrpc, ...options });
  const endpoint = isGrpc ? receiver.grpcUrl : receiver.httpUrl;
  const lines: string[] = [];
  const log: Log = (level, message) => lines.push(`${level} ${message}`);
  const target = resolveOtlpTarget('traces', { protocol, endpoint, timeoutMs: 3000, ...settings }, {});
  const exporter = createOtlpExporter(target, { userAgent: 'underspan/0.1.0', log });
  context.after(async () => {
    await exporter.shutdown(1000);
    await receiver.close();
  });
  return { receiver, exporter, lines };
}

function exporterThrough(
  protocol: OtlpProtocol,
  tunnel: Tunnel,
  timeoutMs = 3000,
  compression: 'none' | 'gzip' = 'none',
): Exporter {
  const endpoint = `http://127.0.0.1:${tunnel.port}`;
  const target = resolveOtlpTarget('traces', { protocol, endpoint, timeoutMs, compression }, {});
  return createOtlpExporter(target, { userAgent: 'u', log: () => {} });
}

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    test('delivers every span with ids, times, attributes and resources', async context => {
      const { receiver, exporter } = await setUp(context, protocol);
      const { bytes, spanCount } = traceRequest('a', 5);
      assert.deepEqual(await exporter.export(bytes, spanCount), { kind: 'ok' });
      const spans = receiver.spans();
      assert.deepEqual(spans.map(span => span.name).sort(), ['a-0', 'a-1', 'a-2', 'a-3', 'a-4']);
      const last = spans.find(span => span.name === 'a-3');
      assert.equal(last?.traceId, 'abcdef01000000000000000000000000');
      assert.equal(last?.spanId, '0000000400000000');
      assert.equal(last?.parentSpanId, '0000000100000000');
      assert.equal(last?.flags, 0x301);
      assert.equal(last?.startUnixNs, 1_790_000_001_000_000_003n);
      assert.equal(last?.resource.attributes.get('service.name'), 'shop-1');
      assert.equal(receiver.requests()[0]?.transport, protocol);
    });

    test('sends the headers and says who it is', async context => {
      const { receiver, exporter } = await setUp(context, protocol, { headers: { 'x-api-key': 'secret value' } });
      const { bytes } = traceRequest('a', 1);
      await exporter.export(bytes, 1);
      const headers = receiver.requests()[0]?.headers;
      assert.equal(headers?.['x-api-key'], 'secret value');
      assert.match(headers?.['user-agent'] ?? '', /^underspan\/0\.1\.0/);
    });

    test('compresses with gzip', async context => {
      const { receiver, exporter } = await setUp(context, protocol, { compression: 'gzip' });
      const { bytes, spanCount } = traceRequest('z', 300);
      assert.deepEqual(await exporter.export(bytes, spanCount), { kind: 'ok' });
      assert.equal(receiver.spans().length, 300);
      const headers = receiver.requests()[0]?.headers;
      if (protocol !== 'grpc') assert.equal(headers?.['content-encoding'], 'gzip');
    });

    test('a request of the largest size arrives', async context => {
      const { receiver, exporter } = await setUp(context, protocol, { timeoutMs: 20_000 });
      const { bytes, spanCount } = traceRequest('big', 3400, 1024);
      assert.ok(bytes.length > 3.3 * 1024 * 1024);
      assert.deepEqual(await exporter.export(bytes, spanCount), { kind: 'ok' });
      assert.equal(receiver.spans().length, 3400);
    });

    test('partial success is told with its number and reason, and belongs to its own request', async context => {
      const { receiver, exporter } = await setUp(context, protocol);
      const first = traceRequest('a', 4);
      receiver.setFault({ kind: 'partial', rejected: 3, message: 'too old' }, 1);
      const results = [await exporter.export(first.bytes, 4), await exporter.export(traceRequest('b', 4).bytes, 4)];
      assert.deepEqual(results, [{ kind: 'partial', rejected: 3, message: 'too old' }, { kind: 'ok' }]);
    });

    test('partial success without rejections is a warning', async context => {
      const { receiver, exporter, lines } = await setUp(context, protocol);
      receiver.setFault({ kind: 'partial', rejected: 0, message: 'deprecated port' });
      assert.deepEqual(await exporter.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
      assert.deepEqual(lines.length, 1);
      assert.match(lines[0] ?? '', /^warn .*deprecated port/);
    });

    test('what the receiver refuses is refused, with its code and reason', async context => {
      const { receiver, exporter } = await setUp(context, protocol);
      receiver.setFault({ kind: 'refuse', message: 'no such tenant' });
      const result = await exporter.export(traceRequest('a', 1).bytes, 1);
      assert.equal(result.kind, 'refused');
      assert.ok(result.kind === 'refused');
      assert.equal(result.code, protocol === 'grpc' ? '3' : '400');
      assert.match(result.message, /no such tenant/);
      assert.equal(receiver.requests().length, 1);
    });

    test('nobody listens: unavailable', async context => {
      const { receiver, exporter } = await setUp(context, protocol, { timeoutMs: 900 });
      await receiver.close();
      const result = await exporter.export(traceRequest('a', 1).bytes, 1);
      assert.equal(result.kind, 'unavailable');
      assert.ok(result.kind === 'unavailable');
      assert.match(result.message, /ECONNREFUSED|No connection established/);
    });

    test('no answer within the timeout: unavailable', async context => {
      const { receiver, exporter } = await setUp(context, protocol, { timeoutMs: 400 });
      receiver.setFault({ kind: 'slow', delayMs: 15_000 });
      const start = performance.now();
      const result = await exporter.export(traceRequest('a', 1).bytes, 1);
      assert.equal(result.kind, 'unavailable');
      assert.ok(performance.now() - start < 12_000);
    });

    test('metrics go to their own service', async context => {
      const { receiver } = await setUp(context, protocol);
      const endpoint = protocol === 'grpc' ? receiver.grpcUrl : receiver.httpUrl;
      const { metrics } = createOtlpExporters(
        { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: protocol },
        { userAgent: 'underspan/0.1.0', log: () => {} },
      );
      assert.deepEqual(await metrics.export(metricsRequest('underspan.spans', 7), 1), { kind: 'ok' });
      await metrics.shutdown(1000);
      const [metric] = receiver.metrics();
      assert.equal(metric?.name, 'underspan.spans');
      assert.equal(metric?.points[0]?.value, 7n);
      assert.equal(metric?.resource.attributes.get('service.name'), 'underspan');
    });
  });
}

describe('gRPC status codes', () => {
  test('UNAVAILABLE is worth another attempt, after the delay that the receiver names', async context => {
    const { receiver, exporter } = await setUp(context, 'grpc');
    receiver.setFault({ kind: 'unavailable', retryAfterMs: 1250 }, 1);
    const result = await exporter.export(traceRequest('a', 1).bytes, 1);
    assert.ok(result.kind === 'unavailable');
    assert.equal(result.retryAfterMs, 1250);
    assert.deepEqual(await exporter.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
  });

  test('RESOURCE_EXHAUSTED is a pause with RetryInfo and a refusal without', async context => {
    const { receiver, exporter } = await setUp(context, 'grpc');
    receiver.setFault({ kind: 'exhausted', retryAfterMs: 500 }, 1);
    const paused = await exporter.export(traceRequest('a', 1).bytes, 1);
    assert.ok(paused.kind === 'unavailable');
    assert.equal(paused.retryAfterMs, 500);
    receiver.setFault({ kind: 'exhausted' }, 1);
    const refused = await exporter.export(traceRequest('a', 1).bytes, 1);
    assert.ok(refused.kind === 'refused');
    assert.equal(refused.code, '8');
  });

  test('a connection that breaks is worth another attempt, which succeeds at once', async context => {
    const { receiver, exporter } = await setUp(context, 'grpc');
    receiver.setFault({ kind: 'reset' }, 1);
    assert.equal((await exporter.export(traceRequest('a', 1).bytes, 1)).kind, 'unavailable');
    assert.deepEqual(await exporter.export(traceRequest('b', 1).bytes, 1), { kind: 'ok' });
  });

  test('a receiver that comes back is noticed at the next attempt, however long it was away', async context => {
    const { receiver, exporter } = await setUp(context, 'grpc');
    const { grpcPort } = receiver;
    await receiver.close();
    for (let i = 0; i < 6; i++) {
      assert.equal((await exporter.export(traceRequest('a', 1).bytes, 1)).kind, 'unavailable');
    }
    const again = await startOtlpReceiver({ grpc: true, grpcPort });
    context.after(() => again.close());
    assert.deepEqual(await exporter.export(traceRequest('b', 2).bytes, 2), { kind: 'ok' });
    assert.equal(again.spans().length, 2);
  });
});

describe('HTTP status codes', () => {
  test('429 and 503 are worth another attempt, after the delay that the receiver names', async context => {
    const { receiver, exporter } = await setUp(context, 'http/protobuf');
    for (const kind of ['unavailable', 'exhausted'] as const) {
      receiver.setFault({ kind, retryAfterMs: 90_000 }, 1);
      const result = await exporter.export(traceRequest('a', 1).bytes, 1);
      assert.ok(result.kind === 'unavailable');
      assert.equal(result.retryAfterMs, 90_000);
      assert.match(result.message, kind === 'exhausted' ? /429/ : /503/);
      assert.deepEqual(await exporter.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
    }
    assert.equal(receiver.requests().length, 4, 'one attempt an export');
  });

  test('of all statuses only 429, 502, 503 and 504 are worth another attempt', async context => {
    const statuses = [301, 400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504];
    let status = 0;
    const server = http.createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(status, { location: '/elsewhere' }).end());
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const target = resolveOtlpTarget('traces', { protocol: 'http/protobuf', endpoint }, {});
    const exporter = createOtlpExporter(target, { userAgent: 'u', log: () => {} });
    context.after(async () => {
      await exporter.shutdown(0);
      server.close();
    });
    const retried: number[] = [];
    for (status of statuses) {
      const { kind } = await exporter.export(traceRequest('a', 1).bytes, 1);
      assert.ok(kind === 'unavailable' || kind === 'refused', `${status}: ${kind}`);
      if (kind === 'unavailable') retried.push(status);
    }
    assert.deepEqual(retried, [429, 502, 503, 504]);
  });

  test('the pause may be told as a date', () => {
    const now = Date.parse('2026-11-26T12:00:00Z');
    assert.equal(parseRetryAfter('Thu, 26 Nov 2026 12:00:30 GMT', now), 30_000);
    assert.equal(parseRetryAfter('Thu, 26 Nov 2026 11:00:00 GMT', now), 0);
    assert.equal(parseRetryAfter(' 120 ', now), 120_000);
    assert.equal(parseRetryAfter('soon', now), null);
    assert.equal(parseRetryAfter(undefined, now), null);
  });

  test('a reason in the form of the specification is told', async context => {
    const { receiver, exporter } = await setUp(context, 'http/protobuf');
    receiver.setFault({ kind: 'refuse', message: 'no such tenant' });
    const result = await exporter.export(traceRequest('a', 1).bytes, 1);
    assert.ok(result.kind === 'refused');
    assert.equal(result.message, 'HTTP status 400: no such tenant');
  });

  test('a connection that breaks is worth another attempt, which succeeds at once', async context => {
    const { receiver, exporter } = await setUp(context, 'http/protobuf');
    receiver.setFault({ kind: 'reset' }, 1);
    assert.equal((await exporter.export(traceRequest('a', 2).bytes, 2)).kind, 'unavailable');
    assert.deepEqual(await exporter.export(traceRequest('a', 2).bytes, 2), { kind: 'ok' });
    assert.equal(receiver.spans().length, 2);
  });

  test('a kept connection that the receiver closes just then costs no attempt', async context => {
    const { receiver, exporter } = await setUp(context, 'http/protobuf');
    assert.deepEqual(await exporter.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
    receiver.setFault({ kind: 'reset' }, 1);
    assert.deepEqual(await exporter.export(traceRequest('b', 1).bytes, 1), { kind: 'ok' });
    assert.deepEqual(
      receiver.requests().map(({ fault }) => fault),
      ['none', 'reset', 'none'],
    );
  });

  test('the path is the one of the signal', async context => {
    const { receiver, exporter } = await setUp(context, 'http/json');
    await exporter.export(traceRequest('a', 1).bytes, 1);
    assert.equal(receiver.requests()[0]?.path, '/v1/traces');
    assert.equal(receiver.requests()[0]?.headers['content-type'], 'application/json');
  });
});

describe('connections', () => {
  for (const protocol of ['grpc', 'http/protobuf'] as const) {
    test(`${protocol}: one is kept for all exports`, async context => {
      const { receiver, exporter } = await setUp(context, protocol);
      const front = await startTunnel(protocol === 'grpc' ? receiver.grpcPort : receiver.httpPort);
      const through = exporterThrough(protocol, front);
      context.after(() => Promise.all([through.shutdown(1000), front.close(), exporter.shutdown(0)]));
      for (let i = 0; i < 5; i++) assert.deepEqual(await through.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
      assert.equal(front.connections, 1);
    });

    test(`${protocol}: one that has died without a word is given up after the timeout`, async context => {
      const { receiver, exporter } = await setUp(context, protocol);
      const front = await startTunnel(protocol === 'grpc' ? receiver.grpcPort : receiver.httpPort);
      const through = exporterThrough(protocol, front, 500);
      context.after(() => Promise.all([through.shutdown(1000), front.close(), exporter.shutdown(0)]));
      assert.deepEqual(await through.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
      front.silence();
      assert.equal((await through.export(traceRequest('b', 1).bytes, 1)).kind, 'unavailable');
      assert.deepEqual(await through.export(traceRequest('c', 1).bytes, 1), { kind: 'ok' });
      assert.equal(front.connections, 2);
    });

    test(`${protocol}: compression reaches the wire`, async context => {
      const { receiver, exporter } = await setUp(context, protocol);
      const { bytes } = traceRequest('z', 300, 1000);
      const sent: number[] = [];
      for (const compression of ['none', 'gzip'] as const) {
        const front = await startTunnel(protocol === 'grpc' ? receiver.grpcPort : receiver.httpPort);
        const through = exporterThrough(protocol, front, 3000, compression);
        assert.deepEqual(await through.export(bytes, 300), { kind: 'ok' });
        sent.push(front.sentBytes);
        await Promise.all([through.shutdown(1000), front.close()]);
      }
      await exporter.shutdown(0);
      assert.ok((sent[0] ?? 0) >= bytes.length && (sent[1] ?? 0) < bytes.length / 10, sent.join(' '));
    });
  }
});

describe('TLS', () => {
  let directory = '';
  const file = (name: string): string => join(directory, name);
  const pem = (name: string): string => readFileSync(file(name), 'utf8');

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'underspan-tls-'));
    for (const [name, extension] of [
      ['server', 'subjectAltName=IP:127.0.0.1'],
      ['client', 'extendedKeyUsage=clientAuth'],
    ] as const) {
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
          ...['-subj', `/CN=${name}`, '-addext', extension],
          ...['-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)],
        ],
        { stdio: 'pipe' },
      );
    }
  });
  after(() => rmSync(directory, { recursive: true }));

  for (const protocol of ['grpc', 'http/protobuf'] as const) {
    test(`${protocol}: a receiver with a certificate of the given CA is trusted`, async context => {
      const { receiver, exporter } = await setUp(
        context,
        protocol,
        { certificate: file('server.pem') },
        { tls: { cert: pem('server.pem'), key: pem('server.key') } },
      );
      assert.match(receiver.grpcUrl + receiver.httpUrl, /^https:/);
      assert.deepEqual(await exporter.export(traceRequest('a', 2).bytes, 2), { kind: 'ok' });
      assert.equal(receiver.spans().length, 2);
    });

    test(`${protocol}: a receiver that nobody vouches for gets nothing`, async context => {
      const { receiver, exporter } = await setUp(
        context,
        protocol,
        { timeoutMs: 900 },
        { tls: { cert: pem('server.pem'), key: pem('server.key') } },
      );
      assert.notEqual((await exporter.export(traceRequest('a', 2).bytes, 2)).kind, 'ok');
      assert.equal(receiver.requests().length, 0);
    });

    test(`${protocol}: the client's certificate is shown where one is asked for`, async context => {
      const tls = { cert: pem('server.pem'), key: pem('server.key'), clientCa: pem('client.pem') };
      const settings = {
        certificate: file('server.pem'),
        clientKey: file('client.key'),
        clientCertificate: file('client.pem'),
      };
      const { receiver, exporter } = await setUp(context, protocol, settings, { tls });
      assert.deepEqual(await exporter.export(traceRequest('a', 1).bytes, 1), { kind: 'ok' });
      assert.equal(receiver.spans().length, 1);
    });

    test(`${protocol}: without a certificate the receiver that asks for one takes nothing`, async context => {
      const tls = { cert: pem('server.pem'), key: pem('server.key'), clientCa: pem('client.pem') };
      const settings = { certificate: file('server.pem'), timeoutMs: 900 };
      const { receiver, exporter } = await setUp(context, protocol, settings, { tls });
      assert.notEqual((await exporter.export(traceRequest('a', 1).bytes, 1)).kind, 'ok');
      assert.equal(receiver.spans().length, 0);
    });
  }

  test('files that are not there, or not certificates, end the start', () => {
    for (const certificate of ['/nonexistent/ca.pem', file('server.key')]) {
      const target = resolveOtlpTarget('traces', { endpoint: 'https://127.0.0.1:1', certificate }, {});
      assert.throws(
        () => createOtlpExporter(target, { userAgent: 'u', log: () => {} }),
        (error: unknown) => error instanceof AgentError && error.code === 'OTLP_SETTINGS',
        certificate,
      );
    }
  });
});

test('headers that are none end the start', () => {
  for (const protocol of PROTOCOLS) {
    const target = resolveOtlpTarget('traces', { protocol, headers: { 'bad name\n': 'x' } }, {});
    assert.throws(
      () => createOtlpExporter(target, { userAgent: 'u', log: () => {} }),
      (error: unknown) => error instanceof AgentError && error.code === 'OTLP_SETTINGS',
      protocol,
    );
  }
});

test('shutdown does not wait longer than told for an export in flight', async context => {
  for (const protocol of PROTOCOLS) {
    const { receiver, exporter } = await setUp(context, protocol);
    receiver.setFault({ kind: 'slow', delayMs: 4000 });
    const flying = exporter.export(traceRequest('a', 1).bytes, 1);
    const start = performance.now();
    await exporter.shutdown(200);
    assert.ok(performance.now() - start < 3500, protocol);
    await flying;
  }
});
