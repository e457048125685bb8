// The agent's process id as the kernel's records have it.
import { readFileSync } from 'node:fs';

/** Process id of this process in the initial pid namespace, as far as the mounted /proc shows it. */
export function initialPid(): number {
  const ids = /^NSpid:\s+(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]?.trim().split(/\s+/);
  return Number(ids?.[0] ?? process.pid);
}
