// What a failed test leaves open ends with its file, in place of keeping the run waiting.
import assert from 'node:assert/strict';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { isRunning, runCommand, until } from '../../support/processes.js';

test('a file that leaves a child and a server open ends all the same, failed, and its child with it', async () => {
  const file = fileURLToPath(new URL('./left-behind-process.js', import.meta.url));
  const run = await runCommand(process.execPath, ['--test', file], {
    env: { UNDERSPAN_TEST_PATIENCE: '0.02' },
    timeoutMs: 60_000,
  });
  assert.equal(run.exitCode, 1, run.describe());
  assert.match(run.stdout, /still open after the last test: sleep 600/);
  const pid = Number(/child (\d+)/.exec(run.stdout)?.[1]);
  await until('the child to end', 5000, () => (isRunning(pid) ? null : true));
});
