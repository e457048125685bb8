// The test runner itself (test/run.ts), on suites made for it: counts, exit codes, the last line.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath } from 'node:url';

const RUNNER = fileURLToPath(new URL('../../run.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'underspan-runner-'));
chmodSync(folder, 0o755);
after(() => rmSync(folder, { recursive: true }));
let suites = 0;

/** Runs the runner on a suite of these files (path below test/ -> body, after `test` has been imported). */
function runSuite(
  files: Readonly<Record<string, string>>,
  words: readonly string[] = [],
  uid = process.geteuid?.() ?? 0,
) {
  const root = path.join(folder, String(suites++));
  mkdirSync(path.join(root, 'test'), { recursive: true });
  for (const [name, body] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, 'test', name)), { recursive: true });
    writeFileSync(path.join(root, 'test', name), `import test from 'node:test';\n${body}\n`);
  }
  writeFileSync(path.join(root, 'package.json'), '{"type": "module"}');
  copyFileSync(RUNNER, path.join(root, 'test', 'run.js'));
  // A runner within a test would take itself for a test file.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const runner = path.join(root, 'test', 'run.js');
  const { status, stdout } = spawnSync(process.execPath, [runner, ...words], { encoding: 'utf8', env, uid });
  return { code: status, out: stdout, last: stdout.trimEnd().split('\n').at(-1) };
}

const PASS = "test('good', () => {});";
const FAIL = "test('bad', () => { throw new Error('no'); });";

test('all pass: their number, exit code 0', () => {
  const { code, last, out } = runSuite({ 'unit/a.test.js': `${PASS}${PASS}`, 'unit/deep/b.test.js': PASS });
  assert.deepEqual([code, last], [0, '3 passed, 0 failed'], out);
});

test('one fails: exit code 1, and it is named', () => {
  const { code, last, out } = runSuite({ 'unit/a.test.js': `${PASS}${FAIL}` });
  assert.deepEqual([code, last], [1, '1 passed, 1 failed'], out);
  assert.match(out, /^failed: (test\/unit\/a\.test\.ts: )?bad$/m);
});

test('a file that crashes, or leaves with an error, has failed', () => {
  assert.equal(runSuite({ 'unit/a.test.js': 'throw new Error("at once");' }).code, 1);
  assert.equal(runSuite({ 'unit/a.test.js': 'this is no JavaScript' }).code, 1);
  const late = runSuite({ 'unit/a.test.js': `${PASS} process.on('exit', () => { process.exitCode = 3; });` });
  assert.equal(late.code, 1, late.out);
});

test('a skipped test and a todo count as failed', () => {
  const { code, last, out } = runSuite({ 'unit/a.test.js': `${PASS} test.skip('s', () => {}); test.todo('t');` });
  assert.deepEqual([code, last], [1, '1 passed, 2 failed'], out);
});

test('nothing ran: exit code 1', () => {
  assert.deepEqual([runSuite({}).code, runSuite({}).last], [1, '0 passed, 0 failed']);
  const { code, out } = runSuite({ 'unit/a.test.js': PASS }, ['nothing-like-it']);
  assert.equal(code, 1);
  assert.match(out, /no test matches nothing-like-it/);
});

test('phases and parts of file names choose what runs', () => {
  const files = { 'unit/a.test.js': PASS, 'unit/b.test.js': `${PASS}${PASS}`, 'other/c.test.js': FAIL };
  assert.equal(runSuite(files, ['unit']).last, '3 passed, 0 failed');
  assert.equal(runSuite(files, ['test/unit/b.test.ts']).last, '2 passed, 0 failed');
  assert.equal(runSuite(files, ['unit/a', 'unit/b']).last, '3 passed, 0 failed');
});

test('without root the kernel and e2e tests fail with a clear sentence', () => {
  const nobody = process.geteuid?.() === 0 ? 65534 : process.geteuid?.();
  const { code, last, out } = runSuite({ 'unit/a.test.js': PASS, 'e2e/b.test.js': PASS }, [], nobody);
  assert.deepEqual([code, last], [1, '1 passed, 1 failed'], out);
  assert.match(out, /^The e2e tests load probes into the kernel and need root: sudo npm test, or npm test -- unit$/m);
});
