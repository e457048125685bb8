// The agent under a load that its budget does not allow: it takes the stated steps one by one, says each, keeps its books
// and harms no request, and does everything again when it may.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { parseSamples, readCoverage } from '../../src/cli/coverage.js';
import { BUDGET_STEPS } from '../../src/self/budget.js';
import { type Agent, get, startAgent } from '../support/agent.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, temporaryDirectory, until } from '../support/processes.js';
import { startNginx } from '../support/servers.js';

/** Less than any machine needs under full load. */
const TOO_LITTLE = 0.02;
const LOAD_SECONDS = 40;
const config = (port: number, cpu: number): string => `
selection: { include: [{ listen_port: ${port} }] }
limits: { cpu: ${cpu}, memory_bytes: 0, budget_interval_ms: 500 }
`;

/** The steps that the log tells, in order, and what made each. */
function stepsOf(agent: Agent): number[] {
  return [...agent.child.stderr.matchAll(/the agent uses .*: (?:step (\d), |everything again)/g)].map(match =>
    Number(match[1] ?? 0),
  );
}

async function metric(agent: Agent, name: string): Promise<number> {
  const samples = parseSamples((await get(`${agent.adminUrl}/metrics`)).body);
  return samples.filter(sample => sample.name === name).reduce((sum, { value }) => sum + value, 0);
}

test('a load beyond the budget is met step by step, and everything is done again when there is room', async t => {
  const server = await startNginx();
  t.after(() => server.stop());
  const receiver = await startOtlpReceiver({ grpc: true });
  t.after(() => receiver.close());
  const file = path.join(temporaryDirectory('budget'), 'underspan.yaml');
  writeFileSync(file, config(server.port, TOO_LITTLE));
  const agent = await startAgent({
    command: ['run', '--config', file],
    endpoint: receiver.grpcUrl,
    env: { UNDERSPAN_LIMITS_CPU: '' },
  });
  t.after(() => agent.child.stop(1000, 'SIGKILL'));
  const last = BUDGET_STEPS.length - 1;

  const load = new Child('wrk', [
    '-t1',
    '-c16',
    `-d${LOAD_SECONDS}s`,
    `http://127.0.0.1:${server.port}/status/200/load`,
  ]);
  t.after(() => load.stop(1000, 'SIGKILL'));
  await until('the last step', LOAD_SECONDS * 1000, () => (stepsOf(agent).includes(last) ? true : null));
  const steps = stepsOf(agent);
  for (const [at, step] of steps.entries()) assert.equal(Math.abs(step - (steps[at - 1] ?? 0)), 1, `steps ${steps}`);
  assert.match(agent.child.stderr, /the agent uses [\d.]+ of 0\.02 cores \(limits\.cpu\): step 1, short_heads: /);
  await load.stop();
  assert.doesNotMatch(load.stdout, /Non-2xx|Socket errors/);

  // Enough for everything, whatever an idle agent needs on a busy machine.
  writeFileSync(file, config(server.port, 0));
  agent.child.kill('SIGHUP');
  await until('everything to be done again', 60_000, () => (stepsOf(agent).at(-1) === 0 ? true : null)).catch(error => {
    throw new Error(`${String(error)}\n${agent.child.describe()}`);
  });
  assert.equal(await metric(agent, 'underspan_budget_step_ratio'), 0);
  assert.ok((await metric(agent, 'underspan_budget_changed_total')) >= 2 * last);

  // One more request, with all that a span has.
  const target = '/status/200/after-the-load';
  await until('a span after the load', 20_000, async () => {
    await get(`http://127.0.0.1:${server.port}${target}`);
    return receiver.spans().find(span => span.attributes.get('url.path') === target) ?? null;
  });
  const books = readCoverage(parseSamples((await get(`${agent.adminUrl}/metrics`)).body));
  assert.equal(books?.isBalanced, true, JSON.stringify(books));
  assert.ok((books?.total.dropped.budget ?? 0) > 0, JSON.stringify(books));
  await agent.stop();
});
