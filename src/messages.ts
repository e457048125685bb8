// What the two threads say to each other. The worker has the data path; the main thread has configuration, exporters, the
// admin listener and signals. Spans cross as encoded OTLP requests (in memory that both see, or that goes with them), metrics as plain data.

import type { Config } from './config/schema.js';
import type { ConnectionSummary } from './exporters/console-connection.js';
import type { HandoverMemory } from './handover.js';
import type { ProbeReport } from './kernel/probes.js';
import type { MetricFamily } from './signals/metric-model.js';
import type { JoinBatch } from './traces/join-batch.js';

/** `workerData` of the worker. */
export interface WorkerStart {
  readonly mode: 'live' | 'replay';
  readonly config: Config;
  /** Recording: written in live mode if given, read in replay. */
  readonly file: string | null;
  readonly version: string;
  readonly agentPid: number;
  /** Listeners of ours: connections to them are not read. An empty address stands for any. */
  readonly ownPeers: readonly { readonly address: string; readonly port: number }[];
  /** Somebody wants spans; else metrics only. */
  readonly wantsSpans: boolean;
  /** Bytes of spans on their way (handover.ts); null: nobody bounds them. */
  readonly handover: HandoverMemory | null;
  /** Send a summary of each closed connection. */
  readonly wantsConnections: boolean;
}

export type ToWorker =
  | { readonly type: 'snapshot'; readonly id: number }
  | { readonly type: 'reload'; readonly config: Config }
  /** Can the keys of other hosts be reached? */
  | { readonly type: 'joinable'; readonly isUp: boolean }
  | { readonly type: 'join_answers'; readonly words: Uint32Array<ArrayBuffer>; readonly batchNumber: number }
  | { readonly type: 'stop' };

/** Boot clock to wall clock at the moment of a message, see clock.ts. */
export interface ClockState {
  readonly offsetSeconds: number;
  readonly offsetNanos: number;
}

export type FromWorker =
  | {
      readonly type: 'ready';
      readonly probes: readonly ProbeReport[];
      readonly bootNs: number;
      readonly clock: ClockState;
    }
  | { readonly type: 'traces'; readonly bytes: Uint8Array; readonly spanCount: number }
  /** The first `byteLength` of a slot of the handover, which wants it back. */
  | { readonly type: 'traces_in_slot'; readonly slot: number; readonly byteLength: number; readonly spanCount: number }
  | { readonly type: 'join'; readonly batch: JoinBatch }
  | { readonly type: 'connections'; readonly summaries: readonly ConnectionSummary[]; readonly omitted: number }
  | {
      readonly type: 'snapshot';
      readonly id: number;
      readonly families: readonly MetricFamily[];
      readonly nowNs: number;
      readonly clock: ClockState;
    }
  | { readonly type: 'log'; readonly level: 'info' | 'warn' | 'error'; readonly key: string; readonly text: string }
  | { readonly type: 'beat' }
  /** The agent is above its memory budget: give back what is unused. */
  | { readonly type: 'release_memory' }
  | {
      readonly type: 'failed';
      readonly code: string;
      readonly message: string;
      readonly remedy: string;
      readonly exitCode: number;
    }
  | {
      readonly type: 'stopped';
      readonly families: readonly MetricFamily[];
      readonly nowNs: number;
      readonly clock: ClockState;
    }
  /** The last message: nothing of it is in the kernel any more. */
  | { readonly type: 'ended' };
