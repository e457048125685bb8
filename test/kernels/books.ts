// What the agent's own books must say at the end of a cell of the kernel matrix, whose servers and clients are known: that
// nothing was lost, and no more bytes missed than went where the front end cannot look. In: its books and how many bytes
// that may be. Out: what is wrong, one line each.
import type { Coverage } from '../../src/cli/coverage.js';

type Counts = Readonly<Record<string, number>>;

/** Bytes that went through no call that was seen, whatever the cause. */
export function missedBytes({ bytesMissed }: Coverage): number {
  return Object.values(bytesMissed).reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * `unseenBytes`: all that clients exchanged with servers whose calls this front end cannot see. Of these it counts what
 * went over connections that it knows, and never more: a larger figure was never transferred.
 */
export function faultsOfBooks(coverage: Coverage, unseenBytes: number): string[] {
  const { total, open, recordsDropped, connectionsDropped, callsUnread, spansDropped } = coverage;
  const faults = [
    ...linesOf('records lost', recordsDropped),
    ...linesOf('connections not followed', followable(connectionsDropped)),
    ...linesOf('calls not read in full', callsUnread),
    ...linesOf('spans lost', spansDropped),
  ];
  if (total.seen === 0) faults.push('no exchange was seen');
  if (total.lost > 0) faults.push(...linesOf('exchanges', total.dropped));
  if (!coverage.isBalanced) faults.push(`${total.open} exchanges should be open and ${open} are`);
  const missed = missedBytes(coverage);
  if (missed > unseenBytes) faults.push(`${missed} bytes are missed, and ${unseenBytes} went by unseen`);
  return faults;
}

/**
 * A kernel that preempts its own code skips runs of programs (ARCHITECTURE.md, front ends), most where a machine is slow. They
 * are counted, and `isCostly` where nothing does what they should have done: so are the requests that are lost for them. What
 * else the books must say.
 */
export function withoutSkipped(coverage: Coverage, isCostly: boolean): Coverage {
  const { missed_runs: skipped = 0, ...recordsDropped } = coverage.recordsDropped;
  if (skipped === 0) return coverage;
  if (!isCostly) return { ...coverage, recordsDropped };
  const { gap: _, ...dropped } = coverage.total.dropped;
  return { ...coverage, recordsDropped, bytesMissed: {}, total: { ...coverage.total, dropped, lost: 0 } };
}

/** What children print to Node.js goes through sockets, too, and is no request. */
function followable({ unknown_protocol: _, ...others }: Counts): Counts {
  return others;
}

function linesOf(what: string, counts: Counts): string[] {
  return Object.entries(counts).map(([cause, count]) => `${what}: ${cause} ${count}`);
}
