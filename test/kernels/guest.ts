// What runs inside a guest of the kernel matrix, for each front end and the automatic choice. What the verifier walks for
// its programs; the agent over real servers: nginx with sendfile, Node, Python, one that does everything through io_uring,
// and nginx and Node over TLS, where every request must have exactly its SERVER span and its CLIENT span, joined, and the
// agent's books are in order; the kernel tests (bytes, calls and positions against a driver's own account); the TLS tests.
// Out: one JSON line a fact for matrix.ts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Coverage, parseSamples, readCoverage } from '../../src/cli/coverage.js';
import { Kernel } from '../../src/kernel/loader.js';
import { type Agent, get, startAgent } from '../support/agent.js';
import { makeCertificate } from '../support/certificate.js';
import { compareSpans, type Witness } from '../support/compare.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, freePort, runCommand, until } from '../support/processes.js';
import { type Server, startNginx, startNodeServer, startPythonHttpServer } from '../support/servers.js';
import { CLIENT, type DecodedSpan, pidOf, SERVER } from '../support/spans.js';
import { askDoctor } from './ask-doctor.js';
import { faultsOfBooks } from './books.js';

const REQUESTS = 20;
const SPANS_MS = 20_000;
const FRONT_ENDS = ['fentry', 'kprobe', 'syscall'] as const;
const WAYS = ['auto', ...FRONT_ENDS] as const;
const RUNNER = fileURLToPath(new URL('../run.js', import.meta.url));

interface Target {
  readonly name: string;
  readonly server: Server | Uring;
  readonly paths: readonly string[];
  /** Front ends that cannot see this server. */
  readonly unseenBy: readonly string[];
}

/** test/services/uring-server.c, built by matrix.ts. */
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

function tell(fact: object): void {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}

/** Which way each group of probes goes, and what the verifier walks for their programs. */
function tellPrograms(frontEnd: (typeof WAYS)[number]): void {
  const kernel = Kernel.load({
    dataRingBytes: 1 << 16,
    controlRingBytes: 1 << 16,
    maxConnections: 64,
    headBytes: 256,
    btfPath: '',
    agentPid: process.pid,
    way: frontEnd === 'auto' ? null : frontEnd,
  });
  try {
    kernel.attach();
    const loaded = kernel.programs().filter(({ id }) => id > 0);
    const programs = Object.fromEntries(loaded.map(({ name, verified }) => [name, verified]));
    const ways = Object.fromEntries(kernel.reports.map(({ group, way }) => [group, way]));
    tell({ fact: 'programs', frontEnd, programs, ways });
  } finally {
    kernel.close();
  }
}

/** Tests of this repository, under one front end. What they say passes by, a space before it: it is no fact. */
async function runTests(suite: string, frontEnd: string, words: readonly string[]): Promise<void> {
  const env = { ...process.env, UNDERSPAN_TEST_FRONT_END: frontEnd };
  const run = spawn(process.execPath, [RUNNER, ...words], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface({ input: run.stdout }).on('line', line => {
    lines.push(line);
    process.stdout.write(` ${line}\n`);
  });
  const [status] = (await once(run, 'close')) as [number | null];
  const passed = Number(/^(\d+) passed, \d+ failed$/.exec(lines.at(-1) ?? '')?.[1] ?? 0);
  const failures = lines.filter(line => line.startsWith('failed: '));
  const isOk = status === 0 && passed > 0;
  tell({ fact: 'tests', suite, frontEnd, ok: isOk, passed, failures, output: isOk ? '' : lines.join('\n') });
}

async function startTargets(folder: string): Promise<readonly Target[]> {
  const certificate = await makeCertificate('ec');
  const numbers = Array.from({ length: REQUESTS }, (_, index) => index);
  const uring = new Uring(await freePort(), folder);
  await sleep(1000);
  return [
    {
      name: 'nginx',
      server: await startNginx(),
      paths: numbers.map(n => (n % 2 === 0 ? `/bytes/20000/${n}` : `/status/404/${n}`)),
      unseenBy: [],
    },
    { name: 'node', server: await startNodeServer(), paths: numbers.map(n => `/bytes/5000/${n}`), unseenBy: [] },
    { name: 'python', server: await startPythonHttpServer(1, 0), paths: numbers.map(n => `/none/${n}`), unseenBy: [] },
    { name: 'io_uring', server: uring, paths: numbers.map(n => `/uring/${n}`), unseenBy: ['syscall'] },
    {
      name: 'nginx over TLS',
      server: await startNginx({ certificate }),
      paths: numbers.map(n => `/bytes/20000/tls-${n}`),
      unseenBy: [],
    },
    {
      name: 'node over TLS',
      server: await startNodeServer({ certificate }),
      paths: numbers.map(n => `/bytes/5000/tls-${n}`),
      unseenBy: [],
    },
  ];
}

interface Requested {
  readonly pid: number;
  readonly witnesses: Witness[];
  /** Of HTTP, both ways. */
  readonly bytes: number;
}

/** One curl for all paths; its account is what is to be found in the spans. */
async function request({ server, paths }: Target): Promise<Requested> {
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

async function booksOf(agent: Agent): Promise<Coverage> {
  return until('the books of the agent', 5000, async () => {
    const { status, body } = await get(`${agent.adminUrl}/metrics`);
    return status === 200 ? readCoverage(parseSamples(body)) : null;
  });
}

/** Waits for `count` spans, and then for one too many. */
async function spansOf(
  receiver: { spans(): readonly DecodedSpan[] },
  isWanted: (span: DecodedSpan) => boolean,
  count: number,
): Promise<DecodedSpan[]> {
  const deadline = Date.now() + SPANS_MS;
  while (receiver.spans().filter(isWanted).length < count && Date.now() < deadline) await sleep(200);
  await sleep(1500);
  // On a machine this slow a batch may be sent again before its answer comes; its spans keep their ids.
  return [
    ...new Map(
      receiver
        .spans()
        .filter(isWanted)
        .map(span => [span.spanId, span]),
    ).values(),
  ];
}

async function watchServers(frontEnd: string, targets: readonly Target[]): Promise<void> {
  const receiver = await startOtlpReceiver({ grpc: false, http: true });
  const agent = await startAgent({
    endpoint: receiver.httpUrl,
    protocol: 'http/protobuf',
    env: { UNDERSPAN_KERNEL_FRONT_END: frontEnd },
  });
  let unseenBytes = 0;
  try {
    for (const target of targets) {
      const { pid, witnesses, bytes } = await request(target);
      const pids = new Set(target.server.pids());
      const isSeen = !target.unseenBy.includes(frontEnd);
      if (!isSeen) unseenBytes += bytes;
      const isServer = (span: DecodedSpan): boolean => span.kind === SERVER && pids.has(pidOf(span));
      const isClient = (span: DecodedSpan): boolean => span.kind === CLIENT && pidOf(span) === pid;
      const server = await spansOf(receiver, isServer, isSeen ? REQUESTS : 0);
      const client = await spansOf(receiver, isClient, REQUESTS);
      const serverSide = compareSpans(isSeen ? witnesses : [], server);
      const clientSide = compareSpans(witnesses, client);
      const faults = [serverSide, clientSide].flatMap(({ missing, extra, wrong }) => [
        ...missing.map(line => `missing: ${line}`),
        ...extra.map(line => `extra: ${line}`),
        ...wrong.map(line => `wrong: ${line}`),
      ]);
      const clients = new Set(client.map(({ spanId }) => spanId));
      const unjoined = server.filter(({ parentSpanId }) => !clients.has(parentSpanId)).length;
      if (unjoined > 0) faults.push(`${unjoined} SERVER spans without their client's as parent`);
      tell({ fact: 'servers', frontEnd, target: target.name, ok: faults.length === 0, spans: server.length, faults });
    }
    const faults = faultsOfBooks(await booksOf(agent), unseenBytes);
    tell({ fact: 'books', frontEnd, faults, said: faults.length === 0 ? '' : agent.child.describe() });
  } catch (error) {
    tell({ fact: 'servers', frontEnd, target: '', ok: false, spans: 0, faults: [String(error)] });
  } finally {
    await agent.child.stop();
    await receiver.close();
  }
}

/** What the doctor says of a server that encrypts, and of the one that uses io_uring. */
async function tellDoctor(frontEnd: (typeof WAYS)[number], targets: readonly Target[]): Promise<void> {
  const way = frontEnd === 'auto' ? 'fentry' : frontEnd;
  const pidOfTarget = (name: string): number =>
    targets
      .find(target => target.name === name)
      ?.server.pids()
      .at(-1) as number;
  const isSeen = way !== 'syscall';
  const faults = [
    ...(await askDoctor(frontEnd, pidOfTarget('nginx over TLS'), {
      selection: /^ok: /,
      probes: new RegExp(`^ok: socket calls by ${way}$`),
      sockets: /^ok: \d+ at/,
      tls: /^ok: openssl in \/.*libssl\S* is read$/,
    })),
    ...(await askDoctor(frontEnd, pidOfTarget('io_uring'), {
      io_uring: isSeen ? new RegExp(`^ok: in use, and seen by ${way}$`) : /^note: in use: .* not seen by syscall$/,
    })),
  ];
  tell({ fact: 'doctor', frontEnd, faults });
}

// `guest.js servers auto syscall` does a part: of what is done, and of the front ends. The TLS tests are done by name only.
const PARTS = ['programs', 'tests', 'servers', 'tls'];
const words = process.argv.slice(2);
const isWanted = (all: readonly string[], word: string): boolean =>
  words.includes(word) || !all.some(other => words.includes(other));
const ways = WAYS.filter(name => isWanted(WAYS, name));
const frontEnds = FRONT_ENDS.filter(name => ways.includes(name));
if (isWanted(PARTS, 'programs')) for (const way of ways) tellPrograms(way);
if (isWanted(PARTS, 'servers')) {
  const targets = await startTargets(mkdtempSync('/tmp/underspan-guest-'));
  for (const way of ways) {
    await watchServers(way, targets);
    await tellDoctor(way, targets);
  }
  for (const { server } of targets) await server.stop();
}
if (isWanted(PARTS, 'tests'))
  for (const frontEnd of frontEnds) await runTests('kernel tests', frontEnd, ['kernel', 'calls', 'sockets']);
if (words.includes('tls')) await runTests('TLS tests', 'auto', ['e2e', 'e2e/tls']);
tell({ fact: 'end' });
