// What a kernel says of itself -> are programs at its functions preempted?
import assert from 'node:assert/strict';
import test from 'node:test';
import { isPreempting } from '../../../src/kernel/preemption.js';

const DYNAMIC = '#1 SMP PREEMPT_DYNAMIC Debian 7.2.13-1 (2026-10-28)';

test('the mode at hand decides, where it can be read', () => {
  const modes: readonly (readonly [string, boolean])[] = [
    ['none voluntary (full) lazy \n', true],
    ['full (lazy) \n', true],
    ['none (voluntary) full \n', false],
    ['(none) voluntary full \n', false],
  ];
  for (const [text, expected] of modes)
    assert.equal(isPreempting({ modes: text, version: DYNAMIC, commandLine: 'preempt=full' }), expected, text);
});

test('otherwise what the kernel was booted with, and what it was built for', () => {
  assert.equal(isPreempting({ modes: '', version: DYNAMIC, commandLine: 'quiet preempt=none' }), false);
  assert.equal(isPreempting({ modes: '', version: DYNAMIC, commandLine: 'quiet preempt=full' }), true);
  assert.equal(isPreempting({ modes: '', version: DYNAMIC, commandLine: 'quiet' }), true);
  assert.equal(isPreempting({ modes: '', version: '#1 SMP Debian 5.10.257-1', commandLine: 'preempt=full' }), false);
  assert.equal(isPreempting({ modes: '', version: '#1 SMP PREEMPT Arch', commandLine: '' }), true);
  assert.equal(isPreempting({ modes: '', version: '#1 SMP PREEMPT_RT Debian', commandLine: 'preempt=none' }), true);
});
