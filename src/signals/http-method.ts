// HTTP methods as the conventions want them: a method that is known keeps its name (case counts, RFC 9110 section 9.1),
// any other is `_OTHER`, so that what clients invent never becomes a dimension.
import { METHOD_OTHER } from './semconv.js';

/** RFC 9110 section 9.3, PATCH (RFC 5789) and QUERY, as http.request.method of the conventions lists them. */
const STANDARD_METHODS: readonly string[] = [
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
];

export class KnownMethods {
  /** Known method to itself: the value is the interned string. */
  readonly #names = new Map<string, string>();
  /** The last one that was asked for, and its value. */
  #last = '';
  #lastValue = METHOD_OTHER;

  /** `methods` replaces the standard list (OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS does); empty means standard. */
  constructor(methods: readonly string[] = []) {
    for (const method of methods.length === 0 ? STANDARD_METHODS : methods) this.#names.set(method, method);
  }

  /** Value of `http.request.method`. */
  attribute(method: string): string {
    if (method === this.#last) return this.#lastValue;
    const value = this.#names.get(method) ?? METHOD_OTHER;
    this.#last = method;
    this.#lastValue = value;
    return value;
  }
}
