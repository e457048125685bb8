// Which response statuses are errors, and to whom (HTTP spans of the conventions, "Status").
import { KIND_CLIENT } from '../exchanges/exchange.js';

/** Texts of all statuses of three digits, so that none is made per exchange. */
const TEXTS: readonly string[] = Array.from({ length: 1000 }, (_, status) => String(status));

/**
 * The status as `error.type` if it is an error to this side: from 400 on to a CLIENT, from 500 on to a SERVER, and what
 * is no status at all (1..99) to both. '' if it is none; 0 is "no response" and none.
 */
export function statusError(kind: number, status: number): string {
  const isError = status >= (kind === KIND_CLIENT ? 400 : 500) || (status > 0 && status < 100);
  return isError ? (TEXTS[status] ?? String(status)) : '';
}
