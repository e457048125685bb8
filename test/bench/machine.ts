// What the machine spends: CPU time of processes, of the whole machine, and whose BPF programs are attached beside ours.
// From /proc only. Clock ticks are 10 ms, so a figure needs seconds of load behind it.
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { processTree } from '../support/processes.js';

/** USER_HZ: fixed in the kernel's ABI. */
const TICKS_PER_SECOND = 100;

/** CPU seconds of a process by thread id, and together with threads that have ended. */
export interface ThreadCpu {
  readonly total: number;
  readonly byThread: ReadonlyMap<number, number>;
}

/** User and system seconds of a /proc stat line, or of its waited-for children. */
function statSeconds(path: string, isChildren = false): number {
  const stat = readFileSync(path, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const at = isChildren ? 13 : 11;
  return (Number(fields[at]) + Number(fields[at + 1])) / TICKS_PER_SECOND;
}

/** CPU seconds of a process so far. */
export function cpuOf(pid: number): ThreadCpu {
  const byThread = new Map<number, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`).map(Number)) {
    byThread.set(thread, statSeconds(`/proc/${pid}/task/${thread}/stat`));
  }
  return { total: statSeconds(`/proc/${pid}/stat`), byThread };
}

/** What a process spent between two readings: on its main thread, its busiest other thread, and all the rest. */
export function cpuBetween(pid: number, from: ThreadCpu, to: ThreadCpu) {
  const spent = (thread: number): number => (to.byThread.get(thread) ?? 0) - (from.byThread.get(thread) ?? 0);
  const total = to.total - from.total;
  const main = spent(pid);
  const worker = Math.max(0, ...[...to.byThread.keys()].filter(thread => thread !== pid).map(spent));
  return { total, main, worker, helpers: Math.max(0, total - main - worker) };
}

/** CPU seconds of a process and its living descendants. */
export function cpuOfTree(root: number): number {
  return processTree(root).reduce((sum, pid) => sum + statSeconds(`/proc/${pid}/stat`), 0);
}

/** CPU seconds of the children that this process has waited for. */
export function cpuOfEnded(): number {
  return statSeconds('/proc/self/stat', true);
}

/** Seconds that all CPUs together were busy, stolen time included. */
export function machineBusy(): number {
  const fields = (readFileSync('/proc/stat', 'latin1').split('\n')[0] ?? '')
    .trim()
    .split(/\s+/)
    .slice(1, 9)
    .map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

/** Processes outside `own` that hold attached tracing programs: they slow every system call, our baseline's too. */
export function foreignTracers(own: ReadonlySet<number>): number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || own.has(pid)) continue;
    if (holdsTracingLink(pid)) found.push(pid);
  }
  return found;
}

function holdsTracingLink(pid: number): boolean {
  let fds: string[];
  try {
    fds = readdirSync(`/proc/${pid}/fdinfo`);
  } catch {
    return false; // gone meanwhile
  }
  return fds.some(fd => {
    try {
      return /^link_type:\s*(tracing|raw_tracepoint|perf)/m.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'));
    } catch {
      return false; // closed meanwhile
    }
  });
}

export function describeMachine(): Record<string, string | number> {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    node: process.versions.node,
  };
}
