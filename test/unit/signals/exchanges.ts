// Exchanges, services and metric points in the fewest words, for the tests of signals.
import type { Service } from '../../../src/enrichment/service.js';
import {
  type Exchange,
  KIND_CLIENT,
  KIND_SERVER,
  newExchange,
  Opening,
  type Peer,
} from '../../../src/exchanges/exchange.js';
import type { HistogramValue, MetricFamily, MetricPoint } from '../../../src/signals/metric-model.js';
import { TraceContext } from '../../../src/traces/context.js';

/** Boot-clock nanoseconds of the first byte of every exchange here. */
export const T0 = 5_000_000_000_000;
const MS = 1_000_000;

export function service(id = 1, name = 'shop', namespace = ''): Service {
  return {
    id,
    name,
    namespace,
    instanceId: `instance-${id}`,
    attributes: [
      ['service.name', name],
      ['service.instance.id', `instance-${id}`],
      ['process.pid', 100 + id],
    ],
  };
}

export const TCP_PEER: Peer = {
  remoteAddress: '10.0.0.9',
  remotePort: 40001,
  localAddress: '10.0.0.1',
  localPort: 8080,
  transport: 'tcp',
  networkType: 'ipv4',
};

/** The same connection as its client has it. */
export const CLIENT_PEER: Peer = {
  remoteAddress: '10.0.0.1',
  remotePort: 8080,
  localAddress: '10.0.0.9',
  localPort: 40001,
  transport: 'tcp',
  networkType: 'ipv4',
};

export const UNIX_PEER: Peer = {
  remoteAddress: '/run/app.sock',
  remotePort: 0,
  localAddress: '',
  localPort: 0,
  transport: 'unix',
  networkType: '',
};

type Writable<T> = { -readonly [K in keyof T]: T[K] };
export type ExchangeFields = Partial<Omit<Writable<Exchange>, 'kind'>>;

export function opening(fields: Partial<Opening>): Opening {
  return Object.assign(new Opening(), fields);
}

export function trace(): TraceContext {
  const context = new TraceContext();
  context.id0 = 0x11111111;
  context.id1 = 0x22222222;
  context.id2 = 0x33333333;
  context.id3 = 0x44444444;
  return context;
}

/** GET /users/42 answered with 200: 1 ms until it is read, 2 ms of reading, 30 of work, 4 of writing. */
export function serverExchange(fields: ExchangeFields = {}): Exchange {
  const exchange = newExchange(KIND_SERVER, fields.peer ?? TCP_PEER, trace(), 0xaaaaaaaa, 0xbbbbbbbb);
  const defaults: ExchangeFields = {
    service: service(),
    method: 'GET',
    target: '/users/42',
    host: 'shop.example:8080',
    version: '1.1',
    userAgent: 'curl/8',
    status: 200,
    responseBodyBytes: 512,
    requestFirstNs: T0,
    requestTakenNs: T0 + 1 * MS,
    requestLastNs: T0 + 3 * MS,
    responseFirstNs: T0 + 33 * MS,
    responseTakenNs: T0 + 33 * MS,
    responseLastNs: T0 + 37 * MS,
    connectionIndex: 2,
    isConnectionReused: true,
    readCalls: 1,
    writeCalls: 2,
    bytesIn: 90,
    bytesOut: 700,
  };
  return Object.assign(exchange, defaults, fields);
}

/** The same request as its client saw it: 1 ms of writing, 30 of waiting, 2 until it is read, 5 of reading. */
export function clientExchange(fields: ExchangeFields = {}): Exchange {
  const exchange = newExchange(KIND_CLIENT, fields.peer ?? CLIENT_PEER, trace(), 0xcccccccc, 0xdddddddd);
  const defaults: ExchangeFields = {
    service: service(),
    method: 'GET',
    target: '/users/42',
    host: 'shop.example:8080',
    version: '1.1',
    userAgent: 'curl/8',
    status: 200,
    responseBodyBytes: 512,
    requestFirstNs: T0,
    requestTakenNs: T0,
    requestLastNs: T0 + 1 * MS,
    responseFirstNs: T0 + 31 * MS,
    responseTakenNs: T0 + 33 * MS,
    responseLastNs: T0 + 38 * MS,
    connectionIndex: 1,
    readCalls: 2,
    writeCalls: 1,
    bytesIn: 700,
    bytesOut: 90,
  };
  return Object.assign(exchange, defaults, fields);
}

export function familyOf(families: readonly MetricFamily[], name: string): MetricFamily | undefined {
  return families.find(family => family.name === name);
}

/** Points of a family; none if it is not there. */
export function pointsOf(families: readonly MetricFamily[], name: string): readonly MetricPoint[] {
  return familyOf(families, name)?.points ?? [];
}

export function attributesOf(point: MetricPoint | undefined): Record<string, unknown> {
  return Object.fromEntries(point?.attributes ?? []);
}

export function histogramOf(point: MetricPoint | undefined): HistogramValue {
  if (point === undefined || typeof point.value === 'number') throw new Error('not a histogram point');
  return point.value;
}
