// The destinations of an agent: OTLP, the terminal, third-party exporters; one queue each, so that one that is stuck never
// delays another. In: encoded traces, metric snapshots, connection summaries. Out: exports, lines; every item that a queue
// loses is counted in the agent's own metrics by cause.
import type { Snapshot } from './agent-metrics-page.js';
import { createFilter } from './cli/filters.js';
import type { AgentOptions } from './cli/options.js';
import { WallClock } from './clock.js';
import type { Config } from './config/schema.js';
import { ConsoleJsonExporter, ConsoleTraceExporter } from './exporters/console.js';
import {
  type ConnectionSummary,
  connectionToJson,
  renderConnection,
  renderConnectionHeader,
} from './exporters/console-connection.js';
import { ConsoleMetrics } from './exporters/console-metrics.js';
import { type LineOutput, openOutput } from './exporters/console-output.js';
import { LinePrinter } from './exporters/console-printer.js';
import type { SpanView } from './exporters/console-span.js';
import { Style } from './exporters/console-style.js';
import type { Exporter } from './exporters/exporter.js';
import { createOtlpExporter } from './exporters/otlp.js';
import { resolveOtlpTarget } from './exporters/otlp-settings.js';
import { ExportQueue } from './exporters/queue.js';
import { loadThirdPartyExporter } from './exporters/third-party.js';
import { MetricsRequestEncoder } from './otlp/metrics-request.js';
import type { Counters } from './self/counters.js';
import type { Events } from './self/events.js';
import type { Logger } from './self/log.js';

export interface AgentSinks {
  /** Somebody takes spans. */
  readonly wantsSpans: boolean;
  offerTraces(bytes: Uint8Array, spanCount: number): void;
  offerMetrics(snapshot: Snapshot): void;
  showConnections(summaries: readonly ConnectionSummary[], omitted: number): void;
  /** Calls back when the terminal or pipe that is printed to has gone. */
  onClosedOutput(callback: () => void): void;
  /** Delivers what waits, for at most `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
}

const METRICS_QUEUE_BYTES = 16 << 20;
const METRICS_QUEUE_POINTS = 1_000_000;

interface Terminal {
  readonly output: LineOutput;
  readonly style: Style;
}

function openTerminal(options: AgentOptions): Terminal {
  const output = openOutput(process.stdout);
  const color = options.color === undefined ? {} : { color: options.color };
  return { output, style: new Style({ isTerminal: output.isTerminal, env: process.env, ...color }) };
}

function consoleExporter(terminal: Terminal, options: AgentOptions): Exporter {
  const matches = options.filters === undefined ? null : createFilter(options.filters);
  const filter =
    matches === null
      ? {}
      : {
          filter: (span: SpanView) =>
            matches({ path: span.path, status: span.status, durationNs: span.durationNs, port: span.port }),
        };
  if (options.json === true) return new ConsoleJsonExporter({ output: terminal.output, ...filter });
  return new ConsoleTraceExporter({ ...terminal, ...filter });
}

async function traceExporters(
  config: Config,
  options: AgentOptions,
  terminal: Terminal,
  version: string,
  log: Logger,
): Promise<Exporter[]> {
  const { mode } = options;
  if (options.connections === true) return [];
  if (mode === 'trace') return [consoleExporter(terminal, options)];
  const exporters: Exporter[] = [];
  const userAgent = `underspan/${version}`;
  const write = (level: 'debug' | 'info' | 'warn' | 'error', message: string): void =>
    log.limited(message, level, message);
  for (const name of config.traces.exporters) {
    if (name === 'console') exporters.push(consoleExporter(terminal, options));
    if (name === 'otlp') {
      const target = resolveOtlpTarget('traces', {}, config.otlp.traces);
      exporters.push(createOtlpExporter(target, { userAgent, log: write }));
    }
  }
  for (const { module, export: exported, options: constructorOptions } of config.exporters) {
    const timeoutMs = config.traces.exportTimeoutMs;
    const third = { module, export: exported, options: constructorOptions, timeoutMs, log: write };
    exporters.push(await loadThirdPartyExporter(third));
  }
  return exporters;
}

/** Rejects with AgentError if an exporter cannot be made of what is configured. */
export async function createSinks(
  config: Config,
  options: AgentOptions,
  version: string,
  log: Logger,
  events: Events,
  counters: Counters,
): Promise<AgentSinks> {
  const terminal = openTerminal(options);
  const write = (level: 'debug' | 'info' | 'warn' | 'error', message: string): void =>
    log.limited(message, level, message);
  const traces = (await traceExporters(config, options, terminal, version, log)).map(
    exporter =>
      new ExportQueue({
        exporter,
        log: write,
        maxBytes: config.traces.maxQueueBytes,
        maxItems: config.traces.maxQueueSize,
      }),
  );
  const hasMetrics = options.mode === 'run' || options.mode === 'record';
  const metrics: ExportQueue[] = [];
  if (hasMetrics && config.metrics.exporters.includes('otlp')) {
    const target = resolveOtlpTarget('metrics', {}, config.otlp.metrics);
    const exporter = createOtlpExporter(target, { userAgent: `underspan/${version}`, log: write });
    metrics.push(
      new ExportQueue({ exporter, log: write, maxBytes: METRICS_QUEUE_BYTES, maxItems: METRICS_QUEUE_POINTS }),
    );
  }
  const table = hasMetrics && config.metrics.exporters.includes('console') ? new ConsoleMetrics(terminal) : null;
  observeQueues(counters, traces, 'spans');
  observeQueues(counters, metrics, 'points');
  return new Sinks(config, options, version, terminal, traces, metrics, table, events);
}

function observeQueues(counters: Counters, queues: readonly ExportQueue[], what: 'spans' | 'points'): void {
  for (const queue of queues) {
    counters.observe('underspan.queue.size', `${queue.name} ${what}`, () => queue.heldBytes);
    counters.observe(`underspan.${what}.exported`, queue.name, () => queue.counts.sent);
  }
  const sum = (count: (queue: ExportQueue) => number): number =>
    queues.reduce((total, queue) => total + count(queue), 0);
  for (const cause of ['full', 'refused', 'expired', 'shutdown'] as const) {
    counters.observe(`underspan.${what}.dropped`, `queue_${cause}`, () => sum(queue => queue.counts.dropped[cause]));
  }
  counters.observe(`underspan.${what}.dropped`, 'rejected', () => sum(queue => queue.counts.rejected));
}

class Sinks implements AgentSinks {
  readonly #terminal: Terminal;
  readonly #traces: readonly ExportQueue[];
  readonly #metrics: readonly ExportQueue[];
  readonly #table: ConsoleMetrics | null;
  readonly #events: Events;
  readonly #clock = new WallClock();
  readonly #encoder: MetricsRequestEncoder;
  readonly #printer: LinePrinter;
  readonly #isJson: boolean;
  #hasHeader = false;

  constructor(
    config: Config,
    options: AgentOptions,
    version: string,
    terminal: Terminal,
    traces: readonly ExportQueue[],
    metrics: readonly ExportQueue[],
    table: ConsoleMetrics | null,
    events: Events,
  ) {
    this.#terminal = terminal;
    this.#traces = traces;
    this.#metrics = metrics;
    this.#table = table;
    this.#events = events;
    this.#isJson = options.json === true;
    this.#printer = new LinePrinter(terminal.output, lines => `… ${lines} lines were left out: the output is slow`);
    this.#encoder = new MetricsRequestEncoder({
      clock: this.#clock,
      scopeName: 'underspan',
      scopeVersion: version,
      agentResource: [
        ['service.name', config.resource.agentName],
        ['service.version', version],
        ['telemetry.distro.name', 'underspan'],
        ['telemetry.distro.version', version],
      ],
      temporality: config.metrics.temporality === 'delta' ? 'delta' : 'cumulative',
    });
  }

  get wantsSpans(): boolean {
    return this.#traces.length > 0;
  }

  offerTraces(bytes: Uint8Array, spanCount: number): void {
    for (const queue of this.#traces) queue.offer(bytes, spanCount);
  }

  offerMetrics({ families, nowNs, clock }: Snapshot): void {
    this.#clock.set(clock.offsetSeconds, clock.offsetNanos);
    this.#clock.convert(nowNs);
    this.#table?.show(families, nowNs, this.#clock.seconds * 1000 + this.#clock.nanos / 1e6);
    if (this.#metrics.length === 0) return;
    for (const { bytes, pointCount } of this.#encoder.encode(families, nowNs)) {
      for (const queue of this.#metrics) queue.offer(bytes, pointCount);
    }
    if (this.#encoder.dropped.oversized > 0) {
      this.#events.pointsDropped('oversized', this.#encoder.dropped.oversized);
      this.#encoder.dropped.oversized = 0;
    }
  }

  showConnections(summaries: readonly ConnectionSummary[], omitted: number): void {
    const { style, output } = this.#terminal;
    const lines: string[] = [];
    if (!this.#isJson && !this.#hasHeader) {
      this.#hasHeader = true;
      lines.push(renderConnectionHeader(style, output.columns));
    }
    for (const summary of summaries) {
      lines.push(this.#isJson ? connectionToJson(summary) : renderConnection(summary, style, output.columns));
    }
    if (omitted > 0 && !this.#isJson) lines.push(`… and ${omitted} more connections`);
    this.#printer.print(lines);
  }

  onClosedOutput(callback: () => void): void {
    process.stdout.once('error', callback);
  }

  async close(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#traces, ...this.#metrics].map(queue => queue.close(timeoutMs)));
    await this.#terminal.output.flush(timeoutMs);
    this.#terminal.output.close();
  }
}
