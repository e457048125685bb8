// Decoded spans for the tests of the terminal view: written as short facts, filled up as signals/span.ts would write them.
import type { DecodedAttributes, DecodedSpan, DecodedValue } from '../../../src/otlp/decoded.js';

export const NOON_NS = 1_767_268_800_000_000_000n;
const MS = 1_000_000;

export interface SampleSpan {
  readonly id: string;
  readonly parent?: string;
  readonly trace?: string;
  readonly service: string;
  readonly kind: 'server' | 'client' | 'connect';
  readonly method?: string;
  readonly path?: string;
  readonly route?: string;
  readonly status?: number;
  readonly error?: string;
  readonly authority?: readonly [host: string, port: number];
  /** Milliseconds after NOON_NS. */
  readonly startMs?: number;
  /** Milliseconds of the phases, in the order of time: queue, request, work | wait, response. Sum: the duration. */
  readonly phases?: readonly number[];
  readonly durationMs?: number;
  readonly connectMs?: number;
  readonly index?: number;
  readonly bytes?: readonly [request: number, response: number];
  readonly links?: readonly string[];
  readonly more?: Readonly<Record<string, DecodedValue>>;
}

const SERVER_KEYS = ['receive.wait', 'request.read', 'processing', 'response.write'];
const CLIENT_KEYS = ['request.write', 'response.wait', 'receive.wait', 'response.read'];

export function sampleSpan(sample: SampleSpan): DecodedSpan {
  const isServer = sample.kind === 'server';
  const traceId = (sample.trace ?? 'a1').padEnd(32, '0');
  const startUnixNs = NOON_NS + BigInt(Math.round((sample.startMs ?? 0) * MS));
  const durationMs = sample.durationMs ?? (sample.phases ?? []).reduce((sum, ms) => sum + ms, 0);
  return {
    resource: { attributes: new Map([['service.name', sample.service]]), schemaUrl: '' },
    scope: { name: 'underspan', version: '0', attributes: new Map(), schemaUrl: '' },
    traceId,
    spanId: sample.id.padEnd(16, '0'),
    parentSpanId: sample.parent === undefined ? '' : sample.parent.padEnd(16, '0'),
    traceState: '',
    flags: 0x101,
    name: nameOf(sample),
    kind: { server: 2, client: 3, connect: 1 }[sample.kind],
    startUnixNs,
    endUnixNs: startUnixNs + BigInt(Math.round(durationMs * MS)),
    attributes: attributesOf(sample, isServer),
    droppedAttributesCount: 0,
    events: [],
    droppedEventsCount: 0,
    links: (sample.links ?? []).map(id => ({
      traceId,
      spanId: id.padEnd(16, '0'),
      traceState: '',
      flags: 0,
      attributes: new Map(),
      droppedAttributesCount: 0,
    })),
    droppedLinksCount: 0,
    status: { code: sample.error === undefined ? 0 : 2, message: '' },
  };
}

function nameOf(sample: SampleSpan): string {
  if (sample.kind === 'connect') return 'socket connect';
  const method = sample.method ?? 'GET';
  return sample.route === undefined ? method : `${method} ${sample.route}`;
}

function attributesOf(sample: SampleSpan, isServer: boolean): DecodedAttributes {
  const attributes = new Map<string, DecodedValue>();
  const [host, port] = sample.authority ?? ['127.0.0.1', 8080];
  if (sample.kind === 'connect') {
    attributes.set('network.peer.address', host).set('network.peer.port', port);
  } else {
    attributes.set('http.request.method', sample.method ?? 'GET');
    attributes.set('server.address', host).set('server.port', port);
    const path = sample.path ?? '/';
    if (isServer) attributes.set('url.path', path);
    else attributes.set('url.full', `http://${host}:${port}${path}`);
    attributes.set('underspan.connection.reused', (sample.index ?? 1) > 1);
    attributes.set('underspan.connection.request_index', sample.index ?? 1);
    const [request, response] = sample.bytes ?? [89, 1234];
    attributes.set('underspan.io.read_bytes', isServer ? request : response);
    attributes.set('underspan.io.write_bytes', isServer ? response : request);
    for (const [index, ms] of (sample.phases ?? []).entries()) {
      attributes.set(`underspan.${(isServer ? SERVER_KEYS : CLIENT_KEYS)[index]}`, ms / 1000);
    }
  }
  if (sample.connectMs !== undefined) attributes.set('underspan.connect.duration', sample.connectMs / 1000);
  if (sample.route !== undefined) attributes.set('http.route', sample.route);
  if (sample.status !== undefined) attributes.set('http.response.status_code', sample.status);
  if (sample.error !== undefined) attributes.set('error.type', sample.error);
  for (const [key, value] of Object.entries(sample.more ?? {})) attributes.set(key, value);
  return attributes;
}
