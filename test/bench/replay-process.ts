// Runs a recording through the pipeline again and again, on one thread: what the worker does without its kernel. In: a
// ReplayOrder as argument. Out: one JSON ReplayReport. It is `underspan replay` without the main thread; reading the file
// is timed alone and subtracted. Each pass gets a pipeline of its own, since a recording begins with unknown connections.
import { getHeapStatistics } from 'node:v8';
import { loadConfig } from '../../src/config/load.js';
import type { FromWorker, WorkerStart } from '../../src/messages.js';
import { RecordingReader } from '../../src/recording.js';
import { ReplaySource } from '../../src/replay-source.js';
import { profileCpu, profileHeap, type Shares } from './profile.js';

export interface ReplayOrder {
  readonly file: string;
  readonly wantsSpans: boolean;
  readonly passes: number;
  readonly profiles: boolean;
}

export interface Pass {
  readonly wallMs: number;
  /** CPU time of the process, helper threads of the garbage collector included. */
  readonly cpuMs: number;
}

export interface ReplayReport {
  /** Without the time that reading the file takes. */
  readonly passes: readonly Pass[];
  readonly readMs: number;
  /** Of one pass. */
  readonly spans: number;
  readonly otlpBytes: number;
  readonly fileBytes: number;
  /** JavaScript heap that one pass uses up, buffers not included; sampled. */
  readonly heapBytes: number;
  readonly peakHeapMb: number;
  readonly cpu: Shares | null;
  readonly heap: Shares;
}

/** V8 compiles for the first 120,000 exchanges (`macro`), of some 1,200 bytes each; a recording has a part of that. */
const WARM_BYTES = 150e6;
const MOST_WARM_PASSES = 60;

/** One reading of the file and nothing else. Returns its size. */
function readAll(file: string): number {
  const reader = new RecordingReader(file);
  while (reader.next() !== null);
  reader.close();
  return reader.bytesRead;
}

async function replayOnce(order: ReplayOrder): Promise<{ spans: number; otlpBytes: number }> {
  const sums = { spans: 0, otlpBytes: 0 };
  const start: WorkerStart = {
    mode: 'replay',
    config: loadConfig({ environment: {} }).config,
    file: order.file,
    version: 'bench',
    agentPid: 0,
    ownPeers: [],
    wantsSpans: order.wantsSpans,
    wantsConnections: false,
  };
  const post = (message: FromWorker): void => {
    if (message.type === 'failed') throw new Error(message.message);
    if (message.type !== 'traces') return;
    sums.spans += message.spanCount;
    sums.otlpBytes += message.bytes.length;
  };
  await new ReplaySource(start, post).run();
  return sums;
}

async function timed(work: () => unknown): Promise<Pass> {
  globalThis.gc?.();
  const cpu = process.cpuUsage();
  const from = performance.now();
  await work();
  const wallMs = performance.now() - from;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, cpuMs: (user + system) / 1000 };
}

async function main(order: ReplayOrder): Promise<ReplayReport> {
  const warmPasses = Math.min(MOST_WARM_PASSES, Math.ceil(WARM_BYTES / readAll(order.file)));
  for (let warm = 0; warm < warmPasses; warm++) await replayOnce(order);
  const passes: Pass[] = [];
  let fileBytes = 0;
  let readMs = 0;
  let peakHeap = 0;
  for (let at = 0; at < order.passes; at++) {
    const reading = await timed(() => {
      fileBytes = readAll(order.file);
    });
    const both = await timed(() => replayOnce(order));
    passes.push({ wallMs: both.wallMs - reading.wallMs, cpuMs: both.cpuMs - reading.cpuMs });
    readMs = reading.wallMs;
    peakHeap = Math.max(peakHeap, getHeapStatistics().used_heap_size);
  }
  const heap = await profileHeap(() => replayOnce(order));
  return {
    passes,
    readMs,
    ...(await replayOnce(order)),
    fileBytes,
    heapBytes: heap.sum,
    peakHeapMb: peakHeap / (1 << 20),
    cpu: order.profiles ? await profileCpu(() => replayOnce(order)) : null,
    heap,
  };
}

const report = await main(JSON.parse(process.argv[2] ?? '') as ReplayOrder);
process.stdout.write(`${JSON.stringify(report)}\n`);
