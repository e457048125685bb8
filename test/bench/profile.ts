// Where time and garbage come from: a CPU profile or a sampling heap profile of one function call, summed by function and
// by stage (the folder under src/). In: something to run. Out: shares, the dearest first.
import { type HeapProfiler, type Profiler, Session } from 'node:inspector/promises';

export interface Share {
  readonly name: string;
  /** Part of the whole, 0 to 1. */
  readonly share: number;
}

export interface Shares {
  /** Microseconds or bytes. */
  readonly sum: number;
  readonly byFunction: readonly Share[];
  readonly byStage: readonly Share[];
}

const CPU_INTERVAL_MICROS = 200;
const HEAP_INTERVAL_BYTES = 4096;
const FUNCTIONS_SHOWN = 16;

/** `connections/connection-table.ts` of a file URL of ours; what V8 and Node do themselves in brackets. */
function place(url: string): { file: string; stage: string } {
  const own = /\/src\/(.*)\.js$/.exec(url)?.[1];
  if (own !== undefined) {
    return { file: `${own}.ts`, stage: own.includes('/') ? (own.split('/')[0] as string) : `${own}.ts` };
  }
  if (url.startsWith('node:')) return { file: url, stage: '(node)' };
  if (url === '') return { file: '', stage: '(engine)' };
  return { file: url.slice(url.lastIndexOf('/') + 1), stage: '(bench)' };
}

class Tally {
  readonly #functions = new Map<string, number>();
  readonly #stages = new Map<string, number>();
  #sum = 0;

  add(functionName: string, url: string, amount: number): void {
    const { file, stage } = place(url);
    const name = `${functionName === '' ? '(anonymous)' : functionName}${file === '' ? '' : ` ${file}`}`;
    const where = functionName === '(garbage collector)' ? '(garbage collector)' : stage;
    this.#functions.set(name, (this.#functions.get(name) ?? 0) + amount);
    this.#stages.set(where, (this.#stages.get(where) ?? 0) + amount);
    this.#sum += amount;
  }

  result(): Shares {
    const sorted = (amounts: Map<string, number>): Share[] =>
      [...amounts].map(([name, amount]) => ({ name, share: amount / this.#sum })).sort((a, b) => b.share - a.share);
    return {
      sum: this.#sum,
      byFunction: sorted(this.#functions).slice(0, FUNCTIONS_SHOWN),
      byStage: sorted(this.#stages),
    };
  }
}

function isInspector({ functionName, url }: { functionName: string; url: string }): boolean {
  return functionName === 'dispatch' && (url === '' || url.startsWith('node:'));
}

/** Self time of everything that `work` does. */
export async function profileCpu(work: () => Promise<unknown>): Promise<Shares> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: CPU_INTERVAL_MICROS });
  await session.post('Profiler.start');
  await work();
  const { profile } = (await session.post('Profiler.stop')) as Profiler.StopReturnType;
  session.disconnect();
  const nodes = new Map(profile.nodes.map(node => [node.id, node.callFrame]));
  const tally = new Tally();
  for (const [at, id] of (profile.samples ?? []).entries()) {
    const frame = nodes.get(id);
    // `dispatch` is the inspector, starting and stopping the profile.
    if (frame === undefined || frame.functionName === '(idle)' || isInspector(frame)) continue;
    tally.add(frame.functionName, frame.url, profile.timeDeltas?.[at] ?? 0);
  }
  return tally.result();
}

/** Bytes that everything in `work` allocates, what was collected meanwhile included. */
export async function profileHeap(work: () => Promise<unknown>): Promise<Shares> {
  const session = new Session();
  session.connect();
  await session.post('HeapProfiler.enable');
  await session.post('HeapProfiler.startSampling', {
    samplingInterval: HEAP_INTERVAL_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  });
  await work();
  const { profile } = (await session.post('HeapProfiler.stopSampling')) as HeapProfiler.StopSamplingReturnType;
  session.disconnect();
  const tally = new Tally();
  const walk = (node: HeapProfiler.SamplingHeapProfileNode): void => {
    if (node.selfSize > 0) tally.add(node.callFrame.functionName, node.callFrame.url, node.selfSize);
    for (const child of node.children) walk(child);
  };
  walk(profile.head);
  return tally.result();
}
