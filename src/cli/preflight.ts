// Asked before the agent is built: may this process load probes at all? In: /proc and /sys. Out: nothing, or one clear
// error with exit code 3. Everything finer is the kernel's own answer when probes load, and `underspan doctor`.

import type { Config } from '../config/schema.js';
import { AgentError } from '../errors.js';
import { exists } from '../exists.js';
import { buildPath } from '../kernel/host.js';
import { missingForProbes, readCapabilities } from './capabilities.js';

export const KERNEL_BTF = '/sys/kernel/btf/vmlinux';

export function assertPrivileges(config: Config, root = ''): void {
  if (process.platform !== 'linux') throw new AgentError('NOT_LINUX', { platform: process.platform });
  const capabilities = readCapabilities(root);
  const missing = missingForProbes(capabilities).join(', ');
  if (missing !== '') {
    throw new AgentError(process.geteuid?.() === 0 ? 'CAPABILITY_MISSING' : 'NOT_PRIVILEGED', { missing });
  }
  const btf = config.kernel.btf === '' ? `${root}${KERNEL_BTF}` : config.kernel.btf;
  if (!exists(btf)) throw new AgentError('BTF_MISSING', { file: btf });
}

/** The parts that `npm run build` makes besides JavaScript. */
export function assertBuilt(): void {
  for (const file of ['underspan.bpf.o', 'host.node'].map(buildPath)) {
    if (!exists(file)) throw new AgentError('NOT_BUILT', { file });
  }
}
