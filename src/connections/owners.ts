// Connections of whose end the kernel has no record when their process dies, by that process.
import type { Connection } from './connection.js';

export class Owners {
  readonly #byPid = new Map<number, Set<Connection>>();

  add(connection: Connection): void {
    const known = this.#byPid.get(connection.pid);
    if (known === undefined) this.#byPid.set(connection.pid, new Set([connection]));
    else known.add(connection);
  }

  remove(connection: Connection): void {
    const known = this.#byPid.get(connection.pid);
    if (known?.delete(connection) === true && known.size === 0) this.#byPid.delete(connection.pid);
  }

  /** What this process opened. */
  of(pid: number): readonly Connection[] {
    return [...(this.#byPid.get(pid) ?? [])];
  }
}
