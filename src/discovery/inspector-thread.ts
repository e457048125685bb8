// The thread behind inspector.ts. In: descriptors of open files of this process. Out: what in them is to be probed, or which
// library it is that cannot be.
import { getPriority, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { reasonOf } from '../errors.js';
import { Executable } from './executable.js';
import { type Opacity, opacityIn } from './opacity.js';
import { poolsIn, type Target, targetsIn } from './targets.js';

// A thread has the priority of the one that starts it, and that one empties the rings.
try {
  setPriority(0, getPriority(process.pid));
} catch {
  // It had less than the process (limits.nice above 0), which suits this one, too.
}

export interface Question {
  readonly descriptor: number;
  /** What is to be probed, or why nothing is, or what more is to be probed of its event loop. */
  readonly about: 'targets' | 'opacity' | 'pools';
}

export interface Inspected {
  readonly targets: readonly Target[];
  readonly opacity: Opacity | null;
  /** Why it could not be read, '' if it could. */
  readonly detail: string;
}

function inspect({ descriptor, about }: Question): Inspected {
  const inspected: Inspected = { targets: [], opacity: null, detail: '' };
  try {
    const executable = Executable.ofDescriptor(descriptor);
    if (executable === null) return inspected;
    if (about === 'opacity') return { ...inspected, opacity: opacityIn(executable) };
    return { ...inspected, targets: about === 'pools' ? poolsIn(executable) : targetsIn(executable) };
  } catch (error) {
    return { ...inspected, detail: reasonOf(error) };
  }
}

const port = parentPort;
if (port === null) throw new Error('inspector-thread.js is not a program of its own');
port.on('message', (question: Question) => port.postMessage(inspect(question)));
