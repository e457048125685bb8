// Calls of goroutines that were started for a request. Such a goroutine may also be a worker that goes on to serve others: it
// then calls, sooner or later, when the request that it was started for has been answered, and no call of goroutines that
// were started that way is trusted any more. Or it collects what several ask for (a loader), and gives it to them: that shows where
// the process's channels are followed (bpf/go_channel.h), until a moment after both the request's response and the call's. As long
// as they are not, it has to be known of others that were started that way.
import type { Exchange } from '../exchanges/exchange.js';
import type { Adopt } from './claims.js';
import { type OnProbation, Probation } from './probation.js';
import type { ProcessWork } from './process-work.js';

const PROBATION_NS = 100e6;
/** So long it may take until channels are followed, and until a call is responded to. */
const PATIENCE_NS = 5e9;

interface StartedCall extends OnProbation {
  readonly work: ProcessWork;
  hasSpread: boolean;
}

export class Lineages {
  readonly #calls: Probation<StartedCall>;
  #nowNs = 0;

  constructor(adopt: Adopt) {
    this.#calls = new Probation({
      adopt,
      afterNs: PROBATION_NS,
      isIts,
      mayBeYet: ({ client, work, hasSpread }: StartedCall) =>
        !hasSpread && !work.workers.has(client.start) && work.mayKeep(client.start),
      isOpen: ({ client }: StartedCall) => !client.isReleased || this.#nowNs - client.responseTakenNs < PROBATION_NS,
      onDecided,
      patienceNs: PATIENCE_NS,
      nameOf: ({ start }: Exchange) => start,
    });
  }

  add(client: Exchange, server: Exchange, work: ProcessWork): void {
    this.#calls.add({ client, server, work, hasSpread: false });
  }

  /** A goroutine that was started so for the request on that connection has called, and given something to another one. */
  onSpread(pid: number, start: number, slot: number, generation: number): void {
    for (const call of this.#calls.named(start)) {
      const { pid: caller, startSlot, startGeneration } = call.client;
      if (caller !== pid || startSlot !== slot || startGeneration !== generation) continue;
      call.hasSpread = true;
      call.work.noteSpread(start);
    }
  }

  settle(nowNs: number): void {
    this.#nowNs = nowNs;
    this.#calls.settle(nowNs);
  }

  /** The end of the input. */
  settleAll(): void {
    this.#calls.settleAll();
  }
}

function isIts({ client, work, hasSpread }: StartedCall): boolean {
  const { start, isAlone, isFollowed } = client;
  return (
    !hasSpread && !work.workers.has(start) && (isAlone || (isFollowed && !work.hasSpread(start)) || work.keepsTo(start))
  );
}

/** What is not known of this call is not known of those that are like it. */
function onDecided({ client, work, hasSpread }: StartedCall): void {
  const { start, isAlone, isFollowed } = client;
  if (hasSpread || isAlone) return;
  if (isFollowed) work.noteKept(start);
  else if (!work.keepsTo(start)) work.noteUnproven(start);
}
