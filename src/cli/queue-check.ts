// Where undelivered requests would be kept, as a line of `underspan doctor`: can this user write there, and is there room?
// In: the configuration. Out: a check; nothing is created.
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../config/schema.js';
import { reasonOf } from '../errors.js';
import { type Check, lost } from './machine-checks.js';

const MIB = 1 << 20;
const WITHOUT = 'what cannot be delivered is kept in memory only';

export function queueCheck({ queue }: Config): Check {
  const { directory, maxBytes, minFreeBytes } = queue;
  const check = (state: 'ok' | 'note', detail: string): Check => {
    return { group: 'sizes', name: 'queue', state, isRequired: false, detail, remedy: '' };
  };
  if (!queue.enabled) return check('note', `off: ${WITHOUT}`);
  const folder = nearest(path.resolve(directory));
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(folder);
    const room = Math.max(0, bavail * bsize - minFreeBytes);
    const text = `up to ${mib(Math.min(maxBytes, room))} in ${directory}`;
    if (room >= maxBytes) return check('ok', text);
    if (room > 0) return check('note', `${text}: the file system has no more, ${mib(minFreeBytes)} are left to others`);
    return lost(
      'sizes',
      'queue',
      `${directory}: the file system is full, ${WITHOUT}`,
      'Name another: queue.directory.',
      false,
    );
  } catch (error) {
    return lost(
      'sizes',
      'queue',
      `${directory}: ${reasonOf(error)}; ${WITHOUT}`,
      'Name another: queue.directory.',
      false,
    );
  }
}

/** The folder, or the first one above it that exists. */
function nearest(folder: string): string {
  let found = folder;
  while (!existsSync(found) && path.dirname(found) !== found) found = path.dirname(found);
  return found;
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}
