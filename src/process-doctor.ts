// One process under the doctor's eye: would it be traced, by which probes, and if not, why is there no span? In: the
// configuration, the probes' trial, /proc. Out: facts in the order in which a span needs them.
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import type { Config } from './config/schema.js';
import { NO_LIBRARY, NO_WAY, NOT_BOUND, type Opacity, STRIPPED } from './discovery/opacity.js';
import { compileSelection, type Masks } from './discovery/selector.js';
import { TlsAttacher } from './discovery/tls-attacher.js';
import { readHostFacts } from './enrichment/host.js';
import { ProcfsSource } from './enrichment/procfs.js';
import { serviceNameOf } from './enrichment/service-name.js';
import { reasonOf } from './errors.js';
import type { Trial } from './kernel/features.js';

export interface ProcessFact {
  readonly name: string;
  /** `no`: for this reason alone there is no span. */
  readonly state: 'ok' | 'no' | 'note';
  readonly detail: string;
}

const ELF_CLASS_AT = 4;
const ELF_32_BIT = 1;

export function examineProcess(pid: number, config: Config, trial: Trial): readonly ProcessFact[] {
  const source = new ProcfsSource(readHostFacts());
  if (!source.pids().includes(pid)) return [no('process', `there is no process ${pid} in this pid namespace`)];
  const facts = source.read(pid);
  if (facts === null) return [no('process', `/proc/${pid} cannot be read: CAP_SYS_PTRACE, or it has just ended`)];
  const calls = trial.reports.find(({ group }) => group === 'socket calls');
  const selection = compileSelection(config.selection);
  const masks = selection.processMasks(facts);
  return [
    ok('process', `${facts.exePath || facts.exeName}, user ${facts.owner || facts.uid}`),
    ok('service', serviceNameOf(facts)),
    selectionOf(masks, selection.anyPort, config),
    is32Bit(pid) ? no('architecture', 'a 32-bit program: its system calls are not read') : ok('architecture', '64-bit'),
    calls?.way === null || calls === undefined
      ? no('probes', 'the kernel refuses those at sockets, see above')
      : ok('probes', `socket calls by ${calls.way}`),
    ...socketsOf(pid),
    ...ioUringOf(pid, calls?.way ?? null),
    ...tlsOf(pid, trial),
  ];
}

function ok(name: string, detail: string): ProcessFact {
  return { name, state: 'ok', detail };
}

function no(name: string, detail: string): ProcessFact {
  return { name, state: 'no', detail };
}

function note(name: string, detail: string): ProcessFact {
  return { name, state: 'note', detail };
}

/** `anyPort`: selectors that say nothing of ports. */
function selectionOf(masks: Masks, anyPort: Masks, config: Config): ProcessFact {
  const { include, exclude } = config.selection;
  if (masks.include === 0) return no('selection', `none of the ${include.length} include selectors matches it`);
  if ((masks.exclude & anyPort.exclude) !== 0) return no('selection', 'an exclude selector matches it');
  if (masks.exclude !== 0) return note('selection', 'an exclude selector matches it, for some of its ports');
  if ((masks.include & anyPort.include) === 0)
    return note('selection', 'an include selector matches it, for some of its ports only');
  if (include.length === 0) return ok('selection', exclude.length === 0 ? 'all processes' : 'not excluded');
  return ok('selection', 'an include selector matches it');
}

function is32Bit(pid: number): boolean {
  let file = -1;
  try {
    file = openSync(`/proc/${pid}/exe`, 'r');
    const head = Buffer.alloc(ELF_CLASS_AT + 1);
    readSync(file, head, 0, head.length, 0);
    return head[ELF_CLASS_AT] === ELF_32_BIT;
  } catch {
    return false; // a kernel thread has no program
  } finally {
    if (file >= 0) closeSync(file);
  }
}

function descriptorsOf(pid: number): readonly string[] {
  const targets: string[] = [];
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      targets.push(readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      // closed meanwhile
    }
  }
  return targets;
}

function socketsOf(pid: number): readonly ProcessFact[] {
  try {
    const count = descriptorsOf(pid).filter(target => target.startsWith('socket:')).length;
    return [count === 0 ? note('sockets', 'none at this moment') : ok('sockets', `${count} at this moment`)];
  } catch (error) {
    return [note('sockets', `unknown: ${reasonOf(error)}`)];
  }
}

function ioUringOf(pid: number, way: string | null): readonly ProcessFact[] {
  try {
    if (!descriptorsOf(pid).some(target => target === 'anon_inode:[io_uring]')) return [];
  } catch {
    return []; // told by the line on sockets
  }
  const isSeen = way === 'fentry' || way === 'kprobe';
  return [
    isSeen
      ? ok('io_uring', `in use, and seen by ${way}`)
      : note('io_uring', `in use: what goes through it is not seen by ${way ?? 'no probe'}`),
  ];
}

/** The libraries that the agent would probe in this process. The trial attaches the probes, too. */
function tlsOf(pid: number, { kernel }: Trial): readonly ProcessFact[] {
  const found: ProcessFact[] = [];
  const attacher = new TlsAttacher({
    probes: {
      isSettled: () => true,
      attachUser(program, path, offsets, isReturn) {
        if (kernel === null) throw new Error('the kernel refuses the probes, see above');
        kernel.attachUser(program, path, offsets, isReturn);
      },
    },
    isObserved: () => true,
    expectsOthers: () => false,
    inspector: null,
    onRoutines: () => {},
    onNode: () => {},
    onVirtualThreads: () => {},
    onReport: ({ kind, library, path, ok: isUsable, detail }) => {
      const what = `${library} in ${path}`;
      const [name, done] = PROBED[kind];
      found.push(isUsable ? ok(name, `${what} ${done}`) : note(name, `${what}: ${detail}`));
    },
  });
  try {
    attacher.onTls(pid, 0);
    attacher.look(pid);
  } catch (error) {
    return [note('tls', `unknown: ${reasonOf(error)}`)];
  }
  const opacity = attacher.opacityOf(pid);
  if (opacity.reason === NOT_BOUND || found.some(({ name }) => name === 'tls')) return found;
  return [...found, note('tls', `${SAID[opacity.reason] ?? opacity.reason}${of(opacity)}: ${OUTSIDE}`)];
}

const PROBED = {
  tls: ['tls', 'is read'],
  loop: ['event loop', 'is watched'],
  routines: ['goroutines', 'are followed'],
  tasks: ['asyncio tasks', 'are followed'],
  queues: ['queues', 'are followed'],
  channels: ['channels', 'are followed'],
  promises: ['promises', 'are followed'],
  greenlets: ['greenlets', 'are followed'],
  'wake-ups': ['wake-ups of threads', 'are followed'],
  requests: ['requests', 'are followed'],
  tokio: ['tasks of tokio', 'are followed'],
} as const;
const OUTSIDE = 'encrypted connections are seen from outside only';
const SAID: Readonly<Record<string, string>> = {
  [NO_LIBRARY]: 'no library that is known',
  [NO_WAY]: 'there is no way to what the library encrypts',
  [STRIPPED]: 'the library is linked into the executable, and its symbols are stripped',
};

function of({ library }: Opacity): string {
  return library === '' ? '' : ` (${library})`;
}
