// What an agent has loaded before it does anything: each collection of garbage on a thread goes through all of it, and each
// exported batch brings collections about. Counted in modules, which no machine's mood moves.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const SCRIPT = `
const { createRequire } = await import('node:module');
await import(process.argv[1]);
process.stdout.write(Object.keys(createRequire('/').cache).join('\\n'));
process.exit(0);
`;

/** Packages from npm that the module loads, and those that they load. */
function packagesOf(module: string): string[] {
  const file = fileURLToPath(new URL(`../../src/${module}`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', SCRIPT, file], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  const names = stdout.split('\n').map(path => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? '');
  return [...new Set(names)].filter(name => name !== '').sort();
}

test('the main thread loads a client of gRPC, and nothing of the SDK', () => {
  assert.deepEqual(packagesOf('agent.js'), ['@grpc/grpc-js', '@js-sdsl/ordered-map']);
});

test('the pipeline loads no package at all', () => {
  assert.deepEqual(packagesOf('live-source.js'), []);
});
