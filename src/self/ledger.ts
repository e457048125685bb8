// The account of exchanges: begun = exported + dropped by cause + under way. What is lost is counted where it is lost;
// this is where the counts meet, so that the sum can be shown and tested (DESIGN.md section 1, promise 2).
import { DROP_REASONS, type DropReason } from '../exchanges/matcher.js';

export class Ledger {
  /** Exchanges whose first byte was seen. */
  started = 0;
  /** Spans of exchanges handed to the encoder. */
  spans = 0;
  readonly #dropped: Record<DropReason, number> = Object.fromEntries(DROP_REASONS.map(reason => [reason, 0])) as Record<
    DropReason,
    number
  >;

  drop(reason: DropReason): void {
    this.#dropped[reason]++;
  }

  get dropped(): Readonly<Record<DropReason, number>> {
    return this.#dropped;
  }

  /** Exchanges that were begun and have neither been exported nor dropped. */
  get open(): number {
    let ended = this.spans;
    for (const reason of DROP_REASONS) ended += this.#dropped[reason];
    return this.started - ended;
  }
}
