// What does not depend on the machine's mood, kernel side: how many instructions each program has. A program that grows beyond
// its bound either has a reason, and gets a new number here, or does too much on the path of every call. Counts are those
// after translation, with helpers inlined, in which kernels differ: the bounds are a third above what Linux 6.18 has.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Kernel } from '../../src/kernel/loader.js';
import { initialPid } from '../../src/own-pid.js';

const MOST_INSTRUCTIONS: Readonly<Record<string, number>> = {
  sys_enter: 2020,
  sys_exit: 17500,
  sk_data_ready: 280,
  inet_sock_set_state: 5000,
  tcp_destroy_sock: 2800,
  tcp_receive_reset: 103,
  tcp_send_reset: 103,
  sched_process_exec: 465,
  sched_process_fork: 800,
  sched_process_exit: 455,
  ssl_read_enter: 690,
  ssl_write_enter: 690,
  ssl_call_exit: 5200,
};
/** Of a program that has no bound of its own. */
const MOST_OF_ANY = 12400;
/**
 * Instructions that the verifier walks: most of the time from the start to the first request. A quarter above what Linux 6.18
 * walks, too; kernels before 5.16 do not tell. See bench/README.md for what made them many.
 */
const MOST_WALKED: Readonly<Record<string, number>> = { sys_exit: 120_000 };
const MOST_WALKED_OF_ANY = 50_000;

let kernel: Kernel;

before(() => {
  kernel = Kernel.load({
    dataRingBytes: 1 << 20,
    controlRingBytes: 1 << 16,
    maxConnections: 256,
    headBytes: 4096,
    btfPath: '',
    agentPid: initialPid(),
    isTrial: true,
  });
});
after(() => kernel.close());

test('no program has more instructions than its bound', () => {
  const loaded = kernel.programs().filter(({ id }) => id > 0);
  assert.ok(loaded.length >= 5, `${loaded.length} programs are loaded`);
  const found = loaded.map(({ name, instructions }) => ({ name, instructions }));
  const tooLong = found.filter(({ name, instructions }) => instructions > (MOST_INSTRUCTIONS[name] ?? MOST_OF_ANY));
  assert.deepEqual(tooLong, []);
});

test('the verifier walks no more instructions of a program than its bound', () => {
  const walked = kernel.programs().map(({ name, verified }) => ({ name, verified }));
  assert.deepEqual(
    walked.filter(({ name, verified }) => verified > (MOST_WALKED[name] ?? MOST_WALKED_OF_ANY)),
    [],
  );
});
