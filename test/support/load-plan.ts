// Which request has which number: a pure function of profile, seed and number, so that the load generator and the test
// agree without talking. Every path ends in the request's number and is therefore unique within a run.

/**
 * `app`: all methods, bodies both ways. `files`: what static servers take. `get`: GET and HEAD over files only. `early`: large
 * uploads to servers that answer before they have read them.
 */
export type Profile = 'app' | 'files' | 'get' | 'early';

export interface PlannedRequest {
  readonly number: number;
  readonly method: string;
  readonly path: string;
  /** Octets of request body; -1 for a request without one. */
  readonly bodyBytes: number;
  readonly isChunked: boolean;
  /** The client asks for the connection to be closed afterwards. */
  readonly isLast: boolean;
  /** Octets of response body that the answer must have; -1 when that is the server's affair. */
  readonly expectedBytes: number;
}

export const BODY_SIZES = [0, 1, 200, 2000, 20_000, 200_000, 1_048_576] as const;
const STATUSES = [200, 201, 204, 301, 304, 400, 401, 403, 404, 429, 500, 503] as const;
const CUSTOM_METHODS = ['PROPFIND', 'PURGE', 'REPORT', 'SEARCH'] as const;

/** A small deterministic generator (mulberry32): numbers from 0 to 1. */
function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)] as T;
}

/** Mostly small bodies, some of 200 kB, few of 1 MiB. */
function bodySize(random: () => number): number {
  const at = random();
  if (at < 0.01) return BODY_SIZES[6];
  if (at < 0.04) return BODY_SIZES[5];
  return pick(BODY_SIZES.slice(0, 5), random);
}

export function planRequest(profile: Profile, seed: number, number: number): PlannedRequest {
  const random = randomSource(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  const isLast = random() < 0.02;
  const kind = random();
  const make = (method: string, path: string, bodyBytes = -1, isChunked = false, expectedBytes = -1) => ({
    number,
    method,
    path: `${path}/${number}`,
    bodyBytes,
    isChunked,
    isLast,
    expectedBytes,
  });
  if (profile === 'get') {
    const size = bodySize(random);
    if (kind < 0.1) return make('HEAD', `/bytes/${size}`, -1, false, 0);
    if (kind < 0.25) return make('GET', '/missing');
    return make('GET', `/bytes/${size}`, -1, false, size);
  }
  if (profile === 'early') {
    if (kind < 0.5) return make('GET', '/bytes/200', -1, false, 200);
    return make('POST', '/upload', pick([20_000, 200_000, 1_048_576], random), kind < 0.8);
  }
  if (kind < 0.4) {
    const size = bodySize(random);
    return make('GET', `/bytes/${size}`, -1, false, size);
  }
  if (kind < 0.48) return make('HEAD', `/bytes/${bodySize(random)}`, -1, false, 0);
  if (kind < 0.56) {
    const size = bodySize(random);
    return make('GET', `/chunked/${size}`, -1, false, size);
  }
  if (kind < 0.69) return make('GET', `/status/${pick(STATUSES, random)}`);
  if (kind < 0.79) return make('POST', '/upload', bodySize(random));
  if (kind < 0.85) return make('POST', '/upload', bodySize(random), true);
  if (kind < 0.9) return make('PUT', '/upload', bodySize(random));
  if (kind < 0.92) return make('PATCH', '/upload', bodySize(random), true);
  if (kind < 0.95) return make('DELETE', `/status/${pick([200, 204, 404], random)}`);
  if (kind < 0.97) return make('OPTIONS', '/status/200');
  if (kind < 0.985) return make(pick(CUSTOM_METHODS, random), '/status/200');
  return make('GET', `/sleep/${pick([5, 20, 60, 150], random)}`);
}

/** The path alone, as servers log it and as `url.path` has it. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}
