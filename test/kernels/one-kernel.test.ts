// One kernel of the matrix as a test, since the machine's own may refuse the best front end: there the agent takes fentry by
// itself and watches nginx and a server that does everything through io_uring, which only fentry and kprobe can see. All kernels
// and front ends: `npm run test:kernels`.
import assert from 'node:assert/strict';
import test, { before } from 'node:test';
import { judge, type Verdict } from './judge.js';
import { prepareKernels } from './prepare.js';

/** Debian 12's: the cheapest to boot. */
const SERIES = '6.1';
/** Two minutes and a half on a quiet machine, eight on one whose processors are all taken; emulator faults may double it. */
const GUEST_SECONDS = 1_500;

let verdict: Verdict;

before(async () => {
  process.env.NICE = '0'; // somebody waits for it
  const [kernel] = prepareKernels([SERIES]);
  verdict = await judge(kernel as string, ['servers/auto', 'only=nginx', 'only=io_uring'], GUEST_SECONDS);
});

/** There are findings of these names, and nothing is wrong. */
function assertRight(...names: readonly string[]): void {
  const findings = verdict.findings.filter(({ what }) => names.includes(what));
  assert.deepEqual(
    findings.flatMap(({ faults }) => faults),
    [],
  );
  assert.deepEqual(
    findings.map(({ what }) => what),
    names,
    JSON.stringify(verdict.findings),
  );
}

test(`Linux ${SERIES} comes up, and all is done in it`, () => assertRight('the guest'));

test(`Linux ${SERIES}: each request of nginx and of io_uring has its spans`, () =>
  assertRight('auto, nginx', 'auto, io_uring'));

test(`Linux ${SERIES}: no group of probes is refused, no record lost, and no byte missed`, () =>
  assertRight('auto, books'));
