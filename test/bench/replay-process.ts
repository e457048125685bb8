// Runs a recording through the pipeline again and again, on one thread, from memory: what the worker does without its
// kernel. In: a ReplayOrder as argument, `--expose-gc`. Out: one JSON ReplayReport. Each pass gets a pipeline of its own,
// since a recording begins with connections that are not yet known.
import { getHeapStatistics } from 'node:v8';
import { Assembly, type Post } from '../../src/assembly.js';
import { loadConfig } from '../../src/config/load.js';
import { NO_HOST } from '../../src/enrichment/host.js';
import { RecordedSource } from '../../src/enrichment/process-facts.js';
import type { WorkerStart } from '../../src/messages.js';
import { type RecordedBatch, RecordingReader } from '../../src/recording.js';
import { BatchFeeder } from '../../src/replay-source.js';
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
  readonly passes: readonly Pass[];
  /** Of one pass. */
  readonly records: number;
  readonly exchanges: number;
  readonly spans: number;
  readonly otlpBytes: number;
  readonly recordBytes: number;
  /** JavaScript heap that one exchange uses up, buffers not included. */
  readonly heapBytesPerExchange: number;
  readonly peakHeapMb: number;
  readonly cpu: Shares | null;
  readonly heap: Shares | null;
}

const WARM_PASSES = 2;

type Recorded = ReturnType<typeof load>;

function load(file: string) {
  const reader = new RecordingReader(file);
  const facts = new RecordedSource();
  const batches: RecordedBatch[] = [];
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    if ('facts' in frame) facts.add(frame.facts);
    else batches.push(frame.batch);
  }
  reader.close();
  return { header: reader.header, facts, batches };
}

class Run {
  otlpBytes = 0;
  spans = 0;
  readonly #assembly: Assembly;
  readonly #recorded: Recorded;
  readonly #feeder: BatchFeeder;

  constructor(recorded: Recorded, wantsSpans: boolean) {
    const { header, facts } = recorded;
    this.#recorded = recorded;
    const start: WorkerStart = {
      mode: 'replay',
      config: loadConfig({ environment: {} }).config,
      file: null,
      version: header.version,
      agentPid: 0,
      ownPeers: [],
      wantsSpans,
      wantsConnections: false,
    };
    const post: Post = message => {
      if (message.type !== 'traces') return;
      this.otlpBytes += message.bytes.length;
      this.spans += message.spanCount;
    };
    const nothing = (): void => undefined;
    this.#assembly = new Assembly(
      {
        start,
        host: NO_HOST,
        source: facts,
        startNs: header.startNs,
        headBytes: header.headBytes,
        isSelected: () => true,
        setVerdict: nothing,
        evict: nothing,
        onProcess: nothing,
      },
      post,
    );
    this.#feeder = new BatchFeeder(this.#assembly.pipeline);
    this.#assembly.pipeline.clock.set(header.offsetSeconds, header.offsetNanos);
  }

  get records(): number {
    return this.#assembly.pipeline.dispatcher.records;
  }

  /** Exchanges that are complete, whether or not a span was wanted. */
  get exchanges(): number {
    const { ledger } = this.#assembly.pipeline;
    return ledger.spans + ledger.dropped.no_exporter;
  }

  batch(batch: RecordedBatch): void {
    this.#feeder.feed(batch);
    this.#assembly.flushIfMany();
  }

  all(): this {
    for (const batch of this.#recorded.batches) this.batch(batch);
    this.#assembly.flush(this.#assembly.pipeline.finish());
    return this;
  }
}

/** Heap growth over the batches in which no collection happened, for each exchange that ended in them. */
function measureHeap(recorded: Recorded, wantsSpans: boolean): number {
  const run = new Run(recorded, wantsSpans);
  let bytes = 0;
  let exchanges = 0;
  for (const batch of recorded.batches) {
    const usedBefore = getHeapStatistics().used_heap_size;
    const exchangesBefore = run.exchanges;
    run.batch(batch);
    const grown = getHeapStatistics().used_heap_size - usedBefore;
    if (grown < 0) continue;
    bytes += grown;
    exchanges += run.exchanges - exchangesBefore;
  }
  return bytes / exchanges;
}

async function main(order: ReplayOrder): Promise<ReplayReport> {
  const recorded = load(order.file);
  const pass = (): Run => new Run(recorded, order.wantsSpans).all();
  for (let warm = 0; warm < WARM_PASSES; warm++) pass();
  const passes: Pass[] = [];
  let last = pass();
  let peakHeap = 0;
  for (let at = 0; at < order.passes; at++) {
    globalThis.gc?.();
    const cpu = process.cpuUsage();
    const from = performance.now();
    last = pass();
    const wallMs = performance.now() - from;
    const { user, system } = process.cpuUsage(cpu);
    passes.push({ wallMs, cpuMs: (user + system) / 1000 });
    peakHeap = Math.max(peakHeap, getHeapStatistics().used_heap_size);
  }
  globalThis.gc?.();
  return {
    passes,
    records: last.records,
    exchanges: last.exchanges,
    spans: last.spans,
    otlpBytes: last.otlpBytes,
    recordBytes: recorded.batches.reduce((sum, { data, control }) => sum + data.length + control.length, 0),
    heapBytesPerExchange: measureHeap(recorded, order.wantsSpans),
    peakHeapMb: peakHeap / (1 << 20),
    cpu: order.profiles ? await profileCpu(() => void [pass(), pass(), pass()]) : null,
    heap: order.profiles ? await profileHeap(pass) : null,
  };
}

const report = await main(JSON.parse(process.argv[2] ?? '') as ReplayOrder);
process.stdout.write(`${JSON.stringify(report)}\n`);
