// The worker thread: the whole data path, fed by the kernel or by a recording. It shares nothing with the main thread but
// messages and the slots of handover.ts, so that no exporter, slow backend or garbage collection there ever stalls the rings.
import { parentPort, workerData } from 'node:worker_threads';
import { AgentError } from './errors.js';
import { LiveSource } from './live-source.js';
import type { FromWorker, ToWorker, WorkerStart } from './messages.js';
import { ReplaySource } from './replay-source.js';

export type JoinMessage = ToWorker & { readonly type: 'joinable' | 'join_answers' };

/** Where the worker's pipeline gets its records from. */
export interface Source {
  /** Starts; resolves when the source has ended by itself (a replay). */
  run(): Promise<void>;
  snapshot(id: number): void;
  reload(start: ToWorker & { readonly type: 'reload' }): void;
  /** What is known of other hosts' keys. */
  join(message: JoinMessage): void;
  /** Drains what is left, hands over the last spans and says `stopped`. */
  stop(): void;
}

const port = parentPort;
if (port === null) throw new Error('worker.js is not a program of its own');

function post(message: FromWorker, transfer: readonly ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

function fail(error: unknown): void {
  if (error instanceof AgentError) {
    post({ type: 'failed', code: error.code, message: error.message, remedy: error.remedy, exitCode: error.exitCode });
    return;
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  post({ type: 'failed', code: 'WORKER_FAILED', message: text, remedy: '', exitCode: 1 });
}

async function main(start: WorkerStart): Promise<void> {
  const source: Source = start.mode === 'replay' ? new ReplaySource(start, post) : new LiveSource(start, post);
  port?.on('message', (message: ToWorker) => {
    try {
      if (message.type === 'snapshot') source.snapshot(message.id);
      else if (message.type === 'reload') source.reload(message);
      else if (message.type !== 'stop') source.join(message);
      else {
        source.stop();
        port?.close();
      }
    } catch (error) {
      fail(error);
    }
  });
  await source.run();
}

main(workerData as WorkerStart).catch(fail);
