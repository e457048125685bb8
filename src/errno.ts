// errno numbers of Linux (asm-generic) as the names that `error.type` carries.
import { constants } from 'node:os';

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/** `ECONNREFUSED` for 111; `errno 4711` for a number without a name. */
export function errnoName(errorNumber: number): string {
  return NAMES.get(errorNumber) ?? `errno ${errorNumber}`;
}
