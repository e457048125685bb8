// docker/kubernetes.yaml by Kubernetes' own schemas, of the oldest and the newest version that people run, unknown fields
// being errors. The validator and its schemas (PyPI: kubernetes-validate) are kept where the backends are.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test, { before } from 'node:test';
import { BACKENDS_CACHE } from '../support/backends.js';
import { runCommand, temporaryDirectory } from '../support/processes.js';

const VALIDATOR = 'kubernetes-validate==1.37.0';
const VERSIONS = ['1.30', '1.33', '1.37'] as const;
const MANIFEST = 'docker/kubernetes.yaml';
const OBJECTS = 4;

const environment = path.join(BACKENDS_CACHE, VALIDATOR.replace('==', '-'));
const program = path.join(environment, 'bin', 'kubernetes-validate');

before(
  async () => {
    if (existsSync(program)) return;
    const made = await runCommand('/usr/bin/python3', ['-m', 'venv', '--clear', environment], { timeoutMs: 120_000 });
    assert.equal(made.exitCode, 0, `Debian: python3-venv\n${made.describe()}`);
    const pip = path.join(environment, 'bin', 'pip');
    const installed = await runCommand(pip, ['install', '--quiet', VALIDATOR], { timeoutMs: 600_000 });
    assert.equal(installed.exitCode, 0, `is the Python package index within reach?\n${installed.describe()}`);
  },
  { timeout: 900_000 },
);

for (const version of VERSIONS) {
  test(`Kubernetes ${version} knows every field of the manifest`, async () => {
    const result = await runCommand(program, ['--strict', '-k', version, MANIFEST]);
    assert.equal(result.exitCode, 0, result.describe());
    const passed = `${result.stdout}${result.stderr}`.match(/ passed for resource /g) ?? [];
    assert.equal(passed.length, OBJECTS, result.describe());
  });

  test(`Kubernetes ${version} finds a slip of the pen`, async () => {
    const slip = path.join(temporaryDirectory('manifest'), 'slip.yaml');
    writeFileSync(
      slip,
      readFileSync(MANIFEST, 'utf8').replace('allowPrivilegeEscalation:', 'allowPrivilegesEscalation:'),
    );
    const result = await runCommand(program, ['--strict', '-k', version, slip]);
    assert.notEqual(result.exitCode, 0, result.describe());
    assert.match(result.stdout + result.stderr, /allowPrivilegesEscalation/);
  });
}
