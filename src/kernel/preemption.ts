// Does this kernel preempt tasks while they run its own code, and with it programs at its functions? In: what debugfs says of
// the mode at hand; where that cannot be read, how the kernel was booted and built. Out: true also where nothing tells. And
// what was missed for it: the kernel skips runs of a program that is under way, whose copy then does what there was to do.
import { readFileSync } from 'node:fs';
import { release, version } from 'node:os';
import { gunzipSync } from 'node:zlib';
import type { ProgramInfo } from './host.js';
import { AGAIN } from './probes.js';

export interface KernelWords {
  /** `none voluntary (full) lazy` */
  readonly modes: string;
  /** `uname -v` */
  readonly version: string;
  readonly commandLine: string;
  /** Of the build. Each is '' where it cannot be read. */
  readonly config: string;
}

const CHOICE = /^CONFIG_PREEMPT_(NONE|VOLUNTARY|LAZY)=y$/m;
const PREEMPTED = new Set(['full', 'lazy']);

export function kernelWords(): KernelWords {
  return {
    modes: read('/sys/kernel/debug/sched/preempt').toString(),
    version: version(),
    commandLine: read('/proc/cmdline').toString(),
    config: (read(`/boot/config-${release()}`) || unzip(read('/proc/config.gz'))).toString(),
  };
}

export function isPreempting({ modes, version, commandLine, config }: KernelWords): boolean {
  if (!/\bPREEMPT/.test(version)) return false;
  if (!/\bPREEMPT_DYNAMIC\b/.test(version)) return true;
  const mode = /\((\w+)\)/.exec(modes)?.[1] ?? /\bpreempt=(\w+)/.exec(commandLine)?.[1] ?? CHOICE.exec(config)?.[1];
  return mode === undefined || PREEMPTED.has(mode.toLowerCase());
}

/** Of a program and its copy both were skipped, otherwise one has done it. What other copies did: STAT_RUNS_REPEATED. */
export function skippedRuns(programs: readonly Pick<ProgramInfo, 'name' | 'id' | 'missed'>[]): number {
  const loaded = programs.filter(({ id }) => id > 0);
  const missedByName = new Map(loaded.map(({ name, missed }) => [name, missed]));
  return loaded
    .filter(({ name }) => !name.startsWith(AGAIN))
    .reduce((sum, { name, missed }) => sum + Math.min(missed, missedByName.get(`${AGAIN}${name}`) ?? missed), 0);
}

function read(file: string): Buffer | '' {
  try {
    return readFileSync(file);
  } catch {
    return '';
  }
}

function unzip(bytes: Buffer | ''): Buffer | '' {
  return bytes === '' ? '' : gunzipSync(bytes);
}
