// The clients of the kernel matrix. Each asks one server for all paths, one after another over a kept connection; what it was
// answered, by its own account, is the ground truth.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Witness } from '../support/compare.js';
import { type Child, runCommand } from '../support/processes.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SERVICES = path.join(ROOT, 'test/services');
/** Where prepare.ts puts what is compiled: an emulated machine would take minutes. */
export const BUILT = path.join(ROOT, 'build');

export interface Client {
  /** What the agent says when it has found the library or the program whose plaintext it reads; null: a server's is the same. */
  readonly found: RegExp | null;
  readonly run: (urls: readonly string[]) => Promise<Child>;
  /** What it was answered: a line a request, the status and after it how many bytes went both ways, if it tells. */
  readonly account: (child: Child) => string;
}

export interface Requested {
  readonly pid: number;
  readonly witnesses: Witness[];
  /** Of HTTP, both ways; 0 if the client does not tell. */
  readonly bytes: number;
}

const TIMEOUT = { timeoutMs: 20_000 };

function printing(command: string, args: readonly string[], found: RegExp | null): Client {
  return { found, run: urls => runCommand(command, [...args, ...urls], TIMEOUT), account: ({ stdout }) => stdout };
}

export const CURL: Client = {
  found: null,
  run: urls => {
    const format = '%{http_code} %{size_request} %{size_header} %{size_download}\\n';
    const wanted = urls.flatMap(url => ['--output', '/dev/null', url]);
    const args = ['--silent', '--insecure', '--http1.1', '--write-out', format, ...wanted];
    return runCommand('curl', args, TIMEOUT);
  },
  account: ({ stdout }) => stdout,
};

/** GnuTLS. */
export const WGET: Client = {
  found: /TLS of gnutls/,
  run: urls => {
    const options = ['--no-verbose', '--server-response', '--no-check-certificate', '--output-document=/dev/null'];
    return runCommand('wget', [...options, ...urls], TIMEOUT);
  },
  account: ({ stderr }) => [...stderr.matchAll(/^ +HTTP\/1\.[01] (\d+)/gm)].map(found => found[1]).join('\n'),
};

/** GnuTLS under libcurl. */
export const PYCURL = printing('/usr/bin/python3', [path.join(SERVICES, 'pycurl-client.py')], /TLS of gnutls/);
export const NODE = printing(process.execPath, [path.join(SERVICES, 'node-client.mjs')], null);
export const GO = printing(path.join(BUILT, 'go-client'), [], /crypto\/tls \(Go\) in \S*go-client: read/);

export async function ask(client: Client, base: string, paths: readonly string[]): Promise<Requested> {
  const child = await client.run(paths.map(where => `${base}${where}`));
  const lines = client
    .account(child)
    .trim()
    .split('\n')
    .map(line => line.split(' ').map(Number));
  // Its exit code tells less: wget has one for answers that are errors.
  const isWhole = lines.length === paths.length && lines.every(([status]) => Number(status) >= 200);
  if (!isWhole) throw new Error(`the client failed: ${child.describe()}`);
  const witnesses = paths.map((where, index) => {
    return {
      method: 'GET',
      path: where,
      status: lines[index]?.[0] as number,
      startMs: Number.NaN,
      durationMs: Number.NaN,
    };
  });
  const bytes = lines.flatMap(([, ...sizes]) => sizes).reduce((sum, size) => sum + size, 0);
  return { pid: child.pid, witnesses, bytes };
}
