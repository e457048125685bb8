// Is an answer worth waiting for longer? The agent of a client's host may be behind: its first seconds are its slowest, and a
// busy host may stop it for a while. In: the addresses that requests come from, which of their questions were answered and
// which in vain. Out: whether one without an answer still has a chance. An agent offers in the order in which it saw the
// calls, so as soon as a later question of the same address is answered, or nobody there has ever answered, there is none.
// Bounded: PEERS_MAX addresses; the one that was met first makes room.

const PEERS_MAX = 4096;
/** Full waits in vain, one after the other, after which nobody is believed to answer there. */
const VAIN_MAX = 64;

export class JoinPeer {
  /** Somebody there has answered, or it is not yet known that nobody does. */
  isHopeful: boolean;
  /** Clock of the tick at which the last answer came, and the latest beginning of a question that was answered; 0: none. */
  answeredNs = 0;
  latestBeganNs = 0;
  #vain = 0;
  #hasAnswered = false;

  constructor(isHopeful: boolean) {
    this.isHopeful = isHopeful;
  }

  onAnswer(beganNs: number, nowNs: number): void {
    this.isHopeful = true;
    this.#hasAnswered = true;
    this.#vain = 0;
    this.answeredNs = nowNs;
    if (beganNs > this.latestBeganNs) this.latestBeganNs = beganNs;
  }

  /** A question was given up after the longest wait. */
  onVain(): void {
    if (++this.#vain >= VAIN_MAX || !this.#hasAnswered) this.isHopeful = false;
  }
}

export class JoinPeers {
  readonly #byAddress = new Map<string, JoinPeer>();

  /** Of an address that was not met before, only a private one is hoped to have an agent: the internet has none. */
  of(address: string): JoinPeer {
    const known = this.#byAddress.get(address);
    if (known !== undefined) return known;
    if (this.#byAddress.size >= PEERS_MAX) {
      for (const first of this.#byAddress.keys()) {
        this.#byAddress.delete(first);
        break;
      }
    }
    const peer = new JoinPeer(isPrivate(address));
    this.#byAddress.set(address, peer);
    return peer;
  }
}

/** RFC 1918, RFC 6598 (shared), RFC 3927 and RFC 4291 (link-local), RFC 4193 (unique local); IPv4 also mapped into IPv6. */
const PRIVATE =
  /^(?:(?:::ffff:)?(?:10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:)/;

function isPrivate(address: string): boolean {
  return PRIVATE.test(address);
}
