// Does this kernel preempt tasks while they run its own code, and with it programs at its functions? In: what debugfs says of
// the mode at hand; where that cannot be read, how the kernel was built and booted. Out: true also where nothing tells.
import { readFileSync } from 'node:fs';
import { version } from 'node:os';

const MODE_FILES = ['/sys/kernel/debug/sched/preempt', '/sys/kernel/debug/sched_preempt'];

export interface KernelWords {
  /** `none voluntary (full) lazy`; '' if it cannot be read. */
  readonly modes: string;
  /** `uname -v` */
  readonly version: string;
  readonly commandLine: string;
}

export function kernelWords(): KernelWords {
  return {
    modes: MODE_FILES.map(read).find(text => text !== '') ?? '',
    version: version(),
    commandLine: read('/proc/cmdline'),
  };
}

export function isPreempting({ modes, version, commandLine }: KernelWords): boolean {
  const mode = /\((\w+)\)/.exec(modes)?.[1] ?? /\bpreempt=(\w+)/.exec(commandLine)?.[1];
  if (/\bPREEMPT_DYNAMIC\b/.test(version) && mode !== undefined) return mode === 'full' || mode === 'lazy';
  return /\bPREEMPT/.test(version);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
