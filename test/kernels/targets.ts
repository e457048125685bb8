// The servers of the kernel matrix, each with its client.
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Certificate, makeCertificate } from '../support/certificate.js';
import { Child, freePort } from '../support/processes.js';
import {
  type Server,
  startApache,
  startGo,
  startNginx,
  startNodeServer,
  startPythonHttpServer,
  startPythonTls,
} from '../support/servers.js';
import { BUILT, type Client, CURL, GO, NODE, PYCURL, WGET } from './clients.js';

/** Of each server. */
export const REQUESTS = 20;

interface Watched {
  readonly name: string;
  readonly paths: readonly string[];
  readonly client: Client;
  /** Front ends that cannot see this server. */
  readonly unseenBy: readonly string[];
  /** Watched by the agent's own choice only: what a front end does for it, it does for another server. */
  readonly isOnlyAuto?: true;
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
    this.child = new Child(path.join(BUILT, 'uring-server'), [String(port), path.join(folder, 'uring.log')]);
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

interface Planned extends Watched {
  readonly start: (folder: string, certificate: Certificate) => Promise<Server | Uring>;
}

const FILES = (tag: string) => paths(n => (n % 2 === 0 ? `/bytes/20000/${tag}${n}` : `/status/404/${tag}${n}`));

const TARGETS: readonly Planned[] = [
  { name: 'nginx', start: () => startNginx(), paths: FILES(''), client: CURL, unseenBy: [] },
  {
    name: 'node',
    start: () => startNodeServer(),
    paths: paths(n => `/bytes/5000/${n}`),
    client: CURL,
    unseenBy: [],
    isOnlyAuto: true,
  },
  {
    name: 'python',
    start: () => startPythonHttpServer(1, 0),
    paths: paths(n => `/none/${n}`),
    client: CURL,
    unseenBy: [],
  },
  { name: 'io_uring', start: startUring, paths: paths(n => `/uring/${n}`), client: CURL, unseenBy: ['syscall'] },
  {
    name: 'nginx over TLS',
    start: (_, certificate) => startNginx({ certificate }),
    paths: FILES('tls-'),
    client: CURL,
    unseenBy: [],
    isOnlyAuto: true,
  },
  {
    name: 'node over TLS',
    start: (_, certificate) => startNodeServer({ certificate }),
    paths: FILES('tls-'),
    client: CURL,
    unseenBy: [],
  },
];

/** Every library whose plaintext is read, as a server has it and as a client has it. */
const TLS_TARGETS: readonly Planned[] = (
  [
    ['nginx by Node.js', certificate => startNginx({ certificate }), NODE],
    ['Apache by curl', certificate => startApache({ certificate }), CURL],
    ['Node.js by wget', certificate => startNodeServer({ certificate }), WGET],
    ["Python's threads by pycurl", certificate => startPythonTls('threads', certificate), PYCURL],
    ['asyncio by Go', certificate => startPythonTls('asyncio', certificate), GO],
    ['Go by Go', certificate => startGo({ certificate, binary: path.join(BUILT, 'go-server') }), GO],
  ] as const satisfies readonly (readonly [string, (certificate: Certificate) => Promise<Server>, Client])[]
).map(([name, start, client], index) => {
  return {
    name,
    start: (_: string, certificate: Certificate) => start(certificate),
    paths: FILES(`suite-${index}-`),
    client,
    unseenBy: [],
  };
});

/** Those whose names are given, all if none is. */
export async function startTargets(
  suite: 'servers' | 'tls',
  folder: string,
  names: readonly string[],
): Promise<readonly Target[]> {
  const certificate = await makeCertificate('ec');
  const targets: Target[] = [];
  for (const { start, ...target } of suite === 'tls' ? TLS_TARGETS : TARGETS) {
    const isWanted = names.length === 0 || names.includes(target.name);
    if (isWanted) targets.push({ ...target, server: await start(folder, certificate) });
  }
  return targets;
}
