// Starts the processes that hold many connections open (crowd-process.ts), and waits until they are.
import { fileURLToPath } from 'node:url';
import { Child, until } from '../support/processes.js';
import type { CrowdOrder } from './crowd-process.js';

const PROGRAM = fileURLToPath(new URL('./crowd-process.js', import.meta.url));
const CONNECTIONS_EACH = 10_000;
const OPEN_MS = 120_000;

export class Crowd {
  readonly #children: Child[] = [];

  /** Nginx listens on 127.0.0.1 and up. */
  static async open(target: { readonly port: number; readonly path: string }, connections: number): Promise<Crowd> {
    const crowd = new Crowd();
    try {
      for (let open = 0, address = 1; open < connections; open += CONNECTIONS_EACH, address++) {
        const { port, path } = target;
        const count = Math.min(CONNECTIONS_EACH, connections - open);
        await crowd.#start({ host: `127.0.0.${address}`, port, path, connections: count });
      }
      return crowd;
    } catch (error) {
      await crowd.close();
      throw error;
    }
  }

  async #start(order: CrowdOrder): Promise<void> {
    const child = new Child(process.execPath, [PROGRAM, JSON.stringify(order)]);
    this.#children.push(child);
    await until(`${order.connections} connections`, OPEN_MS, () => {
      if (!child.isRunning) throw new Error(`the connections are gone: ${child.describe()}`);
      return child.stdout.includes('open') ? true : null;
    });
  }

  /** All of them are still there. */
  check(): void {
    for (const child of this.#children) {
      if (!child.isRunning) throw new Error(`the connections are gone: ${child.describe()}`);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map(child => child.stop(1000, 'SIGKILL')));
  }
}
