// Verdicts on an experiment: every span held against what the witnesses saw. Each function throws with the first few
// differences in its message; times are also printed as distributions.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { AccessEntry } from './access-log.js';
import {
  type Comparison,
  compareDurations,
  distribution,
  head,
  type Pair,
  shareOf,
  type TimingReport,
  toleranceMs,
} from './compare.js';
import type { Phase } from './experiment.js';
import type { LoadEntry } from './load.js';
import type { PlannedRequest } from './load-plan.js';
import type { Server } from './servers.js';
import {
  answeringMs,
  type DecodedSpan,
  describe,
  durationMs,
  endMs,
  flag,
  number,
  phaseMs,
  startMs,
  takenDurationMs,
  text,
} from './spans.js';

/** Every request answered, and logged by the server: the ground is firm. */
export function assertWitnessesAgree(phase: Phase): void {
  assert.equal(phase.summary.failed, 0, `requests failed:\n${phase.summary.firstErrors.join('\n')}`);
  const logged = new Map(phase.accessLog.map(entry => [entry.path, entry]));
  assert.equal(
    logged.size,
    phase.clientLog.length,
    'the server logged another number of requests than the client sent',
  );
  for (const entry of phase.clientLog) assert.equal(logged.get(entry.path)?.status, entry.status, entry.path);
}

/** Same count, method, path and status: nothing missing, nothing more, nothing different. */
export function assertSame(what: string, phase: Phase, comparison: Comparison<AccessEntry | LoadEntry>): void {
  const faults = [
    ['missing', comparison.missing],
    ['extra', comparison.extra],
    ['wrong', comparison.wrong],
  ] as const;
  const message = faults.map(([kind, lines]) => `${kind}: ${head(lines)}`).join('\n');
  const bad = faults.reduce((sum, [, lines]) => sum + lines.length, 0);
  assert.equal(
    bad,
    0,
    `${what} (${phase.name}): ${comparison.pairs.length} matched\n${message}\nlosses:\n${phase.losses}`,
  );
}

/**
 * As assertSame, where the agent cannot see every request: no span is wrong or too many, at most `allowedShare` are missing,
 * and the agent's own account shows that there was a loss.
 */
export function assertSameButForGaps(
  t: TestContext,
  what: string,
  phase: Phase,
  comparison: Comparison<AccessEntry | LoadEntry>,
  allowedShare: number,
): void {
  const { missing, extra, wrong, pairs } = comparison;
  const counted = countedGaps(phase.losses);
  const message = `${what} (${phase.name}): ${pairs.length} matched\nmissing: ${head(missing)}\nlosses:\n${phase.losses}`;
  t.diagnostic(`${missing.length} missing, ${counted} counted as lost`);
  assert.deepEqual({ extra, wrong }, { extra: [], wrong: [] }, message);
  assert.ok(missing.length === 0 || counted > 0, message);
  assert.ok(missing.length <= allowedShare * (missing.length + pairs.length), message);
}

/** Exchanges that the agent's own account has as lost to bytes which it did not see. */
export function countedGaps(losses: string): number {
  const line = /^underspan_exchanges_dropped_total\{reason="(?:gap|unsynced|ring_full)"\} (\d+)$/gm;
  return [...losses.matchAll(line)].reduce((sum, match) => sum + Number(match[1]), 0);
}

/** Fewer requests of a kind than this have no middle that can be trusted. */
const KIND_MIN = 12;

/**
 * The middle error of every kind of request is within the tolerance, and so are all single ones but `allowedShare`: a machine
 * that others share delays any clock now and then, and no clock always.
 */
function assertTimes(what: string, report: TimingReport, allowedShare: number, pairs: number): void {
  const share = report.faults.length / Math.max(1, pairs);
  const worst = head(report.faults.map(fault => fault.description));
  assert.ok(report.errors.length > 0, `${what}: nothing to compare`);
  assert.ok(share <= allowedShare, `${what}: ${(share * 100).toFixed(2)} % are off by more than 1 ms or 5 %: ${worst}`);
  const wrong = report.kinds
    .filter(kind => kind.count >= KIND_MIN && Math.abs(kind.medianErrorMs) > kind.toleranceMs)
    .map(
      kind =>
        `${kind.kind} (${kind.count}): ${kind.medianErrorMs.toFixed(3)} ms, allowed ${kind.toleranceMs.toFixed(3)}`,
    );
  assert.equal(wrong.length, 0, `${what}: the middle is off: ${head(wrong)}`);
}

/** Duration of the SERVER spans, from where the server's own clock begins, against that clock. */
export function assertServerDurations(t: TestContext, phase: Phase, allowedShare: number): void {
  const clockedMs = phase.server.format.beginsAfterBody ? answeringMs : takenDurationMs;
  // A server cannot have worked longer than its client waited: what its clock says beyond that, it read too late.
  const clients = new Map(phase.clientLog.map(entry => [entry.path, entry.durationMs]));
  const pairs = phase.serverSide.pairs.map(({ witness, span }) => {
    const waitedMs = clients.get(witness.path) ?? Number.POSITIVE_INFINITY;
    return { span, witness: { ...witness, durationMs: Math.min(witness.durationMs, waitedMs) } };
  });
  const report = compareDurations(pairs, phase.server.format.resolutionMs, clockedMs);
  t.diagnostic(`${phase.server.name} SERVER duration error in ms (${phase.name}): ${distribution(report.errors)}`);
  assertTimes(`SERVER durations (${phase.name})`, report, allowedShare, phase.serverSide.pairs.length);
}

/** Duration of the CLIENT spans against the client's own clock. */
export function assertClientDurations(t: TestContext, phase: Phase, allowedShare: number): void {
  const report = compareDurations(phase.clientSide.pairs, 0, durationMs);
  t.diagnostic(`${phase.server.name} CLIENT duration error in ms (${phase.name}): ${distribution(report.errors)}`);
  assertTimes(`CLIENT durations (${phase.name})`, report, allowedShare, phase.clientSide.pairs.length);
}

/** A SERVER span lies within what the client saw of its request: it begins after the client began and ends before. */
export function assertNested(t: TestContext, phase: Phase, allowedShare: number): void {
  const clients = new Map(phase.clientLog.map(entry => [entry.path, entry]));
  const clientSpans = new Map(phase.clientSide.pairs.map(pair => [pair.witness.path, pair.span]));
  const starts: number[] = [];
  const ends: number[] = [];
  const lines: string[] = [];
  for (const { witness, span } of phase.serverSide.pairs) {
    const client = clients.get(witness.path);
    if (client === undefined) continue;
    const startError = startMs(span) - client.startMs;
    const endError = endMs(span) - (client.startMs + client.durationMs);
    starts.push(startError);
    ends.push(endError);
    // A request that had to be sent again arrives late: then the client's span says so.
    const retransmits = number(clientSpans.get(witness.path) ?? span, 'underspan.tcp.retransmits');
    const isLate = startError > toleranceMs(client.durationMs, 0) && !(retransmits > 0);
    if (startError < -1 || isLate || endError > 1) {
      lines.push(
        `start ${startError.toFixed(3)} ms, end ${endError.toFixed(3)} ms off the client's: ${describe(span)}`,
      );
    }
  }
  t.diagnostic(`${phase.server.name} SERVER start after the client's, ms (${phase.name}): ${distribution(starts)}`);
  t.diagnostic(`${phase.server.name} SERVER end after the client's, ms (${phase.name}): ${distribution(ends)}`);
  assert.ok(
    lines.length <= allowedShare * starts.length,
    `SERVER spans not within the client's request: ${head(lines)}`,
  );
}

/** Each client span and the server span that it caused: one trace, parent and child, in order of time. */
export function assertOneTrace(phase: Phase): void {
  const clients = new Map(phase.clientSide.pairs.map(pair => [pair.witness.path, pair.span]));
  const lines: string[] = [];
  for (const { witness, span } of phase.serverSide.pairs) {
    const client = clients.get(witness.path);
    if (client === undefined) continue;
    if (span.traceId !== client.traceId || span.parentSpanId !== client.spanId) {
      lines.push(`${describe(span)}\n    is not the child of ${describe(client)}`);
    } else if (span.startUnixNs < client.startUnixNs) {
      lines.push(`${describe(span)}\n    starts before its parent ${describe(client)}`);
    }
  }
  assert.equal(lines.length, 0, `of ${phase.serverSide.pairs.length} pairs: ${head(lines)}`);
  const ids = new Set(phase.clientSide.pairs.map(pair => pair.span.traceId));
  assert.equal(ids.size, phase.clientSide.pairs.length, 'trace ids are shared between requests');
}

function connectionFaults(pair: Pair<AccessEntry>, client: LoadEntry, server: Server): string[] {
  const { span } = pair;
  const wrong: string[] = [];
  const expect = (key: string, value: unknown) => {
    const actual = span.attributes.get(key);
    if (actual !== value) wrong.push(`${key} ${String(actual)} instead of ${String(value)}`);
  };
  expect('url.scheme', server.isSecure ? 'https' : 'http');
  expect('server.address', '127.0.0.1');
  expect('server.port', server.port);
  expect('network.peer.address', '127.0.0.1');
  expect('network.peer.port', client.localPort);
  expect('network.protocol.version', '1.1');
  expect('user_agent.original', 'underspan-load');
  expect('underspan.connection.reused', client.isReused);
  return wrong;
}

/** Chunked bodies beyond this are longer than what is captured: their size need not be known. */
const CHUNKED_CAPTURED = 2000;

function sizeFaults(span: DecodedSpan, plan: PlannedRequest): string[] {
  const wrong: string[] = [];
  const expect = (key: string, bytes: number, isChunked: boolean) => {
    const actual = number(span, key);
    const mayBeUnknown = isChunked && bytes > CHUNKED_CAPTURED;
    if (bytes > 0 && actual !== bytes && !(mayBeUnknown && Number.isNaN(actual))) {
      wrong.push(`${key} ${actual} instead of ${bytes}`);
    }
  };
  expect('http.request.body.size', plan.bodyBytes, plan.isChunked);
  expect('http.response.body.size', plan.expectedBytes, plan.path.startsWith('/chunked/'));
  return wrong;
}

/** Addresses, ports, reuse of the connection and body sizes, exactly. */
export function assertAttributes(phase: Phase): void {
  const clients = new Map(phase.clientLog.map(entry => [entry.path, entry]));
  const lines: string[] = [];
  for (const pair of phase.serverSide.pairs) {
    const path = pair.witness.path;
    const client = clients.get(path);
    const plan = phase.plans.get(path);
    if (client === undefined || plan === undefined) continue;
    const faults = [...connectionFaults(pair, client, phase.server), ...sizeFaults(pair.span, plan)];
    lines.push(...faults.map(fault => `${pair.witness.method} ${path}: ${fault}`));
  }
  assert.equal(lines.length, 0, head(lines, 10));
}

const PROCESSING = 'underspan.processing';
const RESPONSE_WAIT = 'underspan.response.wait';
const SERVER_PHASES = ['receive.wait', 'request.read', 'processing', 'response.write'].map(name => `underspan.${name}`);
const CLIENT_PHASES = ['request.write', 'response.wait', 'receive.wait', 'response.read'].map(
  name => `underspan.${name}`,
);

function timelineFaults(span: DecodedSpan, phases: readonly string[]): string[] {
  const faults: string[] = [];
  let sum = 0;
  let isComplete = true;
  for (const key of phases) {
    const seconds = number(span, key);
    if (seconds < 0) faults.push(`${key} is ${seconds}`);
    if (Number.isNaN(seconds)) isComplete = false;
    sum += phaseMs(span, key);
  }
  const difference = durationMs(span) - sum;
  // An answer that began before its request had ended: reading and writing overlap, and nothing is between them.
  const between = number(span, phases.includes(PROCESSING) ? PROCESSING : RESPONSE_WAIT);
  const overlaps = Number.isNaN(between) || between === 0;
  if (difference < -0.001 && !overlaps) faults.push(`phases are ${-difference} ms longer than the span`);
  if (isComplete && difference > 0.001) faults.push(`phases leave ${difference} ms of the span out`);
  if (durationMs(span) < 0) faults.push('ends before it starts');
  return faults;
}

/** The phases of the socket timeline are there, never negative, and tile the span where all are known. */
export function assertTimeline(phase: Phase): void {
  const lines: string[] = [];
  const check = (span: DecodedSpan, phases: readonly string[], path: string) => {
    const faults = timelineFaults(span, phases);
    // Early answers to large uploads overlap: then the processing phase does not exist. All else has every phase.
    // A fast answer arrives before the write of its request returns: then nobody waited for it.
    const absent = phases.filter(key => Number.isNaN(number(span, key)) && key !== 'underspan.response.wait');
    if (absent.length > 0 && !path.startsWith('/upload/')) faults.push(`without ${absent.join(', ')}`);
    for (const fault of faults) lines.push(`${fault}: ${describe(span)}`);
  };
  for (const { witness, span } of phase.serverSide.pairs) check(span, SERVER_PHASES, witness.path);
  for (const { witness, span } of phase.clientSide.pairs) check(span, CLIENT_PHASES, witness.path);
  assert.equal(lines.length, 0, head(lines));
}

/** Share of spans whose evidence for the parent is the pair of sequence numbers. */
export function evidenceShare(phase: Phase): number {
  const evidence = phase.serverSide.pairs.map(({ span }) =>
    text(span, 'underspan.parent.evidence') === 'sequence' ? 1 : 0,
  );
  return shareOf(evidence, value => value === 1);
}

/** First exchange of a connection: the SERVER knows how long the connection waited to be accepted. */
export function assertAcceptWait(phase: Phase): void {
  const fresh = phase.serverSide.pairs.filter(({ span }) => flag(span, 'underspan.connection.reused') === false);
  assert.ok(fresh.length > 0, 'no first requests');
  const faults = fresh
    .filter(({ span }) => !(number(span, 'underspan.accept.wait') >= 0))
    .map(({ span }) => describe(span));
  assert.equal(faults.length, 0, `without underspan.accept.wait: ${head(faults)}`);
}
