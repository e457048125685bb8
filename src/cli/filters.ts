// The filters of `underspan trace` and `replay`: text of the flags in, TraceFilters (options.ts) out, and the predicate
// that they mean. They choose what is shown; selection (which processes are observed) is the configuration's.
import type { PortRange } from '../config/schema.js';
import type { SpanFacts } from '../exporters/console-span.js';
import type { Arguments } from './command.js';
import { usageError } from './command.js';
import type { TraceFilters } from './options.js';

const NANOS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9 };

/** `200ms`, `1.5s`, `500us`, `2m` in nanoseconds; null if it is none of these. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m)$/.exec(text);
  return match === null ? null : Number(match[1]) * NANOS[match[2]!]!;
}

/** `500`, `5xx` or `400-499` as an inclusive range; null if it is none of these. */
export function parseStatus(text: string): { first: number; last: number } | null {
  const family = /^([1-5])xx$/i.exec(text);
  if (family !== null) return { first: Number(family[1]) * 100, last: Number(family[1]) * 100 + 99 };
  const match = /^([1-9]\d\d)(?:-([1-9]\d\d))?$/.exec(text);
  if (match === null) return null;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return last < first ? null : { first, last };
}

/** `80`, `80,443` or `8000-8999`; null if it is none of these. */
export function parsePorts(text: string): PortRange[] | null {
  const ranges: PortRange[] = [];
  for (const part of text.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (match === null) return null;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (first < 1 || last < first || last > 65535) return null;
    ranges.push({ first, last });
  }
  return ranges;
}

/** A glob on a URL path: `*` within a segment, `**` across segments, `?` one character; all else is literal. */
export function compilePathGlob(glob: string): RegExp {
  const source = glob.replace(/\*\*|\*|\?|[\\^$.+()[\]{}|/]/g, token => {
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    return token === '?' ? '[^/]' : `\\${token}`;
  });
  return new RegExp(`^${source}$`, 's');
}

/**
 * Reads the filter flags that are given. Ports are among them in a replay only: elsewhere they select connections, of
 * which a server's spans may name another port (that of the Host header).
 */
export function filtersFrom(args: Arguments, isReplay: boolean): TraceFilters {
  const path = args.last('path');
  const status = required(args, 'status', parseStatus, 'a status like 500, 5xx or 400-499');
  const minDurationNs = required(args, 'min-duration', parseDuration, 'a duration like 200ms, 1.5s or 500us');
  const ports = args.all('port').flatMap(text => parsed(args, 'port', text, parsePorts, 'a port like 80 or 8000-8999'));
  return {
    ...(path === undefined ? {} : { path }),
    ...(status === undefined ? {} : { status }),
    ...(minDurationNs === undefined ? {} : { minDurationNs }),
    ...(ports.length === 0 || !isReplay ? {} : { ports }),
  };
}

/** Whether a span is shown; all given filters must hold. null: every span is. */
export function createFilter(filters: TraceFilters): ((facts: SpanFacts) => boolean) | null {
  if (Object.keys(filters).length === 0) return null;
  const path = filters.path === undefined ? null : compilePathGlob(filters.path);
  const { status, ports, minDurationNs = 0 } = filters;
  return facts =>
    facts.durationNs >= minDurationNs &&
    (status === undefined || (facts.status >= status.first && facts.status <= status.last)) &&
    (ports === undefined || ports.some(({ first, last }) => facts.port >= first && facts.port <= last)) &&
    (path === null || path.test(facts.path));
}

function required<T>(
  args: Arguments,
  name: string,
  parse: (text: string) => T | null,
  expected: string,
): T | undefined {
  const text = args.last(name);
  return text === undefined ? undefined : parsed(args, name, text, parse, expected);
}

function parsed<T>(
  args: Arguments,
  name: string,
  text: string,
  parse: (text: string) => T | null,
  expected: string,
): T {
  const value = parse(text);
  if (value === null) throw usageError({ name: args.command }, `--${name} ${text}: expected ${expected}`);
  return value;
}
