// Which way each probe group goes, as refusals come in.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { ProbeGroup, WayName } from '../../../src/kernel/probes.js';
import { PROBE_GROUPS } from '../../../src/kernel/probes.js';
import { type KernelFacts, WaySelection } from '../../../src/kernel/selection.js';

const ALL: KernelFacts = { hasFunction: () => true, unavailable: () => '', isPreempting: false };

const GROUPS: readonly ProbeGroup[] = [
  {
    name: 'calls',
    ways: [
      { name: 'fentry', programs: [{ name: 'f_send' }, { name: 'f_page', onlyWith: 'sendpage' }] },
      { name: 'kprobe', programs: [{ name: 'k_send' }] },
      { name: 'syscall', programs: [{ name: 'sys_exit' }], lacks: 'io_uring' },
    ],
    isRequired: true,
    loss: 'everything',
  },
  { name: 'extra', ways: [{ name: 'tracepoint', programs: [{ name: 't' }] }], isRequired: false, loss: 'a detail' },
];

test('the first way that nothing speaks against, with what the kernel has functions for', () => {
  assert.deepEqual(new WaySelection(GROUPS, null, ALL).programs(), ['f_send', 'f_page', 't']);
  const without = new WaySelection(GROUPS, null, { ...ALL, hasFunction: name => name !== 'sendpage' });
  assert.deepEqual(without.programs(), ['f_send', 't']);
  assert.deepEqual(
    without.reports().map(({ way, refused, loss }) => [way, refused, loss]),
    [
      ['fentry', [], ''],
      ['tracepoint', [], ''],
    ],
  );
});

test('copies of programs are for kernels that preempt them', () => {
  const groups: readonly ProbeGroup[] = [
    {
      ...(GROUPS[0] as ProbeGroup),
      ways: [{ name: 'fentry', programs: [{ name: 'again_f', isCopy: true }, { name: 'f' }] }],
    },
  ];
  assert.deepEqual(new WaySelection(groups, null, ALL).programs(), ['f']);
  assert.deepEqual(new WaySelection(groups, null, { ...ALL, isPreempting: true }).programs(), ['again_f', 'f']);
});

test('a refused program takes its whole way along and nothing else', () => {
  const selection = new WaySelection(GROUPS, null, ALL);
  assert.ok(selection.hasAlternative('f_page'));
  selection.refuse('f_page', 'EPERM');
  assert.deepEqual(selection.programs(), ['k_send', 't']);
  selection.refuse('k_send', 'ENOENT');
  assert.deepEqual(selection.programs(), ['sys_exit', 't']);
  assert.ok(!selection.hasAlternative('sys_exit'));
  assert.equal(selection.blocked, null);
  assert.deepEqual(selection.reports()[0], {
    group: 'calls',
    way: 'syscall',
    refused: [
      { way: 'fentry', reason: 'f_page: EPERM' },
      { way: 'kprobe', reason: 'k_send: ENOENT' },
    ],
    untried: [],
    isRequired: true,
    loss: 'io_uring',
  });
});

test('no way left: a needed group blocks, another one costs its feature', () => {
  const selection = new WaySelection(GROUPS, null, ALL);
  selection.refuse('t', 'EINVAL');
  assert.deepEqual(selection.reports()[1]?.loss, 'a detail');
  assert.ok(selection.blocked === null);
  for (const program of ['f_send', 'k_send', 'sys_exit']) selection.refuse(program, 'no');
  assert.deepEqual(blockedGroup(selection), 'calls');
  assert.deepEqual(selection.programs(), []);
});

function blockedGroup({ blocked }: WaySelection): string {
  return blocked?.group ?? '';
}

test('a forced way is the only one of the groups that have it; the others go their own', () => {
  const selection = new WaySelection(GROUPS, 'kprobe', ALL);
  assert.deepEqual(selection.programs(), ['k_send', 't']);
  selection.refuse('k_send', 'no');
  assert.equal(selection.blocked?.loss, 'everything');
});

test('a way that cannot be is not tried, and the report says why', () => {
  const unavailable = (way: WayName): string => (way === 'syscall' ? '' : `no ${way}s here`);
  const selection = new WaySelection(GROUPS, null, { ...ALL, unavailable });
  assert.deepEqual(selection.programs(), ['sys_exit']);
  assert.deepEqual(selection.reports()[0]?.refused, [
    { way: 'fentry', reason: 'no fentrys here' },
    { way: 'kprobe', reason: 'no kprobes here' },
  ]);
  assert.equal(selection.reports()[1]?.way, null);
});

test('refusals are told in the order of preference, and what would be next', () => {
  const unavailable = (way: WayName): string => (way === 'kprobe' ? 'no kprobes here' : '');
  const selection = new WaySelection(GROUPS, null, { ...ALL, unavailable });
  assert.deepEqual(selection.reports()[0]?.untried, ['syscall']);
  selection.refuse('f_send', 'EPERM');
  assert.deepEqual(
    selection.reports()[0]?.refused.map(({ way }) => way),
    ['fentry', 'kprobe'],
  );
});

test('no program belongs to two ways, so that none can count twice', () => {
  const names = PROBE_GROUPS.flatMap(({ ways }) => ways.flatMap(({ programs }) => programs.map(({ name }) => name)));
  assert.deepEqual([...new Set(names)], names);
});
