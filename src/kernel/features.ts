// What this kernel really allows, found by trying: loads and attaches every probe for a moment, with the smallest maps, and
// lets go of them. Out: a report per program. Never throws: a refusal of everything is a report too.
import { reasonOf } from '../errors.js';
import { Kernel, type KernelOptions } from './loader.js';
import { PROBE_GROUPS, type ProbeReport } from './probes.js';

const TRIAL: Omit<KernelOptions, 'btfPath'> = {
  dataRingBytes: 1 << 16,
  controlRingBytes: 1 << 16,
  maxConnections: 64,
  headBytes: 256,
  agentPid: process.pid,
};

/** Tries all probes. The trial observes nothing: no process is selected. */
export function tryProbes(btfPath: string): readonly ProbeReport[] {
  let kernel: Kernel | null = null;
  try {
    kernel = Kernel.load({ ...TRIAL, btfPath });
    kernel.attach();
    return kernel.reports;
  } catch (error) {
    const detail = reasonOf(error);
    const known = new Set(kernel?.reports.map(report => report.name));
    const missing = PROBE_GROUPS.flatMap(group =>
      group.programs.filter(name => !known.has(name)).map(name => ({ group: group.name, name, ok: false, detail })),
    );
    return [...(kernel?.reports ?? []), ...missing];
  } finally {
    kernel?.close();
  }
}
