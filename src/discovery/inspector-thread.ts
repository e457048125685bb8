// The thread behind inspector.ts. In: descriptors of open files of this process. Out: what in them is to be probed.
import { parentPort } from 'node:worker_threads';
import { reasonOf } from '../errors.js';
import { Executable } from './executable.js';
import { type Target, targetsIn } from './targets.js';

export interface Inspected {
  readonly targets: readonly Target[];
  /** Why it could not be read, '' if it could. */
  readonly detail: string;
}

function inspect(descriptor: number): Inspected {
  try {
    const executable = Executable.ofDescriptor(descriptor);
    return { targets: executable === null ? [] : targetsIn(executable), detail: '' };
  } catch (error) {
    return { targets: [], detail: reasonOf(error) };
  }
}

const port = parentPort;
if (port === null) throw new Error('inspector-thread.js is not a program of its own');
port.on('message', (descriptor: number) => port.postMessage(inspect(descriptor)));
