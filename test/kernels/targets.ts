// The servers of the kernel matrix, and one client for all of them whose account is the ground truth.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from '../support/certificate.js';
import type { Witness } from '../support/compare.js';
import { Child, freePort, runCommand } from '../support/processes.js';
import { type Server, startNginx, startNodeServer, startPythonHttpServer } from '../support/servers.js';

/** Of each server. */
export const REQUESTS = 20;

interface Watched {
  readonly name: string;
  readonly paths: readonly string[];
  /** Front ends that cannot see this server. */
  readonly unseenBy: readonly string[];
}

export interface Target extends Watched {
  readonly server: Server | Uring;
}

/** test/services/uring-server.c, built by prepare.ts. */
class Uring {
  readonly port: number;
  readonly child: Child;

  constructor(port: number, folder: string) {
    this.port = port;
    this.child = new Child(fileURLToPath(new URL('../../../build/uring-server', import.meta.url)), [
      String(port),
      path.join(folder, 'uring.log'),
    ]);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  pids(): number[] {
    return [this.child.pid];
  }

  async stop(): Promise<void> {
    await this.child.stop(5000, 'SIGKILL');
  }
}

async function startUring(folder: string): Promise<Uring> {
  const uring = new Uring(await freePort(), folder);
  await sleep(1000);
  return uring;
}

function paths(pathOf: (n: number) => string): readonly string[] {
  return Array.from({ length: REQUESTS }, (_, index) => pathOf(index));
}

const TARGETS: readonly (Watched & { readonly start: (folder: string) => Promise<Server | Uring> })[] = [
  {
    name: 'nginx',
    start: () => startNginx(),
    paths: paths(n => (n % 2 === 0 ? `/bytes/20000/${n}` : `/status/404/${n}`)),
    unseenBy: [],
  },
  { name: 'node', start: () => startNodeServer(), paths: paths(n => `/bytes/5000/${n}`), unseenBy: [] },
  { name: 'python', start: () => startPythonHttpServer(1, 0), paths: paths(n => `/none/${n}`), unseenBy: [] },
  { name: 'io_uring', start: startUring, paths: paths(n => `/uring/${n}`), unseenBy: ['syscall'] },
  {
    name: 'nginx over TLS',
    start: async () => startNginx({ certificate: await makeCertificate('ec') }),
    paths: paths(n => `/bytes/20000/tls-${n}`),
    unseenBy: [],
  },
  {
    name: 'node over TLS',
    start: async () => startNodeServer({ certificate: await makeCertificate('ec') }),
    paths: paths(n => `/bytes/5000/tls-${n}`),
    unseenBy: [],
  },
];

/** Those whose names are given, all if none is. */
export async function startTargets(folder: string, names: readonly string[]): Promise<readonly Target[]> {
  const targets: Target[] = [];
  for (const { start, ...target } of TARGETS)
    if (names.length === 0 || names.includes(target.name)) targets.push({ ...target, server: await start(folder) });
  return targets;
}

export interface Requested {
  readonly pid: number;
  readonly witnesses: Witness[];
  /** Of HTTP, both ways. */
  readonly bytes: number;
}

/** One curl for all paths; its account is what is to be found in the spans. */
export async function request({ server, paths }: Target): Promise<Requested> {
  const urls = paths.flatMap(where => ['--output', '/dev/null', `${server.url}${where}`]);
  const format = '%{http_code} %{size_request} %{size_header} %{size_download}\\n';
  const child = await runCommand('curl', ['--silent', '--insecure', '--http1.1', '--write-out', format, ...urls]);
  if (child.exitCode !== 0) throw new Error(`curl failed: ${child.describe()}`);
  const lines = child.stdout
    .trim()
    .split('\n')
    .map(line => line.split(' ').map(Number));
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
