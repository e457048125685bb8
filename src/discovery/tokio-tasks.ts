// Where tasks of tokio are run, woken, started and end (bpf/tokio.bpf.c): in functions of tokio that are not generic, so that there is one
// of each however many kinds of tasks a program has; where LTO has inlined some of these, in the function that a task is run by, one for
// each kind. Release builds keep their symbols unless they are stripped. In: an executable. Out: places by program, in the order in which
// they are to be probed, null if there is no tokio in it, a reason if its functions cannot be found.
import type { Executable, FoundSymbol } from './executable.js';
import { type Architecture, entrySiteOf, firstArgumentSiteOf } from './instructions.js';
import type { TaskPlace } from './python-tasks.js';

type Part = 'run' | 'idle' | 'ended' | 'by value' | 'by reference' | 'bound' | 'blocking' | 'local' | 'poll' | 'freed';

/** By the legacy mangling and by that of RFC 2603 (v0), as in rustls.ts. */
const NAMES: readonly (readonly [RegExp, Part])[] = [
  [/5tokio7runtime4task5state\w*5State21transition_to_running(17h|[BC]|$)/, 'run'],
  [/5tokio7runtime4task5state\w*5State18transition_to_idle(17h|[BC]|$)/, 'idle'],
  [/5tokio7runtime4task5state\w*5State22transition_to_terminal(17h|[BC]|$)/, 'ended'],
  [/5tokio7runtime4task5waker\w*11wake_by_val(17h|[BC]|$)/, 'by value'],
  [/5tokio7runtime4task5waker\w*11wake_by_ref(17h|[BC]|$)/, 'by reference'],
  [/5tokio7runtime4task4list(\w*10OwnedTasks\w*|19OwnedTasks\$LT\$S\$GT\$)10bind_inner(17h|[BC]|$)/, 'bound'],
  [/5tokio7runtime8blocking4pool\w*7Spawner10spawn_task(17h|[BC]|$)/, 'blocking'],
  [/5tokio4task5local\w*6Shared8schedule(17h|[BC]|$)/, 'local'],
  [/5tokio7runtime4task3raw4poll(17h|[BCIN]|$)/, 'poll'],
  [/5tokio7runtime4task3raw7dealloc(17h|[BCIN]|$)/, 'freed'],
];
/** One of them is in every name above. */
const WORDS = [
  'transition_to_running',
  'transition_to_idle',
  'transition_to_terminal',
  '11wake_by_val',
  '11wake_by_ref',
  '10bind_inner',
  '10spawn_task',
  '6Shared8schedule',
  'task3raw4poll',
  'task3raw7dealloc',
] as const;
const PROLOGUE_BYTES = 96;
/** Probes of these, of which each has two, and memory in the kernel. */
const POLLS_MAX = 1024;

export function tokioPlaces(executable: Executable, architecture: Architecture): readonly TaskPlace[] | string | null {
  const parts = new Map<Part, FoundSymbol[]>();
  for (const symbol of executable.staticSymbolsWith(WORDS, tokioPartOf)) {
    const known = parts.get(symbol.name as Part) ?? [];
    if (!known.some(({ offset }) => offset === symbol.offset)) parts.set(symbol.name as Part, [...known, symbol]);
  }
  // A library within a program of another language has threads that run much else.
  if (parts.size === 0 || executable.section('.interp') === null) return null;
  const has = (...names: Part[]): boolean => names.every(name => parts.has(name));
  if (!has('by value', 'by reference', 'bound'))
    return 'functions of tokio were not found: the compiler has inlined them';
  const isWhole = has('run', 'idle', 'ended');
  if (!isWhole && !has('poll', 'freed'))
    return 'where tasks of tokio are run was not found: the compiler has inlined it';
  const polls = parts.get('poll')?.length ?? 0;
  if (!isWhole && polls > POLLS_MAX)
    return `${polls} kinds of tasks, and the compiler has inlined what is common to them`;
  const sites = (site: typeof firstArgumentSiteOf, ...names: Part[]): number[] =>
    names
      .flatMap(name => parts.get(name) ?? [])
      .map(({ offset }) => offset + Math.max(0, site(executable.read(offset, PROLOGUE_BYTES), architecture)));
  const second: typeof firstArgumentSiteOf = (code, of) => entrySiteOf(code, of, false);
  const entries = (name: Part): number[] => (parts.get(name) ?? []).map(({ offset }) => offset);
  // First what forgets, and what ends: a turn without its end would go on for ever.
  const places: TaskPlace[] = [
    { program: 'tokio_ended', offsets: sites(firstArgumentSiteOf, isWhole ? 'ended' : 'freed'), isReturn: false },
    isWhole
      ? { program: 'tokio_idle', offsets: sites(firstArgumentSiteOf, 'idle'), isReturn: false }
      : { program: 'tokio_polled', offsets: entries('poll'), isReturn: true },
    { program: 'tokio_start', offsets: sites(second, 'bound', 'blocking'), isReturn: false },
    { program: 'tokio_local', offsets: sites(second, 'local'), isReturn: false },
    { program: 'tokio_wake', offsets: sites(firstArgumentSiteOf, 'by value', 'by reference'), isReturn: false },
    { program: 'tokio_run', offsets: sites(firstArgumentSiteOf, isWhole ? 'run' : 'poll'), isReturn: false },
  ];
  return places.filter(({ offsets }) => offsets.length > 0);
}

/** Which part of a task's life a function is, '' for none. */
export function tokioPartOf(name: string): string {
  return NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? '';
}
