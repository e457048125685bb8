// Builds the pipeline from the configuration, the same for live and replay: what differs comes in as arguments. Also turns
// the pipeline's snapshots and closed connections into messages.
import type { Config } from './config/schema.js';
import { compileGlob } from './discovery/glob.js';
import type { Opacity } from './discovery/opacity.js';
import { compileNameRules } from './discovery/selector.js';
import type { HostFacts } from './enrichment/host.js';
import { ProcessTable } from './enrichment/process.js';
import type { ProcessFacts, ProcessFactsSource } from './enrichment/process-facts.js';
import { RouteTable } from './enrichment/route.js';
import type { Service } from './enrichment/service.js';
import type { Exchange } from './exchanges/exchange.js';
import type { ConnectionSummary } from './exporters/console-connection.js';
import { Handover, NO_SLOT } from './handover.js';
import type { FromWorker, WorkerStart } from './messages.js';
import { type ClosedConnection, Pipeline } from './pipeline.js';
import { CONNECTION_RESET_RECEIVED, CONNECTION_RESET_SENT, ROLE_CLIENT, ROLE_SERVER } from './records/records.gen.js';
import { observePipeline } from './self/agent-metrics.js';
import { Counters } from './self/counters.js';
import { joinFamilies, observeJoins } from './self/join-metrics.js';
import { statusError } from './signals/http-status.js';
import { Metrics } from './signals/metrics.js';
import type { Propagator } from './traces/propagation.js';
import { Sampler } from './traces/sampler.js';
import { Sampling } from './traces/sampling.js';
import { TailSampling } from './traces/tail.js';

export type Post = (message: FromWorker, transfer?: readonly ArrayBuffer[]) => void;

export interface AssemblyOptions {
  readonly start: WorkerStart;
  readonly host: HostFacts;
  readonly source: ProcessFactsSource;
  readonly startNs: number;
  readonly headBytes: number;
  readonly isSelected?: (pid: number, include: number, exclude: number) => boolean;
  readonly portCriteria?: (peerPort: number) => { readonly include: number; readonly exclude: number };
  readonly setVerdict: (slot: number, generation: number, verdict: number) => void;
  readonly evict: (slot: number, generation: number) => void;
  readonly onProcess: (kind: 'exec' | 'fork' | 'exit', pid: number, parentPid: number) => void;
  readonly onTls?: (pid: number) => void;
  readonly onHandOver?: (pid: number, isSure: boolean) => void;
  readonly opacityOf?: (pid: number) => Opacity;
  readonly onFacts?: (facts: ProcessFacts) => void;
}

/** Encoded bytes that are handed over without waiting for the interval. */
const FLUSH_BYTES = 1 << 20;
/** Summaries of closed connections kept between two messages. */
const SUMMARIES_MAX = 4096;

function routeOptions(config: Config): {
  patterns: { service: string; patterns: readonly string[] }[];
  maxRoutes: number;
} {
  return {
    patterns: config.http.routes.map(({ service, patterns }) => ({ service, patterns })),
    maxRoutes: config.http.maxRoutesPerService,
  };
}

function samplingOf(config: Config): Sampling {
  const { sampler, samplerArg, sampling } = config.traces;
  const rules = sampling.rules.map(({ service, path, ratio }) => {
    const isService = service === undefined ? () => true : compileGlob(service);
    const isPath = path === undefined ? () => true : compileGlob(path);
    return { matches: (name: string, target: string) => isService(name) && isPath(target), ratio };
  });
  return new Sampling(new Sampler(sampler, samplerArg), rules);
}

function tailOf(config: Config): TailSampling | null {
  const { keepErrors, keepSlowerThanMs, keepResent, waitMs } = config.traces.sampling;
  if (!keepErrors && keepSlowerThanMs === 0 && !keepResent) return null;
  const isError = ({ kind, errorType, status }: Exchange): boolean =>
    errorType !== '' || statusError(kind, status) !== '';
  return new TailSampling({
    isError: keepErrors ? isError : null,
    slowNs: keepSlowerThanMs * 1e6,
    keepsResent: keepResent,
    waitNs: waitMs * 1e6,
  });
}

/** Baggage is never exported, and `none` is nobody's format. */
function propagatorsOf(config: Config): Propagator[] {
  return config.traces.propagators.filter(name => name !== 'baggage' && name !== 'none');
}

function nameRules(config: Config): ReturnType<typeof compileNameRules> {
  return compileNameRules(config.resource.serviceNames);
}

export class Assembly {
  readonly pipeline: Pipeline;
  readonly processes: ProcessTable;
  readonly counters: Counters;
  readonly #metrics: Metrics;
  readonly #routes: RouteTable;
  readonly #post: Post;
  readonly #startNs: number;
  readonly #handover: Handover | null;
  readonly #isReplay: boolean;
  #summaries: ConnectionSummary[] = [];
  #omitted = 0;

  constructor(options: AssemblyOptions, post: Post) {
    const { start } = options;
    const { config } = start;
    this.#post = post;
    this.#startNs = options.startNs;
    this.#isReplay = start.mode === 'replay';
    this.#handover = start.handover === null ? null : new Handover(start.handover);
    this.#routes = new RouteTable(routeOptions(config));
    this.#metrics = new Metrics({
      startNs: options.startNs,
      maxSeriesPerService: config.metrics.maxSeries,
      ...(config.http.knownMethods.length > 0 ? { knownMethods: config.http.knownMethods } : {}),
    });
    this.processes = new ProcessTable({
      source: options.source,
      rules: nameRules(config),
      host: options.host,
      version: start.version,
      attributes: Object.entries(config.resource.attributes),
      keepArgs: false,
      maxProcesses: config.limits.maxProcesses,
      ...(options.onFacts === undefined ? {} : { onFacts: options.onFacts }),
      onForget: service => {
        this.#metrics.forgetService(service.id);
        this.#routes.forget(service.id);
      },
    });
    this.pipeline = new Pipeline({
      processes: this.processes,
      routes: this.#routes,
      metrics: this.#metrics,
      parentEvidence: config.traces.parentEvidence,
      sampling: samplingOf(config),
      tail: tailOf(config),
      traceLimits: { maxRequests: config.traces.maxRequestsPerTrace, maxAgeNs: config.traces.maxTraceAgeMs * 1e6 },
      propagators: propagatorsOf(config),
      skipsInstrumented: config.traces.instrumentedServices === 'skip',
      onInstrumented: (service, what) => this.#tellInstrumented(service, what),
      onUnsampled: service => this.#tellUnsampled(service),
      joinWaitNs:
        start.mode === 'live' && config.traces.join.redis.url !== undefined ? config.traces.join.waitMs * 1e6 : 0,
      headBytes: options.headBytes,
      maxExchanges: config.limits.maxExchanges,
      responseTimeoutNs: config.http.responseTimeoutMs * 1e6,
      hasConnectSpans: config.traces.connectSpans,
      knownMethods: config.http.knownMethods,
      captureQuery: config.http.urlQuery,
      wantsSpans: start.wantsSpans,
      maxRequestSpans: config.traces.maxExportBatchSize,
      maxBufferedBytes: config.traces.maxQueueBytes,
      allocate: this.#handover === null ? undefined : byteLength => (this.#handover as Handover).allocate(byteLength),
      scopeVersion: start.version,
      ownPeers: start.ownPeers,
      isSelected: options.isSelected,
      portCriteria: options.portCriteria,
      setVerdict: options.setVerdict,
      evict: options.evict,
      onProcess: options.onProcess,
      onTls: options.onTls,
      onHandOver: options.onHandOver,
      opacityOf: options.opacityOf,
      onClosedConnection: start.wantsConnections ? closed => this.#keepSummary(closed) : undefined,
    });
    this.counters = new Counters(options.startNs);
    observePipeline(this.counters, this.pipeline);
    this.counters.observe('underspan.spans.dropped', 'handover_full', () => this.#handover?.dropped ?? 0);
    observeJoins(this.counters, this.pipeline);
  }

  /** What a reload may change: names for processes to come, routes, sampling. */
  reload(config: Config): void {
    this.processes.setRules(nameRules(config));
    this.#routes.configure(routeOptions(config));
    this.pipeline.sampling = samplingOf(config);
  }

  /** After a batch: lets go of what has waited, hands over what is to be told to other hosts. */
  tick(handedNs: number, nowNs: number): void {
    this.pipeline.tick(handedNs, nowNs);
    this.#handJoins();
  }

  /** The end of the input: what waited leaves, and other hosts are told of the last calls. */
  finish(): void {
    this.flush(this.pipeline.finish());
    this.#handJoins();
  }

  #handJoins(): void {
    const batch = this.pipeline.remoteJoins?.take() ?? null;
    if (batch !== null) this.#post({ type: 'join', batch }, [batch.offers.buffer, batch.questions.buffer]);
  }

  /** Hands over finished spans early when many wait: the encoder's buffer is for one interval of ordinary traffic. */
  flushIfMany(): void {
    if (this.pipeline.encoder.byteLength > FLUSH_BYTES) this.flush();
  }

  /** Hands over finished spans and connection summaries. */
  flush(batches = this.pipeline.flush()): void {
    for (const { bytes, spanCount } of batches) {
      const slot = this.#handover?.slotOf(bytes) ?? NO_SLOT;
      if (this.#hasRoom(bytes.length, spanCount)) {
        if (slot === NO_SLOT) this.#post({ type: 'traces', bytes, spanCount }, [bytes.buffer as ArrayBuffer]);
        else this.#post({ type: 'traces_in_slot', slot, byteLength: bytes.length, spanCount });
      } else this.#handover?.release(slot);
    }
    if (this.#summaries.length === 0) return;
    this.#post({ type: 'connections', summaries: this.#summaries, omitted: this.#omitted });
    this.#summaries = [];
    this.#omitted = 0;
  }

  families(nowNs: number): ReturnType<Metrics['snapshot']> {
    const { ledger } = this.pipeline;
    return [
      ...this.#metrics.snapshot(nowNs),
      ...ledger.families(this.#startNs),
      ...this.counters.snapshot(),
      ...joinFamilies(this.pipeline, this.#startNs),
    ];
  }

  #hasRoom(byteLength: number, spanCount: number): boolean {
    if (this.#handover === null) return true;
    if (this.#isReplay) this.#handover.waitForRoom(byteLength);
    if (this.#handover.offer(byteLength, spanCount)) return true;
    const text =
      'spans were dropped: the main thread, which exports them, gets too little time (underspan.spans.dropped: handover_full)';
    this.#post({ type: 'log', level: 'warn', key: 'handover', text });
    return false;
  }

  #tellInstrumented({ name }: Service, what: 'all' | 'calls'): void {
    const text =
      what === 'all'
        ? `${name} exports traces itself: they are left to it, only metrics are taken (traces.instrumented_services)`
        : `${name} exports traces of its calls and not of what it serves: that is told here`;
    this.#post({ type: 'log', level: 'info', key: `instrumented:${what}:${name}`, text });
  }

  #tellUnsampled({ name }: Service): void {
    const text = `${name} has no spans so far: each request came with a header that says that its trace is not sampled (.NET writes such by itself); metrics count them, and traces.sampler: traceidratio does not ask headers`;
    this.#post({ type: 'log', level: 'info', key: `unsampled:${name}`, text });
  }

  #keepSummary(closed: ClosedConnection): void {
    if (this.#summaries.length >= SUMMARIES_MAX) this.#omitted++;
    else this.#summaries.push(summarise(closed, this.pipeline));
  }
}

function summarise({ connection, service, event }: ClosedConnection, pipeline: Pipeline): ConnectionSummary {
  const { peer, flags } = connection;
  const { clock } = pipeline;
  clock.convert(connection.connectNs > 0 ? connection.connectNs : connection.openedNs);
  return {
    openedUnixMs: clock.seconds * 1000 + clock.nanos / 1e6,
    service: service.name,
    pid: connection.pid,
    role: connection.role === ROLE_CLIENT ? 'client' : connection.role === ROLE_SERVER ? 'server' : 'unknown',
    local: place(peer.localAddress, peer.localPort),
    remote: place(peer.remoteAddress, peer.remotePort),
    transport: peer.transport,
    createdNs: connection.createdNs,
    connectNs: connection.connectNs,
    establishedNs: connection.establishedNs,
    acceptedNs: connection.acceptedNs,
    firstReadNs: event.firstReadNs,
    lastReadNs: event.lastReadNs,
    firstWriteNs: event.firstWriteNs,
    lastWriteNs: event.lastWriteNs,
    finSentNs: event.finSentNs,
    finReceivedNs: event.finReceivedNs,
    closedNs: event.timeNs,
    bytesIn: event.bytesIngress,
    bytesOut: event.bytesEgress,
    readCalls: event.callsIngress,
    writeCalls: event.callsEgress,
    errorName: connection.errorType,
    resetBy: (flags & CONNECTION_RESET_RECEIVED) !== 0 ? 'peer' : (flags & CONNECTION_RESET_SENT) !== 0 ? 'us' : '',
    resetNs: event.resetNs,
    retransmits: event.tcpTotalRetrans,
    rwndLimitedMs: event.tcpRwndLimitedMs,
    sndbufLimitedMs: event.tcpSndbufLimitedMs,
    unsentBytes: event.tcpUnsentBytes,
    unackedBytes: event.tcpUnackedBytes,
    unseenIn: event.unseenIngress,
    unseenOut: event.unseenEgress,
    lostRecords: event.lostRecords,
    protocol: connection.protocol,
    srttMicros: event.tcpSrttUs,
  };
}

function place(address: string, port: number): string {
  if (address === '') return '';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
