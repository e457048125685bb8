// Metrics: what is recorded comes out under the names, attributes and bounds of the conventions; series are bounded, and
// nothing is lost without being counted.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { MetricFamily } from '../../../src/signals/metric-model.js';
import { Metrics, type MetricsOptions } from '../../../src/signals/metrics.js';
import {
  attributesOf,
  clientExchange,
  familyOf,
  histogramOf,
  opening,
  pointsOf,
  serverExchange,
  service,
  T0,
  UNIX_PEER,
} from './exchanges.js';

const START_NS = 1000;

function newMetrics(options: Partial<MetricsOptions> = {}): Metrics {
  return new Metrics({ startNs: START_NS, ...options });
}

function dropped(families: readonly MetricFamily[]): Record<string, unknown> {
  const points = pointsOf(families, 'underspan.measurements.dropped');
  return Object.fromEntries(points.map(point => [attributesOf(point).reason, point.value]));
}

function overflowed(families: readonly MetricFamily[]): unknown {
  return pointsOf(families, 'underspan.measurements.overflowed')[0]?.value;
}

test('a SERVER exchange becomes duration and sizes with the attributes of the conventions', () => {
  const metrics = newMetrics();
  metrics.recordExchange(serverExchange({ requestBodyBytes: 10 }), '/users/{id}');
  const families = metrics.snapshot(2000);
  const duration = familyOf(families, 'http.server.request.duration');
  assert.equal(duration?.unit, 's');
  assert.equal(duration?.type, 'histogram');
  const point = duration?.points[0];
  assert.equal(point?.service?.name, 'shop');
  assert.equal(point?.startNs, START_NS);
  assert.deepEqual(attributesOf(point), {
    'http.request.method': 'GET',
    'url.scheme': 'http',
    'http.route': '/users/{id}',
    'http.response.status_code': 200,
    'network.protocol.version': '1.1',
  });
  const value = histogramOf(point);
  assert.deepEqual(value.bounds, [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]);
  assert.deepEqual(value.counts, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(value.sum, 0.037);
  assert.equal(histogramOf(pointsOf(families, 'http.server.request.body.size')[0]).sum, 10);
  assert.equal(histogramOf(pointsOf(families, 'http.server.response.body.size')[0]).sum, 512);
  assert.equal(familyOf(families, 'http.server.response.body.size')?.unit, 'By');
  assert.equal(histogramOf(pointsOf(families, 'underspan.receive.wait')[0]).sum, 0.001);
  assert.equal(familyOf(families, 'underspan.accept.wait'), undefined);
  assert.equal(familyOf(families, 'http.client.request.duration'), undefined);
});

test('a CLIENT exchange is counted by server, not by route', () => {
  const metrics = newMetrics();
  metrics.recordExchange(clientExchange({ status: 404 }), '/ignored');
  metrics.recordExchange(clientExchange({ target: '/other', status: 404 }), '');
  const [point, ...others] = pointsOf(metrics.snapshot(2000), 'http.client.request.duration');
  assert.equal(others.length, 0);
  assert.equal(histogramOf(point).count, 2);
  assert.deepEqual(attributesOf(point), {
    'http.request.method': 'GET',
    'server.address': 'shop.example',
    'server.port': 8080,
    'http.response.status_code': 404,
    'error.type': '404',
    'network.protocol.version': '1.1',
  });
});

test('the first request of a connection tells its accept wait', () => {
  const metrics = newMetrics();
  metrics.recordExchange(serverExchange({ opening: opening({ acceptWaitSeconds: 0.25 }) }), '');
  metrics.recordExchange(serverExchange(), '');
  const wait = histogramOf(pointsOf(metrics.snapshot(2000), 'underspan.accept.wait')[0]);
  assert.deepEqual([wait.count, wait.sum], [1, 0.25]);
});

test('each difference in an attribute is a series of its own, and equal ones are one', () => {
  const metrics = newMetrics();
  const record = () => {
    metrics.recordExchange(serverExchange(), '/a');
    metrics.recordExchange(serverExchange(), '/b');
    metrics.recordExchange(serverExchange({ method: 'POST' }), '/a');
    metrics.recordExchange(serverExchange({ status: 500 }), '/a');
    metrics.recordExchange(serverExchange({ errorType: 'ECONNRESET' }), '/a');
    metrics.recordExchange(serverExchange({ errorType: 'EPIPE' }), '/a');
    metrics.recordExchange(serverExchange({ version: '1.0' }), '/a');
    metrics.recordExchange(serverExchange({ target: 'https://shop.example/' }), '/a');
    metrics.recordExchange(serverExchange({ status: 0, errorType: 'timeout' }), '/a');
    metrics.recordExchange(serverExchange({ service: service(2) }), '/a');
    metrics.recordExchange(clientExchange(), '');
    metrics.recordExchange(clientExchange({ host: 'shop.example:81' }), '');
    metrics.recordExchange(clientExchange({ host: 'other.example:8080' }), '');
    metrics.recordExchange(clientExchange({ peer: UNIX_PEER, host: '' }), '');
  };
  record();
  record();
  const families = metrics.snapshot(2000);
  const points = [
    ...pointsOf(families, 'http.server.request.duration'),
    ...pointsOf(families, 'http.client.request.duration'),
  ];
  assert.equal(points.length, 14);
  for (const point of points) assert.equal(histogramOf(point).count, 2);
  const texts = points.map(point => JSON.stringify([point.service?.id, point.attributes]));
  assert.equal(new Set(texts).size, 14);
});

test('invented methods and versions are no dimension', () => {
  const metrics = newMetrics();
  metrics.recordExchange(serverExchange({ method: 'BREW', version: '1.7' }), '');
  metrics.recordExchange(serverExchange({ method: 'FETCH', version: '' }), '');
  const [point, ...others] = pointsOf(metrics.snapshot(2000), 'http.server.request.duration');
  assert.equal(others.length, 0);
  assert.deepEqual(attributesOf(point), {
    'http.request.method': '_OTHER',
    'url.scheme': 'http',
    'http.response.status_code': 200,
  });
});

test('sizes that are unknown and responses that never came are not recorded as 0', () => {
  const metrics = newMetrics();
  metrics.recordExchange(serverExchange({ requestBodyBytes: -1, status: 0, responseBodyBytes: 0 }), '');
  const families = metrics.snapshot(2000);
  assert.equal(familyOf(families, 'http.server.request.body.size'), undefined);
  assert.equal(familyOf(families, 'http.server.response.body.size'), undefined);
});

test('series beyond the limit of a service share one overflow series, and are counted', () => {
  const metrics = newMetrics({ maxSeriesPerService: 3 });
  for (let i = 0; i < 10; i++) metrics.recordExchange(serverExchange(), `/r${i}`);
  metrics.recordExchange(serverExchange(), '/r0');
  metrics.recordExchange(serverExchange({ service: service(2) }), '/r9');
  const families = metrics.snapshot(2000);
  const points = pointsOf(families, 'http.server.request.duration').filter(point => point.service?.id === 1);
  assert.deepEqual(
    points.map(point => histogramOf(point).count),
    [2, 1, 1, 7],
  );
  assert.deepEqual(attributesOf(points[3]), { 'otel.metric.overflow': true });
  assert.equal(overflowed(families), 7);
});

test('the budget over all services ends in overflow series too, and is given back', () => {
  const metrics = newMetrics({ maxSeries: 2 });
  metrics.recordExchange(serverExchange(), '/a');
  metrics.recordExchange(serverExchange(), '/b');
  metrics.recordExchange(serverExchange({ service: service(2) }), '/a');
  assert.equal(overflowed(metrics.snapshot(2000)), 1);
  metrics.forgetService(1);
  metrics.forgetService(2);
  assert.equal(overflowed(metrics.snapshot(3000)), 1);
  metrics.recordExchange(serverExchange({ service: service(3) }), '/a');
  const families = metrics.snapshot(4000);
  assert.equal(overflowed(families), 1);
  assert.equal(attributesOf(pointsOf(families, 'http.server.request.duration')[0])['http.route'], '/a');
});

test('every exchange is in a series or counted as dropped', () => {
  const exchange = fc.record({
    serviceId: fc.integer({ min: 0, max: 4 }),
    route: fc.constantFrom('', '/a', '/b', '/c'),
    status: fc.constantFrom(0, 200, 404, 500),
    method: fc.constantFrom('GET', 'POST', 'X'),
    isTimed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(exchange, { maxLength: 200 }), exchanges => {
      const metrics = newMetrics({ maxSeriesPerService: 4, maxSeries: 9, maxServices: 3 });
      for (const { serviceId, route, status, method, isTimed } of exchanges) {
        const times = isTimed ? {} : { requestFirstNs: 0, requestTakenNs: 0, requestLastNs: 0 };
        const answer = isTimed ? {} : { responseFirstNs: 0, responseTakenNs: 0, responseLastNs: 0 };
        const from = serviceId === 0 ? null : service(serviceId);
        metrics.recordExchange(serverExchange({ service: from, status, method, ...times, ...answer }), route);
      }
      const families = metrics.snapshot(2000);
      const points = pointsOf(families, 'http.server.request.duration');
      const recorded = points.reduce((sum, point) => sum + histogramOf(point).count, 0);
      const lost = Object.values(dropped(families)).reduce<number>((sum, count) => sum + Number(count), 0);
      assert.equal(recorded + lost, exchanges.length);
    }),
    { numRuns: 200 },
  );
});

test('active requests rise and fall by method and side', () => {
  const metrics = newMetrics();
  const get = serverExchange();
  metrics.requestStarted(get);
  metrics.requestStarted(serverExchange({ method: 'POST' }));
  metrics.requestStarted(clientExchange());
  const values = (name: string) =>
    pointsOf(metrics.snapshot(2000), name).map(point => [attributesOf(point)['http.request.method'], point.value]);
  assert.deepEqual(values('http.server.active_requests'), [
    ['GET', 1],
    ['POST', 1],
  ]);
  assert.deepEqual(values('http.client.active_requests'), [['GET', 1]]);
  metrics.requestEnded(get);
  assert.deepEqual(values('http.server.active_requests')[0], ['GET', 0]);
  assert.equal(familyOf(metrics.snapshot(2000), 'http.server.active_requests')?.type, 'updowncounter');
});

test('a request that ends is taken off where it was put, once', () => {
  const metrics = newMetrics();
  const exchange = serverExchange({ method: '' });
  metrics.requestStarted(exchange);
  metrics.requestStarted(exchange);
  exchange.method = 'GET';
  metrics.requestEnded(exchange);
  metrics.requestEnded(exchange);
  metrics.requestEnded(serverExchange());
  const points = pointsOf(metrics.snapshot(2000), 'http.server.active_requests');
  assert.deepEqual(
    points.map(point => [attributesOf(point)['http.request.method'], point.value]),
    [['_OTHER', 0]],
  );
});

test('connections by role, and their bytes by direction', () => {
  const metrics = newMetrics();
  metrics.connectionOpened(service(), 'server');
  metrics.connectionOpened(service(), 'server');
  metrics.connectionOpened(service(), 'client');
  metrics.transferred(service(), 5, 6);
  metrics.connectionClosed(service(), 'server', 100, 2000);
  const families = metrics.snapshot(2000);
  const byRole = (name: string) =>
    Object.fromEntries(
      pointsOf(families, name).map(point => [attributesOf(point)['underspan.connection.role'], point.value]),
    );
  assert.deepEqual(byRole('underspan.connection.open'), { client: 1, server: 1 });
  assert.deepEqual(byRole('underspan.connection.opened'), { client: 1, server: 2 });
  assert.deepEqual(byRole('underspan.connection.closed'), { client: 0, server: 1 });
  const bytes = pointsOf(families, 'underspan.io.bytes');
  assert.deepEqual(
    bytes.map(point => [attributesOf(point)['network.io.direction'], point.value]),
    [
      ['receive', 105],
      ['transmit', 2006],
    ],
  );
});

test('connects have durations, failed ones by errno; unknown durations still count the failure', () => {
  const metrics = newMetrics();
  metrics.connect(service(), 0.001, '');
  metrics.connect(service(), 0.002, 'ECONNREFUSED');
  metrics.connect(service(), -1, 'ECONNREFUSED');
  const families = metrics.snapshot(2000);
  const durations = pointsOf(families, 'underspan.connect.duration');
  assert.deepEqual(
    durations.map(point => [attributesOf(point)['error.type'], histogramOf(point).count]),
    [
      [undefined, 1],
      ['ECONNREFUSED', 1],
    ],
  );
  const failures = pointsOf(families, 'underspan.connect.failures');
  assert.deepEqual(
    failures.map(point => [attributesOf(point)['error.type'], point.value]),
    [['ECONNREFUSED', 2]],
  );
});

test('errors of connects are bounded', () => {
  const metrics = newMetrics();
  for (let i = 0; i < 200; i++) metrics.connect(service(), 0.001, `E${i}`);
  const failures = pointsOf(metrics.snapshot(2000), 'underspan.connect.failures');
  assert.ok(failures.length <= 65);
  assert.equal(
    failures.reduce((sum, point) => sum + Number(point.value), 0),
    200,
  );
  assert.equal(failures.filter(point => attributesOf(point)['error.type'] === '_OTHER').length, 1);
});

test('a forgotten service is gone, and what still ends there does not bring it back', () => {
  const metrics = newMetrics();
  const exchange = serverExchange();
  metrics.requestStarted(exchange);
  metrics.connectionOpened(service(), 'server');
  metrics.recordExchange(exchange, '');
  metrics.forgetService(1);
  metrics.requestEnded(exchange);
  metrics.connectionClosed(service(), 'server', 1, 1);
  metrics.forgetService(99);
  const families = metrics.snapshot(2000);
  assert.deepEqual(
    families.map(family => family.name),
    ['underspan.measurements.overflowed', 'underspan.measurements.dropped'],
  );
  assert.equal(dropped(families).service_gone, 2);
});

test('a series starts where it was last known not to be', () => {
  const metrics = newMetrics();
  metrics.snapshot(T0);
  metrics.recordExchange(serverExchange(), '/a');
  metrics.snapshot(T0 + 10);
  metrics.recordExchange(serverExchange(), '/b');
  const points = pointsOf(metrics.snapshot(T0 + 20), 'http.server.request.duration');
  assert.deepEqual(
    points.map(point => point.startNs),
    [T0, T0 + 10],
  );
});

test('a snapshot is not changed by what is recorded later', () => {
  const metrics = newMetrics();
  metrics.recordExchange(serverExchange(), '/a');
  const before = metrics.snapshot(2000);
  metrics.recordExchange(serverExchange(), '/a');
  assert.equal(histogramOf(pointsOf(before, 'http.server.request.duration')[0]).count, 1);
});
