// Who exports traces: requests by their head, gRPC calls by the bytes that a real HTTP/2 client writes.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import net from 'node:net';
import test from 'node:test';
import { callsTraceService, carriesOtlp, carriesTraces } from '../../../src/protocols/otlp.js';
import { MessageHead } from '../../../src/protocols/protocol.js';

const SERVICE = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const SETTINGS = Buffer.from('000000040000000000', 'hex');

/** What a client writes that calls `path`. */
function bytesOf(path: string): Promise<Buffer> {
  return new Promise(resolve => {
    const server = net.createServer(socket => {
      let all = Buffer.alloc(0);
      socket.write(SETTINGS);
      socket
        .on('error', () => undefined)
        .on('data', chunk => {
          all = Buffer.concat([all, chunk]);
          // The END_STREAM of the request's data: everything is there.
          if (!all.includes('payload')) return;
          socket.destroy();
          server.close(() => resolve(all));
        });
    });
    server.listen(0, '127.0.0.1', () => {
      const session = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
      session.on('error', () => undefined);
      const request = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
      request.on('error', () => undefined).end('payload');
    });
  });
}

test('a call of the trace service is seen in the bytes of an HTTP/2 connection, others are not', async () => {
  const bytes = await bytesOf(SERVICE);
  assert.equal(callsTraceService(bytes, 0, bytes.length), true);
  const padded = Buffer.concat([Buffer.alloc(100), bytes]);
  assert.equal(callsTraceService(padded, 100, padded.length), true);
  assert.equal(callsTraceService(padded, 0, 100), false);
  for (const path of [SERVICE.replace('trace', 'metrics').replace('Trace', 'Metrics'), '/other.Service/Export']) {
    const others = await bytesOf(path);
    assert.equal(callsTraceService(others, 0, others.length), false, path);
  }
  const plain = Buffer.from(`\x04${SERVICE}`, 'latin1');
  assert.equal(callsTraceService(plain, 0, plain.length), true);
  assert.equal(callsTraceService(new Uint8Array(0), 0, 0), false);
});

test('a POST of OTLP over HTTP', () => {
  const head = (target: string, contentType = 'application/x-protobuf', method = 'POST'): MessageHead =>
    Object.assign(new MessageHead(), { isRequest: true, method, target, contentType });
  assert.ok(carriesOtlp(head('/v1/traces')) && carriesTraces(head('/v1/traces')));
  assert.ok(carriesOtlp(head('/prefix/v1/traces', 'application/json')));
  assert.ok(carriesOtlp(head('/v1/metrics')) && !carriesTraces(head('/v1/metrics')));
  assert.ok(!carriesOtlp(head('/v1/traces', 'text/html')) && !carriesOtlp(head('/v1/traces', undefined, 'GET')));
  assert.ok(!carriesOtlp(head('/v1/traces/7')));
});
