// Two network namespaces that are made for a test and vanish with it: joined by a veth pair, and by a bad network in user space
// (hostile/relay.py), because not every kernel has netem. In: how bad. Out: addresses, and for each segment that the relay
// delivered the clock before and after the delivery: when bytes reached the receiver's kernel.
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { runCommand } from './processes.js';

const PYTHON = '/usr/bin/python3';
const RELAY = path.resolve('test/support/hostile/relay.py');

export interface Badness {
  /** One way. */
  readonly delayMs: number;
  /** Shares of packets, 0 to 1. */
  readonly lost: number;
  readonly reordered: number;
  readonly seed: number;
}

/** A TCP segment that reached its receiver; boot-clock nanoseconds. */
export interface Segment {
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly seq: number;
  readonly bytes: number;
  readonly isSyn: boolean;
  readonly enterNs: number;
  readonly leaveNs: number;
}

export interface RelayLog {
  readonly segments: readonly Segment[];
  readonly lost: number;
  readonly reordered: number;
  readonly delivered: number;
}

async function ip(...args: string[]): Promise<void> {
  const child = await runCommand('ip', args);
  if (child.exitCode !== 0) throw new Error(`ip ${args.join(' ')}: ${child.describe()}`);
}

export class Network {
  readonly namespaces: readonly [client: string, server: string];
  /** The server's address on the veth pair, and behind the relay. */
  readonly directAddress = '10.213.1.2';
  readonly badAddress = '10.213.2.2';
  #relay: ChildProcessWithoutNullStreams | null = null;
  #lines: AsyncIterator<string> | null = null;

  private constructor() {
    this.namespaces = [`underspan-c${process.pid}`, `underspan-s${process.pid}`];
  }

  static async create(): Promise<Network> {
    const network = new Network();
    process.once('exit', network.#remove);
    const [client, server] = network.namespaces;
    for (const name of network.namespaces) await ip('netns', 'add', name);
    await ip('link', 'add', 'veth0', 'netns', client, 'type', 'veth', 'peer', 'name', 'veth0', 'netns', server);
    for (const [index, name] of network.namespaces.entries()) {
      await ip('-n', name, 'address', 'add', `10.213.1.${index + 1}/24`, 'dev', 'veth0');
      await ip('-n', name, 'link', 'set', 'veth0', 'up');
      await ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    return network;
  }

  /** Asks the kernel for netem on both ends of the veth pair; '' if it took it, else what it said. */
  async tryNetem(...what: string[]): Promise<string> {
    for (const name of this.namespaces) {
      const child = await runCommand('tc', ['-n', name, 'qdisc', 'replace', 'dev', 'veth0', 'root', 'netem', ...what]);
      if (child.exitCode !== 0) return child.stderr.trim().split('\n')[0] as string;
    }
    return '';
  }

  async startRelay({ delayMs, lost, reordered, seed }: Badness): Promise<void> {
    const relay = spawn(PYTHON, ['-u', RELAY, ...this.namespaces, ...[delayMs, lost, reordered, seed].map(String)]);
    this.#relay = relay;
    let stderr = '';
    relay.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    this.#lines = readline.createInterface({ input: relay.stdout })[Symbol.asyncIterator]();
    if ((await this.#lines.next()).value !== 'ready') throw new Error(`the relay did not start: ${stderr}`);
    for (const [index, name] of this.namespaces.entries()) {
      await ip('-n', name, 'address', 'add', `10.213.2.${index + 1}/24`, 'dev', 'bad0');
      await ip('-n', name, 'link', 'set', 'bad0', 'up');
    }
  }

  /** What the relay has delivered so far. */
  async relayLog(): Promise<RelayLog> {
    this.#relay?.stdin.write('log\n');
    const line = (await this.#lines?.next())?.value as string;
    const { segments, ...counts } = JSON.parse(line) as { segments: number[][] } & Omit<RelayLog, 'segments'>;
    return {
      ...counts,
      segments: segments.map(values => {
        const [sourcePort = 0, targetPort = 0, seq = 0, bytes = 0, syn = 0, enterNs = 0, leaveNs = 0] = values;
        return { sourcePort, targetPort, seq, bytes, isSyn: syn === 1, enterNs, leaveNs };
      }),
    };
  }

  async remove(): Promise<void> {
    process.off('exit', this.#remove);
    if (this.#relay !== null) {
      const ended = new Promise(resolve => this.#relay?.once('close', resolve));
      this.#relay.stdin.end();
      await ended;
    }
    for (const name of this.namespaces) await ip('netns', 'delete', name);
  }

  readonly #remove = () => {
    this.#relay?.kill('SIGKILL');
    for (const name of this.namespaces) spawnSync('ip', ['netns', 'delete', name]);
  };
}

/**
 * When each byte from one port to another was there, in order: position behind the last such byte, and the delivery that
 * made it so.
 */
export function deliveries(
  segments: readonly Segment[],
  sourcePort: number,
  targetPort: number,
): { readonly end: number; readonly enterNs: number; readonly leaveNs: number }[] {
  const own = segments.filter(one => one.sourcePort === sourcePort && one.targetPort === targetPort);
  const syn = own.find(one => one.isSyn);
  if (syn === undefined) return [];
  const waiting = new Map<number, number>();
  const result = [];
  let end = 0;
  for (const { seq, bytes, isSyn, enterNs, leaveNs } of own) {
    if (isSyn || bytes === 0) continue;
    const from = (seq - syn.seq - 1) >>> 0;
    waiting.set(from, Math.max(waiting.get(from) ?? 0, from + bytes));
    const before = end;
    for (const [start, to] of [...waiting].sort(([a], [b]) => a - b)) {
      if (start <= end && to > end) end = to;
    }
    if (end > before) result.push({ end, enterNs, leaveNs });
  }
  return result;
}
