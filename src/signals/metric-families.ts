// The table of metrics (name, unit, type, words) and the walk from counters to points. HTTP names, units and bounds are
// the conventions'; what they have no name for is under `underspan.`.
import type { Attributes, Service } from '../enrichment/service.js';
import type { Histogram } from './histogram.js';
import type { HttpTable } from './http-series.js';
import type { MetricFamily, MetricPoint } from './metric-model.js';
import * as semconv from './semconv.js';
import { ROLES, type ServiceMetrics } from './service-metrics.js';

/** Why a measurement reached no series. */
export type DropReason = 'no_service' | 'no_time' | 'services_full' | 'service_gone';

type Definition = Omit<MetricFamily, 'points'>;

function define(type: MetricFamily['type'], name: string, unit: string, description: string): Definition {
  return { name, unit, description, type };
}

const SERVER_SECONDS = define('histogram', 'http.server.request.duration', 's', 'Duration of HTTP server requests.');
const SERVER_REQUEST_BYTES = define(
  'histogram',
  'http.server.request.body.size',
  'By',
  'Size of HTTP server request bodies.',
);
const SERVER_RESPONSE_BYTES = define(
  'histogram',
  'http.server.response.body.size',
  'By',
  'Size of HTTP server response bodies.',
);
const SERVER_ACTIVE = define(
  'updowncounter',
  'http.server.active_requests',
  '{request}',
  'Number of active HTTP server requests.',
);
const CLIENT_SECONDS = define('histogram', 'http.client.request.duration', 's', 'Duration of HTTP client requests.');
const CLIENT_REQUEST_BYTES = define(
  'histogram',
  'http.client.request.body.size',
  'By',
  'Size of HTTP client request bodies.',
);
const CLIENT_RESPONSE_BYTES = define(
  'histogram',
  'http.client.response.body.size',
  'By',
  'Size of HTTP client response bodies.',
);
const CLIENT_ACTIVE = define(
  'updowncounter',
  'http.client.active_requests',
  '{request}',
  'Number of active HTTP client requests.',
);
const ACCEPT_WAIT = define(
  'histogram',
  'underspan.accept.wait',
  's',
  'From the end of the TCP handshake to the return of accept.',
);
const RECEIVE_WAIT = define(
  'histogram',
  'underspan.receive.wait',
  's',
  "From a request's first byte in the receive queue to the read that took it.",
);
const CONNECTION_OPEN = define(
  'updowncounter',
  'underspan.connection.open',
  '{connection}',
  'Connections that are open.',
);
const CONNECTION_OPENED = define(
  'counter',
  'underspan.connection.opened',
  '{connection}',
  'Connections that were opened, or first seen while open.',
);
const CONNECTION_CLOSED = define(
  'counter',
  'underspan.connection.closed',
  '{connection}',
  'Connections that were closed.',
);
const CONNECT_SECONDS = define(
  'histogram',
  'underspan.connect.duration',
  's',
  'Duration of outgoing connects, failed ones by error.',
);
const CONNECT_FAILURES = define(
  'counter',
  'underspan.connect.failures',
  '{connect}',
  'Outgoing connects that failed, by error.',
);
const IO_BYTES = define('counter', 'underspan.io.bytes', 'By', 'Bytes that went through sockets.');
const OVERFLOWED = define(
  'counter',
  'underspan.measurements.overflowed',
  '{measurement}',
  'Measurements that went to an overflow series because all series were taken.',
);
const DROPPED = define(
  'counter',
  'underspan.measurements.dropped',
  '{measurement}',
  'Measurements that reached no series, by reason.',
);

const RECEIVED: Attributes = [[semconv.NETWORK_IO_DIRECTION.name, semconv.DIRECTION_RECEIVE]];
const TRANSMITTED: Attributes = [[semconv.NETWORK_IO_DIRECTION.name, semconv.DIRECTION_TRANSMIT]];
const NO_ATTRIBUTES: Attributes = [];

/** Gathers points by metric; families come out in the order in which their first points came in. */
export class FamilyCollector {
  readonly #points = new Map<Definition, MetricPoint[]>();

  add(definition: Definition, service: Service | null, attributes: Attributes, startNs: number, value: number): void {
    this.#push(definition, { service, attributes, startNs, value });
  }

  /** An empty histogram is no point. */
  addHistogram(
    definition: Definition,
    service: Service,
    attributes: Attributes,
    startNs: number,
    value: Histogram,
  ): void {
    if (value.count > 0) this.#push(definition, { service, attributes, startNs, value: value.value() });
  }

  families(): MetricFamily[] {
    return Array.from(this.#points, ([definition, points]) => ({ ...definition, points }));
  }

  #push(definition: Definition, point: MetricPoint): void {
    const points = this.#points.get(definition);
    if (points === undefined) this.#points.set(definition, [point]);
    else points.push(point);
  }
}

export function collectService(collector: FamilyCollector, metrics: ServiceMetrics): void {
  const { service, startNs } = metrics;
  collectHttp(collector, service, metrics.server, SERVER_SECONDS, SERVER_REQUEST_BYTES, SERVER_RESPONSE_BYTES);
  collectActive(collector, metrics, SERVER_ACTIVE, metrics.serverActive);
  collectHttp(collector, service, metrics.client, CLIENT_SECONDS, CLIENT_REQUEST_BYTES, CLIENT_RESPONSE_BYTES);
  collectActive(collector, metrics, CLIENT_ACTIVE, metrics.clientActive);
  collector.addHistogram(ACCEPT_WAIT, service, NO_ATTRIBUTES, startNs, metrics.acceptWait);
  collector.addHistogram(RECEIVE_WAIT, service, NO_ATTRIBUTES, startNs, metrics.receiveWait);
  for (const role of ROLES) {
    const { opened, closed } = metrics.roles[role];
    if (opened === 0 && closed === 0) continue;
    const attributes: Attributes = [[semconv.CONNECTION_ROLE.name, role]];
    collector.add(CONNECTION_OPEN, service, attributes, startNs, opened - closed);
    collector.add(CONNECTION_OPENED, service, attributes, startNs, opened);
    collector.add(CONNECTION_CLOSED, service, attributes, startNs, closed);
  }
  for (const [errorName, counts] of metrics.connects) {
    const attributes: Attributes = errorName === '' ? NO_ATTRIBUTES : [[semconv.ERROR_TYPE.name, errorName]];
    collector.addHistogram(CONNECT_SECONDS, service, attributes, startNs, counts.seconds);
    if (counts.failures > 0) collector.add(CONNECT_FAILURES, service, attributes, startNs, counts.failures);
  }
  if (metrics.bytesIn > 0) collector.add(IO_BYTES, service, RECEIVED, startNs, metrics.bytesIn);
  if (metrics.bytesOut > 0) collector.add(IO_BYTES, service, TRANSMITTED, startNs, metrics.bytesOut);
}

/** The agent's own: what these metrics had to leave out. */
export function collectAgent(
  collector: FamilyCollector,
  startNs: number,
  overflowed: number,
  dropped: Readonly<Record<DropReason, number>>,
): void {
  collector.add(OVERFLOWED, null, NO_ATTRIBUTES, startNs, overflowed);
  for (const [reason, count] of Object.entries(dropped)) {
    collector.add(DROPPED, null, [['reason', reason]], startNs, count);
  }
}

function collectHttp(
  collector: FamilyCollector,
  service: Service,
  table: HttpTable,
  seconds: Definition,
  requestBytes: Definition,
  responseBytes: Definition,
): void {
  for (const series of table.series) {
    const { attributes, startNs } = series;
    collector.addHistogram(seconds, service, attributes, startNs, series.seconds);
    collector.addHistogram(requestBytes, service, attributes, startNs, series.requestBytes);
    collector.addHistogram(responseBytes, service, attributes, startNs, series.responseBytes);
  }
}

function collectActive(
  collector: FamilyCollector,
  metrics: ServiceMetrics,
  definition: Definition,
  active: ReadonlyMap<string, number>,
): void {
  for (const [method, count] of active) {
    const attributes: Attributes = [
      [semconv.HTTP_REQUEST_METHOD.name, method],
      [semconv.URL_SCHEME.name, 'http'],
    ];
    collector.add(definition, metrics.service, attributes, metrics.startNs, count);
  }
}
