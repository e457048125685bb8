// A real redis-server (or another that speaks its protocol) for tests: in memory only, on a port of its own, with a password.
import { Child, freePort, until } from './processes.js';

export const PASSWORD = 'a-secret-of-the-test';

export class Redis {
  readonly port: number;
  #child: Child | null = null;
  readonly #args: readonly string[];

  private constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.#args = args;
  }

  static async start(args: readonly string[] = [], port?: number): Promise<Redis> {
    const redis = new Redis(port ?? (await freePort()), args);
    await redis.resume();
    return redis;
  }

  get url(): string {
    return `redis://:${PASSWORD}@127.0.0.1:${this.port}`;
  }

  /** Starts it again on the same port, empty. */
  async resume(): Promise<void> {
    const child = new Child('redis-server', [
      ...['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
      ...['--requirepass', PASSWORD, ...this.#args],
    ]);
    this.#child = child;
    await until('redis-server', 5000, () => (child.stdout.includes('Ready to accept connections') ? true : null));
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal);
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    await this.#child?.stop(2000, 'SIGKILL');
    this.#child = null;
  }
}
