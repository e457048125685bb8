// An OTLP/gRPC receiver that does as little as a receiver can: answers every request, counts bytes and spans. In: requests
// over HTTP/2 without TLS. Out: `port N`, then one JSON SinkReport for each SIGUSR2. Spans are counted by walking three
// levels of tags (ExportTraceServiceRequest.resource_spans.scope_spans.spans) without looking into any span.
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';

export interface SinkReport {
  readonly requests: number;
  readonly bytes: number;
  readonly spans: number;
}

const GRPC_FRAME_BYTES = 5;
const WINDOW_BYTES = 16 << 20;
/** Field numbers on the way to a span: resource_spans, scope_spans, spans. */
const PATH = [1, 2, 2];
const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;

class Reader {
  at = 0;
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new Error('the request ends in the middle of a number');
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  skip(wire: number): void {
    if (wire === WIRE_VARINT) this.varint();
    else if (wire === WIRE_FIXED64) this.at += 8;
    else if (wire === WIRE_FIXED32) this.at += 4;
    else throw new Error(`wire type ${wire} in an OTLP request`);
  }
}

function countSpans(reader: Reader, end: number, depth: number): number {
  let count = 0;
  while (reader.at < end) {
    const tag = reader.varint();
    if ((tag & 7) !== WIRE_BYTES) {
      reader.skip(tag & 7);
      continue;
    }
    const stop = reader.varint() + reader.at;
    if (tag >>> 3 === PATH[depth]) {
      if (depth === PATH.length - 1) count++;
      else count += countSpans(reader, stop, depth + 1);
    }
    reader.at = stop;
  }
  return count;
}

const report = { requests: 0, bytes: 0, spans: 0 };

function answer(stream: http2.ServerHttp2Stream): void {
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('end', () => {
    const body = Buffer.concat(parts);
    const reader = new Reader(body);
    reader.at = GRPC_FRAME_BYTES;
    report.requests++;
    report.bytes += body.length;
    report.spans += countSpans(reader, body.length, 0);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.alloc(GRPC_FRAME_BYTES));
  });
}

const server = http2.createServer({ settings: { initialWindowSize: WINDOW_BYTES } });
server.on('session', session => session.setLocalWindowSize(WINDOW_BYTES));
server.on('stream', answer);
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`);
});
process.on('SIGUSR2', () => process.stdout.write(`${JSON.stringify(report)}\n`));
process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();
