// Gives back what a thread does not need any more: V8 keeps the heap that it once needed, and malloc the pages that were once
// used (libbpf takes some 20 MB to load the programs). Resident memory is what operators see and limit. In: the addon. Takes some
// 10 ms of the calling thread, so it is for the end of the start, and for an agent above its budget.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadHost } from './kernel/host.js';

let collect: (() => void) | null = null;

/** Of this thread: a full collection; then of the whole process what malloc holds unused. */
export function releaseMemory(): void {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }
  collect();
  loadHost().releaseMemory();
}
