// Names of tokio's functions as compilers mangle them, by the old scheme and by v0; others that look like them. Where in these functions
// a probe is cheap and their first argument still in its register, as rustc 1.95 has compiled them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { firstArgumentSiteOf } from '../../../src/discovery/instructions.js';
import { tokioPartOf } from '../../../src/discovery/tokio-tasks.js';

for (const [part, names] of [
  [
    'run',
    [
      '_ZN5tokio7runtime4task5state5State21transition_to_running17he160aed8c2f086a7E',
      '_RNvMNtNtNtCs94IvScuPvkk_5tokio7runtime4task5stateNtB2_5State21transition_to_running',
    ],
  ],
  [
    'idle',
    [
      '_ZN5tokio7runtime4task5state5State18transition_to_idle17h0bed15e0941712b3E',
      '_RNvMNtNtNtCs94IvScuPvkk_5tokio7runtime4task5stateNtB2_5State18transition_to_idle',
    ],
  ],
  [
    'ended',
    [
      '_ZN5tokio7runtime4task5state5State22transition_to_terminal17h3f9f69c5a9374c59E',
      '_RNvMNtNtNtCs94IvScuPvkk_5tokio7runtime4task5stateNtB2_5State22transition_to_terminal',
    ],
  ],
  [
    'by value',
    [
      '_ZN5tokio7runtime4task5waker11wake_by_val17ha4c26620059b3797E',
      '_RNvNtNtNtCs94IvScuPvkk_5tokio7runtime4task5waker11wake_by_val',
    ],
  ],
  [
    'by reference',
    [
      '_ZN5tokio7runtime4task5waker11wake_by_ref17hc229422944fd98ccE',
      '_RNvNtNtNtCs94IvScuPvkk_5tokio7runtime4task5waker11wake_by_ref',
    ],
  ],
  [
    'bound',
    [
      '_ZN5tokio7runtime4task4list19OwnedTasks$LT$S$GT$10bind_inner17hcc1e2d30cd0c235bE.llvm.491404365708348858',
      '_RNvMNtNtNtCs94IvScuPvkk_5tokio7runtime4task4listINtB2_10OwnedTasksINtNtCslNYArtu3iFV_5alloc4sync3ArcNtNtNtB6_9scheduler14current_thread6HandleEE10bind_innerCs8NwRBHMAHgS_4tiny',
    ],
  ],
  [
    'blocking',
    [
      '_ZN5tokio7runtime8blocking4pool7Spawner10spawn_task17h4ce0ec8ba10301b9E',
      '_RNvMs5_NtNtNtCs94IvScuPvkk_5tokio7runtime8blocking4poolNtB5_7Spawner10spawn_task',
    ],
  ],
  ['local', ['_ZN5tokio4task5local6Shared8schedule17h1c57dad020f1e2ccE']],
  [
    'poll',
    [
      '_ZN5tokio7runtime4task3raw4poll17h3e65aadb61b77097E',
      '_RINvNtNtNtCs94IvScuPvkk_5tokio7runtime4task3raw4pollNCNCNvCs8NwRBHMAHgS_4tiny4main00INtNtCslNYArtu3iFV_5alloc4sync3ArcNtNtNtB6_9scheduler14current_thread6HandleEEB1b_',
      '_RINvNtNtNtCs94IvScuPvkk_5tokio7runtime4task3raw4pollINtNtNtB6_8blocking4task12BlockingTaskNCNCNCNvCs8NwRBHMAHgS_4tiny4main0s_00ENtNtBT_8schedule16BlockingScheduleEB2b_',
    ],
  ],
  ['freed', ['_ZN5tokio7runtime4task3raw7dealloc17h3e65aadb61b77097E']],
  [
    '',
    [
      '_ZN5tokio7runtime4park11wake_by_ref17h7d42f6b412031cb2E.llvm.15977743292786061561',
      '_ZN5tokio7runtime8blocking4pool7Spawner10spawn_task28_$u7b$$u7b$closure$u7d$$u7d$17h627292e6de3ba7cbE',
      '_RNCNvMs5_NtNtNtCs94IvScuPvkk_5tokio7runtime8blocking4poolNtB7_7Spawner10spawn_task0Bd_',
      '_ZN5tokio7runtime8blocking7sharded11ShardedImpl10spawn_task17h42f037ca8198e6ffE',
      '_ZN93_$LT$tokio..runtime..scheduler..current_thread..Handle$u20$as$u20$tokio..util..wake..Wake$GT$11wake_by_ref17hd06a9f87fc0e2103E',
    ],
  ],
] as const) {
  test(`functions of tokio: ${part === '' ? 'others' : part}`, () => {
    for (const name of names) assert.equal(tokioPartOf(name), part, name);
  });
}

const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

for (const [what, code, site] of [
  ['push first', '50 48 8b 07 eb 23', 0],
  ['jmp first', 'e9 3b bb fa ff', 0],
  [
    'a frame, a load, two addresses, a long nop, a test, then a jump',
    '48 83 ec 18 48 8b 07 48 8d 4c 24 08 48 8d 54 24 10 66 66 66 66 66 2e 0f 1f 84 00 00 00 00 00 a8 02 75 1c',
    33,
  ],
  ['an atomic addition', '48 83 ec 38 f0 48 0f c1 37 48 c1 ee 06 72 09', 13],
  ['the argument goes', '48 89 f7 75 1c', -1],
  ['an address in its place', '48 8d 7c 24 08 75 1c', -1],
  ['the end of the function', 'c3 55', -1],
  ['what is not known', '0f 05 55', -1],
] as const) {
  test(`where a probe finds the first argument: ${what}`, () => {
    assert.equal(firstArgumentSiteOf(bytes(code), 'x64'), site);
  });
}
