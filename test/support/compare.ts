// Spans against what really happened. Requests are told apart by their paths, which are unique within a run; every
// difference is listed, none is forgiven: missing, extra and doubled spans, wrong fields, and times.
import { CLIENT, type DecodedSpan, describe, methodOf, pathOfSpan, statusOf } from './spans.js';

/** A request as a witness other than the agent saw it. */
export interface Witness {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Milliseconds since the Unix epoch, NaN if the witness does not know. */
  readonly startMs: number;
  /** Milliseconds, NaN if the witness does not know. */
  readonly durationMs: number;
}

export interface Pair<W extends Witness> {
  readonly witness: W;
  readonly span: DecodedSpan;
}

export interface Comparison<W extends Witness> {
  readonly pairs: readonly Pair<W>[];
  /** What is wrong, one line each; empty when spans and witness agree. */
  readonly missing: readonly string[];
  readonly extra: readonly string[];
  readonly wrong: readonly string[];
}

/** Methods that keep their name in `http.request.method`; any other is `_OTHER` there (RFC 9110, RFC 5789, QUERY). */
const KNOWN_METHODS = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'QUERY',
]);

function wrongFields(witness: Witness, span: DecodedSpan): string[] {
  const wrong: string[] = [];
  if (methodOf(span) !== witness.method) wrong.push(`method ${methodOf(span)} instead of ${witness.method}`);
  const conventional = KNOWN_METHODS.has(witness.method) ? witness.method : '_OTHER';
  if (span.attributes.get('http.request.method') !== conventional) {
    wrong.push(`http.request.method ${String(span.attributes.get('http.request.method'))} instead of ${conventional}`);
  }
  if (statusOf(span) !== witness.status) wrong.push(`status ${statusOf(span)} instead of ${witness.status}`);
  const errorFrom = span.kind === CLIENT ? 400 : 500;
  const errorType = witness.status >= errorFrom ? String(witness.status) : undefined;
  if (span.attributes.get('error.type') !== errorType) {
    wrong.push(`error.type ${String(span.attributes.get('error.type'))} instead of ${errorType ?? 'none'}`);
  }
  if ((span.status.code === 2) !== (errorType !== undefined)) wrong.push(`span status ${span.status.code}`);
  return wrong;
}

/** Matches by path. Both sides must be complete: each witness has exactly one span and each span its witness. */
export function compareSpans<W extends Witness>(witnesses: readonly W[], spans: readonly DecodedSpan[]): Comparison<W> {
  const spansByPath = new Map<string, DecodedSpan[]>();
  for (const span of spans) {
    const path = pathOfSpan(span);
    const known = spansByPath.get(path);
    if (known === undefined) spansByPath.set(path, [span]);
    else known.push(span);
  }
  const pairs: Pair<W>[] = [];
  const missing: string[] = [];
  const wrong: string[] = [];
  for (const witness of witnesses) {
    const span = spansByPath.get(witness.path)?.shift();
    if (span === undefined) {
      missing.push(`${witness.method} ${witness.path} ${witness.status}`);
      continue;
    }
    pairs.push({ witness, span });
    for (const fault of wrongFields(witness, span)) wrong.push(`${witness.method} ${witness.path}: ${fault}`);
  }
  const extra = [...spansByPath.values()].flat().map(describe);
  return { pairs, missing, extra, wrong };
}

/** A distribution of numbers as a line: count, p1, p50, p99, extremes. */
export function distribution(values: readonly number[]): string {
  if (values.length === 0) return 'no values';
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(3);
  return `n=${sorted.length} min ${at(0)} p1 ${at(0.01)} p50 ${at(0.5)} p99 ${at(0.99)} max ${at(1)}`;
}

/** The upper of the two middle values where there are two; NaN for none. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Share of `values` that `isBad`; 0 for none. */
export function shareOf(values: readonly number[], isBad: (value: number) => boolean): number {
  return values.length === 0 ? 0 : values.filter(isBad).length / values.length;
}

/** What a duration may differ by: 1 ms or 5 %, whichever is more, plus what the witness itself rounds away. */
export function toleranceMs(witnessMs: number, resolutionMs: number): number {
  return Math.max(1, 0.05 * witnessMs) + resolutionMs;
}

export interface TimingFault {
  readonly description: string;
  /** Span minus witness, ms. */
  readonly errorMs: number;
}

/** The middle error of the requests of one kind: what is systematically wrong shows here, whatever the scheduler does. */
export interface KindError {
  readonly kind: string;
  readonly count: number;
  /** Span minus witness, ms. */
  readonly medianErrorMs: number;
  readonly toleranceMs: number;
}

export interface TimingReport {
  /** Span minus witness in milliseconds, for all pairs whose witness knows. */
  readonly errors: readonly number[];
  /** The pairs outside the tolerance, worst first. */
  readonly faults: readonly TimingFault[];
  readonly kinds: readonly KindError[];
}

/** Compares durations; `spanMs` says which part of the span the witness can know about. */
export function compareDurations<W extends Witness>(
  pairs: readonly Pair<W>[],
  resolutionMs: number,
  spanMs: (span: DecodedSpan) => number,
): TimingReport {
  const errors: number[] = [];
  const faults: TimingFault[] = [];
  const byKind = new Map<string, { errorMs: number; witnessMs: number }[]>();
  for (const { witness, span } of pairs) {
    if (Number.isNaN(witness.durationMs)) continue;
    const errorMs = spanMs(span) - witness.durationMs;
    errors.push(errorMs);
    const kind = `${witness.method} ${witness.path.replace(/\/[^/]*$/, '')}`;
    const known = byKind.get(kind);
    if (known === undefined) byKind.set(kind, [{ errorMs, witnessMs: witness.durationMs }]);
    else known.push({ errorMs, witnessMs: witness.durationMs });
    if (Math.abs(errorMs) > toleranceMs(witness.durationMs, resolutionMs)) {
      faults.push({
        errorMs,
        description: `${errorMs.toFixed(3)} ms off ${witness.durationMs.toFixed(3)} ms: ${describe(span)}`,
      });
    }
  }
  faults.sort((a, b) => Math.abs(b.errorMs) - Math.abs(a.errorMs));
  const kinds = [...byKind].map(([kind, of]) => ({
    kind,
    count: of.length,
    medianErrorMs: median(of.map(one => one.errorMs)),
    toleranceMs: toleranceMs(median(of.map(one => one.witnessMs)), resolutionMs),
  }));
  return { errors, faults, kinds };
}

/** The first lines of a list, and how many there are. */
export function head(lines: readonly string[], count = 5): string {
  if (lines.length === 0) return 'none';
  return `${lines.length}, such as\n  ${lines.slice(0, count).join('\n  ')}`;
}
