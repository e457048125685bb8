// What each open connection holds of the pipeline's heap: with 10,000 of them it is what an agent's memory grows by. Measured when
// this bound was set: 2121 to 2139 bytes.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const MOST_BYTES = 2400;
const PROGRAM = fileURLToPath(new URL('./open-connections-process.js', import.meta.url));

test(`an open connection that has been used holds at most ${MOST_BYTES} bytes of heap`, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', PROGRAM], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const bytes = JSON.parse(stdout) as number;
  assert.ok(bytes > 200 && bytes <= MOST_BYTES, `${bytes.toFixed(0)} bytes`);
});
