// Who exports traces by OTLP (OTLP specification 1.x)? Over HTTP it is a POST to a path of ours, over gRPC a call whose path
// stands in the first bytes of an HTTP/2 connection, as it is or in HPACK's Huffman code (RFC 7541 section 5.2), which gives
// these bytes always. In: a request's head, or bytes of a connection that is not parsed. Nothing is kept.
import type { MessageHead } from './protocol.js';

const PATH = /\/v1\/(traces|metrics|logs|profiles)$|\/v1development\/profiles$/;
const CONTENT = /^application\/(x-protobuf|json)/i;
const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const TRACES_PLAIN = Buffer.from(TRACES, 'latin1');
/** Held against Node's own HTTP/2 by test/unit/protocols/otlp.test.ts. */
const TRACES_HUFFMAN = Buffer.from(
  '60f596a49682d254d9e97aec3a4eb90f4505224f62e9b0642afdc2befb0642ee2d9dcc42b183cd67b13f',
  'hex',
);

/** Is the request one that carries OTLP of any signal? */
export function carriesOtlp(head: MessageHead): boolean {
  return head.method === 'POST' && CONTENT.test(head.contentType) && PATH.test(head.target);
}

/** Does a request that carries OTLP carry traces? */
export function carriesTraces(head: MessageHead): boolean {
  return head.target.endsWith('/v1/traces');
}

/** Do bytes[from, to) of an HTTP/2 connection call the collector's trace service? */
export function callsTraceService(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from < TRACES_HUFFMAN.length) return false;
  const chunk = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from);
  return chunk.includes(TRACES_HUFFMAN) || chunk.includes(TRACES_PLAIN);
}
