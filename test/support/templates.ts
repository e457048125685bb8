// Configuration files of the test servers: @NAME@ is filled in.
import { readFileSync } from 'node:fs';

export function fillTemplate(file: string, values: Readonly<Record<string, string>>): string {
  return readFileSync(file, 'utf8').replace(/@([A-Z]+)@/g, (_, key: string) => {
    const value = values[key];
    if (value === undefined) throw new Error(`${file}: nothing to fill in for @${key}@`);
    return value;
  });
}
