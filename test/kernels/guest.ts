// What runs inside a guest of the kernel matrix, for each front end and the automatic choice. What the verifier walks for
// its programs; the agent over real servers: nginx with sendfile, Node, Python, one that does everything through io_uring,
// and nginx and Node over TLS, where every request must have exactly its SERVER span and its CLIENT span, joined, and the
// agent's books are in order; the kernel tests (bytes, calls and positions against a driver's own account); servers and
// clients of every TLS library. Out: one JSON line a fact for judge.ts.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Coverage, parseSamples, readCoverage } from '../../src/cli/coverage.js';
import { Kernel } from '../../src/kernel/loader.js';
import { isPreempting, kernelWords } from '../../src/kernel/preemption.js';
import { type Agent, get, startAgent } from '../support/agent.js';
import { compareSpans } from '../support/compare.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { runCommand, until } from '../support/processes.js';
import { startNginx } from '../support/servers.js';
import { CLIENT, type DecodedSpan, pidOf, SERVER } from '../support/spans.js';
import { askDoctor } from './ask-doctor.js';
import { faultsOfBooks, missedBytes, withoutSkipped } from './books.js';
import { ask, type Client } from './clients.js';
import type { Fact } from './judge.js';
import { REQUESTS, startTargets, type Target } from './targets.js';

/** As slow as an emulated machine is that shares a processor: only what is missing takes as long. */
const SPANS_MS = 120_000;
const WAYS = ['auto', 'fentry', 'kprobe', 'syscall'] as const;
type Way = (typeof WAYS)[number];
const RUNNER = fileURLToPath(new URL('../run.js', import.meta.url));

/** The front end that is to be taken. */
function wayOf(frontEnd: Way): string {
  return frontEnd === 'auto' ? 'fentry' : frontEnd;
}

function tell(fact: Fact): void {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}

function find(what: string, told: string, faults: readonly string[]): void {
  tell({ fact: 'finding', what, told, faults });
}

/**
 * Which way each group of probes goes, and what the verifier walks for their programs. No feature is lost on any of these
 * kernels, and the best way to the sockets is open on all.
 */
function tellPrograms(frontEnd: Way): void {
  const kernel = Kernel.load({
    dataRingBytes: 1 << 16,
    controlRingBytes: 1 << 16,
    maxConnections: 64,
    headBytes: 256,
    btfPath: '',
    agentPid: process.pid,
    way: frontEnd === 'auto' ? null : frontEnd,
    isTrial: true,
  });
  try {
    kernel.attach();
    const loaded = kernel.programs().filter(({ id }) => id > 0);
    tell({ fact: 'figures', figures: Object.fromEntries(loaded.map(({ name, verified }) => [name, verified])) });
    const { reports } = kernel;
    const faults = reports.filter(({ way }) => way === null).map(({ group }) => `the probes of ${group} are refused`);
    const taken = reports.find(({ group }) => group === 'socket calls')?.way;
    if (taken !== wayOf(frontEnd)) faults.push(`socket calls go by ${taken}, not by ${wayOf(frontEnd)}`);
    find(
      `${frontEnd}, programs`,
      reports.map(({ group, way }) => `${group} by ${way ?? 'nothing'}`).join(', '),
      faults,
    );
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
  const failures = lines.filter(line => line.startsWith('failed: '));
  const isOk = status === 0 && /^[1-9]\d* passed, 0 failed$/.test(lines.at(-1) ?? '');
  find(`${frontEnd}, ${suite}`, lines.at(-1) ?? 'nothing', isOk ? [] : [...failures, lines.join('\n')]);
}

/**
 * Whatever it warns of, such as probes that were refused and what is lost for it. Not of an export that it had to repeat: the
 * receiver may end an idle connection just when it is used. Spans that did not arrive are missing.
 */
function warningsOf({ child }: Agent): readonly string[] {
  return child.stderr.split('\n').filter(line => /^\S+ (warn|error) (?! *otlp traces to )/.test(line));
}

async function booksOf(agent: Agent): Promise<Coverage> {
  return until('the books of the agent', 5000, async () => {
    const { status, body } = await get(`${agent.adminUrl}/metrics`);
    return status === 200 ? readCoverage(parseSamples(body)) : null;
  });
}

/** By program, as the kernel counts them. */
async function skippedRuns(): Promise<string> {
  const { stdout, stderr } = await runCommand('python3', ['test/kernels/missed-runs.py']);
  return `runs that the kernel skipped:\n${stdout}${stderr}`;
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

/**
 * The first program on a machine that maps a library, or that runs an executable, may be over before its probes are there:
 * it runs over plain HTTP until the agent has said that it reads it.
 */
async function introduce(client: Client, plainUrl: string, agent: Agent): Promise<void> {
  for (let runs = 0; client.found !== null && !client.found.test(agent.child.stderr); runs++) {
    if (runs === 20) throw new Error(`the agent has not said ${client.found}`);
    await ask(client, plainUrl, [`/status/200/first-${runs}`]);
    await sleep(1000);
  }
}

/** The kernel preempts its own code: it skips runs of programs, and the system-call front end has no copies that make up for it. */
const IS_PREEMPTING = isPreempting(kernelWords());

async function watchServers(
  frontEnd: Way,
  { targets, plainUrl, books }: { targets: readonly Target[]; plainUrl: string; books: string },
): Promise<void> {
  const receiver = await startOtlpReceiver({ grpc: false, http: true });
  const agent = await startAgent({
    endpoint: receiver.httpUrl,
    protocol: 'http/protobuf',
    env: {
      UNDERSPAN_KERNEL_FRONT_END: frontEnd,
      // A batch that is not answered in time would be sent again, and in the end dropped.
      OTEL_EXPORTER_OTLP_TIMEOUT: '300000',
      // What takes time in an emulated machine and shows nothing: room for many connections, looks at empty rings.
      UNDERSPAN_KERNEL_MAX_CONNECTIONS: '1024',
      UNDERSPAN_KERNEL_DRAIN_INTERVAL_MS: '50',
    },
  });
  try {
    // Whoever asked whether it is ready did so while its probes were attached, one after another.
    await sleep(1500);
    let unseenBytes = missedBytes(await booksOf(agent));
    const isCostly = IS_PREEMPTING && frontEnd === 'syscall';
    /** Nobody's fault if runs were skipped, and counted. */
    const missed: string[] = [];
    for (const target of targets) {
      if (target.isOnlyAuto && frontEnd !== 'auto') continue;
      await introduce(target.client, plainUrl, agent);
      const { pid, witnesses, bytes } = await ask(target.client, target.server.url, target.paths);
      const pids = new Set(target.server.pids());
      const isSeen = !target.unseenBy.includes(frontEnd);
      if (!isSeen) unseenBytes += bytes;
      const isServer = (span: DecodedSpan): boolean => span.kind === SERVER && pids.has(pidOf(span));
      const isClient = (span: DecodedSpan): boolean => span.kind === CLIENT && pidOf(span) === pid;
      const server = await spansOf(receiver, isServer, isSeen ? REQUESTS : 0);
      const client = await spansOf(receiver, isClient, REQUESTS);
      const serverSide = compareSpans(isSeen ? witnesses : [], server);
      const clientSide = compareSpans(witnesses, client);
      const missing = [serverSide, clientSide].flatMap(side => side.missing.map(line => `missing: ${line}`));
      if (isCostly) missed.push(...missing);
      const faults = isCostly ? [] : missing;
      const others = [serverSide, clientSide].flatMap(({ extra, wrong }) => [
        ...extra.map(line => `extra: ${line}`),
        ...wrong.map(line => `wrong: ${line}`),
      ]);
      faults.push(...others);
      const clients = new Set(client.map(({ spanId }) => spanId));
      const unjoined = server.filter(({ parentSpanId }) => !clients.has(parentSpanId)).length;
      // What binds a TLS session to its socket, or tells a connection's ends, may be what was skipped.
      if (unjoined > 0) (isCostly ? missed : faults).push(`${unjoined} SERVER spans without their client's as parent`);
      const told = isSeen
        ? `${server.length} SERVER and ${client.length} CLIENT spans`
        : `${client.length} CLIENT spans`;
      find(`${frontEnd}, ${target.name}`, unjoined > 0 ? `${told}, ${unjoined} not joined` : told, faults);
    }
    const coverage = await booksOf(agent);
    const skipped = IS_PREEMPTING ? (coverage.recordsDropped.missed_runs ?? 0) : 0;
    const warnings = warningsOf(agent).filter(
      line => !isCostly || !/ requests? ha(ve|s) no span \(gap \d+\)$/.test(line),
    );
    const judged = skipped > 0 ? withoutSkipped(coverage, isCostly) : coverage;
    const faults = [...faultsOfBooks(judged, unseenBytes), ...warnings, ...(skipped === 0 ? missed : [])];
    const inOrder = skipped === 0 ? 'in order' : `in order, with ${skipped} runs that the kernel skipped`;
    const said = faults.length === 0 ? [] : [await agent.losses(), await skippedRuns(), agent.child.describe()];
    find(`${frontEnd}, ${books}`, faults.length === 0 ? inOrder : 'not in order', [...faults, ...said]);
    await agent.stop();
  } catch (error) {
    find(`${frontEnd}, servers`, 'broken off', [String(error), agent.child.describe()]);
  } finally {
    await agent.child.stop();
    await receiver.close();
  }
}

/** What the doctor says of a server that encrypts, and of the one that uses io_uring. */
async function tellDoctor(frontEnd: Way, targets: readonly Target[]): Promise<void> {
  const way = wayOf(frontEnd);
  const isSeen = way !== 'syscall';
  const expected: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
    'nginx over TLS': {
      selection: /^ok: /,
      probes: new RegExp(`^ok: socket calls by ${way}$`),
      sockets: /^ok: \d+ at/,
      tls: /^ok: openssl in \/.*libssl\S* is read$/,
    },
    io_uring: {
      io_uring: isSeen ? new RegExp(`^ok: in use, and seen by ${way}$`) : /^note: in use: .* not seen by syscall$/,
    },
  };
  const faults: string[] = [];
  for (const { name, server } of targets) {
    const lines = expected[name];
    if (lines !== undefined) faults.push(...(await askDoctor(frontEnd, server.pids().at(-1) as number, lines)));
  }
  find(`${frontEnd}, doctor`, faults.length === 0 ? 'right' : 'wrong', faults);
}

// `guest.js servers auto syscall` does a part: of what is done, and by which front ends; `servers/auto` does only this one
// for a part, `only=nginx` takes only this server. The doctor is asked about servers. The TLS suite is done by name only.
const PARTS = ['programs', 'servers', 'doctor', 'tests', 'tls'];
const words = process.argv.slice(2);
const only = words.filter(word => word.startsWith('only=')).map(word => word.slice('only='.length));

/** By which front ends a part is done; none if it is not wanted. */
function waysOf(part: string): readonly Way[] {
  const own = WAYS.filter(way => words.includes(`${part}/${way}`));
  if (own.length > 0) return own;
  const named = words.map(word => word.split('/', 1)[0] as string).filter(word => PARTS.includes(word));
  if (named.length > 0 ? !words.includes(part) : part === 'tls') return [];
  const wanted = WAYS.filter(way => words.includes(way));
  return wanted.length > 0 ? wanted : WAYS;
}

for (const way of waysOf('programs')) tellPrograms(way);
if (waysOf('servers').length > 0) {
  const targets = await startTargets('servers', mkdtempSync('/tmp/underspan-guest-'), only);
  for (const way of waysOf('servers')) {
    await watchServers(way, { targets, plainUrl: '', books: 'books' });
    if (waysOf('doctor').includes(way)) await tellDoctor(way, targets);
  }
  for (const { server } of targets) await server.stop();
}
for (const way of waysOf('tests'))
  if (way !== 'auto') await runTests('kernel tests', way, ['kernel', 'calls', 'sockets']);
if (waysOf('tls').length > 0) {
  const plain = await startNginx();
  const targets = await startTargets('tls', '', only);
  for (const way of waysOf('tls')) await watchServers(way, { targets, plainUrl: plain.url, books: 'books over TLS' });
  for (const server of [plain, ...targets.map(({ server }) => server)]) await server.stop();
}
tell({ fact: 'end' });
