// Hosts for tests: network namespaces in a row, each joined to the next through a router that masquerades (nftables), so that
// no host ever sees an address or a source port of another. In: how many. Out: names to run commands in, addresses to call.
// All vanish with the test. One kernel has all the processes: agents tell their host's by an argument (`hostMark`).
import { spawnSync } from 'node:child_process';
import { Child, runCommand, type SpawnOptions } from './processes.js';

async function run(command: string, ...args: string[]): Promise<void> {
  const child = await runCommand(command, args);
  if (child.exitCode !== 0) throw new Error(`${command} ${args.join(' ')}: ${child.describe()}`);
}

export class Hosts {
  readonly #prefix = `us${process.pid}`;
  readonly #namespaces: string[] = [];

  private constructor() {
    process.once('exit', this.#remove);
  }

  static async create(count: number): Promise<Hosts> {
    const hosts = new Hosts();
    for (let index = 0; index < count; index++) await hosts.#addNamespace(`h${index}`);
    for (let index = 0; index + 1 < count; index++) await hosts.#join(index);
    return hosts;
  }

  /** The address under which host `index` is called by the host before it. */
  address(index: number): string {
    return `10.214.${2 * index}.2`;
  }

  /** An argument that marks a process as one of that host; a regular expression finds just these. */
  mark(index: number): string {
    return `--of-host=${this.#prefix}-${index}-`;
  }

  /** Runs a command on a host. */
  start(index: number, command: string, args: readonly string[], options: SpawnOptions = {}): Child {
    return new Child('ip', ['netns', 'exec', this.#name(index), command, ...args], options);
  }

  async remove(): Promise<void> {
    process.off('exit', this.#remove);
    for (const name of this.#namespaces.splice(0)) await run('ip', 'netns', 'delete', name);
  }

  readonly #remove = (): void => {
    for (const name of this.#namespaces) spawnSync('ip', ['netns', 'delete', name]);
  };

  #name(index: number): string {
    return `${this.#prefix}h${index}`;
  }

  async #addNamespace(suffix: string): Promise<string> {
    const name = this.#prefix + suffix;
    await run('ip', 'netns', 'add', name);
    this.#namespaces.push(name);
    await run('ip', '-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  /** host -> router (masquerades) -> next host. */
  async #join(index: number): Promise<void> {
    const router = await this.#addNamespace(`r${index}`);
    const inside = `10.214.${2 * index + 1}`;
    const outside = this.address(index + 1).replace(/\.2$/, '');
    await this.#link(this.#name(index), `out${index}`, `${inside}.2`, router, 'inside', `${inside}.1`);
    await this.#link(this.#name(index + 1), `in${index}`, `${outside}.2`, router, 'outside', `${outside}.1`);
    await run('ip', '-n', this.#name(index), 'route', 'add', `${outside}.0/24`, 'via', `${inside}.1`);
    await run('ip', 'netns', 'exec', router, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward');
    // `fully-random`: the source port changes, too.
    const rules =
      'table ip nat { chain out { type nat hook postrouting priority 100; oifname "outside" masquerade fully-random; }; }';
    await run('ip', 'netns', 'exec', router, 'nft', rules);
  }

  async #link(a: string, aName: string, aAddress: string, b: string, bName: string, bAddress: string): Promise<void> {
    await run('ip', 'link', 'add', aName, 'netns', a, 'type', 'veth', 'peer', 'name', bName, 'netns', b);
    for (const [namespace, name, address] of [
      [a, aName, aAddress],
      [b, bName, bAddress],
    ] as const) {
      await run('ip', '-n', namespace, 'address', 'add', `${address}/24`, 'dev', name);
      await run('ip', '-n', namespace, 'link', 'set', name, 'up');
    }
  }
}
