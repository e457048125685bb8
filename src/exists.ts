// Is a file there? By stat(2): access(2), which is behind Node's `existsSync`, leaves out the capabilities of a process that is
// not root, and so does not see what lies in a folder that only CAP_DAC_READ_SEARCH opens.
import { statSync } from 'node:fs';

export function exists(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false; // behind a folder that stays shut
  }
}
