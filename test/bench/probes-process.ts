// Holds BPF programs attached, in a process of its own so that its cost is told apart. In: a ProbeOrder as argument. Out:
// `ready`, then one JSON ProbeReport for each SIGUSR2. Ends with SIGTERM, or when its parent does. Two kinds: empty
// programs of bpf/bench, or the agent's own programs with a consumer that copies records out of the rings and drops them.
import { buildPath, loadHost, type ProgramInfo } from '../../src/kernel/host.js';
import { Kernel } from '../../src/kernel/loader.js';
import { initialPid } from '../../src/own-pid.js';
import { LOSS_COUNT, STAT_COUNT, STAT_DATA_RECORDS } from '../../src/records/records.gen.js';

export type ProbeOrder =
  /** Empty programs whose names begin with one of the prefixes. */
  | { readonly kind: 'empty'; readonly prefixes: readonly string[]; readonly hasStats: boolean }
  /** The agent's programs; only these processes and their children are selected. */
  | { readonly kind: 'agent'; readonly pids: readonly number[]; readonly hasStats: boolean };

export interface ProbeReport {
  readonly programs: readonly ProgramInfo[];
  /** Data records that entered the ring, and everything that was lost, since the start. */
  readonly dataRecords: number;
  readonly losses: number;
  /** Bytes taken out of the rings. */
  readonly drainedBytes: number;
}

const DATA_RING_BYTES = 16 << 20;
const CONTROL_RING_BYTES = 2 << 20;
const SLAB_BYTES = 4 << 20;
const DRAIN_INTERVAL_MS = 10;

function attachEmpty(order: ProbeOrder & { readonly kind: 'empty' }): () => ProbeReport {
  const host = loadHost();
  const object = host.open(buildPath('bench/floor.bpf.o'), '');
  const names = host.programs(object).map(program => program.name);
  const wanted = names.filter(name => order.prefixes.some(prefix => name.startsWith(prefix)));
  if (wanted.length === 0) throw new Error(`no program begins with ${order.prefixes.join(' or ')}`);
  for (const name of names) if (!wanted.includes(name)) host.disable(object, name);
  try {
    host.load(object);
    if (order.hasStats) host.enableStats(object);
    for (const name of wanted) host.attach(object, name);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${host.log()}`);
  }
  const isWanted = ({ name }: ProgramInfo): boolean => wanted.includes(name);
  return () => ({ programs: host.programs(object).filter(isWanted), dataRecords: 0, losses: 0, drainedBytes: 0 });
}

function attachAgent(order: ProbeOrder & { readonly kind: 'agent' }): () => ProbeReport {
  const kernel = Kernel.load({
    dataRingBytes: DATA_RING_BYTES,
    controlRingBytes: CONTROL_RING_BYTES,
    maxConnections: 65536,
    headBytes: 4096,
    btfPath: '',
    agentPid: initialPid(),
    stats: order.hasStats,
  });
  kernel.filter.setDefaults({ include: 0, exclude: 0 }, { include: 1, exclude: 0 });
  for (const pid of order.pids) kernel.filter.setProcess(pid, 1, 0);
  kernel.attach();
  const slab = new Uint8Array(SLAB_BYTES);
  let drainedBytes = 0;
  setInterval(() => {
    for (const ring of [kernel.dataRing, kernel.controlRing]) {
      for (let bytes = kernel.drain(ring, slab); bytes > 0; bytes = kernel.drain(ring, slab)) drainedBytes += bytes;
    }
  }, DRAIN_INTERVAL_MS);
  const counters = new Float64Array(LOSS_COUNT + STAT_COUNT);
  return () => {
    kernel.readCounters(counters);
    const losses = counters.subarray(0, LOSS_COUNT).reduce((sum, value) => sum + value, 0);
    const dataRecords = counters[LOSS_COUNT + STAT_DATA_RECORDS] as number;
    return { programs: kernel.programs(), dataRecords, losses, drainedBytes };
  };
}

const order = JSON.parse(process.argv[2] ?? '') as ProbeOrder;
const report = order.kind === 'empty' ? attachEmpty(order) : attachAgent(order);
process.on('SIGUSR2', () => process.stdout.write(`${JSON.stringify(report())}\n`));
process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write('ready\n');
