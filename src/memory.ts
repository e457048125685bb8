// Gives back what a thread does not need any more: V8 keeps the heap that it once needed, and malloc the pages that were once
// used (libbpf takes some 20 MB to load the programs). Resident memory is what operators see and limit. In: the addon.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadHost } from './kernel/host.js';

type Collect = () => void;

let collect: Collect | null = null;

function collector(): Collect {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as Collect;
    setFlagsFromString('--no-expose-gc');
  }
  return collect;
}

/**
 * Of this thread: a full collection; then of the whole process what malloc holds unused. Takes some 10 ms, so it is for the end
 * of the start, and for an agent above its budget.
 */
export function releaseMemory(): void {
  collector()();
  loadHost().releaseMemory();
}
