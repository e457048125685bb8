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

/** Tries all probes, or only one way to each. The trial observes nothing: no process is selected. */
export function tryProbes(btfPath: string, way: WayName | null): readonly ProbeReport[] {
  const kernel = Kernel.load({ ...TRIAL, btfPath, way });
  try {
    kernel.attach();
    return kernel.reports;
  } finally {
    kernel.close();
  }
}
