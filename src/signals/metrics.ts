// Every exchange, connect and connection comes in; metric families go out, cumulative, one set of points per service.
// Metrics see all requests, whatever the sampling of spans. Bounded by series per service and table, series over all, and
// services; what goes to an overflow series or nowhere is counted in `underspan.measurements.*`, which are families too.
import type { Service } from '../enrichment/service.js';
import { type Exchange, KIND_SERVER } from '../exchanges/exchange.js';
import { KnownMethods } from './http-method.js';
import { HttpDimensions, type SeriesBudget } from './http-series.js';
import { statusError } from './http-status.js';
import { collectAgent, collectService, type DropReason, FamilyCollector } from './metric-families.js';
import type { MetricFamily } from './metric-model.js';
import { ServerAddresses, targetScheme } from './server-address.js';
import { type ConnectionRole, ServiceMetrics } from './service-metrics.js';
import { exchangeSeconds, secondsBetween } from './timeline.js';

export type { ConnectionRole };

export interface MetricsOptions {
  /** Boot-clock nanoseconds when counting began. */
  readonly startNs: number;
  /** Series of one table (server, client) of one service. Default 2000. */
  readonly maxSeriesPerService?: number;
  /** Series of all services together, about 2 KiB each. Default 20000. */
  readonly maxSeries?: number;
  /** Services held at once. Default 8192. */
  readonly maxServices?: number;
  /** As SpanOptions.knownMethods. */
  readonly knownMethods?: readonly string[];
}

export class Metrics {
  readonly #services = new Map<number, ServiceMetrics>();
  /** The last one that was asked for: requests of one service come in rows. */
  #lastService: Service | null = null;
  #lastMetrics: ServiceMetrics | null = null;
  readonly #methods: KnownMethods;
  readonly #servers = new ServerAddresses();
  readonly #dimensions = new HttpDimensions();
  readonly #maxSeriesPerService: number;
  readonly #maxServices: number;
  readonly #budget: SeriesBudget;
  readonly #dropped: Record<DropReason, number> = { no_service: 0, no_time: 0, services_full: 0, service_gone: 0 };
  readonly #startNs: number;
  /** The last snapshot: what begins after it was 0 then, so this is where its series start. */
  #epochNs: number;
  #forgottenOverflows = 0;

  constructor(options: MetricsOptions) {
    this.#startNs = options.startNs;
    this.#epochNs = options.startNs;
    this.#methods = new KnownMethods(options.knownMethods);
    this.#maxSeriesPerService = options.maxSeriesPerService ?? 2000;
    this.#maxServices = options.maxServices ?? 8192;
    this.#budget = { left: options.maxSeries ?? 20_000 };
  }

  /** A finished exchange. `route`: http.route of a SERVER exchange, '' if unknown; not looked at for a CLIENT. */
  recordExchange(exchange: Exchange, route: string): void {
    const metrics = this.#find(exchange.service);
    if (metrics === null) return;
    const seconds = exchangeSeconds(exchange);
    if (seconds < 0) {
      this.#dropped.no_time++;
      return;
    }
    const isServer = exchange.kind === KIND_SERVER;
    const dimensions = this.#describe(exchange, route, isServer);
    const series = (isServer ? metrics.server : metrics.client).find(dimensions, this.#epochNs);
    series.seconds.record(seconds);
    if (exchange.requestBodyBytes >= 0) series.requestBytes.record(exchange.requestBodyBytes);
    if (exchange.status !== 0 && exchange.responseBodyBytes >= 0)
      series.responseBytes.record(exchange.responseBodyBytes);
    if (!isServer) return;
    const { opening } = exchange;
    if (opening !== null && opening.acceptWaitSeconds >= 0) metrics.acceptWait.record(opening.acceptWaitSeconds);
    const receiveWait = secondsBetween(exchange.requestFirstNs, exchange.requestTakenNs);
    if (receiveWait >= 0) metrics.receiveWait.record(receiveWait);
  }

  /** A request began. Call it once its head is parsed: before, its method is not known and counts as `_OTHER`. */
  requestStarted(exchange: Exchange): void {
    const metrics = this.#find(exchange.service);
    if (metrics === null || exchange.activeMethod !== '') return;
    const method = this.#methods.attribute(exchange.method);
    exchange.activeMethod = method;
    const active = exchange.kind === KIND_SERVER ? metrics.serverActive : metrics.clientActive;
    active.set(method, (active.get(method) ?? 0) + 1);
  }

  /** The request ended, however. Without a `requestStarted` before it, or a second time, it changes nothing. */
  requestEnded(exchange: Exchange): void {
    const method = exchange.activeMethod;
    if (method === '') return;
    exchange.activeMethod = '';
    const metrics = this.#findExisting(exchange.service);
    if (metrics === null) return;
    const active = exchange.kind === KIND_SERVER ? metrics.serverActive : metrics.clientActive;
    active.set(method, (active.get(method) ?? 0) - 1);
  }

  connectionOpened(service: Service, role: ConnectionRole): void {
    const metrics = this.#find(service);
    if (metrics !== null) metrics.roles[role].opened++;
  }

  /** `bytesIn` and `bytesOut`: what `transferred` has not been told of this connection. */
  connectionClosed(service: Service, role: ConnectionRole, bytesIn: number, bytesOut: number): void {
    const metrics = this.#findExisting(service);
    if (metrics === null) return;
    metrics.roles[role].closed++;
    metrics.bytesIn += bytesIn;
    metrics.bytesOut += bytesOut;
  }

  /** Bytes of a connection that stays open, so that long-lived ones are not silent until they close. */
  transferred(service: Service, bytesIn: number, bytesOut: number): void {
    const metrics = this.#find(service);
    if (metrics === null) return;
    metrics.bytesIn += bytesIn;
    metrics.bytesOut += bytesOut;
  }

  /** A connect that ended. `seconds` below 0 is unknown; `errorName` is '' if the connection was established. */
  connect(service: Service, seconds: number, errorName: string): void {
    const metrics = this.#find(service);
    if (metrics === null) return;
    const counts = metrics.connectCounts(errorName);
    if (errorName !== '') counts.failures++;
    if (seconds >= 0) counts.seconds.record(seconds);
  }

  /** Drops the series of a service instance: its process has ended and its last values have been exported. */
  forgetService(serviceId: number): void {
    const metrics = this.#services.get(serviceId);
    if (metrics === undefined) return;
    metrics.server.release();
    metrics.client.release();
    this.#forgottenOverflows += metrics.server.overflowed + metrics.client.overflowed;
    this.#services.delete(serviceId);
    this.#lastService = null;
  }

  /** All points as of `nowNs` (boot clock). Families without points are left out. */
  snapshot(nowNs: number): MetricFamily[] {
    const collector = new FamilyCollector();
    let overflowed = this.#forgottenOverflows;
    for (const metrics of this.#services.values()) {
      collectService(collector, metrics);
      overflowed += metrics.server.overflowed + metrics.client.overflowed;
    }
    collectAgent(collector, this.#startNs, overflowed, this.#dropped);
    this.#epochNs = nowNs;
    return collector.families();
  }

  /** Null if there is no service or no room for one more; both are counted. */
  #find(service: Service | null): ServiceMetrics | null {
    if (service === null) {
      this.#dropped.no_service++;
      return null;
    }
    if (service === this.#lastService) return this.#lastMetrics;
    const metrics = this.#services.get(service.id) ?? this.#add(service);
    if (metrics !== null) this.#remember(service, metrics);
    return metrics;
  }

  #remember(service: Service, metrics: ServiceMetrics): void {
    this.#lastService = service;
    this.#lastMetrics = metrics;
  }

  /** Ends of things that a forgotten service began must not bring it back. */
  #findExisting(service: Service | null): ServiceMetrics | null {
    if (service === null) {
      this.#dropped.no_service++;
      return null;
    }
    if (service === this.#lastService) return this.#lastMetrics;
    const metrics = this.#services.get(service.id) ?? null;
    if (metrics === null) this.#dropped.service_gone++;
    else this.#remember(service, metrics);
    return metrics;
  }

  #add(service: Service): ServiceMetrics | null {
    if (this.#services.size >= this.#maxServices) {
      this.#dropped.services_full++;
      return null;
    }
    const metrics = new ServiceMetrics(service, this.#epochNs, this.#maxSeriesPerService, this.#budget);
    this.#services.set(service.id, metrics);
    return metrics;
  }

  #describe(exchange: Exchange, route: string, isServer: boolean): HttpDimensions {
    const dimensions = this.#dimensions;
    dimensions.isServer = isServer;
    if (isServer) {
      dimensions.target = route;
      dimensions.port = 0;
      dimensions.scheme = targetScheme(exchange);
    } else {
      const server = this.#servers.resolve(exchange);
      dimensions.target = server.address;
      dimensions.port = server.port;
      dimensions.scheme = '';
    }
    dimensions.method = this.#methods.attribute(exchange.method);
    dimensions.status = exchange.status;
    dimensions.version = exchange.version;
    dimensions.isFastcgi = exchange.isFastcgi;
    dimensions.errorType = exchange.errorType;
    dimensions.statusError = statusError(exchange.kind, exchange.status);
    return dimensions;
  }
}
