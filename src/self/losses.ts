// Says in the log what was lost: not everybody looks at metrics, and who uses `underspan trace` has none. In: the books, once a
// second. Out: a line now and then with the numbers since the last one, why, and what helps; nothing while nothing is lost.
// Told are losses that cost requests their spans; what somebody asked for, what began before the agent, and what the budget
// says itself are not.
import type { DropReason } from '../exchanges/matcher.js';

/** What has been lost since the start. */
export interface Losses {
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** Requests of which no record told. */
  readonly untold: number;
  /** Records that found a ring full. */
  readonly records: number;
  /** Connections for which the kernel's maps had no room. */
  readonly connections: number;
}

const TOLD_REASONS = ['ring_full', 'gap', 'evicted', 'buffer_full', 'oversized'] as const satisfies DropReason[];
/** The first loss is told at once, one that goes on after a while (longer than the log's own limit), then every minute. */
const INTERVALS_NS = [0, 15e9, 60e9] as const;
/** After so long without a loss the next one is a first one. */
const CALM_NS = 300e9;

export class LossTeller {
  /** Up to the last line. */
  readonly #told = new Map<string, number>();
  #toldNs = 0;
  #lines = 0;

  /** The line that is due, or null. At the end all that is untold is due. `nowNs` is boot-clock time. */
  tell(losses: Losses, nowNs: number, isEnd = false): string | null {
    const sinceNs = nowNs - this.#toldNs;
    if (sinceNs > CALM_NS) this.#lines = 0;
    const intervalNs = INTERVALS_NS[Math.min(this.#lines, INTERVALS_NS.length - 1)] as number;
    if (!isEnd && sinceNs < intervalNs) return null;
    const text = this.#describe(losses);
    if (text === null) return null;
    this.#toldNs = nowNs;
    this.#lines++;
    return text;
  }

  /** How much it has grown since it was last asked for. */
  #grown(name: string, count: number): number {
    const grown = count - (this.#told.get(name) ?? 0);
    this.#told.set(name, count);
    return grown;
  }

  #describe({ dropped, untold, records, connections }: Losses): string | null {
    const causes: string[] = [];
    let requests = 0;
    const add = (count: number, cause: string): void => {
      requests += count;
      if (count > 0) causes.push(`${cause} ${count}`);
    };
    for (const reason of TOLD_REASONS) add(this.#grown(reason, dropped[reason]), reason);
    add(this.#grown('untold', untold), 'not seen at all');
    const lostRecords = this.#grown('records', records);
    const lostConnections = this.#grown('connections', connections);
    const parts: string[] = [];
    if (requests > 0) parts.push(`${requests} requests have no span (${causes.join(', ')})`);
    if (lostRecords > 0) {
      const remedy = 'the agent got too little CPU time, or kernel.data_ring_bytes is too small for such bursts';
      parts.push(`${lostRecords} records found a ring full: ${remedy}`);
    }
    if (lostConnections > 0) parts.push(`${lostConnections} connections are not followed: see kernel.max_connections`);
    return parts.length === 0 ? null : parts.join('; ');
  }
}
