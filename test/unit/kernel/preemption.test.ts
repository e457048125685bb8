// What a kernel says of itself -> are programs at its functions preempted?
import assert from 'node:assert/strict';
import test from 'node:test';
import { isPreempting, type KernelWords, skippedRuns } from '../../../src/kernel/preemption.js';

const DYNAMIC = '#1 SMP PREEMPT_DYNAMIC Debian 7.2.13-1 (2026-10-28)';

function judge(words: Partial<KernelWords>): boolean {
  return isPreempting({ modes: '', version: DYNAMIC, commandLine: 'quiet', config: '', ...words });
}

test('the mode at hand decides, where it can be read', () => {
  const modes: readonly (readonly [string, boolean])[] = [
    ['none voluntary (full) lazy \n', true],
    ['full (lazy) \n', true],
    ['none (voluntary) full \n', false],
    ['(none) voluntary full \n', false],
  ];
  for (const [text, expected] of modes)
    assert.equal(judge({ modes: text, commandLine: 'preempt=full' }), expected, text);
});

test('otherwise what the kernel was booted with, then what was chosen when it was built', () => {
  assert.equal(judge({ commandLine: 'quiet preempt=none', config: 'CONFIG_PREEMPT_LAZY=y\n' }), false);
  assert.equal(judge({ commandLine: 'quiet preempt=full', config: 'CONFIG_PREEMPT_NONE=y\n' }), true);
  assert.equal(judge({ config: 'CONFIG_PREEMPT_NONE=y\n# CONFIG_PREEMPT_LAZY is not set\n' }), false);
  assert.equal(judge({ config: '# CONFIG_PREEMPT_NONE is not set\nCONFIG_PREEMPT_VOLUNTARY=y\n' }), false);
  assert.equal(judge({ config: 'CONFIG_PREEMPT_LAZY=y\nCONFIG_PREEMPT_DYNAMIC=y\n' }), true);
  assert.equal(judge({}), true);
});

test('a kernel that was built for one mode keeps to it', () => {
  assert.equal(judge({ version: '#1 SMP Debian 5.10.257-1', commandLine: 'preempt=full' }), false);
  assert.equal(judge({ version: '#1 SMP PREEMPT Arch', commandLine: 'preempt=none' }), true);
  assert.equal(judge({ version: '#1 SMP PREEMPT_RT Debian' }), true);
});

test('a run was missed when the program and its copy were skipped', () => {
  const send = { name: 'fexit_send', id: 1, missed: 5 };
  const state = { name: 'sock_state', id: 3, missed: 4 };
  assert.equal(skippedRuns([send, state]), 9);
  assert.equal(skippedRuns([send, { name: 'again_fexit_send', id: 2, missed: 2 }, state]), 6);
  assert.equal(skippedRuns([send, { name: 'again_fexit_send', id: 2, missed: 7 }]), 5);
  // Not loaded, and one whose work is counted where it is done.
  const other = { name: 'again_state', id: 4, missed: 1 };
  assert.equal(skippedRuns([send, { name: 'again_fexit_send', id: 0, missed: 0 }, state, other]), 9);
});
