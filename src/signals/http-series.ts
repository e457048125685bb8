// The HTTP series of one service and one kind, found without building keys: by route (or server address), method, error
// and one packed number for the rest. At most as many as the budget gives; further measurements go to one overflow
// series (`otel.metric.overflow`, metrics SDK specification, "Cardinality limits") and are counted.
import type { Attributes, AttributeValue } from '../enrichment/service.js';
import { BODY_BYTES_BOUNDS, Histogram, REQUEST_SECONDS_BOUNDS } from './histogram.js';
import * as semconv from './semconv.js';

export const OVERFLOW_ATTRIBUTES: Attributes = [[semconv.OTEL_METRIC_OVERFLOW.name, true]];

/** Series that all services together may still have. */
export interface SeriesBudget {
  left: number;
}

/** What makes a series one; filled anew for each record. */
export class HttpDimensions {
  isServer = true;
  /** SERVER: http.route, '' if none. CLIENT: server.address. */
  target = '';
  /** CLIENT: server.port. SERVER: 0. */
  port = 0;
  method = '';
  /** SERVER: url.scheme. CLIENT: ''. */
  scheme = '';
  /** 0: no response. */
  status = 0;
  version = '';
  isFastcgi = false;
  /** Error of the connection, '' if none. */
  errorType = '';
  /** `error.type` that the status gives, '' if none. */
  statusError = '';
}

export class HttpSeries {
  readonly attributes: Attributes;
  readonly startNs: number;
  readonly seconds = new Histogram(REQUEST_SECONDS_BOUNDS);
  readonly requestBytes = new Histogram(BODY_BYTES_BOUNDS);
  readonly responseBytes = new Histogram(BODY_BYTES_BOUNDS);

  constructor(attributes: Attributes, startNs: number) {
    this.attributes = attributes;
    this.startNs = startNs;
  }
}

/** Series of one target and method: those without a connection error, and by error. */
class Leaf {
  readonly plain = new Map<number, HttpSeries>();
  byError: Map<string, Map<number, HttpSeries>> | null = null;

  /** The map in which series with this connection error are, made if need be. */
  withError(errorType: string): Map<number, HttpSeries> {
    if (errorType === '') return this.plain;
    this.byError ??= new Map();
    let byKey = this.byError.get(errorType);
    if (byKey === undefined) {
      byKey = new Map();
      this.byError.set(errorType, byKey);
    }
    return byKey;
  }
}

export class HttpTable {
  readonly series: HttpSeries[] = [];
  overflowed = 0;
  readonly #maxSeries: number;
  readonly #budget: SeriesBudget;
  readonly #byTarget = new Map<string, Map<string, Leaf>>();
  #overflow: HttpSeries | null = null;
  /** The last one that was found, and what it is of: the same is often asked for again. */
  #last: HttpSeries | null = null;
  #lastTarget = '';
  #lastMethod = '';
  #lastKey = -1;

  constructor(maxSeries: number, budget: SeriesBudget) {
    this.#maxSeries = maxSeries;
    this.#budget = budget;
  }

  /** The series of these dimensions; a new one begins at `startNs`. */
  find(dimensions: HttpDimensions, startNs: number): HttpSeries {
    const key = packedKey(dimensions);
    const { target, method, errorType } = dimensions;
    const isPlain = errorType === '';
    if (
      isPlain &&
      this.#last !== null &&
      key === this.#lastKey &&
      target === this.#lastTarget &&
      method === this.#lastMethod
    )
      return this.#last;
    const leaf = this.#byTarget.get(target)?.get(method);
    if (leaf !== undefined) {
      const known = isPlain ? leaf.plain.get(key) : leaf.byError?.get(errorType)?.get(key);
      if (known !== undefined) {
        if (isPlain) this.#remember(dimensions, key, known);
        return known;
      }
    }
    return this.#add(dimensions, key, startNs);
  }

  #remember({ target, method }: HttpDimensions, key: number, series: HttpSeries): void {
    this.#last = series;
    this.#lastTarget = target;
    this.#lastMethod = method;
    this.#lastKey = key;
  }

  /** Gives the series back to the budget. */
  release(): void {
    this.#budget.left += this.series.length;
  }

  #add(dimensions: HttpDimensions, key: number, startNs: number): HttpSeries {
    if (this.#overflow !== null && this.#isFull()) {
      this.overflowed++;
      return this.#overflow;
    }
    if (this.#isFull()) {
      this.overflowed++;
      this.#overflow = new HttpSeries(OVERFLOW_ATTRIBUTES, startNs);
      this.series.push(this.#overflow);
      this.#budget.left--;
      return this.#overflow;
    }
    const series = new HttpSeries(seriesAttributes(dimensions), startNs);
    this.series.push(series);
    this.#budget.left--;
    this.#leaf(dimensions).withError(dimensions.errorType).set(key, series);
    return series;
  }

  #isFull(): boolean {
    return this.series.length >= this.#maxSeries || this.#budget.left <= 0;
  }

  #leaf(dimensions: HttpDimensions): Leaf {
    let byMethod = this.#byTarget.get(dimensions.target);
    if (byMethod === undefined) {
      byMethod = new Map();
      this.#byTarget.set(dimensions.target, byMethod);
    }
    let leaf = byMethod.get(dimensions.method);
    if (leaf === undefined) {
      leaf = new Leaf();
      byMethod.set(dimensions.method, leaf);
    }
    return leaf;
  }
}

/** Versions have an index so that they fit the key; 0 is "none of these", which then has no attribute. */
const VERSIONS: readonly string[] = ['', '1.0', '1.1', '2', '3'];
/** In the place of a version: there is one. */
const FASTCGI_INDEX = 7;

/** Port (16 bits), status (10), version (3) and scheme (1) in one small integer: 30 bits, no heap number. */
function packedKey(dimensions: HttpDimensions): number {
  const version = dimensions.isFastcgi ? FASTCGI_INDEX : Math.max(0, VERSIONS.indexOf(dimensions.version));
  const scheme = dimensions.scheme === 'https' ? 1 : 0;
  return ((dimensions.port * 1024 + dimensions.status) * 8 + version) * 2 + scheme;
}

function seriesAttributes(dimensions: HttpDimensions): Attributes {
  const attributes: [string, AttributeValue][] = [[semconv.HTTP_REQUEST_METHOD.name, dimensions.method]];
  if (dimensions.isServer) {
    attributes.push([semconv.URL_SCHEME.name, dimensions.scheme]);
    if (dimensions.target !== '') attributes.push([semconv.HTTP_ROUTE.name, dimensions.target]);
  } else {
    if (dimensions.target !== '') attributes.push([semconv.SERVER_ADDRESS.name, dimensions.target]);
    if (dimensions.port !== 0) attributes.push([semconv.SERVER_PORT.name, dimensions.port]);
  }
  if (dimensions.status !== 0) attributes.push([semconv.HTTP_RESPONSE_STATUS_CODE.name, dimensions.status]);
  const error = dimensions.errorType !== '' ? dimensions.errorType : dimensions.statusError;
  if (error !== '') attributes.push([semconv.ERROR_TYPE.name, error]);
  if (dimensions.isFastcgi) attributes.push([semconv.NETWORK_PROTOCOL_NAME.name, semconv.FASTCGI]);
  if (VERSIONS.indexOf(dimensions.version) > 0) {
    attributes.push([semconv.NETWORK_PROTOCOL_VERSION.name, dimensions.version]);
  }
  return attributes;
}
