import assert from 'node:assert/strict';
import test from 'node:test';
import { AgentError, ERRORS, EXIT } from '../../src/errors.js';

test('message and remedy are filled, the exit code follows the code', () => {
  const error = new AgentError('NOT_PRIVILEGED', { missing: 'CAP_BPF' });
  assert.equal(error.message, 'not root, and without the capabilities CAP_BPF: the kernel would refuse the probes');
  assert.equal(error.exitCode, 3);
  assert.equal(new AgentError('USAGE', { problem: 'p', help: 'h' }).remedy, 'See `h`.');
});

test('text in braces within a parameter stays as it is', () => {
  assert.equal(
    new AgentError('CONFIG_INVALID', { problems: '/users/{id} {problems}' }).message,
    '/users/{id} {problems}',
  );
});

test('the table: exit codes of the contract, messages without a full stop, remedies with one', () => {
  for (const [code, { message, remedy, exitCode }] of Object.entries(ERRORS)) {
    assert.ok(([EXIT.failed, EXIT.usage, EXIT.environment] as number[]).includes(exitCode), code);
    assert.doesNotMatch(message, /\.$/, code);
    if (remedy !== '') assert.match(remedy, /\.$/, code);
  }
});
