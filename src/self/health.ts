// Whether the agent is ready (probes attached) and alive (its threads make progress). In: marks from agent.ts and beats
// from the worker. Out: the answers of /readyz and /healthz (admin.ts).

export interface HealthReport {
  readonly isOk: boolean;
  /** One line for people. */
  readonly detail: string;
}

interface Watched {
  readonly maxSilenceMs: number;
  lastMs: number;
}

export class Health {
  readonly #now: () => number;
  readonly #watched = new Map<string, Watched>();
  #notReadyBecause = 'starting';

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get isReady(): boolean {
    return this.#notReadyBecause === '';
  }

  markReady(): void {
    this.#notReadyBecause = '';
  }

  markNotReady(reason: string): void {
    this.#notReadyBecause = reason;
  }

  /** From now on `beat(name)` must come at least every `maxSilenceMs`, or the agent counts as stuck. */
  watch(name: string, maxSilenceMs: number): void {
    this.#watched.set(name, { maxSilenceMs, lastMs: this.#now() });
  }

  beat(name: string): void {
    const watched = this.#watched.get(name);
    if (watched !== undefined) watched.lastMs = this.#now();
  }

  unwatch(name: string): void {
    this.#watched.delete(name);
  }

  readiness(): HealthReport {
    return this.isReady ? { isOk: true, detail: 'ready' } : { isOk: false, detail: this.#notReadyBecause };
  }

  liveness(): HealthReport {
    const nowMs = this.#now();
    const stuck: string[] = [];
    for (const [name, { lastMs, maxSilenceMs }] of this.#watched) {
      if (nowMs - lastMs > maxSilenceMs) stuck.push(`${name} silent for ${Math.round((nowMs - lastMs) / 1000)} s`);
    }
    return stuck.length === 0 ? { isOk: true, detail: 'alive' } : { isOk: false, detail: stuck.join(', ') };
  }
}
