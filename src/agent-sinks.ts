// The destinations of an agent: OTLP, the terminal, third-party exporters; one queue each, so that one that is stuck never
// delays another. In: encoded traces, metric snapshots, connection summaries. Out: exports, lines; every item that a queue
// loses is counted in the agent's own metrics by cause.

import { otlpTargets } from './agent-destinations.js';
import type { Snapshot } from './agent-metrics-page.js';
import { createQueues, type Queues } from './agent-queues.js';
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
import { Style } from './exporters/console-style.js';
import type { Exporter, Log } from './exporters/exporter.js';
import { createOtlpExporter } from './exporters/otlp.js';
import type { OtlpSignal } from './exporters/otlp-settings.js';
import { MetricsRequestEncoder } from './otlp/metrics-request.js';
import type { Counters } from './self/counters.js';
import type { Events } from './self/events.js';
import type { Logger } from './self/log.js';

export interface AgentSinks {
  /** Somebody takes spans. */
  readonly wantsSpans: boolean;
  /** `onGone`: nobody reads `bytes` any more. */
  offerTraces(bytes: Uint8Array, spanCount: number, onGone: () => void): void;
  offerMetrics(snapshot: Snapshot): void;
  showConnections(summaries: readonly ConnectionSummary[], omitted: number): void;
  /** Calls back when the terminal or pipe that is printed to has gone. */
  onClosedOutput(callback: () => void): void;
  /** Delivers what waits, for at most `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
}

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
  const filter = matches === null ? {} : { filter: matches };
  if (options.json === true) return new ConsoleJsonExporter({ output: terminal.output, ...filter });
  return new ConsoleTraceExporter({ ...terminal, ...filter });
}

function otlpExporters(signal: OtlpSignal, config: Config, version: string, log: Log): Exporter[] {
  const options = { userAgent: `underspan/${version}`, log };
  return otlpTargets(signal, config).map(target => createOtlpExporter(target, options));
}

async function traceExporters(
  config: Config,
  options: AgentOptions,
  terminal: Terminal,
  version: string,
  log: Log,
): Promise<Exporter[]> {
  const { mode } = options;
  if (options.connections === true) return [];
  if (mode === 'trace') return [consoleExporter(terminal, options)];
  const exporters: Exporter[] = [];
  for (const name of config.traces.exporters) {
    if (name === 'console') exporters.push(consoleExporter(terminal, options));
    if (name === 'otlp') exporters.push(...otlpExporters('traces', config, version, log));
  }
  for (const { module, export: exported, options: constructorOptions } of config.exporters) {
    const timeoutMs = config.traces.exportTimeoutMs;
    const third = { module, export: exported, options: constructorOptions, timeoutMs, log };
    // The SDK's modules are loaded with it.
    const { loadThirdPartyExporter } = await import('./exporters/third-party.js');
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
  const write: Log = (level, message) => log.limited(message, level, message);
  const hasMetrics = options.mode === 'run' || options.mode === 'record';
  const exporters = {
    traces: await traceExporters(config, options, terminal, version, write),
    metrics:
      hasMetrics && config.metrics.exporters.includes('otlp') ? otlpExporters('metrics', config, version, write) : [],
  };
  const queues = await createQueues(config, exporters, write, counters);
  const table = hasMetrics && config.metrics.exporters.includes('console') ? new ConsoleMetrics(terminal) : null;
  return new Sinks(config, options, version, terminal, queues, table, events);
}

class Sinks implements AgentSinks {
  readonly #terminal: Terminal;
  readonly #queues: Queues;
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
    queues: Queues,
    table: ConsoleMetrics | null,
    events: Events,
  ) {
    this.#terminal = terminal;
    this.#queues = queues;
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
    return this.#queues.traces.length > 0;
  }

  offerTraces(bytes: Uint8Array, spanCount: number, onGone: () => void): void {
    const { traces } = this.#queues;
    const isKept = traces.some(({ keepsBytes }) => keepsBytes);
    const given = isKept ? Uint8Array.from(bytes) : bytes;
    if (isKept || traces.length === 0) onGone();
    let readers = isKept ? 0 : traces.length;
    const onQueueDone = (): void => {
      readers--;
      if (readers === 0) onGone();
    };
    for (const queue of traces) queue.offer(given, spanCount, onQueueDone);
  }

  offerMetrics({ families, nowNs, clock }: Snapshot): void {
    this.#clock.set(clock.offsetSeconds, clock.offsetNanos);
    this.#clock.convert(nowNs);
    this.#table?.show(families, nowNs, this.#clock.seconds * 1000 + this.#clock.nanos / 1e6);
    if (this.#queues.metrics.length === 0) return;
    for (const { bytes, pointCount } of this.#encoder.encode(families, nowNs)) {
      for (const queue of this.#queues.metrics) queue.offer(bytes, pointCount);
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
    await this.#queues.close(timeoutMs);
    await this.#terminal.output.flush(timeoutMs);
    this.#terminal.output.close();
  }
}
