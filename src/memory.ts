// Gives back what a thread does not need any more: V8 keeps the heap that it once needed, and malloc the pages that were once
// used (libbpf takes some 20 MB to load the programs). Resident memory is what operators see and limit. In: the addon.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadHost } from './kernel/host.js';

type Collect = (options?: { readonly type: 'minor' }) => void;

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
 * Of this thread: a full collection; then `spareMemory`. Takes some 10 ms, so it is for the end
 * of the start, and for an agent above its budget.
 */
export function releaseMemory(): void {
  collector()();
  loadHost().releaseMemory();
}

/**
 * Of the whole process, without a collection: what malloc holds unused, and pages of the program that were touched some time. Those
 * that are in use come back one by one. A millisecond or two.
 */
export function spareMemory(): void {
  loadHost().releaseMemory();
}

/** Of this thread: what was allocated lately and is not used any more, above all buffers; 0.2 to 0.6 ms on the main thread. */
export function collectYoung(): void {
  collector()({ type: 'minor' });
}
