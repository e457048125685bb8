// Durations out of the times of an exchange. A time of 0 is unknown and a negative span of time is a clock or an order
// that we do not understand: both give "no value", never a made-up number.
import type { Exchange } from '../exchanges/exchange.js';

const NANOS_PER_SECOND = 1e9;

/** Seconds from one boot-clock time to another; -1 if either is unknown (0) or the order is not theirs. */
export function secondsBetween(fromNs: number, toNs: number): number {
  return fromNs > 0 && toNs >= fromNs ? (toNs - fromNs) / NANOS_PER_SECOND : -1;
}

/** First instant that is known of an exchange; 0 if there is none. */
export function firstInstantNs(exchange: Exchange): number {
  return (
    exchange.requestFirstNs ||
    exchange.requestTakenNs ||
    exchange.requestLastNs ||
    exchange.responseFirstNs ||
    exchange.responseTakenNs ||
    exchange.responseLastNs
  );
}

/** Seconds that span and duration metric both report; -1 if no time is known. */
export function exchangeSeconds(exchange: Exchange): number {
  return secondsBetween(firstInstantNs(exchange), exchange.endNs);
}
