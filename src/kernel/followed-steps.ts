// What it costs programs that their steps are followed: each value that goes through a channel or a queue (bpf/go_channel.h,
// bpf/python_queue.h), each step of a task (bpf/python.h) and each switch of greenlets is a probe, and nobody knows beforehand how
// many there are. In: the kernel's counts by CPU, once a second or so: a loop is one thread, and what the probes cost is a share of
// its CPU. Out: where it is too much the probes go, and it is said once. Whatever is probed later (another file) is watched likewise.
import {
  STAT_CHANNEL_VALUES,
  STAT_COUNT,
  STAT_GREENLET_SWITCHES,
  STAT_PROMISES,
  STAT_QUEUE_ITEMS,
  STAT_REQUEST_STEPS,
  STAT_TASK_STEPS,
  STAT_THREAD_PARKS,
  STAT_TOKIO_STEPS,
} from '../records/records.gen.js';
import type { KernelFilter } from './kernel-filter.js';
import type { Kernel } from './loader.js';

export const STEP_KINDS = [
  'channels',
  'tasks',
  'greenlets',
  'queues',
  'promises',
  'wake-ups',
  'requests',
  'tokio',
] as const;
export type StepKind = (typeof STEP_KINDS)[number];

interface Kind {
  /** Of probes.ts. */
  readonly group: string;
  readonly stat: number;
  readonly name: string;
  readonly steps: string;
  /** What goes with it. */
  readonly leaves: readonly StepKind[];
  readonly loss: string;
}

/** Without tasks and greenlets nobody knows whose the values of queues are, nor without tasks whose greenlets are. */
const PYTHON: readonly StepKind[] = ['tasks', 'greenlets', 'queues'];
const HANDED_OVER = 'calls below work that they hand over have no parent';
const OF_PYTHON = 'and nothing else of Python is: calls of Python have a parent only where little is going on';
const KINDS: Readonly<Record<StepKind, Kind>> = {
  channels: {
    group: 'go channels',
    stat: STAT_CHANNEL_VALUES,
    name: 'channels of Go',
    steps: 'values a second go through them',
    leaves: ['channels'],
    loss: HANDED_OVER,
  },
  queues: {
    group: 'python queues',
    stat: STAT_QUEUE_ITEMS,
    name: 'queues of Python',
    steps: 'values a second go through them',
    leaves: ['queues'],
    loss: HANDED_OVER,
  },
  'wake-ups': {
    group: 'java wake-ups',
    stat: STAT_THREAD_PARKS,
    name: 'wake-ups of Java',
    steps: 'waits a second are begun by its threads',
    leaves: ['wake-ups'],
    loss: HANDED_OVER,
  },
  requests: {
    group: 'nginx requests',
    stat: STAT_REQUEST_STEPS,
    name: 'requests of nginx',
    steps: 'times a second it goes on with one',
    leaves: ['requests'],
    loss: 'calls that wait for a timer, a name or a lock have no parent',
  },
  tokio: {
    group: 'tokio tasks',
    stat: STAT_TOKIO_STEPS,
    name: 'tasks of tokio',
    steps: 'turns a second are taken by them',
    leaves: ['tokio'],
    loss: 'their calls have no parent',
  },
  tasks: {
    group: 'asyncio tasks',
    stat: STAT_TASK_STEPS,
    name: 'asyncio tasks',
    steps: 'steps a second are made by them',
    leaves: PYTHON,
    loss: OF_PYTHON,
  },
  greenlets: {
    group: 'greenlets',
    stat: STAT_GREENLET_SWITCHES,
    name: 'greenlets',
    steps: 'switches a second are made between them',
    leaves: PYTHON,
    loss: OF_PYTHON,
  },
  promises: {
    group: 'node promises',
    stat: STAT_PROMISES,
    name: 'promises of Node.js',
    steps: 'are settled a second',
    leaves: ['promises'],
    loss: 'calls that wait for a timer have no parent',
  },
};

export interface FollowedStepsOptions {
  readonly kernel: Pick<Kernel, 'detachGroup'> & {
    readonly filter: Pick<KernelFilter, 'ignoreChannels' | 'ignoreItems' | 'ignoreTasks' | 'ignoreTokio'>;
  };
  /** Steps a second on one CPU. */
  readonly limit: number;
  readonly onStopped: (kinds: readonly StepKind[], text: string) => void;
}

export class FollowedSteps {
  readonly #options: FollowedStepsOptions;
  #counted: Float64Array = new Float64Array(0);
  #sinceNs: number;
  /** What was done before the probes went is yet to be counted. */
  #leaving: ReadonlySet<StepKind> = new Set();

  constructor(options: FollowedStepsOptions, nowNs: number) {
    this.#options = options;
    this.#sinceNs = nowNs;
  }

  /** `stats`: of each CPU, as of Kernel.statsByCpu, read just now. */
  look(stats: Float64Array, nowNs: number): void {
    const seconds = (nowNs - this.#sinceNs) / 1e9;
    if (seconds <= 0) return;
    this.#sinceNs = nowNs;
    const before = this.#counted.length === stats.length ? this.#counted : new Float64Array(stats.length);
    this.#counted = stats;
    const left = new Set<StepKind>();
    for (const kind of STEP_KINDS) {
      let most = 0;
      for (let at = KINDS[kind].stat; at < stats.length; at += STAT_COUNT)
        most = Math.max(most, (stats[at] as number) - (before[at] as number));
      const perSecond = most / seconds;
      if (perSecond <= this.#options.limit || this.#leaving.has(kind) || left.has(kind)) continue;
      this.#stop(kind, perSecond);
      for (const one of KINDS[kind].leaves) left.add(one);
    }
    this.#leaving = left;
  }

  #stop(kind: StepKind, perSecond: number): void {
    const { kernel, limit, onStopped } = this.#options;
    const { name, steps, leaves, loss } = KINDS[kind];
    for (const one of leaves) kernel.detachGroup(KINDS[one].group);
    if (leaves.includes('tasks')) kernel.filter.ignoreTasks();
    if (leaves.includes('tokio')) kernel.filter.ignoreTokio();
    if (leaves.includes('channels')) kernel.filter.ignoreChannels();
    if (leaves.includes('queues')) kernel.filter.ignoreItems();
    const rate = `${Math.round(perSecond)} ${steps} on one CPU, ${limit} may (kernel.max_followed_steps)`;
    onStopped(leaves, `${name} are followed no more, ${loss}: ${rate}`);
  }
}
