// What in a file is to be probed: the functions of a TLS library, of an event loop, of Go's runtime, of Python. In: an executable or a library. Out:
// programs and file offsets, in the order in which they have to be attached. Reads the file, changes nothing.
import type { Executable, FoundSymbol } from './executable.js';
import { CHANNEL_FUNCTIONS, goChannelPlaces } from './go-channels.js';
import { goFunctions, isGo } from './go-functions.js';
import { goRoutinePlaces, ROUTINE_FUNCTIONS } from './go-routines.js';
import { goTlsPlaces, TLS_FUNCTIONS } from './go-tls.js';
import { GREENLET_SYMBOLS, greenletPlaces } from './greenlets.js';
import { emulatedSiteOf } from './instructions.js';
import { JVM_SYMBOL, wakeUpPlaces } from './java-threads.js';
import {
  EVENT_LOOPS,
  LOOP_SYMBOLS,
  type LoopMessages,
  NGINX_REQUESTS,
  SETTLES,
  UNIT_SERVERS,
  type UnitRole,
} from './loop-probes.js';
import { EXECUTION_ID, type NodeLayout, nodeLayout } from './node-ids.js';
import { placesIn } from './probe-sites.js';
import { executorPlaces, QUEUE_MODULE, queuePlaces } from './python-queues.js';
import { TASK_SYMBOLS, taskPlaces } from './python-tasks.js';
import { rustlsPlaces } from './rustls.js';
import { ALL_SYMBOLS, BUFFER_PROBE, type LibraryProbe, TLS_LIBRARIES } from './tls-libraries.js';
import { tokioPlaces } from './tokio-tasks.js';
import { type JavaLayout, javaLayout } from './virtual-threads.js';

export interface Attachment {
  readonly program: string;
  /** In the file. */
  readonly offsets: readonly number[];
  readonly isReturn: boolean;
}

export interface Target {
  /**
   * `buffer`: where TLS libraries put what they encrypt, a part of some of them; nobody is told of it.
   * `channels`, `promises`, `wake-ups`, `requests`: used for much else, so probed only once a process hands requests over.
   */
  readonly kind:
    | 'tls'
    | 'loop'
    | 'routines'
    | 'tasks'
    | 'queues'
    | 'channels'
    | 'promises'
    | 'greenlets'
    | 'wake-ups'
    | 'requests'
    | 'tokio'
    | 'buffer';
  readonly library: string;
  readonly attachments: readonly Attachment[];
  /** Of Node.js: where its threads keep the ids of what they run. */
  readonly layout?: NodeLayout;
  /** Of Java: where it keeps which virtual threads run. */
  readonly javaLayout?: JavaLayout;
  /** Why it cannot be probed, '' if it can. */
  readonly detail: string;
}

const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'x64';
const SYMBOLS: readonly string[] = [
  ...ALL_SYMBOLS,
  ...LOOP_SYMBOLS,
  ...TASK_SYMBOLS,
  QUEUE_MODULE,
  JVM_SYMBOL,
  ...GREENLET_SYMBOLS,
];
const NEEDS = TLS_LIBRARIES.map(({ needs }) => new Set(needs));
/** Names that are searched in about 10 ms. */
const QUICK_NAMES_BYTES = 2 << 20;

/** What programs use for much else: probed only where one is known to hand requests over. */
export type QueuesTarget = Target & { readonly kind: 'queues' | 'channels' | 'promises' | 'wake-ups' | 'requests' };

const FOR_HAND_OVERS: ReadonlySet<Target['kind']> = new Set(['channels', 'promises', 'wake-ups', 'requests']);

/** Known with the rest of the file, but probed later. */
export function isForHandOvers(target: Target): target is QueuesTarget {
  return FOR_HAND_OVERS.has(target.kind);
}

type Symbols = ReadonlyMap<string, FoundSymbol>;

export function targetsIn(executable: Executable): readonly Target[] {
  const symbols = executable.dynamicSymbols(SYMBOLS);
  return [
    ...tlsIn(executable, symbols),
    ...loopsIn(executable, symbols),
    ...unitsIn(symbols),
    ...requestsIn(symbols),
    ...tasksIn(executable, symbols),
    ...executorsIn(executable, symbols),
    ...greenletsIn(executable, symbols),
    ...wakeUpsIn(executable, symbols),
    ...tokioIn(executable),
  ];
}

/** A file whose tables may take a second to read, where a library takes a millisecond. */
export function takesLong(executable: Executable): boolean {
  if (isGo(executable)) return true;
  if ((executable.section('.strtab')?.size ?? 0) <= QUICK_NAMES_BYTES) return false;
  const exported = executable.dynamicSymbols(NEEDS.flatMap(needs => [...needs]));
  return !NEEDS.some(needs => [...needs].every(name => exported.has(name)));
}

function tlsIn(executable: Executable, symbols: Symbols): readonly Target[] {
  const exported = libraryIn(executable, symbols);
  if (exported !== null) return [exported];
  if (isGo(executable)) return goIn(executable);
  if (symbols.has(BUFFER_PROBE.symbol)) {
    const attachments = attachmentsOf(executable, [BUFFER_PROBE], symbols);
    return [{ kind: 'buffer', library: '', attachments, detail: '' }];
  }
  // Linked into an executable that is not stripped.
  const rust = rustIn(executable);
  if (!NEEDS.some(needs => executable.staticSymbols(needs).size === needs.size)) return rust;
  const linked = libraryIn(executable, executable.staticSymbols(new Set(ALL_SYMBOLS)));
  return linked === null ? rust : [linked, ...rust];
}

function rustIn(executable: Executable): readonly Target[] {
  const places = rustlsPlaces(executable, ARCHITECTURE);
  return places === null ? [] : [placesTarget('tls', 'rustls', places)];
}

function libraryIn(executable: Executable, symbols: Symbols): Target | null {
  const library = TLS_LIBRARIES.find(({ needs }) => needs.every(name => symbols.has(name)));
  if (library === undefined) return null;
  const attachments = attachmentsOf(executable, library.probes, symbols);
  return { kind: 'tls', library: library.name, attachments, detail: '' };
}

function goIn(executable: Executable): readonly Target[] {
  const functions = goFunctions(executable, [...TLS_FUNCTIONS, ...ROUTINE_FUNCTIONS, ...CHANNEL_FUNCTIONS]);
  const routines = placesTarget('routines', 'Go', goRoutinePlaces(executable, functions, ARCHITECTURE));
  const channels = placesTarget('channels', 'Go', goChannelPlaces(executable, functions, ARCHITECTURE));
  const tls = goTlsPlaces(executable, functions, ARCHITECTURE);
  return [routines, channels, ...(tls === null ? [] : [placesTarget('tls', 'crypto/tls (Go)', tls)])];
}

function placesTarget(
  kind: Target['kind'],
  library: string,
  places: ReadonlyMap<string, readonly number[]> | string,
): Target {
  if (typeof places === 'string') return { kind, library, attachments: [], detail: places };
  const attachments = [...places].map(([program, offsets]) => ({ program, offsets, isReturn: false }));
  return { kind, library, attachments, detail: '' };
}

function loopsIn(executable: Executable, symbols: Symbols): readonly Target[] {
  const targets: Target[] = [];
  for (const { name, timers, deferred, opens, messages, turned } of EVENT_LOOPS) {
    const turn = symbols.get(turned);
    const due = timers === null ? undefined : symbols.get(timers);
    const found = deferred.flatMap(symbol => symbols.get(symbol)?.offset ?? []);
    if (turn === undefined || (timers !== null && due === undefined) || found.length < deferred.length) continue;
    const attachments: Attachment[] = [{ program: 'loop_turned', offsets: [turn.offset], isReturn: false }];
    if (found.length > 0) attachments.unshift({ program: 'loop_deferred', offsets: found, isReturn: false });
    const opened = opens === null ? undefined : symbols.get(opens);
    if (opened !== undefined) attachments.unshift({ program: 'loop_opens', offsets: [opened.offset], isReturn: false });
    if (due !== undefined) attachments.unshift({ program: 'loop_timers', offsets: [due.offset], isReturn: false });
    if (messages !== null) attachments.unshift(...messagesIn(symbols, messages));
    const executionId = symbols.get(EXECUTION_ID);
    const layout = executionId === undefined ? null : nodeLayout(executable, turn, executionId, ARCHITECTURE);
    targets.push({ kind: 'loop', library: name, attachments, ...(layout === null ? {} : { layout }), detail: '' });
  }
  return targets;
}

/** In the order in which they are attached: who posts a message is noted once those who take it are seen. */
function messagesIn(symbols: Symbols, { posts, receives, receiving }: LoopMessages): readonly Attachment[] {
  const found = [posts, receives, receiving].map(name => symbols.get(name)?.offset ?? 0);
  if (found.includes(0)) return [];
  const [post, receive, take] = found as [number, number, number];
  return [
    { program: 'loop_received', offsets: [take], isReturn: true },
    { program: 'loop_receiving', offsets: [take], isReturn: false },
    { program: 'loop_receives', offsets: [receive], isReturn: false },
    { program: 'loop_posts', offsets: [post], isReturn: false },
  ];
}

/** Programs by what a function is; in the order in which they are attached: returns first, as those of `attachmentsOf`. */
const UNIT_PROGRAMS: readonly { program: string; roles: readonly UnitRole[]; isReturn: boolean }[] = [
  { program: 'unit_made', roles: ['makes'], isReturn: true },
  { program: 'unit_left', roles: ['first', 'second', 'following'], isReturn: true },
  { program: 'unit_first', roles: ['first', 'says'], isReturn: false },
  { program: 'unit_second', roles: ['second'], isReturn: false },
  { program: 'unit_following', roles: ['following'], isReturn: false },
];

function unitsIn(symbols: Symbols): readonly Target[] {
  return UNIT_SERVERS.filter(({ functions }) => Object.keys(functions).every(name => symbols.has(name))).map(
    ({ name, functions }) => {
      const attachments = UNIT_PROGRAMS.flatMap(({ program, roles, isReturn }) => {
        const names = Object.keys(functions).filter(one => roles.includes(functions[one] as UnitRole));
        const offsets = names.flatMap(one => symbols.get(one)?.offset ?? []);
        return offsets.length === 0 ? [] : [{ program, offsets, isReturn }];
      });
      return { kind: 'loop', library: name, attachments, detail: '' };
    },
  );
}

/** Of nginx, or of a module that it has loaded. */
function requestsIn(symbols: Symbols): readonly Target[] {
  const attachments = Object.entries(NGINX_REQUESTS).flatMap(([program, names]) => {
    const offsets = names.flatMap(name => symbols.get(name)?.offset ?? []);
    return offsets.length === 0 ? [] : [{ program, offsets, isReturn: false }];
  });
  return attachments.length === 0 ? [] : [{ kind: 'requests', library: 'nginx', attachments, detail: '' }];
}

/** Has a loop that was found in a file threads of its own? */
export function hasPool({ kind, library }: Target): boolean {
  return kind === 'loop' && EVENT_LOOPS.some(({ name, pool }) => name === library && pool !== null);
}

/** Work that a loop gives to threads of its own; its end is probed before its beginning. Takes a tenth of a second. */
export function poolsIn(executable: Executable): readonly Target[] {
  const targets: Target[] = [];
  for (const { name, pool } of EVENT_LOOPS) {
    if (pool === null) continue;
    const { gives, queues, resumes, looked, runs } = pool;
    const symbols = executable.staticSymbols(new Set([gives, queues, ...resumes, looked, runs, SETTLES]));
    const offsets = (names: readonly string[]): number[] => names.flatMap(symbol => symbols.get(symbol)?.offset ?? []);
    const attachments = [
      { program: 'loop_resumed', offsets: offsets([runs]), isReturn: true },
      { program: 'loop_resumes', offsets: offsets(resumes), isReturn: false },
      { program: 'loop_looked_up', offsets: offsets([looked]), isReturn: false },
      { program: 'loop_gives', offsets: offsets([gives]), isReturn: false },
      { program: 'loop_queues', offsets: offsets([queues]), isReturn: false },
    ];
    if (attachments.every(attachment => attachment.offsets.length > 0))
      targets.push({ kind: 'loop', library: name, attachments, detail: '' });
    const settles = symbols.get(SETTLES);
    if (settles !== undefined) targets.push(...promisesIn(executable, settles));
  }
  return targets;
}

function promisesIn(executable: Executable, { offset, size }: FoundSymbol): readonly Target[] {
  const site = emulatedSiteOf(executable.read(offset, size), ARCHITECTURE);
  if (site < 0) return [];
  const attachments = [{ program: 'loop_settles', offsets: [offset + site], isReturn: false }];
  return [{ kind: 'promises', library: 'Node.js', attachments, detail: '' }];
}

function tasksIn(executable: Executable, symbols: Symbols): readonly Target[] {
  const places = taskPlaces(executable, symbols, ARCHITECTURE);
  if (places === null) return [];
  const isRefused = typeof places === 'string';
  return [{ kind: 'tasks', library: 'Python', attachments: isRefused ? [] : places, detail: isRefused ? places : '' }];
}

function greenletsIn(executable: Executable, symbols: Symbols): readonly Target[] {
  const attachments = greenletPlaces(executable, symbols, ARCHITECTURE);
  return attachments.length === 0 ? [] : [{ kind: 'greenlets', library: 'Python', attachments, detail: '' }];
}

function wakeUpsIn(executable: Executable, symbols: Symbols): readonly Target[] {
  const places = wakeUpPlaces(executable, symbols, ARCHITECTURE);
  if (places === null) return [];
  const isRefused = typeof places === 'string';
  const attachments = isRefused ? [] : places;
  const layout = javaLayout(executable);
  const found = layout === null ? {} : { javaLayout: layout };
  return [{ kind: 'wake-ups', library: 'Java', attachments, ...found, detail: isRefused ? places : '' }];
}

function tokioIn(executable: Executable): readonly Target[] {
  const places = tokioPlaces(executable, ARCHITECTURE);
  if (places === null) return [];
  const isRefused = typeof places === 'string';
  return [{ kind: 'tokio', library: 'Rust', attachments: isRefused ? [] : places, detail: isRefused ? places : '' }];
}

function executorsIn(executable: Executable, symbols: Symbols): readonly Target[] {
  if (!symbols.has(QUEUE_MODULE)) return [];
  return queuesTarget(executorPlaces(executable, ARCHITECTURE));
}

function queuesTarget(attachments: readonly Attachment[]): readonly QueuesTarget[] {
  return attachments.length === 0 ? [] : [{ kind: 'queues', library: 'Python', attachments, detail: '' }];
}

/** Those of Python, which may be in a file of its own. */
export function queuesIn(executable: Executable): QueuesTarget | null {
  return queuesTarget(queuePlaces(executable, ARCHITECTURE))[0] ?? null;
}

/** Returns first: an entry without its return would look like a call that goes on. */
function attachmentsOf(
  executable: Executable,
  probes: readonly LibraryProbe[],
  symbols: Symbols,
): readonly Attachment[] {
  const { exits, entries } = placesIn(executable, probes, symbols, ARCHITECTURE);
  return [
    ...[...exits].map(([program, offsets]) => ({ program, offsets, isReturn: true })),
    ...[...entries].map(([program, offsets]) => ({ program, offsets, isReturn: false })),
  ];
}
