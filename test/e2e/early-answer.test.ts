// nginx answers an upload that it will not use at once and reads its body afterwards, thrown away in pieces: the next request
// of the connection then comes in the same run of reads, right behind a body of which only the beginning was captured.
import test from 'node:test';
import { experiment } from '../support/experiment.js';
import { startNginx } from '../support/servers.js';
import * as verdicts from '../support/verdicts.js';

test('nginx: answers before the end of the request', async t => {
  const start = () => startNginx({ profile: 'early' });
  const phases = await experiment(start, { connections: 20, requests: 1000 }, { connections: 1, requests: 200 });
  for (const phase of [phases.calm, phases.load]) {
    await t.test(`${phase.name}: every request was answered and logged`, () => verdicts.assertWitnessesAgree(phase));
    await t.test(`${phase.name}: SERVER spans equal the access log`, t => {
      // A request that nginx reads together with the end of a discarded chunked body begins where nothing is captured.
      verdicts.assertSameButForGaps(t, 'SERVER', phase, phase.serverSide, 0.02);
    });
    await t.test(`${phase.name}: CLIENT spans equal the client's log`, t => {
      // All is captured of such uploads: on a machine that others use the ring may be full, which is counted.
      verdicts.assertSameButForGaps(t, 'CLIENT', phase, phase.clientSide, 0.05);
    });
    await t.test(`${phase.name}: client and server span are one trace`, () => verdicts.assertOneTrace(phase));
    await t.test(`${phase.name}: addresses, ports and sizes are exact`, () => verdicts.assertAttributes(phase));
  }
});
