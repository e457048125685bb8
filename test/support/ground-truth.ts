// The tests that every server has to pass, as one call: test/e2e/<server>.test.ts names the server and the load.
import test, { type TestContext } from 'node:test';
import { experiment, type Phase, type PhaseOptions } from './experiment.js';
import type { Server } from './servers.js';
import * as verdicts from './verdicts.js';

/**
 * Share of durations that may be off by more than 1 ms or 5 %. Under load server and client are
 * preempted now and then between a system call and their own look at the clock: these are errors of the witnesses, a
 * saturated client's more than a server's. A server whose threads queue for an interpreter says so with `witnessNoise`. The
 * middle error of every kind of request has to be within the tolerance all the same (verdicts.ts).
 */
const LOAD_NOISE = { server: 0.1, client: 0.1 } as const;
/** The same in the calm phase, for a machine that others share. */
const CALM_NOISE = { server: 0.03, client: 0.03 } as const;
/** Share of requests that a server may hide behind an early answer (early-answer.test.ts): told as gaps by the agent. */
const HIDDEN_SHARE = 0.002;

interface Tolerated {
  readonly server: number;
  readonly client: number;
}

async function judge(t: TestContext, phase: Phase, tolerated: Tolerated): Promise<void> {
  await t.test('every request was answered and logged', () => verdicts.assertWitnessesAgree(phase));
  await t.test('SERVER spans equal the access log: count, method, path, status', inner => {
    verdicts.assertSameButForGaps(inner, 'SERVER', phase, phase.serverSide, HIDDEN_SHARE);
  });
  await t.test("CLIENT spans equal the client's log: count, method, path, status", inner => {
    verdicts.assertSameButForGaps(inner, 'CLIENT', phase, phase.clientSide, HIDDEN_SHARE);
  });
  if (!Number.isNaN(phase.server.format.resolutionMs)) {
    await t.test("SERVER durations equal the server's", inner =>
      verdicts.assertServerDurations(inner, phase, tolerated.server),
    );
  }
  await t.test("CLIENT durations equal the client's", inner =>
    verdicts.assertClientDurations(inner, phase, tolerated.client),
  );
  await t.test('SERVER spans lie within what the client saw', inner =>
    verdicts.assertNested(inner, phase, tolerated.client),
  );
  await t.test('client and server span of a request are one trace', () => verdicts.assertOneTrace(phase));
  await t.test('addresses, ports, reuse and sizes are exact', () => verdicts.assertAttributes(phase));
  await t.test('the phases tile the span', () => verdicts.assertTimeline(phase));
  await t.test('first requests know how long accept took', () => verdicts.assertAcceptWait(phase));
}

/** Defines the tests of one server. */
export function testGroundTruth(
  name: string,
  start: () => Promise<Server>,
  load: PhaseOptions = { connections: 50, requests: 3000 },
  calm: PhaseOptions = { connections: 2, requests: 300, pauseMs: 2, isPunctual: true },
): void {
  test(`${name}: spans against the access log`, async t => {
    const phases = await experiment(start, load, calm);
    await t.test(`under load: ${load.connections} connections, ${load.requests} requests`, inner =>
      judge(inner, phases.load, { server: load.witnessNoise ?? LOAD_NOISE.server, client: LOAD_NOISE.client }),
    );
    await t.test(`calm: ${calm.connections} connections, ${calm.requests} requests`, inner =>
      judge(inner, phases.calm, CALM_NOISE),
    );
  });
}
