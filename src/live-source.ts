// Records from the running kernel: load, attach, drain on a timer, select processes. Probes are attached last, after the
// selection stands, so that nothing is read from a process that was excluded.
import { readdirSync, readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { Assembly, type Post } from './assembly.js';
import { BudgetKeeper } from './budget-keeper.js';
import type { Config } from './config/schema.js';
import type { Connection } from './connections/connection.js';
import type { Stream } from './connections/stream.js';
import { Inspector } from './discovery/inspector.js';
import { type CompiledSelection, compileSelection, portCriteria } from './discovery/selector.js';
import { type LibraryReport, TlsAttacher } from './discovery/tls-attacher.js';
import { ProcessWatcher } from './discovery/watcher.js';
import { readHostFacts } from './enrichment/host.js';
import { ProcfsSource } from './enrichment/procfs.js';
import { ClockKeeper } from './kernel/clock-keeper.js';
import { Drain, type Drained, SPARE_BYTES } from './kernel/drain.js';
import { FollowedSteps, STEP_KINDS, type StepKind } from './kernel/followed-steps.js';
import { Kernel } from './kernel/loader.js';
import { LostConnections } from './kernel/lost-connections.js';
import { ProgressReader } from './kernel/progress.js';
import { releaseMemory, spareMemory } from './memory.js';
import type { ClockState, ToWorker, WorkerStart } from './messages.js';
import { RecordingWriter } from './recording.js';
import { Slab } from './records/dispatch.js';
import { DIRECTION_EGRESS, DIRECTION_INGRESS, LOSS_CONTROL_RING_FULL } from './records/records.gen.js';
import { Redactor } from './redaction.js';
import { KernelCounters, lossesOf, observeKernel } from './self/agent-metrics.js';
import { LossTeller } from './self/losses.js';
import type { JoinMessage, Source } from './worker.js';

const NOTHING = new Uint8Array(0);
const PROGRESS_INTERVAL_NS = 100e6;
const CLOCK_INTERVAL_NS = 1e9;
const LOOK_INTERVAL_NS = 1e9;
const READY_WITHIN_NS = 2e9;
/** What the process does not use any more is given back so long after the start, then after twice as long, and so on up to the most. */
const SPARE_INTERVAL_NS = { first: 4e9, most: 64e9 };
const BEAT_INTERVAL_NS = 1e9;
/** An idle agent looks into the rings this often at most. */
const IDLE_INTERVAL_MS = 50;
/**
 * So long records may wait for others while there are few: each pass costs 0.3 ms beside what it does for each record, since
 * whatever else ran meanwhile has taken the caches (test/bench/README.md).
 */
const BATCH_NS = 50e6;
/** At the end: how long after the last moment that is told a record of it is there, and how long one is waited for. */
const SETTLE_MS = 5;
const SETTLE_MAX_MS = 200;

/** Of a report: what it is about, and what has become of it. */
const LIBRARY_TEXTS: Readonly<Record<LibraryReport['kind'], readonly [string, string]>> = {
  tls: ['TLS', 'read'],
  loop: ['event loop', 'watched'],
  routines: ['goroutines', 'followed'],
  tasks: ['asyncio tasks', 'followed'],
  queues: ['queues', 'followed'],
  channels: ['channels', 'followed'],
  promises: ['promises', 'followed'],
  greenlets: ['greenlets', 'followed'],
  'wake-ups': ['wake-ups of threads', 'followed'],
  requests: ['requests', 'followed'],
  tokio: ['tasks of tokio', 'followed'],
};

/** All threads of this process; none if the mounted /proc is that of another pid namespace, where their ids are others'. */
function standBack(priority: number): void {
  if (readlinkSync('/proc/self') !== String(process.pid)) return;
  for (const thread of readdirSync('/proc/self/task').map(Number)) {
    try {
      setPriority(thread, priority);
    } catch {
      // It has ended meanwhile: whoever is at it already may be put back without any privilege.
    }
  }
}

/** Of what the agent may use a quarter. */
function spareBytes({ limits }: Config): number {
  return limits.memoryBytes === 0 ? SPARE_BYTES : Math.min(SPARE_BYTES, limits.memoryBytes / 4);
}

interface LastWords {
  readonly families: ReturnType<Assembly['families']>;
  readonly nowNs: number;
  readonly clock: ClockState;
}

export class LiveSource implements Source {
  readonly #start: WorkerStart;
  readonly #post: Post;
  readonly #kernel: Kernel;
  readonly #drain: Drain;
  readonly #progress: ProgressReader;
  readonly #progressSlab: Slab;
  readonly #lost: LostConnections;
  readonly #assembly: Assembly;
  readonly #clock: ClockKeeper;
  readonly #watcher: ProcessWatcher;
  readonly #tls: TlsAttacher;
  readonly #followedSteps: FollowedSteps;
  readonly #pids: () => readonly number[];
  readonly #kernelCounters = new KernelCounters();
  readonly #losses = new LossTeller();
  readonly #recording: RecordingWriter | null;
  readonly #redactor: Redactor | null;
  /** None while recording: a recording is to hold everything. */
  #budget: BudgetKeeper | null = null;
  #selection: CompiledSelection;
  #nextProgressNs = 0;
  #nextLookNs = 0;
  /** All records up to then have been handed over. */
  #handedNs = 0;
  /** The same of the pass before: what was being written into a ring then is in this one's slabs. */
  #settledNs = 0;
  #nextClockNs = 0;
  /** The state at the end. */
  #last: LastWords | null = null;
  #nextBeatNs = 0;
  #passedNs = 0;
  /** Nobody wakes who waits for it. */
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));
  #nextFlushNs = 0;
  #flushIntervalNs: number;
  #timer: NodeJS.Timeout | null = null;
  #idleMs: number;
  #isStopped = false;
  #isReady = false;
  #readyByNs = 0;
  #nextSpareNs = Number.POSITIVE_INFINITY;
  #spareIntervalNs = SPARE_INTERVAL_NS.first;

  constructor(start: WorkerStart, post: Post) {
    const { config } = start;
    this.#start = start;
    this.#post = post;
    this.#flushIntervalNs = config.traces.scheduleDelayMs * 1e6;
    this.#idleMs = config.kernel.drainIntervalMs;
    this.#kernel = Kernel.load({
      dataRingBytes: config.kernel.dataRingBytes,
      controlRingBytes: config.kernel.controlRingBytes,
      maxConnections: config.kernel.maxConnections,
      headBytes: config.capture.headBytes,
      btfPath: config.kernel.btf,
      agentPid: start.agentPid,
      way: config.kernel.frontEnd === 'auto' ? null : config.kernel.frontEnd,
    });
    const kernel = this.#kernel;
    const { dataRingBytes, controlRingBytes } = config.kernel;
    this.#drain = new Drain(kernel, dataRingBytes, controlRingBytes, spareBytes(config));
    this.#progress = new ProgressReader(kernel.connections);
    this.#progressSlab = new Slab(this.#progress.bytes);
    this.#lost = new LostConnections(kernel.connections);
    const host = readHostFacts();
    const source = new ProcfsSource(host);
    const probe = new Float64Array(5);
    kernel.clock(probe);
    const startNs = (probe[0] as number) * 1e9 + (probe[1] as number);
    this.#assembly = new Assembly(
      {
        start,
        host,
        source,
        startNs,
        headBytes: config.capture.headBytes,
        isSelected: (pid, include, exclude) => this.#isSelected(pid, include, exclude),
        portCriteria: port => portCriteria(this.#selection, port),
        setVerdict: (slot, generation, verdict) => kernel.slots.setVerdict(slot, generation, verdict),
        evict: (slot, generation) => kernel.slots.evict(slot, generation),
        onProcess: (kind, pid, parentPid) => this.#onProcess(kind, pid, parentPid),
        onTls: pid => this.#tls.onTls(pid, this.#clock.now()),
        onHandOver: (pid, isSure) => this.#tls.followQueues(pid, isSure),
        opacityOf: pid => this.#tls.opacityOf(pid),
        onFacts: facts => this.#recording?.facts(facts),
      },
      post,
    );
    this.#assembly.pipeline.dispatcher.onStretch = () => this.#drain.relieve();
    this.#clock = new ClockKeeper(this.#assembly.pipeline.clock, out => kernel.clock(out));
    this.#clock.adjust();
    observeKernel(this.#assembly.counters, this.#kernelCounters, this.#assembly.pipeline);
    this.#assembly.counters.observe('underspan.ring.fill', 'data', () => this.#drain.takeDataFill());
    this.#assembly.counters.observe('underspan.ring.fill', 'control', () => this.#drain.takeControlFill());
    this.#assembly.counters.observe('underspan.ring.fill', 'spare', () => this.#drain.takeSpareFill());
    this.#redactor = config.capture.redact ? new Redactor() : null;
    this.#recording =
      start.file === null
        ? null
        : new RecordingWriter(start.file, {
            version: start.version,
            ...this.#clockState(),
            headBytes: config.capture.headBytes,
            startNs,
          });
    this.#selection = this.#compile(config);
    this.#watcher = new ProcessWatcher({
      filter: {
        setProcess: (pid, include, exclude) => this.#setProcess(pid, include, exclude),
        removeProcess: pid => kernel.filter.removeProcess(pid),
        commit: () => kernel.filter.bumpSelection(),
      },
      selection: this.#selection,
      inspect: pid => this.#assembly.processes.inspect(pid),
      pids: () => source.pids(),
      ownPid: start.agentPid,
    });
    this.#pids = () => source.pids();
    this.#tls = new TlsAttacher({
      probes: kernel,
      isObserved: pid => this.#watcher.masksOf(pid).include !== 0,
      expectsOthers: () => this.#selection.needsFacts || this.#selection.defaultMasks.include !== 0,
      onRoutines: pid => this.#tellUnfollowed(this.#kernel.filter.followRoutines(pid), 'Go'),
      onNode: (pid, { handleAt, fieldsAt }) =>
        this.#tellUnfollowed(this.#kernel.filter.followNode(pid, handleAt, fieldsAt), 'Node.js'),
      onVirtualThreads: (pid, places) =>
        this.#tellUnfollowed(this.#kernel.filter.followVirtualThreads(pid, places), 'Java'),
      onReport: report => this.#tellLibrary(report),
      inspector: new Inspector(),
    });
    const limit = config.kernel.maxFollowedSteps;
    const onStopped = (kinds: readonly StepKind[], text: string): void => {
      for (const kind of kinds) {
        this.#tls.leave(kind);
        this.#assembly.counters.series('underspan.probes.detached', kind).add(1);
      }
      this.#post({ type: 'log', level: 'warn', key: `followed ${kinds[0]}`, text });
    };
    this.#followedSteps = new FollowedSteps({ kernel, limit, onStopped }, startNs);
    if (limit === 0) for (const kind of STEP_KINDS) this.#tls.leave(kind);
  }

  #tellUnfollowed(isFollowed: boolean, language: string): void {
    if (isFollowed) return;
    const text = `more processes of ${language} run than are followed: calls of the others have a parent only where little is going on`;
    this.#post({ type: 'log', level: 'warn', key: `unfollowed ${language}`, text });
  }

  async run(): Promise<void> {
    this.#setPriority(this.#start.config.limits.nice);
    this.#applySelection(null, this.#selection);
    this.#watcher.scan();
    this.#kernel.attach();
    // What was started between the first look and the attach has no exec record.
    if (this.#selection.needsFacts) this.#watcher.scan();
    this.#tls.scan(this.#pids());
    if (this.#recording === null) this.#budget = this.#keepBudget();
    this.#readyByNs = this.#clock.now() + READY_WITHIN_NS;
    this.#turn();
  }

  /** Once what runs is probed. A large program on a slow disk is not waited for for ever. */
  #sayReady(nowNs: number): void {
    if (this.#isReady || (this.#tls.isReading && nowNs < this.#readyByNs)) return;
    this.#isReady = true;
    releaseMemory();
    this.#nextSpareNs = nowNs + this.#spareIntervalNs;
    this.#post({ type: 'ready', probes: this.#kernel.reports, bootNs: nowNs, clock: this.#clockState() });
  }

  /**
   * On top of what the process was started with. To go first is for this thread alone (0 names it), not for V8's or the exporters'; to
   * stand back, for all: what is observed waits for each of them.
   */
  #setPriority(nice: number): void {
    const priority = Math.max(-20, Math.min(19, getPriority(process.pid) + nice));
    try {
      setPriority(0, priority);
      if (nice > 0) standBack(priority);
    } catch {
      const text = `limits.nice: ${nice} needs CAP_SYS_NICE; the pipeline keeps its ordinary priority`;
      this.#post({ type: 'log', level: 'info', key: 'nice', text });
    }
  }

  #spareMemory(nowNs: number): void {
    spareMemory();
    this.#spareIntervalNs = Math.min(SPARE_INTERVAL_NS.most, this.#spareIntervalNs * 2);
    this.#nextSpareNs = nowNs + this.#spareIntervalNs;
  }

  #keepBudget(): BudgetKeeper {
    const { config, wantsSpans } = this.#start;
    const { pipeline, counters } = this.#assembly;
    const options = { config, kernel: this.#kernel, pipeline, counters, wantsSpans, post: this.#post };
    return new BudgetKeeper(options, this.#clock.now());
  }

  snapshot(id: number): void {
    this.#post({ type: 'snapshot', id, ...(this.#last ?? this.#snapshot()) });
  }

  reload(message: ToWorker & { readonly type: 'reload' }): void {
    if (this.#isStopped) return;
    const { config } = message;
    this.#assembly.reload(config);
    this.#budget?.reload(config);
    this.#drain.maxSpareBytes = spareBytes(config);
    const selection = this.#compile(config);
    this.#applySelection(this.#selection, selection);
    this.#selection = selection;
    this.#watcher.reload(selection);
  }

  join(message: JoinMessage): void {
    const { remoteJoins } = this.#assembly.pipeline;
    if (message.type === 'joinable') remoteJoins?.setUp(message.isUp);
    else remoteJoins?.onAnswers(message.words, message.batchNumber);
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    // What happens from here on is nobody's. The probes go last, since that takes the kernel seconds.
    const nowNs = this.#clock.now();
    this.#passAll(nowNs);
    for (
      let waitedMs = 0;
      waitedMs === 0 || (this.#drain.isWaiting && waitedMs < SETTLE_MAX_MS);
      waitedMs += SETTLE_MS
    ) {
      Atomics.wait(this.#sleeper, 0, 0, SETTLE_MS);
      this.#passAll(nowNs);
    }
    this.#passAll(nowNs, true);
    this.#queryProgress(this.#clock.now());
    for (const _ of ['suspect', 'know']) this.#lookForLost(this.#clock.now());
    this.#assembly.finish();
    this.#recording?.close();
    // Who asks from here on gets the last one: the kernel's counters are gone.
    this.#last = this.#snapshot();
    this.#tellLosses(this.#clock.now(), true);
    this.#post({ type: 'stopped', ...this.#last });
    this.#tls.close();
    this.#kernel.close();
    this.#post({ type: 'ended' });
  }

  /** One turn of the loop: drain, let go of what is due, come back. */
  #turn(): void {
    this.#timer = null;
    const base = this.#start.config.kernel.drainIntervalMs;
    const nowNs = this.#waitForMore(base);
    this.#passedNs = nowNs;
    const drained = this.#pass(nowNs);
    if (nowNs >= this.#nextProgressNs) {
      this.#nextProgressNs = nowNs + PROGRESS_INTERVAL_NS;
      this.#kernel.slots.reclaim();
      this.#queryProgress(nowNs);
    }
    this.#assembly.tick(this.#handedNs, nowNs);
    this.#budget?.tick(nowNs);
    this.#watcher.flush();
    this.#tls.tick(nowNs);
    this.#sayReady(nowNs);
    if (nowNs >= this.#nextClockNs) this.#keepTime(nowNs);
    if (nowNs >= this.#nextFlushNs) {
      this.#nextFlushNs = nowNs + this.#flushIntervalNs;
      this.#assembly.flush();
    }
    if (nowNs >= this.#nextBeatNs) {
      this.#nextBeatNs = nowNs + BEAT_INTERVAL_NS;
      this.#post({ type: 'beat' });
    }
    if (nowNs >= this.#nextLookNs) {
      this.#nextLookNs = nowNs + LOOK_INTERVAL_NS;
      this.#drain.settle();
      if (nowNs >= this.#nextSpareNs) this.#spareMemory(nowNs);
      this.#lookForLost(nowNs);
    }
    this.#idleMs = drained > 0 ? base : Math.min(IDLE_INTERVAL_MS, this.#idleMs + 1);
    this.#timer = setTimeout(() => this.#turn(), this.#drain.isBehind ? 0 : Math.max(base, this.#idleMs));
  }

  /**
   * Lets records gather while there are few. Without going back to the event loop: to be woken by a timer of its own costs nearly as
   * much as a pass. Returns the time.
   */
  #waitForMore(stepMs: number): number {
    let nowNs = this.#clock.now();
    while (nowNs - this.#passedNs < BATCH_NS && this.#drain.canWait) {
      Atomics.wait(this.#sleeper, 0, 0, stepMs);
      nowNs = this.#clock.now();
    }
    return nowNs;
  }

  #keepTime(nowNs: number): void {
    this.#nextClockNs = nowNs + CLOCK_INTERVAL_NS;
    const { rate } = this.#assembly.pipeline.clock;
    const stepNs = this.#clock.adjust();
    this.#recordClock(stepNs !== 0, rate);
    if (stepNs === 0) return;
    const text = `the wall clock was set by ${(stepNs / 1e9).toFixed(3)} s: spans from now on follow it`;
    this.#post({ type: 'log', level: 'warn', key: 'clock', text });
  }

  /** A replay has to convert times as they were converted. */
  #recordClock(isStep: boolean, rateBefore: number): void {
    const { rate, offsetSeconds, offsetNanos } = this.#assembly.pipeline.clock;
    if (!isStep && rate === rateBefore) return;
    this.#recording?.clock({ fromNs: isStep ? 0 : this.#clock.nowNs, rate, offsetSeconds, offsetNanos });
  }

  /** Until everything has been handed over that happened up to then. */
  #passAll(nowNs: number, isLast = false): void {
    do this.#pass(nowNs, isLast);
    while (this.#drain.isBehind && this.#handedNs < nowNs);
  }

  /** The last one is recorded even if it drained nothing: what was held back is handed over by it. */
  #pass(nowNs: number, isLast = false): number {
    const { pipeline } = this.#assembly;
    const { data, control } = this.#drain;
    this.#settledNs = this.#handedNs;
    const hand = (drained: Drained): void => {
      const { cutNs } = drained;
      pipeline.process(data, control, cutNs);
      this.#handedNs = cutNs;
      this.#assembly.flushIfMany();
      if (!isLast && drained.data.length + drained.control.length === 0) return;
      if (this.#recording === null) return;
      const kept = this.#redactor === null ? drained.data : this.#redactor.slab(drained.data);
      const processes = this.#redactor === null ? drained.control : this.#redactor.slab(drained.control);
      this.#recording.batch({ nowNs, cutNs, data: kept, control: processes, progress: NOTHING });
    };
    return this.#drain.run(nowNs, hand, isLast);
  }

  /** Tells of connections whose end was lost. */
  #lookForLost(nowNs: number): void {
    this.#kernel.readCounters(this.#kernelCounters.values);
    this.#followedSteps.look(this.#kernel.statsByCpu(), nowNs);
    this.#tellLosses(nowNs);
    const { pipeline } = this.#assembly;
    const losses = this.#kernelCounters.loss(LOSS_CONTROL_RING_FULL);
    const records = this.#lost.look(visit => pipeline.connections.forEach(visit), losses, this.#handedNs, nowNs);
    if (records.length === 0) return;
    pipeline.dispatcher.runOne(new Slab(records));
    this.#recording?.batch({ nowNs, cutNs: 0, data: NOTHING, control: NOTHING, progress: records });
  }

  #tellLosses(nowNs: number, isEnd = false): void {
    const text = this.#losses.tell(lossesOf(this.#kernelCounters, this.#assembly.pipeline), nowNs, isEnd);
    if (text !== null) this.#post({ type: 'log', level: 'warn', key: isEnd ? 'last losses' : 'losses', text });
  }

  /** Asks how far the runs have come that connections wait for. */
  #queryProgress(nowNs: number): void {
    const { pipeline } = this.#assembly;
    const { awaited } = pipeline.connections.synchrony;
    if (awaited.size === 0) return;
    this.#progress.reset();
    for (const connection of awaited) {
      if (!this.#queryStream(connection, connection.ingress, DIRECTION_INGRESS, nowNs)) break;
      if (!this.#queryStream(connection, connection.egress, DIRECTION_EGRESS, nowNs)) break;
    }
    const slab = this.#progressSlab;
    slab.at = 0;
    slab.length = this.#progress.length;
    if (slab.length === 0) return;
    pipeline.dispatcher.runOne(slab);
    const progress = this.#progress.bytes.subarray(0, this.#progress.length);
    this.#recording?.batch({ nowNs, cutNs: 0, data: NOTHING, control: NOTHING, progress });
  }

  #queryStream(connection: Connection, stream: Stream, direction: number, nowNs: number): boolean {
    if (stream.parser?.isIdle !== false) return true;
    const { slot, generation } = connection;
    return this.#progress.query(
      {
        slot,
        generation,
        direction,
        runFirstNs: stream.runFirstNs,
        knownSeq: stream.nextSeq,
        handedNs: this.#settledNs,
      },
      nowNs,
    );
  }

  /** A recording holds nothing of connections that were not selected. */
  #compile({ selection, traces }: Config): CompiledSelection {
    return compileSelection(selection, traces.instrumentedServices === 'skip' && this.#recording === null);
  }

  #isSelected(pid: number, include: number, exclude: number): boolean {
    const masks = this.#watcher.masksOf(pid);
    return (masks.include & include & ~this.#selection.otlpBit) !== 0 && (masks.exclude & exclude) === 0;
  }

  #onProcess(kind: 'exec' | 'fork' | 'exit', pid: number, parentPid: number): void {
    if (kind === 'exec') {
      this.#watcher.onExec(pid);
      this.#tls.onExec(pid, this.#clock.now());
    } else if (kind === 'fork') this.#watcher.onFork(pid, parentPid);
    else {
      this.#watcher.onExit(pid);
      this.#tls.onExit(pid);
    }
  }

  #tellLibrary({ kind, library, path, ok, detail }: LibraryReport): void {
    const [subject, done] = LIBRARY_TEXTS[kind];
    const what = library === '' ? `${subject} of some programs` : `${subject} of ${library} in ${path}`;
    const text = `${what}: ${ok ? done : `not ${done}: ${detail}`}`;
    this.#post({ type: 'log', level: ok ? 'info' : 'warn', key: `${kind} ${path}`, text });
  }

  #setProcess(pid: number, include: number, exclude: number): boolean {
    try {
      this.#kernel.filter.setProcess(pid, include, exclude);
      return true;
    } catch (error) {
      const text = `the kernel's process table refused process ${pid}: ${(error as Error).message}`;
      this.#post({ type: 'log', level: 'warn', key: 'processes', text });
      return false;
    }
  }

  #applySelection(old: CompiledSelection | null, selection: CompiledSelection): void {
    const kernel = this.#kernel;
    for (const port of old?.localPorts.keys() ?? []) kernel.filter.removePort('local_ports', port);
    for (const port of old?.peerPorts.keys() ?? []) kernel.filter.removePort('peer_ports', port);
    for (const [port, masks] of selection.localPorts)
      kernel.filter.setPort('local_ports', port, masks.include, masks.exclude);
    for (const [port, masks] of selection.peerPorts)
      kernel.filter.setPort('peer_ports', port, masks.include, masks.exclude);
    kernel.filter.setJudgesExec(selection.needsFacts || selection.pids.size > 0);
    kernel.filter.setDefaults(selection.defaultMasks, selection.anyPort);
  }

  #clockState(): ClockState {
    const { clock } = this.#assembly.pipeline;
    return { offsetSeconds: clock.offsetSeconds, offsetNanos: clock.offsetNanos };
  }

  #reportBytes(): void {
    const { pipeline } = this.#assembly;
    pipeline.connections.forEach(connection => {
      const bytes = this.#kernel.slots.bytesOf(connection.slot, connection.generation);
      if (bytes !== null) pipeline.reportBytes(connection, bytes.ingress, bytes.egress);
    });
  }

  #snapshot(): LastWords {
    this.#kernel.readCounters(this.#kernelCounters.values);
    this.#reportBytes();
    const nowNs = this.#clock.now();
    return { families: this.#assembly.families(nowNs), nowNs, clock: this.#clockState() };
  }
}
