// The account of exchanges, per service and in all: begun = exported + dropped by cause + open. In: one call where an
// exchange begins and one where it ends. Out: totals, and metric families under each service's resource. Kept by
// service.name, so that the sums outlive processes. Bounded: services beyond MAX_SERVICES share one account, which goes
// out under the agent's own resource. Nothing is lost (DESIGN.md section 1, promise 2).
import type { Service } from '../enrichment/service.js';
import { DROP_REASONS, type DropReason } from '../exchanges/matcher.js';
import type { MetricFamily, MetricPoint } from '../signals/metric-model.js';

/** Accounts kept; at most this and one more times one series of BEGUN and OUTCOMES of ENDED. */
export const MAX_SERVICES = 1024;
/** An exchange whose span was encoded for export. */
export const EXPORTED = 'exported';
/** What was left out because somebody asked for it; every other cause is a loss. */
export const INTENDED: ReadonlySet<string> = new Set<DropReason>([
  'otlp',
  'instrumented',
  'filtered',
  'sampled',
  'no_exporter',
]);

const BEGUN = {
  name: 'underspan.exchanges.begun',
  unit: '{exchange}',
  description: 'Exchanges whose first byte was seen, by service.',
  type: 'counter',
} as const;
const ENDED = {
  name: 'underspan.exchanges.ended',
  unit: '{exchange}',
  description: 'What became of them: exported, or why not. What is missing from those begun is still open.',
  type: 'counter',
} as const;
/** OpenTelemetry metrics SDK, "Overflow attribute". */
const OVERFLOW_ATTRIBUTE = ['otel.metric.overflow', true] as const;

export class Account {
  /** Whose it is; null: of all services, or of those beyond the bound. */
  readonly service: Service | null;
  begun = 0;
  exported = 0;
  readonly dropped: Record<DropReason, number> = Object.fromEntries(DROP_REASONS.map(reason => [reason, 0])) as Record<
    DropReason,
    number
  >;

  constructor(service: Service | null) {
    this.service = service;
  }

  get ended(): number {
    let ended = this.exported;
    for (const reason of DROP_REASONS) ended += this.dropped[reason];
    return ended;
  }

  /** Begun, and neither exported nor dropped. */
  get open(): number {
    return this.begun - this.ended;
  }

  /** Dropped against everybody's will. */
  get lost(): number {
    let lost = 0;
    for (const reason of DROP_REASONS) if (!INTENDED.has(reason)) lost += this.dropped[reason];
    return lost;
  }
}

export class Ledger {
  readonly total = new Account(null);
  /** Of services beyond the bound. */
  readonly others = new Account(null);
  readonly #maxServices: number;
  readonly #byName = new Map<string, Account>();
  /** The same, found without making a key; forgets with the service. */
  readonly #byService = new WeakMap<Service, Account>();
  /** The last one that was asked for: requests of one service come in rows. */
  #lastService: Service | null = null;
  #lastAccount: Account = this.others;

  constructor(maxServices = MAX_SERVICES) {
    this.#maxServices = maxServices;
  }

  begin(service: Service | null): void {
    this.total.begun++;
    this.#account(service).begun++;
  }

  export(service: Service | null): void {
    this.total.exported++;
    this.#account(service).exported++;
  }

  drop(service: Service | null, reason: DropReason): void {
    this.total.dropped[reason]++;
    this.#account(service).dropped[reason]++;
  }

  /** Exchanges whose first byte was seen. */
  get started(): number {
    return this.total.begun;
  }

  /** Spans of exchanges handed to the encoder. */
  /** Exchanges that were rebuilt, and whose span is written or was not wanted. */
  get completed(): number {
    return this.spans + this.dropped.sampled;
  }

  get spans(): number {
    return this.total.exported;
  }

  get dropped(): Readonly<Record<DropReason, number>> {
    return this.total.dropped;
  }

  get open(): number {
    return this.total.open;
  }

  /** Every account of a service, in order of first appearance; `others` last. */
  accounts(): Account[] {
    return [...this.#byName.values(), this.others];
  }

  /** Cumulative since `startNs` (boot clock); outcomes that never happened are left out. */
  families(startNs: number): MetricFamily[] {
    const begun: MetricPoint[] = [];
    const ended: MetricPoint[] = [];
    for (const account of this.accounts()) {
      const { service } = account;
      const overflow = service === null ? [OVERFLOW_ATTRIBUTE] : [];
      const end = (outcome: string, value: number): void => {
        if (value > 0) ended.push({ service, attributes: [...overflow, ['outcome', outcome]], startNs, value });
      };
      begun.push({ service, attributes: overflow, startNs, value: account.begun });
      end(EXPORTED, account.exported);
      for (const reason of DROP_REASONS) end(reason, account.dropped[reason]);
    }
    return [
      { ...BEGUN, points: begun },
      { ...ENDED, points: ended },
    ];
  }

  #account(service: Service | null): Account {
    if (service === this.#lastService) return this.#lastAccount;
    this.#lastService = service;
    this.#lastAccount = service === null ? this.others : (this.#byService.get(service) ?? this.#find(service));
    return this.#lastAccount;
  }

  #find(service: Service): Account {
    const key = `${service.namespace}\0${service.name}`;
    let account = this.#byName.get(key);
    if (account === undefined && this.#byName.size < this.#maxServices) {
      account = new Account(withoutInstance(service, -2 - this.#byName.size));
      this.#byName.set(key, account);
    }
    account ??= this.others;
    this.#byService.set(service, account);
    return account;
  }
}

/** The service apart from its processes: what all instances on this host have in common. Ids below -1 are the ledger's. */
function withoutInstance({ name, namespace, attributes }: Service, id: number): Service {
  const isShared = (key: string): boolean =>
    /^(service\.(name|namespace)|host\..*|os\.type|telemetry\.(distro\..*|sdk\.(name|version)))$/.test(key);
  return { id, name, namespace, instanceId: '', attributes: attributes.filter(([key]) => isShared(key)) };
}
