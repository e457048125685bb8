// What this kernel really allows, found by trying: loads and attaches every probe for a moment, with the smallest maps, and
// lets go of them. Out: a report per group. Never throws: a refusal of everything is a report too.
import { reasonOf } from '../errors.js';
import { Kernel, type KernelOptions } from './loader.js';
import { PROBE_GROUPS, type ProbeReport, type WayName } from './probes.js';

const TRIAL: Omit<KernelOptions, 'btfPath'> = {
  dataRingBytes: 1 << 16,
  controlRingBytes: 1 << 16,
  maxConnections: 64,
  headBytes: 256,
  agentPid: process.pid,
};

/** Tries all probes, or only one way to each. The trial observes nothing: no process is selected. */
export function tryProbes(btfPath: string, way: WayName | null): readonly ProbeReport[] {
  let kernel: Kernel | null = null;
  try {
    kernel = Kernel.load({ ...TRIAL, btfPath, way });
    kernel.attach();
    return kernel.reports;
  } catch (error) {
    if (kernel !== null) return kernel.reports;
    const reason = reasonOf(error);
    return PROBE_GROUPS.map(({ name, ways, isRequired, loss }) => {
      return { group: name, way: null, refused: ways.map(tried => ({ way: tried.name, reason })), isRequired, loss };
    });
  } finally {
    kernel?.close();
  }
}
