// What it costs programs that their queues are followed (bpf/go_channel.h, bpf/python_queue.h): each value that goes through one
// is a probe, and nobody knows beforehand how many do. In: the kernel's counts, once a second or so. Out: where it is too much
// the probes go, and it is said once. Whatever is probed later (another file) is watched likewise.
import { LOSS_COUNT, STAT_CHANNEL_VALUES, STAT_QUEUE_ITEMS } from '../records/records.gen.js';
import type { KernelFilter } from './kernel-filter.js';
import type { Kernel } from './loader.js';

export const QUEUE_KINDS = ['channels', 'queues'] as const;
export type QueueKind = (typeof QUEUE_KINDS)[number];

interface Followed {
  readonly kind: QueueKind;
  /** Of probes.ts. */
  readonly group: string;
  readonly name: string;
  /** Where its count is. */
  readonly at: number;
  counted: number;
  /** What came through before the probes went is yet to be counted. */
  isLeaving: boolean;
}

export interface FollowedQueuesOptions {
  readonly kernel: Pick<Kernel, 'detachGroup'> & { readonly filter: Pick<KernelFilter, 'ignoreItems'> };
  /** Values a second. */
  readonly limit: number;
  readonly onStopped: (kind: QueueKind, text: string) => void;
}

export class FollowedQueues {
  readonly #options: FollowedQueuesOptions;
  readonly #all: readonly Followed[] = [
    {
      kind: 'channels',
      group: 'go channels',
      name: 'channels of Go',
      at: LOSS_COUNT + STAT_CHANNEL_VALUES,
      counted: 0,
      isLeaving: false,
    },
    {
      kind: 'queues',
      group: 'python queues',
      name: 'queues of Python',
      at: LOSS_COUNT + STAT_QUEUE_ITEMS,
      counted: 0,
      isLeaving: false,
    },
  ];
  #sinceNs: number;

  constructor(options: FollowedQueuesOptions, nowNs: number) {
    this.#options = options;
    this.#sinceNs = nowNs;
  }

  /** `counters`: as of Kernel.readCounters, read just now. */
  look(counters: Float64Array, nowNs: number): void {
    const seconds = (nowNs - this.#sinceNs) / 1e9;
    if (seconds <= 0) return;
    this.#sinceNs = nowNs;
    for (const followed of this.#all) {
      const count = counters[followed.at] as number;
      const perSecond = (count - followed.counted) / seconds;
      followed.counted = count;
      const isTooMuch = perSecond > this.#options.limit && !followed.isLeaving;
      followed.isLeaving = isTooMuch;
      if (isTooMuch) this.#stop(followed, perSecond);
    }
  }

  #stop({ kind, group, name }: Followed, perSecond: number): void {
    const { kernel, limit, onStopped } = this.#options;
    kernel.detachGroup(group);
    if (kind === 'queues') kernel.filter.ignoreItems();
    const rate = `${Math.round(perSecond)} values a second go through them, ${limit} may (kernel.max_queue_values)`;
    onStopped(kind, `${name} are followed no more, calls below work that they hand over have no parent: ${rate}`);
  }
}
