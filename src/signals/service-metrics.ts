// What is counted for one service instance beside its HTTP series: requests under way, connections, bytes, connects and
// waits. Plain counters and histograms; their number is bounded by roles, known methods and MAX_ERRORS.
import type { Service } from '../enrichment/service.js';
import { Histogram, WAIT_SECONDS_BOUNDS } from './histogram.js';
import { HttpTable, type SeriesBudget } from './http-series.js';

export const ROLES = ['client', 'server', 'unknown'] as const;
/** How the service came by a connection; `unknown`: it is older than the agent. */
export type ConnectionRole = (typeof ROLES)[number];

/** errno names are some hundred at most; what is beyond is `_OTHER`. */
const MAX_ERRORS = 64;
export const ERROR_OTHER = '_OTHER';

export class RoleCounts {
  opened = 0;
  closed = 0;
}

export class ConnectCounts {
  failures = 0;
  readonly seconds = new Histogram(WAIT_SECONDS_BOUNDS);
}

export class ServiceMetrics {
  readonly service: Service;
  /** When its plain counters began. */
  readonly startNs: number;
  readonly server: HttpTable;
  readonly client: HttpTable;
  /** Requests under way by method. */
  readonly serverActive = new Map<string, number>();
  readonly clientActive = new Map<string, number>();
  readonly roles: Record<ConnectionRole, RoleCounts> = {
    client: new RoleCounts(),
    server: new RoleCounts(),
    unknown: new RoleCounts(),
  };
  bytesIn = 0;
  bytesOut = 0;
  /** By errno name; '' is success. */
  readonly connects = new Map<string, ConnectCounts>();
  readonly acceptWait = new Histogram(WAIT_SECONDS_BOUNDS);
  readonly receiveWait = new Histogram(WAIT_SECONDS_BOUNDS);

  constructor(service: Service, startNs: number, maxSeries: number, budget: SeriesBudget) {
    this.service = service;
    this.startNs = startNs;
    this.server = new HttpTable(maxSeries, budget);
    this.client = new HttpTable(maxSeries, budget);
  }

  connectCounts(errorName: string): ConnectCounts {
    const known = this.connects.get(errorName);
    if (known !== undefined) return known;
    const key = this.connects.size < MAX_ERRORS ? errorName : ERROR_OTHER;
    const counts = this.connects.get(key) ?? new ConnectCounts();
    this.connects.set(key, counts);
    return counts;
  }
}
