// The agent's own metrics as the worker knows them: what the kernel lost and did, how exchanges ended, how full the rings
// were. In: the pipeline and, when live, the kernel's counters. Out: series in a Counters (self/counters.ts) that read the
// numbers where they live.
import { DROP_REASONS } from '../exchanges/matcher.js';
import type { Pipeline } from '../pipeline.js';
import {
  EVENT_LOSS_NAMES,
  EVENT_STAT_NAMES,
  LOSS_CONTROL_RING_FULL,
  LOSS_COUNT,
  LOSS_DATA_RING_FULL,
  LOSS_REQUESTS_UNTOLD,
  LOSS_SLOTS_EXHAUSTED,
  LOSS_SOCKETS_FULL,
  STAT_COUNT,
  STAT_EDGES,
} from '../records/records.gen.js';
import type { Counters } from './counters.js';
import type { Losses } from './losses.js';

/** Kernel losses that lose no record: they are told as connections that were missed. */
const CONNECTION_LOSSES: ReadonlySet<string> = new Set([
  'slots_exhausted',
  'sockets_full',
  'compat_task',
  'slot_return',
]);
/** Calls of which some bytes were not copied: told by number, not by size. */
const CALL_LOSSES: ReadonlySet<string> = new Set(['read_fault', 'iov_too_long']);

/** The kernel's `counters` map, read once for each snapshot. */
export class KernelCounters {
  readonly values = new Float64Array(LOSS_COUNT + STAT_COUNT);

  loss(cause: number): number {
    return this.values[cause] as number;
  }

  stat(stat: number): number {
    return this.values[LOSS_COUNT + stat] as number;
  }

  /** Message edges that the kernel saw. */
  get edges(): number {
    return this.stat(STAT_EDGES);
  }
}

/** Registers every series of the pipeline. */
export function observePipeline(counters: Counters, pipeline: Pipeline): void {
  const { ledger, connections, dispatcher, encoder } = pipeline;
  counters.observe('underspan.records.read', 'all', () => dispatcher.records);
  counters.observe('underspan.records.dropped', 'malformed', () => dispatcher.malformed);
  counters.observe('underspan.records.dropped', 'unknown_connection', () => connections.strayRecords);
  const { synchrony } = connections;
  counters.observe('underspan.messages.broken', 'http1', () => synchrony.brokenStreams - synchrony.brokenFastcgi);
  counters.observe('underspan.messages.broken', 'fastcgi', () => synchrony.brokenFastcgi);
  counters.observe('underspan.connections.dropped', 'unknown_protocol', () => connections.synchrony.ignored);
  counters.observe('underspan.connections.dropped', 'unparsed', () => connections.synchrony.givenUp);
  for (const reason of Object.keys(pipeline.opaqueConnections) as (keyof typeof pipeline.opaqueConnections)[]) {
    counters.observe('underspan.connections.dropped', `tls_${reason}`, () => pipeline.opaqueConnections[reason]);
  }
  counters.observe('underspan.bytes.missed', 'no_call_seen', () => connections.unseenBytes);
  for (const cause of ['gap', 'unsynced'] as const) {
    counters.observe('underspan.bytes.missed', cause, () => connections.synchrony.hiddenBytes[cause]);
  }
  counters.observe('underspan.connections.open', '', () => connections.open);
  counters.observe('underspan.exchanges.completed', 'http1', () => ledger.completed - pipeline.completedFastcgi);
  counters.observe('underspan.exchanges.completed', 'fastcgi', () => pipeline.completedFastcgi);
  for (const reason of DROP_REASONS) {
    counters.observe('underspan.exchanges.dropped', reason, () => ledger.dropped[reason]);
  }
  counters.observe('underspan.exchanges.open', '', () => pipeline.openExchanges);
  counters.observe('underspan.spans.written', '', () => ledger.spans);
  counters.observe('underspan.spans.dropped', 'oversized', () => encoder.dropped.oversized);
  counters.observe('underspan.coverage', '', () => {
    const { lost, ended } = ledger.total;
    return ended === 0 ? 1 : 1 - lost / ended;
  });
}

/** What is told of in the log. */
export function lossesOf(kernel: KernelCounters, { ledger, connections }: Pipeline): Losses {
  return {
    dropped: ledger.dropped,
    untold: kernel.loss(LOSS_REQUESTS_UNTOLD) + connections.synchrony.untoldRequests,
    records: kernel.loss(LOSS_DATA_RING_FULL) + kernel.loss(LOSS_CONTROL_RING_FULL),
    connections: kernel.loss(LOSS_SLOTS_EXHAUSTED) + kernel.loss(LOSS_SOCKETS_FULL),
  };
}

/** Registers what the kernel side counts. */
export function observeKernel(counters: Counters, kernel: KernelCounters, { connections }: Pipeline): void {
  for (let cause = 0; cause < LOSS_COUNT; cause++) {
    const name = EVENT_LOSS_NAMES[cause] as string;
    if (cause === LOSS_REQUESTS_UNTOLD) {
      const { synchrony } = connections;
      counters.observe('underspan.requests.missed', 'ring_full', () => kernel.loss(cause) + synchrony.untoldRequests);
      continue;
    }
    const metric = CONNECTION_LOSSES.has(name)
      ? 'underspan.connections.dropped'
      : CALL_LOSSES.has(name)
        ? 'underspan.kernel.events'
        : 'underspan.records.dropped';
    counters.observe(metric, name, () => kernel.loss(cause));
  }
  for (let stat = 0; stat < STAT_COUNT; stat++) {
    counters.observe('underspan.kernel.events', EVENT_STAT_NAMES[stat] as string, () => kernel.stat(stat));
  }
}
