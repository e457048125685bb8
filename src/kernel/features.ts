// What this kernel really allows, found by trying: loads and attaches every probe for a moment, with the smallest maps, and
// lets go of them. Out: a report per group. Throws where nothing could be tried, for want of BTF or of a build.
import { Kernel, type KernelOptions } from './loader.js';
import type { ProbeReport, WayName } from './probes.js';

const TRIAL: Omit<KernelOptions, 'btfPath'> = {
  dataRingBytes: 1 << 16,
  controlRingBytes: 1 << 16,
  maxConnections: 64,
  headBytes: 256,
  agentPid: process.pid,
  isTrial: true,
};

export interface Trial {
  readonly reports: readonly ProbeReport[];
  /** Null if nothing could be loaded: then nothing can be attached to files. */
  readonly kernel: Pick<Kernel, 'attachUser'> | null;
  /** Lets go of all probes. */
  readonly close: () => void;
}

/** Tries all probes, or only one way to each. The trial observes nothing: no process is selected. */
export function tryProbes(btfPath: string, way: WayName | null): Trial {
  const kernel = Kernel.load({ ...TRIAL, btfPath, way });
  try {
    kernel.attach();
  } catch (error) {
    kernel.close();
    throw error;
  }
  return { reports: kernel.reports, kernel, close: () => kernel.close() };
}
