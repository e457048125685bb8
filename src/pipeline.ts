// The data path on one page: records in, encoded spans and metrics out. Plain synchronous calls over a batch, in the order
// of the folders: records -> connections -> protocols -> exchanges -> traces -> enrichment -> signals -> otlp. The worker
// feeds it from the kernel, a replay from a file; neither is known here.
import { WallClock } from './clock.js';
import { Connection, NO_PEER, readPeer } from './connections/connection.js';
import { type ConnectionSink, ConnectionTable } from './connections/connection-table.js';
import { Stream } from './connections/stream.js';
import { OPACITY_REASONS, type Opacity, type OpacityReason, UNKNOWN } from './discovery/opacity.js';
import type { ProcessTable } from './enrichment/process.js';
import type { RouteTable } from './enrichment/route.js';
import type { Service } from './enrichment/service.js';
import { errnoName } from './errno.js';
import {
  type Exchange,
  type ExchangeKind,
  KIND_CLIENT,
  KIND_SERVER,
  newExchange,
  Opening,
} from './exchanges/exchange.js';
import type { DropReason } from './exchanges/matcher.js';
import { type Allocate, type EncodedTraces, TraceRequestEncoder } from './otlp/trace-request.js';
import { callsTraceService, carriesOtlp, carriesTraces } from './protocols/otlp.js';
import type { MessageHead } from './protocols/protocol.js';
import { HANDSHAKE_DONE, HANDSHAKE_LOST, type TlsHandshake } from './protocols/tls/handshake.js';
import { Dispatcher, type RecordHandler, type Slab } from './records/dispatch.js';
import {
  CONNECTION_PAIR_UNSURE,
  type ConnectFailedEventCursor,
  type ConnectionClosedEventCursor,
  type ConnectionLostEventCursor,
  type ConnectionOpenedEventCursor,
  type ConnectionStateEventCursor,
  type DataEventCursor,
  DIRECTION_EGRESS,
  DIRECTION_INGRESS,
  type ProcessExecEventCursor,
  type ProcessExitEventCursor,
  type ProcessForkEventCursor,
  type ProgressEventCursor,
  ROLE_CLIENT,
  ROLE_SERVER,
  ROLE_UNKNOWN,
  type WakeEventCursor,
  type WorkEventCursor,
} from './records/records.gen.js';
import { Ledger } from './self/ledger.js';
import { settleShape } from './shape.js';
import { Histogram, WAIT_SECONDS_BOUNDS } from './signals/histogram.js';
import type { Metrics } from './signals/metrics.js';
import { SpanWriter } from './signals/span.js';
import { firstInstantNs } from './signals/timeline.js';
import { type TlsSpan, TlsSpanWriter } from './signals/tls-span.js';
import { Causes, type CauseThreshold } from './traces/causes.js';
import { ClientSight } from './traces/client-sight.js';
import { IdSource, type TraceContext } from './traces/context.js';
import { Correlator } from './traces/correlator.js';
import { firstOf } from './traces/first-request.js';
import { HeldExchanges } from './traces/held.js';
import { InstrumentedServices } from './traces/instrumented.js';
import { Propagation, type Propagator, type RemoteParent } from './traces/propagation.js';
import { RemoteJoins } from './traces/remote-joins.js';
import type { Sampling } from './traces/sampling.js';
import type { TailSampling } from './traces/tail.js';
import { type TraceLimitOptions, TraceLimits } from './traces/trace-limits.js';
import { UnsampledServices } from './traces/unsampled.js';

/** Everything of a connection's life, for `underspan trace --connections`. */
export interface ClosedConnection {
  readonly connection: Connection;
  readonly service: Service;
  readonly event: ConnectionClosedEventCursor;
}

export interface PipelineOptions {
  readonly processes: ProcessTable;
  readonly routes: RouteTable;
  readonly metrics: Metrics;
  readonly sampling: Sampling;
  readonly tail: TailSampling | null;
  readonly traceLimits: TraceLimitOptions;
  readonly propagators?: readonly Propagator[];
  /** Spans of services that export traces themselves are left to these. */
  readonly skipsInstrumented: boolean;
  /** A service was found to do so, or to do so of its calls only. */
  readonly onInstrumented?: ((service: Service, what: 'all' | 'calls') => void) | undefined;
  /** All requests of a service came with a header that says that they are not sampled. */
  readonly onUnsampled?: ((service: Service) => void) | undefined;
  /** How long a span waits for a client on another host; 0: nobody keeps the keys of other hosts. */
  readonly joinWaitNs: number;
  /** The weakest evidence that makes a parent inside a process. */
  readonly parentEvidence?: CauseThreshold;
  readonly headBytes: number;
  readonly maxExchanges: number;
  readonly responseTimeoutNs: number;
  readonly hasConnectSpans: boolean;
  readonly knownMethods: readonly string[];
  readonly captureQuery: boolean;
  /** False: metrics only. */
  readonly wantsSpans: boolean;
  readonly maxRequestSpans: number;
  readonly maxBufferedBytes: number;
  readonly allocate?: Allocate | undefined;
  readonly scopeVersion: string;
  /** Peers that are our own (the admin listener): connections to them are not read. */
  readonly ownPeers: readonly { readonly address: string; readonly port: number }[];
  /** Is this process selected for connections that meet these port criteria? The kernel lets new programs through. */
  readonly isSelected?: ((pid: number, include: number, exclude: number) => boolean) | undefined;
  /** Which port criteria a client's connection to this port meets, 0: to none, or to one that nobody knows. */
  readonly portCriteria?: ((peerPort: number) => PortCriteria) | undefined;
  readonly setVerdict: (slot: number, generation: number, verdict: number) => void;
  readonly evict: (slot: number, generation: number) => void;
  readonly onProcess: (kind: 'exec' | 'fork' | 'exit', pid: number, parentPid: number) => void;
  /** A connection of this process begins with a TLS record. */
  readonly onTls?: ((pid: number) => void) | undefined;
  /** Its threads or tasks hand requests to each other. */
  readonly onHandOver?: ((pid: number, isSure: boolean) => void) | undefined;
  /** Why TLS of this process is not read. */
  readonly opacityOf?: ((pid: number) => Opacity) | undefined;
  readonly onClosedConnection?: ((closed: ClosedConnection) => void) | undefined;
}

/** Bits of the selectors whose port criteria are met. */
interface PortCriteria {
  readonly include: number;
  readonly exclude: number;
}

const ALL_INCLUDED: PortCriteria = { include: 0xffffffff, exclude: 0 };
const EXPIRY_INTERVAL_NS = 1e9;
/** Sets pairs with ports apart from those of TCP (0) and of unix sockets (odd). */
const PORTS_TAG = 2;
const UNKNOWN_OPACITY: Opacity = { reason: UNKNOWN, library: '' };
/** Runtimes that run many tasks on few threads: what a thread did last tells nothing there. */
const MULTIPLEXED: ReadonlySet<string> = new Set(['go', 'erlang', 'dotnet']);
/** Runtimes in which calls that are nobody's may be for a request that went through a queue. */
const HANDING_OVER: ReadonlySet<string> = new Set(['java', 'python']);
/** Runtimes whose programs may let a request wait for the next one, and go on when that comes. */
const MEETING: ReadonlySet<string> = new Set(['nodejs', 'python']);

export class Pipeline implements RecordHandler, ConnectionSink {
  readonly clock = new WallClock();
  readonly dispatcher: Dispatcher;
  readonly connections: ConnectionTable;
  readonly encoder: TraceRequestEncoder;
  readonly ledger = new Ledger();
  readonly correlator: Correlator;
  /** null: traces end at this host. */
  readonly remoteJoins: RemoteJoins | null;
  /** TLS connections of which no plaintext was seen, by the reason. */
  readonly opaqueConnections = Object.fromEntries(OPACITY_REASONS.map(reason => [reason, 0])) as Record<
    OpacityReason,
    number
  >;
  /** SERVER exchanges by how their parent is known. */
  readonly serverParents = { sequence: 0, remote_sequence: 0, header: 0, none: 0 };
  /** Exchanges of FastCGI among Ledger.completed. */
  completedFastcgi = 0;
  /** Seconds from the question after a client on another host to the answer. */
  readonly joinWaits = new Histogram(WAIT_SECONDS_BOUNDS);
  readonly causes: Causes;
  /** Begin a trace of their own where the one that a header names has grown too long. */
  readonly traceLimits: TraceLimits;
  sampling: Sampling;
  /** null: what is not sampled is not looked at again. */
  tail: TailSampling | null;
  /** Share of traces whose spans the agent's budget allows (self/budget.ts). */
  affordableShare = 1;
  readonly #options: PipelineOptions;
  readonly #ids = new IdSource();
  readonly #writer: SpanWriter;
  readonly #tlsWriter: TlsSpanWriter;
  readonly #instrumented = new InstrumentedServices(service => languageOf(service) === 'dotnet');
  readonly #unsampled = new UnsampledServices();
  readonly #held = new HeldExchanges();
  #active = 0;
  #nextExpiryNs = 0;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.sampling = options.sampling;
    this.tail = options.tail;
    this.traceLimits = new TraceLimits(options.traceLimits);
    this.dispatcher = new Dispatcher(this);
    this.connections = new ConnectionTable(this, { headBytes: options.headBytes });
    this.causes = new Causes({
      threshold: options.parentEvidence ?? 'slice',
      limits: this.traceLimits,
      find: (slot, generation) => this.connections.find(slot, generation),
      isSerial: ({ service, isFastcgi }) => isFastcgi && PHP.test(textOf(service, 'process.executable.name')),
      mayHandOver: exchange => HANDING_OVER.has(languageOf(exchange.service)),
      mayMeet: exchange => MEETING.has(languageOf(exchange.service)),
      isMultiplexed: ({ service }) => MULTIPLEXED.has(languageOf(service)) || runsRustTasks(service),
      tellsItself: ({ service }) => this.#instrumented.has(service),
      onHandOver: options.onHandOver,
    });
    this.correlator = new Correlator(
      this.#ids,
      this.traceLimits,
      new Propagation(options.propagators),
      this.#instrumented,
    );
    this.remoteJoins =
      options.joinWaitNs > 0 && options.wantsSpans ? this.#createRemoteJoins(options.joinWaitNs) : null;
    this.encoder = new TraceRequestEncoder({
      clock: this.clock,
      scopeName: 'underspan',
      scopeVersion: options.scopeVersion,
      maxBufferedBytes: options.maxBufferedBytes,
      allocate: options.allocate,
      maxRequestSpans: options.maxRequestSpans,
    });
    this.#tlsWriter = new TlsSpanWriter(this.encoder);
    this.#writer = new SpanWriter(this.encoder, {
      knownMethods: options.knownMethods,
      captureQuery: options.captureQuery,
    });
    for (const kind of [KIND_SERVER, KIND_CLIENT] as const)
      settleShape(newExchange(kind, NO_PEER, this.correlator.newTrace(), 0, 0));
    settleShape(new Connection(0, 0), new Set(['seq', 'otherSeq']));
    settleShape(new Stream(), new Set(['nextSeq', 'tailLow', 'tailHigh', 'tailSeq']));
  }

  /** Exchanges under way. */
  get activeExchanges(): number {
    return this.#active;
  }

  /** These, and the finished ones that wait for their client: counted apart from the ledger, which has to agree. */
  get openExchanges(): number {
    return this.#active + this.#held.size + (this.tail?.size ?? 0);
  }

  #createRemoteJoins(waitNs: number): RemoteJoins {
    return new RemoteJoins({
      waitNs,
      isSampled: exchange => this.sampling.isSampled(exchange),
      isLeftOut: exchange => this.#isLeftOut(exchange),
      admits: (ids, nowNs) => this.traceLimits.admits(ids, nowNs),
      onFound: seconds => this.joinWaits.record(seconds),
    });
  }

  // -- a batch

  /** One drain's records, those up to `cutNs`. */
  process(data: Slab, control: Slab, cutNs = Number.MAX_VALUE): void {
    this.dispatcher.run(data, control, cutNs);
  }

  /**
   * After a batch: lets go of what has waited long enough. Boot-clock times: records up to `handedNs` have been handed over, and by that
   * time is waited for records that are still to come, however late they are; for other hosts, by `nowNs`.
   */
  tick(handedNs: number, nowNs = handedNs): void {
    this.remoteJoins?.tick(nowNs);
    this.causes.tick(handedNs);
    this.#held.release(handedNs, this.#exportHeld);
    this.tail?.release(handedNs, this.#writeHeld);
    if (handedNs < this.#nextExpiryNs) return;
    this.#nextExpiryNs = handedNs + EXPIRY_INTERVAL_NS;
    this.connections.expire(handedNs - this.#options.responseTimeoutNs, handedNs);
    this.#options.processes.expire(handedNs);
  }

  /** Takes the spans that are ready as OTLP requests. */
  flush(): EncodedTraces[] {
    return this.encoder.flush();
  }

  /** The end of the input: what waits is exported, what is under way is dropped and counted. */
  finish(): EncodedTraces[] {
    this.remoteJoins?.finish();
    this.connections.abandonAll();
    this.causes.finish();
    this.#held.releaseAll(this.#exportHeld);
    this.tail?.releaseAll(this.#writeHeld);
    return this.flush();
  }

  // -- records

  onData(event: DataEventCursor, bytes: Uint8Array, payload: number): void {
    if (event.direction === DIRECTION_EGRESS) this.causes.onWrite(event);
    else this.causes.onRead(event);
    this.connections.onData(event, bytes, payload);
  }

  onState(event: ConnectionStateEventCursor): void {
    this.connections.onState(event);
  }

  onProgress(event: ProgressEventCursor): void {
    this.connections.onProgress(event);
  }

  onExec(event: ProcessExecEventCursor, bytes: Uint8Array): void {
    const from = event.at + event.size - event.argsBytes;
    const args = Buffer.from(bytes.buffer, bytes.byteOffset + from, event.argsBytes)
      .toString('utf8')
      .split('\0');
    if (args[args.length - 1] === '') args.pop();
    const commAt = event.at + event.commOffset;
    const comm =
      Buffer.from(bytes.buffer, bytes.byteOffset + commAt, 16)
        .toString('utf8')
        .split('\0')[0] ?? '';
    this.causes.forgetProcess(event.pid);
    this.#options.processes.onExec(event.pid, event.parentPid, args, comm, event.cgroupId, event.startNs, event.timeNs);
    this.#options.onProcess('exec', event.pid, event.parentPid);
  }

  onFork(event: ProcessForkEventCursor): void {
    this.#options.processes.onFork(event.pid, event.parentPid, event.timeNs);
    this.#options.onProcess('fork', event.pid, event.parentPid);
  }

  onWork(event: WorkEventCursor): void {
    this.causes.onWork(event);
  }

  onWake(event: WakeEventCursor): void {
    this.causes.onWake(event);
  }

  onExit(event: ProcessExitEventCursor): void {
    this.connections.onProcessExit(event.pid);
    this.causes.forgetProcess(event.pid);
    this.#options.processes.onExit(event.pid, event.timeNs);
    this.#options.onProcess('exit', event.pid, 0);
  }

  // -- connections

  onOpened(event: ConnectionOpenedEventCursor): void {
    this.connections.onOpened(event);
  }

  onClosed(event: ConnectionClosedEventCursor): void {
    this.connections.onClosed(event);
  }

  onLost(event: ConnectionLostEventCursor): void {
    this.connections.onLost(event);
  }

  isWanted(connection: Connection): boolean {
    const { remoteAddress, remotePort, localAddress, localPort } = connection.peer;
    return !this.#options.ownPeers.some(
      ({ address, port }) =>
        (port === remotePort && (address === remoteAddress || address === '')) ||
        (port === localPort && address === localAddress && connection.role !== ROLE_CLIENT),
    );
  }

  evict(slot: number, generation: number): void {
    this.#options.evict(slot, generation);
  }

  setVerdict(slot: number, generation: number, verdict: number): void {
    this.#options.setVerdict(slot, generation, verdict);
  }

  #isSelected(pid: number, { include, exclude }: PortCriteria): boolean {
    return this.#options.isSelected?.(pid, include, exclude) ?? true;
  }

  #serviceOf(connection: Connection): Service {
    return this.#options.processes.service(connection.pid, connection.openedNs);
  }

  onConnectionOpened(connection: Connection, event: ConnectionOpenedEventCursor): void {
    if (connection.isSession) return; // its socket is counted
    connection.isCounted = !connection.isIgnored && this.#isSelected(connection.pid, connection);
    if (!connection.isCounted) return;
    const service = this.#serviceOf(connection);
    this.#options.metrics.connectionOpened(service, roleName(connection.role));
    if (connection.role === ROLE_CLIENT) this.causes.onConnected(connection, event);
    if (connection.role !== ROLE_CLIENT || connection.connectNs === 0 || connection.establishedNs === 0) return;
    const { metrics, hasConnectSpans } = this.#options;
    metrics.connect(service, (connection.establishedNs - connection.connectNs) / 1e9, '');
    if (!hasConnectSpans || !this.#options.wantsSpans || this.#isSkipped(service)) return;
    const trace = this.correlator.newTrace();
    connection.connectTrace = trace;
    connection.connectSpan0 = this.#ids.nonZeroWord();
    connection.connectSpan1 = this.#ids.word();
    if (!this.sampling.isSampledAlone(trace)) return;
    this.#writer.writeConnect({
      service,
      trace,
      span0: connection.connectSpan0,
      span1: connection.connectSpan1,
      parent0: 0,
      parent1: 0,
      peer: connection.peer,
      startNs: connection.connectNs,
      endNs: event.establishedNs,
      errorName: '',
    });
  }

  onTlsBegun(connection: Connection): void {
    this.#options.onTls?.(connection.pid);
  }

  onTlsHandshake(connection: Connection): void {
    const handshake = connection.tls?.handshake;
    if (handshake === undefined || handshake.state === HANDSHAKE_LOST || !connection.isCounted) return;
    const { hasConnectSpans, wantsSpans } = this.#options;
    if (!hasConnectSpans || !wantsSpans) return;
    const trace = this.correlator.newTrace();
    if (this.sampling.isSampledAlone(trace))
      this.#tlsWriter.writeHandshake(this.#tlsSpan(connection, handshake, trace));
  }

  #tlsSpan(connection: Connection, handshake: TlsHandshake, trace: TraceContext): TlsSpan {
    return {
      service: this.#serviceOf(connection),
      trace,
      span0: this.#ids.nonZeroWord(),
      span1: this.#ids.word(),
      peer: connection.peer,
      isServer: connection.role === ROLE_SERVER,
      handshake,
      errorType: connection.errorType,
    };
  }

  /** A TLS connection of which no plaintext was seen. */
  #writeOpaque(connection: Connection, event: ConnectionClosedEventCursor): void {
    const { tls } = connection;
    if (tls === null || connection.isCarrier || connection.isSession) return;
    const { handshake } = tls;
    if (handshake.state !== HANDSHAKE_DONE && handshake.state !== HANDSHAKE_LOST) return;
    const { hasConnectSpans, wantsSpans, opacityOf } = this.#options;
    const opacity = opacityOf?.(connection.pid) ?? UNKNOWN_OPACITY;
    this.opaqueConnections[opacity.reason]++;
    const trace = this.correlator.newTrace();
    if (!hasConnectSpans || !wantsSpans || !this.sampling.isSampledAlone(trace)) return;
    this.#tlsWriter.writeConnection({
      ...this.#tlsSpan(connection, handshake, trace),
      startNs: handshake.startNs,
      endNs: event.timeNs,
      bytesIn: event.bytesIngress,
      bytesOut: event.bytesEgress,
      readCalls: event.callsIngress,
      writeCalls: event.callsEgress,
      bursts: tls.bursts,
      opacity,
    });
  }

  onConnectionClosed(connection: Connection, event: ConnectionClosedEventCursor): void {
    this.causes.onClosed(connection);
    if (!connection.isCounted) return;
    const service = this.#serviceOf(connection);
    this.#writeOpaque(connection, event);
    const bytesIn = Math.max(0, event.bytesIngress - connection.reportedIn);
    const bytesOut = Math.max(0, event.bytesEgress - connection.reportedOut);
    this.#options.metrics.connectionClosed(service, roleName(connection.openedRole), bytesIn, bytesOut);
    this.#options.onClosedConnection?.({ connection, service, event });
  }

  /** Its end went unseen (a lost record, a process that died): all that is known of it has been told. */
  onConnectionLost(connection: Connection): void {
    this.causes.onClosed(connection);
    if (!connection.isCounted) return;
    this.#options.metrics.connectionClosed(this.#serviceOf(connection), roleName(connection.openedRole), 0, 0);
  }

  onConnectFailed(event: ConnectFailedEventCursor): void {
    const peer = readPeer(event.view, event.at + event.addressLocalOffset);
    if (!this.#isSelected(event.pid, this.#options.portCriteria?.(peer.remotePort) ?? ALL_INCLUDED)) return;
    const service = this.#options.processes.service(event.pid, event.timeNs);
    const errorName = event.errorNumber === 0 ? 'ECANCELED' : errnoName(event.errorNumber);
    const startNs = event.connectNs > 0 ? event.connectNs : event.timeNs;
    this.#options.metrics.connect(service, (event.timeNs - startNs) / 1e9, errorName);
    // Name service look-ups try a unix socket that is rarely there: a number, not a span for each.
    const { hasConnectSpans, wantsSpans } = this.#options;
    if (!hasConnectSpans || !wantsSpans || peer.transport === 'unix' || this.#isSkipped(service)) return;
    const trace = this.correlator.newTrace();
    if (!this.sampling.isSampledAlone(trace)) return;
    this.#writer.writeConnect({
      service,
      trace,
      span0: this.#ids.nonZeroWord(),
      span1: this.#ids.word(),
      parent0: 0,
      parent1: 0,
      peer,
      startNs,
      endNs: event.timeNs,
      errorName,
    });
  }

  /** Bytes that an open connection has moved so far, for metrics between its opening and its close. */
  reportBytes(connection: Connection, bytesIn: number, bytesOut: number): void {
    const moreIn = bytesIn - connection.reportedIn;
    const moreOut = bytesOut - connection.reportedOut;
    if (!connection.isCounted) return;
    if (moreIn <= 0 && moreOut <= 0) return;
    connection.reportedIn = bytesIn;
    connection.reportedOut = bytesOut;
    this.#options.metrics.transferred(this.#serviceOf(connection), Math.max(0, moreIn), Math.max(0, moreOut));
  }

  // -- exchanges

  beginExchange(connection: Connection, position: number): Exchange {
    const kind = connection.requestDirection === DIRECTION_INGRESS ? KIND_SERVER : KIND_CLIENT;
    const exchange = newExchange(
      kind,
      connection.peer,
      this.correlator.newTrace(),
      this.#ids.nonZeroWord(),
      this.#ids.word(),
    );
    exchange.trace.sinceNs = connection.takenNs;
    this.#active++;
    if (this.#active > this.#options.maxExchanges) exchange.discardReason = 'evicted';
    if (!this.#isSelected(connection.ioPid, connection)) {
      exchange.discardReason = 'filtered';
    }
    exchange.requestFirstNs = connection.firstNs;
    exchange.requestTakenNs = connection.takenNs;
    exchange.pid = connection.ioPid;
    exchange.tid = connection.tid;
    exchange.service = this.#options.processes.service(connection.ioPid, connection.takenNs);
    this.ledger.begin(exchange.service);
    exchange.isSecure = connection.isSession;
    exchange.isFastcgi = connection.protocolName === 'fastcgi';
    exchange.tls = connection.tls?.handshake ?? null;
    const isCounted = !connection.isPreexisting && connection.isEachSeen;
    exchange.connectionIndex = isCounted ? connection.exchangeCount : 0;
    exchange.isConnectionReused = !isCounted || connection.exchangeCount > 1;
    if (!exchange.isConnectionReused) this.#describeOpening(connection, exchange);
    this.causes.begin(connection, exchange);
    // One that will never be exported is nobody's parent.
    const isTold = exchange.discardReason === '';
    if (kind === KIND_SERVER) {
      connection.clientSight ??= new ClientSight();
      if (connection.clientSight.isAwaited) exchange.clientSight = connection.clientSight;
    }
    if (isTold) this.#nameRequest(connection, exchange, position - connection.seqPosition);
    return exchange;
  }

  /** By the pair of sequence numbers that the other side has, too; `offset`: of the request in its record (pipelining). */
  #nameRequest(connection: Connection, exchange: Exchange, offset: number): void {
    const { seq, otherSeq, pairTag } = connection;
    if ((connection.flags & CONNECTION_PAIR_UNSURE) === 0)
      this.correlator.begin(exchange, (seq + offset) >>> 0, otherSeq, pairTag);
    // A TLS session that is older than its probes: one position of the ciphertext, and the ports.
    else if (connection.isSession && connection.peer.transport === 'tcp' && pairTag !== 0 && offset === 0)
      this.correlator.begin(exchange, pairTag, portsOf(exchange), PORTS_TAG);
  }

  #describeOpening(connection: Connection, exchange: Exchange): void {
    const { tls } = exchange;
    const opening = new Opening();
    exchange.opening = opening;
    if (tls !== null && tls.state === HANDSHAKE_DONE) opening.handshakeSeconds = (tls.endNs - tls.startNs) / 1e9;
    const { connectNs, establishedNs, acceptedNs } = connection;
    if (exchange.kind === KIND_SERVER) {
      if (establishedNs > 0 && acceptedNs >= establishedNs)
        opening.acceptWaitSeconds = (acceptedNs - establishedNs) / 1e9;
      return;
    }
    if (connectNs > 0 && establishedNs >= connectNs) opening.connectSeconds = (establishedNs - connectNs) / 1e9;
    opening.connectTrace = connection.connectTrace;
    opening.connectSpan0 = connection.connectSpan0;
    opening.connectSpan1 = connection.connectSpan1;
  }

  onResponseStart(connection: Connection, exchange: Exchange): void {
    this.causes.respond(connection, exchange);
  }

  onRequestHead(_connection: Connection, exchange: Exchange, head: MessageHead): void {
    if (carriesOtlp(head)) {
      if (exchange.kind === KIND_SERVER || carriesTraces(head))
        this.#noteOtlp(exchange.kind, exchange.service as Service);
      exchange.discardReason = 'otlp';
    }
    if (exchange.discardReason !== '') return;
    this.#options.metrics.requestStarted(exchange);
    exchange.requestId = head.traceHeaders?.requestId ?? '';
    const named = this.correlator.onHead(exchange, head);
    const { skipsInstrumented } = this.#options;
    if (named !== null && exchange.hasOwnHeader && skipsInstrumented && this.#instrumented.noteCall(exchange, named))
      this.#options.onInstrumented?.(exchange.service as Service, 'calls');
    const bringer = exchange.requestId === '' ? null : this.correlator.onRequestId(exchange);
    const hierarchicalId = head.traceHeaders?.hierarchicalId ?? '';
    const brought = hierarchicalId === '' ? null : this.correlator.onHierarchicalId(exchange, hierarchicalId);
    if (exchange.parentEvidence === '' && bringer !== null) this.causes.settleForwarded(exchange, bringer);
    else if (exchange.parentEvidence === '' && brought !== null) this.causes.settleBrought(exchange, brought);
    else if (exchange.parentEvidence === '') this.causes.settle(exchange);
    else if (named !== null && exchange.hasOwnHeader) this.#onOwnHeader(exchange, named);
    this.remoteJoins?.onHead(exchange);
  }

  /** Something in the process has written the call's header. */
  #onOwnHeader(call: Exchange, header: RemoteParent): void {
    const tellsItself = this.#instrumented.has(call.service);
    const brought = tellsItself ? null : this.correlator.onOwnHeader(call, header);
    if (brought !== null) this.causes.settleBrought(call, brought);
    else if (!this.#instrumented.tellsCallsOnly(call.service)) this.causes.settleTold(call);
  }

  /** Bytes of a connection whose protocol is not known. */
  onStrangeBytes(connection: Connection, direction: number, bytes: Uint8Array, from: number, to: number): void {
    if (connection.role === ROLE_UNKNOWN || !callsTraceService(bytes, from, to)) return;
    const isServer = connection.role !== ROLE_CLIENT;
    if (isServer !== (direction === DIRECTION_INGRESS)) return;
    const service = this.#options.processes.service(connection.ioPid, connection.openedNs);
    this.#noteOtlp(isServer ? KIND_SERVER : KIND_CLIENT, service);
  }

  #noteOtlp(kind: ExchangeKind, service: Service): void {
    if (kind === KIND_SERVER) this.#instrumented.receives(service);
    else if (this.#instrumented.sends(service) && this.#options.skipsInstrumented)
      this.#options.onInstrumented?.(service, 'all');
  }

  #isSkipped(service: Service | null): boolean {
    return this.#options.skipsInstrumented && this.#instrumented.has(service);
  }

  /** Does somebody else tell this exchange? */
  #isLeftOut(exchange: Exchange): boolean {
    return this.#options.skipsInstrumented && this.#instrumented.tells(exchange);
  }

  /** In place of a parent that is not exported, its own. */
  #passOver(exchange: Exchange): void {
    let parent = exchange.parentExchange;
    while (parent !== null && this.#isLeftOut(parent)) {
      exchange.parent0 = parent.parent0;
      exchange.parent1 = parent.parent1;
      exchange.parentEvidence = parent.parentEvidence;
      parent = parent.parentExchange;
    }
    exchange.parentExchange = null;
  }

  finishExchange(connection: Connection, exchange: Exchange): void {
    this.#end(exchange);
    if (exchange.discardReason !== '') {
      this.correlator.end(exchange);
      this.ledger.drop(exchange.service, exchange.discardReason);
      return;
    }
    if (exchange.kind === KIND_SERVER) this.#noteClient(connection, exchange);
    if (!this.#held.hold(exchange)) this.#export(exchange);
  }

  /** With requests in a row on their way, the client's record of this one may come after the end of others. */
  #noteClient({ clientSight, matcher }: Connection, exchange: Exchange): void {
    if (exchange.parentEvidence === 'sequence' || matcher?.isIdle === false) clientSight?.see();
    else clientSight?.miss();
  }

  readonly #exportHeld = (exchange: Exchange): void => this.#export(exchange);

  readonly #writeHeld = (exchange: Exchange): void => this.#write(exchange);

  /** Its place in its trace is final: it is counted, and told unless its trace is still to be decided. */
  #export(exchange: Exchange): void {
    this.correlator.end(exchange);
    exchange.trace.isOut = true;
    const isSampled = this.#options.wantsSpans && this.sampling.isSampled(exchange);
    const first = isSampled || this.tail === null ? exchange : firstOf(exchange);
    if (exchange.kind === KIND_SERVER) this.serverParents[serverEvidence(exchange)]++;
    this.#passOver(exchange);
    if (exchange.kind === KIND_SERVER) {
      exchange.route = this.#options.routes.route(exchange.service as Service, exchange.target, exchange.status);
      if (exchange.toldContext !== null && exchange.trace.isRemote) this.#noteDecision(exchange, isSampled);
    }
    this.#options.metrics.recordExchange(exchange, exchange.route);
    if (isSampled || this.tail === null || !this.#options.wantsSpans || this.#isLeftOut(exchange))
      this.#write(exchange);
    else {
      this.tail.note(exchange);
      this.tail.hold(exchange, first, this.#writeHeld);
    }
  }

  /** Its header has said whether its trace is sampled. */
  #noteDecision({ service, requestTakenNs }: Exchange, isSampled: boolean): void {
    if (service === null || !this.#options.wantsSpans) return;
    if (this.#unsampled.note(service, isSampled, requestTakenNs)) this.#options.onUnsampled?.(service);
  }

  #write(exchange: Exchange): void {
    const { completed } = this.ledger;
    this.#writeOrDrop(exchange);
    if (exchange.isFastcgi) this.completedFastcgi += this.ledger.completed - completed;
  }

  #writeOrDrop(exchange: Exchange): void {
    const service = exchange.service as Service;
    const { oversized } = this.encoder.dropped;
    if (!this.#options.wantsSpans) this.ledger.drop(service, 'no_exporter');
    else if (this.#isLeftOut(exchange)) this.ledger.drop(service, 'instrumented');
    else if (!this.sampling.isSampled(exchange) && this.tail?.isKept(exchange) !== true)
      this.ledger.drop(service, 'sampled');
    else if (!this.#isAffordable(exchange.trace)) this.ledger.drop(service, 'budget');
    else if (firstInstantNs(exchange) === 0) this.ledger.drop(service, 'untimed');
    else if (!this.#writer.writeExchange(exchange, exchange.route)) this.ledger.drop(service, 'buffer_full');
    else if (this.encoder.dropped.oversized > oversized) this.ledger.drop(service, 'oversized');
    else this.ledger.export(service);
  }

  /** By the trace id, so that a trace that is kept is kept whole. */
  #isAffordable(trace: TraceContext): boolean {
    return this.affordableShare >= 1 || (trace.id3 >>> 0) / 2 ** 32 < this.affordableShare;
  }

  onStrayRequest(event: DataEventCursor): void {
    // Its ports are not known: it may have been any connection of its process.
    if (!this.#isSelected(event.pid, ALL_INCLUDED)) return;
    const service = this.#options.processes.service(event.pid, event.timeNs);
    this.ledger.begin(service);
    this.ledger.drop(service, 'ring_full');
  }

  missExchange(connection: Connection, reason: DropReason): void {
    connection.isEachSeen = false;
    if (!this.#isSelected(connection.ioPid, connection)) return;
    const service = this.#options.processes.service(connection.ioPid, connection.takenNs);
    this.ledger.begin(service);
    this.ledger.drop(service, reason);
  }

  dropExchange(_connection: Connection, exchange: Exchange, reason: DropReason): void {
    this.#end(exchange);
    this.correlator.end(exchange);
    this.ledger.drop(exchange.service, exchange.discardReason === '' ? reason : exchange.discardReason);
  }

  #end(exchange: Exchange): void {
    this.#active--;
    exchange.isUnderWay = false;
    this.correlator.finish(exchange);
    this.causes.end(exchange);
    this.#options.metrics.requestEnded(exchange);
  }
}

/** The client's and the server's. */
function portsOf({ kind, peer }: Exchange): number {
  const { localPort, remotePort } = peer;
  return kind === KIND_CLIENT ? localPort * 65536 + remotePort : remotePort * 65536 + localPort;
}

/** A process of PHP behind FastCGI takes the next request only when it has answered the last one. */
const PHP = /^php(-fpm|-cgi)?[\d.]*$/;

/** How a request's parent is known: never by what shows inside a process, that is for calls. */
function serverEvidence({ parentEvidence }: Exchange): 'header' | 'sequence' | 'remote_sequence' | 'none' {
  const isKnown = parentEvidence === 'header' || parentEvidence === 'sequence' || parentEvidence === 'remote_sequence';
  return isKnown ? parentEvidence : 'none';
}

function languageOf(service: Service | null): string {
  return textOf(service, 'telemetry.sdk.language');
}

/** A Rust program whose threads run tasks by turns, whether or not these can be followed (src/discovery/tokio-tasks.ts). */
function runsRustTasks(service: Service | null): boolean {
  return languageOf(service) === 'rust' && textOf(service, 'process.runtime.name') !== '';
}

function textOf(service: Service | null, attribute: string): string {
  const text = service?.attributes.find(([key]) => key === attribute)?.[1];
  return typeof text === 'string' ? text : '';
}

function roleName(role: number): 'client' | 'server' | 'unknown' {
  return role === ROLE_CLIENT ? 'client' : role === 0 ? 'unknown' : 'server';
}
