// Starts and asks the process that holds probes (probes-process.ts).
import { fileURLToPath } from 'node:url';
import { Child, until } from '../support/processes.js';
import type { ProbeOrder, ProbeReport } from './probes-process.js';

const PROGRAM = fileURLToPath(new URL('./probes-process.js', import.meta.url));
/** Per-syscall tracepoints are found through tracefs; mounted where nobody else sees it, and gone with the process. */
const WITH_TRACEFS =
  'test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing || exit 1; exec "$@"';

export class Probes {
  readonly child: Child;

  private constructor(child: Child) {
    this.child = child;
  }

  static async attach(order: ProbeOrder): Promise<Probes> {
    const command = [process.execPath, PROGRAM, JSON.stringify(order)];
    const needsTracefs = order.kind === 'empty' && order.prefixes.some(prefix => prefix.startsWith('call_'));
    const child = needsTracefs
      ? new Child('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', WITH_TRACEFS, 'sh', ...command])
      : new Child(process.execPath, command.slice(1));
    const probes = new Probes(child);
    await probes.#said(/^ready$/m);
    return probes;
  }

  #said(pattern: RegExp): Promise<RegExpExecArray> {
    const { child } = this;
    return until('the probes', 20_000, () => {
      if (!child.isRunning) throw new Error(`the process that holds the probes ended: ${child.describe()}`);
      return pattern.exec(child.stdout);
    });
  }

  async report(): Promise<ProbeReport> {
    this.child.stdout = '';
    this.child.kill('SIGUSR2');
    const [line] = await this.#said(/^\{.*\}$/m);
    return JSON.parse(line) as ProbeReport;
  }

  /** Detaches; the kernel frees the programs before the process is gone. */
  async detach(): Promise<void> {
    await this.child.stop();
  }
}
