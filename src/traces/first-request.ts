// The request with which a trace begins on this host: whose rule decides, and which ends last. In: an exchange whose parents
// have not left yet. Out: the one above all of them.
import type { Exchange } from '../exchanges/exchange.js';

/** More hops on one host are no ordinary trace: whatever was reached then counts. */
const MAX_HOPS = 64;

export function firstOf(exchange: Exchange): Exchange {
  let first = exchange;
  for (let hops = 0; first.parentExchange !== null && hops < MAX_HOPS; hops++) first = first.parentExchange;
  return first;
}
