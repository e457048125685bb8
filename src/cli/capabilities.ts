// The effective capabilities of this process (capabilities(7)), read from /proc/self/status.
import { readFileSync } from 'node:fs';

/** Bit numbers of include/uapi/linux/capability.h: those that matter to tracing. */
export const CAPABILITY = {
  CAP_DAC_OVERRIDE: 1,
  CAP_DAC_READ_SEARCH: 2,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
  CAP_CHECKPOINT_RESTORE: 40,
} as const;

export type CapabilityName = keyof typeof CAPABILITY;

export class CapabilitySet {
  readonly #bits: bigint;

  constructor(bits: bigint) {
    this.#bits = bits;
  }

  has(name: CapabilityName): boolean {
    return ((this.#bits >> BigInt(CAPABILITY[name])) & 1n) === 1n;
  }
}

/** Effective set; `root` is put before /proc in tests. */
export function readCapabilities(root = ''): CapabilitySet {
  const status = readFileSync(`${root}/proc/self/status`, 'utf8');
  const mask = /^CapEff:\s*([0-9a-f]+)$/im.exec(status)?.[1];
  return new CapabilitySet(mask === undefined ? 0n : BigInt(`0x${mask}`));
}

/** What is missing to load and attach probes: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which contains both. */
export function missingForProbes(capabilities: CapabilitySet): CapabilityName[] {
  if (capabilities.has('CAP_SYS_ADMIN')) return [];
  const needed: CapabilityName[] = ['CAP_BPF', 'CAP_PERFMON'];
  return needed.filter(name => !capabilities.has(name));
}
