// Runs a recording through the pipeline on one thread: what the worker does without its kernel. In: a ReplayOrder as argument.
// Out: one JSON ReplayReport. It is `underspan replay` without the main thread. One pipeline sees the whole recording, as an
// agent that stays does: first it is cold, then it is measured stretch by stretch, then profiled. Reading the file is timed
// alone and subtracted.
import { statSync } from 'node:fs';
import { loadConfig } from '../../src/config/load.js';
import type { FromWorker, WorkerStart } from '../../src/messages.js';
import { RecordingReader } from '../../src/recording.js';
import { ReplaySource } from '../../src/replay-source.js';
import { profileCpu, profileHeap, type Shares } from './profile.js';

export interface ReplayOrder {
  readonly file: string;
  readonly wantsSpans: boolean;
  readonly profiles: boolean;
}

/** Per exchange, in nanoseconds. */
export interface Stretch {
  readonly exchanges: number;
  readonly wallNs: number;
  /** CPU time of the process, helper threads of V8 included. */
  readonly cpuNs: number;
}

export interface ReplayReport {
  readonly cold: Stretch;
  readonly stretches: readonly Stretch[];
  readonly exchanges: number;
  readonly spans: number;
  readonly otlpBytes: number;
  readonly fileBytes: number;
  /** JavaScript heap that an exchange uses up, buffers not included; sampled. */
  readonly heapBytes: number;
  readonly cpu: Shares | null;
  readonly heap: Shares;
}

/** V8 compiles for the first 120,000 exchanges (`macro`). */
const COLD_EXCHANGES = 20_000;
/** Of a stretch, at least: the CPU clock has to move. */
const STRETCH_EXCHANGES = 2000;
/** Parts of the recording: up to here it is warmed, measured, profiled by time; the rest is profiled by memory. */
const WARM_SHARE = 0.5;
const MEASURED_SHARE = 0.8;
const TIMED_SHARE = 0.9;

/** Nanoseconds that reading a byte takes. */
function timeReading(file: string): number {
  const reader = new RecordingReader(file);
  const from = performance.now();
  while (reader.next() !== null);
  const ns = (performance.now() - from) * 1e6;
  reader.close();
  return ns / reader.bytesRead;
}

class Replay {
  spans = 0;
  otlpBytes = 0;
  readonly source: ReplaySource;
  readonly #readNs: number;
  readonly #fileBytes: number;

  constructor(order: ReplayOrder, readNs: number, fileBytes: number) {
    this.#readNs = readNs;
    this.#fileBytes = fileBytes;
    const start: WorkerStart = {
      mode: 'replay',
      config: loadConfig({ environment: {} }).config,
      file: order.file,
      version: 'bench',
      agentPid: 0,
      handover: null,
      ownPeers: [],
      wantsSpans: order.wantsSpans,
      wantsConnections: false,
    };
    this.source = new ReplaySource(start, message => this.#onMessage(message));
  }

  #onMessage(message: FromWorker): void {
    if (message.type === 'failed') throw new Error(message.message);
    if (message.type !== 'traces') return;
    this.spans += message.spanCount;
    this.otlpBytes += message.bytes.length;
  }

  /** Turns until that share of the recording has been read, or so many exchanges have begun. */
  async until(share: number, exchanges = Number.POSITIVE_INFINITY): Promise<void> {
    const { source } = this;
    for (;;) {
      const { progress } = source;
      if (progress.bytes >= this.#fileBytes * share || progress.exchanges >= exchanges) return;
      if (!source.turn(1)) return;
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  async timed(work: () => Promise<void>): Promise<Stretch> {
    const before = this.source.progress;
    const cpu = process.cpuUsage();
    const from = performance.now();
    await work();
    const wallMs = performance.now() - from;
    const { user, system } = process.cpuUsage(cpu);
    const after = this.source.progress;
    const exchanges = after.exchanges - before.exchanges;
    const readNs = (after.bytes - before.bytes) * this.#readNs;
    return {
      exchanges,
      wallNs: (wallMs * 1e6 - readNs) / exchanges,
      cpuNs: ((user + system) * 1000 - readNs) / exchanges,
    };
  }
}

async function main(order: ReplayOrder): Promise<ReplayReport> {
  const fileBytes = statSync(order.file).size;
  const replay = new Replay(order, timeReading(order.file), fileBytes);
  const cold = await replay.timed(() => replay.until(WARM_SHARE, COLD_EXCHANGES));
  await replay.until(WARM_SHARE);
  const stretches: Stretch[] = [];
  while (replay.source.progress.bytes < fileBytes * MEASURED_SHARE) {
    const { exchanges } = replay.source.progress;
    const stretch = await replay.timed(() => replay.until(MEASURED_SHARE, exchanges + STRETCH_EXCHANGES));
    if (stretch.exchanges > 0) stretches.push(stretch);
  }
  const cpu = order.profiles ? await profileCpu(() => replay.until(TIMED_SHARE)) : null;
  await replay.until(TIMED_SHARE);
  if (stretches.length === 0) throw new Error(`a recording of ${fileBytes} bytes is too short to be measured`);
  const { exchanges } = replay.source.progress;
  const heap = await profileHeap(() => replay.until(1));
  const last = replay.source.progress.exchanges - exchanges;
  await replay.until(Number.POSITIVE_INFINITY);
  return {
    cold,
    stretches,
    exchanges: replay.source.progress.exchanges,
    spans: replay.spans,
    otlpBytes: replay.otlpBytes,
    fileBytes,
    heapBytes: heap.sum / Math.max(1, last),
    cpu,
    heap,
  };
}

const report = await main(JSON.parse(process.argv[2] ?? '') as ReplayOrder);
process.stdout.write(`${JSON.stringify(report)}\n`);
