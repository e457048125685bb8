// Once all is attached and open: the agent gives up the capabilities that it needs no more, and with them what whoever took it
// over could do with root. In: the configuration. Out: '' or what could not be given up.
import { statSync } from 'node:fs';
import { release } from 'node:os';
import { CAPABILITY, type CapabilityName, readCapabilities } from './cli/capabilities.js';
import { isAtLeast, PERF_FOR_ALL, readParanoia, versionOf } from './cli/machine-checks.js';
import type { Config } from './config/schema.js';
import { loadHost } from './kernel/host.js';

/** To attach probes to files that are mapped later, and to look at processes and what they have mapped. */
const KEPT: readonly CapabilityName[] = [
  'CAP_BPF',
  'CAP_PERFMON',
  'CAP_SYS_PTRACE',
  'CAP_DAC_READ_SEARCH',
  'CAP_CHECKPOINT_RESTORE',
];

/** `byKprobes`: the front end is, and its probes are switched off and on by the budget. */
export function dropPrivileges({ queue }: Config, byKprobes: boolean): string {
  const kept = [...KEPT];
  const held = readCapabilities();
  // It was granted in their place (capabilities(7)).
  if (!held.has('CAP_BPF') || !held.has('CAP_PERFMON')) kept.push('CAP_SYS_ADMIN');
  // Debian's kernels want it for every perf event then, and before Linux 6.6 each place in a file that is probed is one.
  const arePerfEvents = byKprobes || !isAtLeast(versionOf(release()), 6, 6);
  if (arePerfEvents && readParanoia() > PERF_FOR_ALL) kept.push('CAP_SYS_ADMIN');
  if (queue.enabled && isOfOthers(queue.directory)) kept.push('CAP_DAC_OVERRIDE');
  const mask = kept.reduce((sum, name) => sum | (1n << BigInt(CAPABILITY[name])), 0n);
  const keepers = loadHost().dropCapabilities(Number(mask & 0xffffffffn), Number(mask >> 32n));
  if (keepers < 0) return 'this C library has no way to reach all threads';
  return keepers === 0 ? '' : `${keepers} threads have not obeyed`;
}

/** A folder that root writes to by CAP_DAC_OVERRIDE only. */
function isOfOthers(folder: string): boolean {
  try {
    return statSync(folder).uid !== process.geteuid?.();
  } catch {
    return false;
  }
}
