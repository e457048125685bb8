// The same load against another kind of server: one node process (node:http), which needs some five times nginx's CPU for a
// request. Its access log goes nowhere.
import { Child, freePort, isListening, until } from '../support/processes.js';
import type { Target } from './macro.js';
import { type LoadResult, loadUrl } from './nginx.js';

export class NodeServer implements Target {
  readonly child: Child;
  readonly #port: number;

  private constructor(child: Child, port: number) {
    this.child = child;
    this.#port = port;
  }

  static async start(): Promise<NodeServer> {
    const port = await freePort();
    const child = new Child(process.execPath, ['test/services/node-server.mjs', String(port), '/dev/null']);
    await until('the node server', 10_000, () => isListening({ port }));
    return new NodeServer(child, port);
  }

  selection(client = ''): string {
    const isClient = client === '' ? '' : `, { exe: ${client}, peer_port: ${this.#port} }`;
    return `selection: { include: [{ listen_port: ${this.#port} }${isClient}] }\n`;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/bytes/612/1`;
  }

  load(seconds: number, connections = 50): Promise<LoadResult> {
    return loadUrl(this.url, { seconds, connections, threads: 1 });
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}
