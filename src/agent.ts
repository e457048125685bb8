// The composition root, on the main thread: starts the sinks first, then the worker with its probes; stops the worker
// first, then flushes the sinks while the probes go. Spans pass through here as encoded bytes only. One failed part costs its feature: a stuck
// backend fills its own queue, a taken admin port costs the listener; only the worker's end ends the agent.

import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { createJoins } from './agent-joins.js';
import { AdminPage } from './agent-metrics-page.js';
import { type AgentSinks, createSinks } from './agent-sinks.js';
import type { AgentOptions } from './cli/options.js';
import { say } from './cli/output.js';
import type { Config } from './config/schema.js';
import { AgentError, EXIT } from './errors.js';
import { Handover } from './handover.js';
import type { JoinStore } from './joins/join-store.js';
import type { Refusal } from './kernel/probes.js';
import { releaseMemory } from './memory.js';
import type { FromWorker, ToWorker, WorkerStart } from './messages.js';
import { initialPid } from './own-pid.js';
import { dropPrivileges } from './privileges.js';
import { type AdminListener, startAdmin } from './self/admin.js';
import { Counters } from './self/counters.js';
import { Events } from './self/events.js';
import { Health } from './self/health.js';
import { Logger } from './self/log.js';

/** SIGTERM to the last span: the worker's last drain, then the queues; 5 s, but on a machine that gives the worker no time. */
const WORKER_STOP_MS = 2000;
const BUSY_WORKER_STOP_MS = 10_000;
/** Ctrl-C comes from the terminal and, once more, from npm. */
const SECOND_STOP_MS = 1000;
const FLUSH_MS = 2500;
/** Meanwhile the probes go: fentry on Linux 6.12 takes 4.6 s, since the kernel waits for itself with each. */
const DETACH_MS = 30_000;
const WORKER_SILENCE_MS = 15_000;
/**
 * Exchanges live for milliseconds: in the default young generation many would be copied to the old one (0.9 of the time in
 * replay with 48 MB). What is reserved here is resident memory under load, so it is no more than that takes.
 */
const YOUNG_GENERATION_MB = 24;

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Runs until a signal, the end of a replay, or a failure. Resolves with the exit code; rejects with AgentError. */
export async function runAgent(config: Config, options: AgentOptions): Promise<number> {
  const agent = new Agent(config, options);
  return agent.run();
}

class Agent {
  readonly #config: Config;
  readonly #options: AgentOptions;
  readonly #log: Logger;
  readonly #counters = new Counters(0);
  readonly #events: Events;
  readonly #health = new Health();
  readonly #handover = new Handover();
  readonly #version = packageVersion();
  #sinks: AgentSinks | null = null;
  #worker: Worker | null = null;
  #page: AdminPage | null = null;
  #admin: AdminListener | null = null;
  #joins: JoinStore | null = null;
  #metricsTimer: NodeJS.Timeout | null = null;
  #hasStopped = false;
  #stopMs = 0;
  #onWorkerStopped: () => void = () => undefined;
  /** The worker has no more to do; null while it was not asked to stop, or did not answer. */
  #workerEnd: Promise<void> | null = null;
  #onWorkerEnded: () => void = () => undefined;
  #end: (code: number) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;

  constructor(config: Config, options: AgentOptions) {
    this.#config = config;
    this.#options = options;
    // `trace` shows requests, and in one line of its own that it can.
    const level = options.mode === 'trace' && config.log.level === 'info' ? 'warn' : config.log.level;
    this.#log = new Logger({ level, format: config.log.format });
    this.#events = new Events(this.#counters, this.#log);
  }

  async run(): Promise<number> {
    const ended = new Promise<number>((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    this.#sinks = await createSinks(
      this.#config,
      this.#options,
      this.#version,
      this.#log,
      this.#events,
      this.#counters,
    );
    this.#page = new AdminPage(this.#counters, message => this.#tell(message));
    if (this.#config.admin.enabled && (this.#options.mode === 'run' || this.#options.mode === 'record')) {
      const { host, port } = this.#config.admin;
      const page = this.#page;
      this.#admin = await startAdmin({
        host,
        port,
        health: this.#health,
        log: this.#log,
        metrics: a => page.render(a),
      });
    }
    if (this.#options.mode !== 'replay' && this.#sinks.wantsSpans) {
      this.#joins = createJoins(this.#config, (...told) => this.#tell(...told), this.#log, this.#counters);
    }
    this.#startWorker();
    const signals = this.#listenToSignals();
    try {
      return await ended;
    } finally {
      for (const [signal, handler] of signals) process.off(signal, handler);
      await this.#shutDown();
    }
  }

  #tell(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  #startWorker(): void {
    const { mode, file, connections } = this.#options;
    const start: WorkerStart = {
      mode: mode === 'replay' ? 'replay' : 'live',
      config: this.#config,
      file: file ?? null,
      version: this.#version,
      agentPid: initialPid(),
      ownPeers: this.#admin === null ? [] : [{ address: this.#admin.host, port: this.#admin.port }],
      wantsSpans: this.#sinks?.wantsSpans ?? false,
      handover: this.#handover.memory,
      wantsConnections: connections === true,
    };
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: start,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    this.#worker = worker;
    this.#health.watch('pipeline', WORKER_SILENCE_MS);
    worker.on('message', (message: FromWorker) => this.#onMessage(message));
    worker.on('error', error => this.#fail(new AgentError('WORKER_FAILED', { reason: error.stack ?? error.message })));
    worker.on('exit', () => {
      this.#onWorkerStopped();
      this.#onWorkerEnded();
      if (!this.#hasStopped) this.#fail(new AgentError('WORKER_FAILED', { reason: 'its thread ended' }));
    });
  }

  #onMessage(message: FromWorker): void {
    switch (message.type) {
      case 'traces':
        this.#handover.taken(message.bytes.length);
        this.#sinks?.offerTraces(message.bytes, message.spanCount, () => undefined);
        return;
      case 'traces_in_slot':
        this.#onTracesInSlot(message);
        return;
      case 'connections':
        this.#sinks?.showConnections(message.summaries, message.omitted);
        return;
      case 'join':
        this.#joins?.onBatch(message.batch);
        return;
      case 'snapshot':
        this.#page?.onSnapshot(message);
        return;
      case 'release_memory':
        releaseMemory();
        return;
      case 'beat':
        this.#health.beat('pipeline');
        return;
      case 'log':
        this.#log.limited(message.key, message.level, message.text);
        return;
      case 'ready':
        this.#onReady(message);
        return;
      case 'failed':
        this.#hasStopped = true;
        this.#fail(new RelayedError(message));
        return;
      case 'stopped':
        this.#onStopped(message);
        return;
      case 'ended':
        this.#onWorkerEnded();
        return;
    }
  }

  #onTracesInSlot({ slot, byteLength, spanCount }: FromWorker & { readonly type: 'traces_in_slot' }): void {
    this.#handover.taken(byteLength);
    this.#sinks?.offerTraces(this.#handover.read(slot, byteLength), spanCount, () => this.#handover.release(slot));
  }

  #onReady(message: FromWorker & { readonly type: 'ready' }): void {
    for (const { group, way, refused, loss } of message.probes) {
      if (way === null) this.#log.warn(`the kernel refused the probes of ${group}; lost: ${loss}`, told(refused));
      else if (refused.length > 0) this.#log.info(`${group} by ${way}`, told(refused));
    }
    this.#health.markReady();
    this.#joins?.open();
    if (this.#options.mode === 'replay') return;
    const byKprobes = message.probes.some(({ way }) => way === 'kprobe');
    const undropped = dropPrivileges(this.#config, byKprobes);
    if (undropped !== '') this.#log.info(`capabilities that are not needed any more stay: ${undropped}`);
    this.#log.info(
      this.#admin === null ? 'ready' : `ready; http://${this.#admin.host}:${this.#admin.port} has /metrics`,
      { version: this.#version },
    );
    if (this.#options.mode === 'trace') say('what comes from now on is shown; Ctrl-C ends');
    const { intervalMs } = this.#config.metrics;
    this.#metricsTimer = setInterval(() => {
      this.#page
        ?.snapshot()
        .then(snapshot => this.#sinks?.offerMetrics(snapshot))
        .catch((error: unknown) => this.#log.limited('metrics', 'warn', `no metrics this time: ${String(error)}`));
    }, intervalMs);
  }

  #onStopped(message: FromWorker & { readonly type: 'stopped' }): void {
    this.#hasStopped = true;
    this.#sinks?.offerMetrics(this.#page?.join(message) ?? message);
    this.#onWorkerStopped();
    this.#workerEnd = new Promise(resolve => {
      const timer = setTimeout(() => {
        this.#log.warn('the kernel has not let go of all probes: they end with this process');
        resolve();
      }, DETACH_MS);
      this.#onWorkerEnded = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#end(EXIT.ok);
  }

  #listenToSignals(): [NodeJS.Signals, () => void][] {
    const stop = (): void => this.#stop();
    const reload = (): void => {
      this.#reload().catch((error: unknown) =>
        this.#events.configRejected(error instanceof Error ? error.message : String(error)),
      );
    };
    const signals: [NodeJS.Signals, () => void][] = [
      ['SIGINT', stop],
      ['SIGTERM', stop],
      ['SIGHUP', reload],
    ];
    for (const [signal, handler] of signals) process.on(signal, handler);
    this.#sinks?.onClosedOutput(stop);
    return signals;
  }

  async #reload(): Promise<void> {
    if (this.#options.reload === undefined) return;
    const config = await this.#options.reload();
    this.#log.setLevel(config.log.level);
    this.#tell({ type: 'reload', config });
    this.#events.configReloaded();
  }

  /** Asks the worker for its last spans; its answer ends the agent. A second request, or long silence, ends it at once. */
  #stop(): void {
    const nowMs = performance.now();
    if (this.#hasStopped) {
      if (nowMs - this.#stopMs > SECOND_STOP_MS) this.#giveUp('the pipeline was asked twice to stop');
      return;
    }
    this.#hasStopped = true;
    this.#stopMs = nowMs;
    this.#health.markNotReady('stopping');
    this.#tell({ type: 'stop' });
    const warning = setTimeout(() => {
      const seconds = BUSY_WORKER_STOP_MS / 1000;
      this.#log.warn(`the pipeline is busy: its last spans are waited for, ${seconds} s at most`);
    }, WORKER_STOP_MS);
    const timer = setTimeout(() => this.#giveUp('the pipeline did not stop in time'), BUSY_WORKER_STOP_MS);
    this.#onWorkerStopped = () => {
      clearTimeout(warning);
      clearTimeout(timer);
    };
  }

  #giveUp(why: string): void {
    this.#log.error(`${why}: its last spans are lost`);
    this.#onWorkerStopped();
    this.#end(EXIT.failed);
  }

  async #shutDown(): Promise<void> {
    this.#hasStopped = true;
    if (this.#metricsTimer !== null) clearInterval(this.#metricsTimer);
    this.#joins?.close();
    await this.#sinks?.close(FLUSH_MS);
    await this.#admin?.close();
    await this.#workerEnd;
    await this.#worker?.terminate();
  }
}

/** An AgentError that was thrown in the worker: same words, same exit code. */
class RelayedError extends AgentError<'WORKER_FAILED'> {
  constructor({ code, message, remedy, exitCode }: FromWorker & { readonly type: 'failed' }) {
    super('WORKER_FAILED', { reason: message });
    this.message = message;
    Object.assign(this, { code, remedy, exitCode });
  }
}

/** One line of why, for the log; the whole is in `underspan doctor`. */
function told(refused: readonly Refusal[]): { readonly refused: string } {
  return { refused: refused.map(({ way, reason }) => `${way}: ${reason.split('\n', 1)[0]}`).join('; ') };
}
