// The command line as its users meet it: quick looks as JSON, clear refusals with the right exit code.
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { collectSpans, get, MAIN, runUnderspan, spawnAgent, startAgent } from '../support/agent.js';
import { makeCertificate } from '../support/certificate.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, freePort, runCommand, temporaryDirectory, until } from '../support/processes.js';
import { type Server, startNodeServer } from '../support/servers.js';
import { type DecodedSpan, pathOfSpan, SERVER, serviceOf, text } from '../support/spans.js';

function configFile(text: string): string {
  const file = path.join(temporaryDirectory('config'), 'underspan.yaml');
  writeFileSync(file, text);
  return file;
}

/** Starts `underspan trace ARGS` and asks the server until its first line comes: then the probes are attached. */
async function tracing(args: readonly string[], server: Server, use: (child: Child) => Promise<void>): Promise<Child> {
  const child = await spawnAgent({
    command: ['trace', ...args],
    env: { UNDERSPAN_ADMIN_PORT: String(await freePort()) },
  });
  try {
    await until('underspan trace to say that it shows requests', 20_000, () => {
      assert.ok(child.isRunning, child.describe());
      return /from now on is shown/.test(child.stderr) ? true : null;
    }).catch(error => {
      throw new Error(`${(error as Error).message}\n${child.describe()}`);
    });
    assert.equal(child.stdout, '');
    await runCommand('curl', ['--silent', `${server.url}/status/200/first-sign`]);
    await until('the first line of underspan trace', 10_000, () => (child.stdout.includes('\n') ? true : null));
    await use(child);
    assert.ok(await child.stop(6000, 'SIGINT'), 'Ctrl-C ends it');
    assert.equal(child.exitCode, 0, child.describe());
    return child;
  } finally {
    await child.stop(100, 'SIGKILL');
  }
}

interface TraceLine {
  readonly trace_id: string;
  readonly span_id: string;
  readonly parent_span_id: string;
  readonly service: string;
  readonly kind: string;
  readonly name: string;
  readonly start: string;
  readonly duration_s: number;
  readonly attributes: Readonly<Record<string, unknown>>;
}

test('trace --json prints one object per span', async () => {
  const server = await startNodeServer();
  try {
    const askedAt = Date.now();
    const child = await tracing(['--json', '--port', String(server.port)], server, async running => {
      await runCommand('curl', ['--silent', '--request', 'PUT', '--data', 'x', `${server.url}/sleep/40/wanted`]);
      await until('the span', 5000, () => (running.stdout.split('/wanted').length > 2 ? true : null));
    });
    const lines = child.stdout.trimEnd().split('\n');
    const spans = lines.map(line => JSON.parse(line) as TraceLine);
    const wanted = spans.filter(span => JSON.stringify(span.attributes).includes('/wanted'));
    assert.equal(wanted.length, 2, child.stdout);
    const serverSpan = wanted.find(span => /server/i.test(span.kind));
    const clientSpan = wanted.find(span => /client/i.test(span.kind));
    assert.ok(serverSpan && clientSpan, child.stdout);
    assert.match(serverSpan.trace_id, /^[0-9a-f]{32}$/);
    assert.match(serverSpan.span_id, /^[0-9a-f]{16}$/);
    assert.equal(serverSpan.trace_id, clientSpan.trace_id);
    assert.equal(serverSpan.parent_span_id, clientSpan.span_id);
    assert.equal(serverSpan.service, 'node-server');
    assert.equal(clientSpan.service, 'curl');
    assert.equal(serverSpan.attributes['http.request.method'], 'PUT');
    assert.equal(serverSpan.attributes['http.response.status_code'], 200);
    assert.ok(serverSpan.duration_s >= 0.0395 && serverSpan.duration_s < 0.2, String(serverSpan.duration_s));
    const startMs = Date.parse(serverSpan.start);
    assert.ok(startMs >= askedAt && startMs <= Date.now(), serverSpan.start);
  } finally {
    await server.stop();
  }
});

test('trace filters by path, status and duration', async () => {
  const server = await startNodeServer();
  try {
    const filters = ['--path', '/status/**', '--status', '2xx', '--pid', String(server.child.pid)];
    const child = await tracing(['--json', ...filters], server, async running => {
      for (const what of ['/status/404/no', '/bytes/1/no', '/status/201/yes']) {
        await runCommand('curl', ['--silent', '--output', '/dev/null', `${server.url}${what}`]);
      }
      await until('the span', 5000, () => (running.stdout.includes('/status/201/yes') ? true : null));
    });
    const paths = child.stdout
      .trimEnd()
      .split('\n')
      .map(line => (JSON.parse(line) as TraceLine).attributes['url.path']);
    assert.deepEqual([...new Set(paths)].sort(), ['/status/200/first-sign', '/status/201/yes']);
  } finally {
    await server.stop();
  }
});

test('trace --connections prints a line per connection', async () => {
  const server = await startNodeServer();
  try {
    const args = ['--connections', '--no-color', '--pid', String(server.child.pid)];
    const child = await tracing(args, server, async () => undefined);
    assert.match(child.stdout, new RegExp(`127\\.0\\.0\\.1:${server.port}`));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what must not be there
    assert.doesNotMatch(child.stdout, /\u001b/);
  } finally {
    await server.stop();
  }
});

test('config check: file, line, what was wrong; exit code 2', async () => {
  const file = configFile('selection:\n  include:\n    - pid: 1\ncapture:\n  head_byte: 100\n');
  const child = await runUnderspan(['config', 'check', '--config', file]);
  assert.equal(child.exitCode, 2, child.describe());
  assert.match(child.stderr, new RegExp(`${file}:5:`));
  assert.match(child.stderr, /head_byte/);
  assert.match(child.stderr, /head_bytes/, 'names what is allowed');
  const good = await runUnderspan(['config', 'check', '--config', configFile('capture:\n  head_bytes: 1024\n')]);
  assert.equal(good.exitCode, 0, good.describe());
});

test('run with a bad configuration ends with exit code 2 before it touches the kernel', async () => {
  const child = await runUnderspan(['run', '--config', configFile('kernel:\n  max_connections: many\n')]);
  assert.equal(child.exitCode, 2, child.describe());
  assert.match(child.stderr, /:2:/);
});

test('usage errors end with exit code 2', async () => {
  for (const args of [['nonsense'], ['run', '--nonsense'], ['replay'], ['replay', '/nonexistent/file']]) {
    const child = await runUnderspan(args);
    assert.equal(child.exitCode, 2, `${args.join(' ')}: ${child.describe()}`);
    assert.notEqual(child.stderr, '');
    assert.doesNotMatch(child.stderr, /^\s+at .*:\d+:\d+/m, 'no stack trace');
  }
});

/** Runs underspan with setpriv's help; `privileges` says what is taken away. */
function withoutPrivileges(privileges: readonly string[], args: readonly string[]): Promise<Child> {
  return runCommand('setpriv', [...privileges, process.execPath, MAIN, ...args], {
    env: { UNDERSPAN_ADMIN_PORT: '0' },
  });
}

/** Another user, who may read the checkout wherever it lies. */
const NOBODY = [
  ...['--reuid=65534', '--regid=65534', '--clear-groups'],
  ...['--inh-caps=-all,+dac_read_search', '--ambient-caps=-all,+dac_read_search'],
];

test('not root: one clear sentence, exit code 3', async () => {
  const child = await withoutPrivileges(NOBODY, ['run']);
  assert.equal(child.exitCode, 3, child.describe());
  assert.match(child.stderr, /root|CAP_BPF/);
  assert.doesNotMatch(child.stderr, /^\s+at .*:\d+:\d+/m, 'no stack trace');
});

test('root without capabilities: names what is missing, exit code 3', async () => {
  const child = await withoutPrivileges(['--bounding-set=-all', '--inh-caps=-all'], ['run']);
  assert.equal(child.exitCode, 3, child.describe());
  assert.match(child.stderr, /CAP_(BPF|SYS_ADMIN|PERFMON)/);
});

test('help, version and doctor need no privileges', async () => {
  const help = await withoutPrivileges(NOBODY, ['--help']);
  assert.equal(help.exitCode, 0, help.describe());
  for (const command of ['run', 'trace', 'record', 'replay', 'doctor', 'config'])
    assert.match(help.stdout, new RegExp(command));
  const version = await withoutPrivileges(NOBODY, ['--version']);
  assert.match(version.stdout, /\d+\.\d+\.\d+/);
  const doctor = await runUnderspan(['doctor', '--json']);
  assert.equal(doctor.exitCode, 0, doctor.describe());
  assert.equal(typeof JSON.parse(doctor.stdout), 'object');
});

/** Not root, with these capabilities and no others. */
function capable(...names: readonly string[]): readonly string[] {
  const set = ['-all', ...names.map(name => `+${name}`)].join(',');
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  return [...user, `--inh-caps=${set}`, `--ambient-caps=${set}`, `--bounding-set=${set}`];
}

/** What the README asks for. */
const CAPABLE = capable('bpf', 'perfmon', 'sys_ptrace', 'dac_read_search');

/** This agent on this server: the spans of one request, by `isWanted`. */
async function traceOne(
  [program, ...args]: readonly [string, ...string[]],
  server: Server,
  isWanted: (span: DecodedSpan) => boolean,
): Promise<readonly DecodedSpan[]> {
  const receiver = await startOtlpReceiver({ grpc: false, http: true });
  const port = await freePort();
  const agent = new Child(program, [...args, '--pid', String(server.pids()[0])], {
    env: {
      UNDERSPAN_ADMIN_PORT: String(port),
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.httpUrl,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      OTEL_BSP_SCHEDULE_DELAY: '200',
    },
  });
  try {
    const isReady = async (): Promise<true | null> =>
      (await get(`http://127.0.0.1:${port}/readyz`)).status === 200 ? true : null;
    await until('the agent to be ready', 60_000, isReady, 100).catch(error => {
      throw new Error(`${(error as Error).message}\n${agent.describe()}`);
    });
    const client = await runCommand('curl', ['--silent', '--insecure', `${server.url}/status/200/one`]);
    assert.equal(client.exitCode, 0, client.describe());
    const spans = await collectSpans(receiver, isWanted, 1);
    assert.ok(agent.isRunning, agent.describe());
    assert.notEqual(spans.length, 0, agent.describe());
    return spans;
  } finally {
    await agent.stop(6000);
    await server.stop();
    await receiver.close();
  }
}

/** The agent with these privileges on a server that encrypts. */
async function traceEncrypted(
  privileges: readonly string[],
  isWanted: (span: DecodedSpan) => boolean,
): Promise<readonly DecodedSpan[]> {
  const certificate = await makeCertificate('ec');
  const server = await startNodeServer({ certificate, env: { OTEL_SERVICE_NAME: 'of another user' } });
  return traceOne(['setpriv', ...privileges, process.execPath, MAIN, 'run'], server, isWanted);
}

test('not root, with the four capabilities: every probe attaches, and the services of others are traced by name, TLS too', async () => {
  const spans = await traceEncrypted(CAPABLE, span => span.kind === SERVER);
  assert.deepEqual(
    spans.map(span => [serviceOf(span), pathOfSpan(span)]),
    [['of another user', '/status/200/one']],
  );
  const told = await runCommand('setpriv', [...CAPABLE, process.execPath, MAIN, 'doctor', '--json']);
  assert.equal(told.exitCode, 0, told.describe());
  const { checks } = JSON.parse(told.stdout) as { checks: { group: string; name: string; state: string }[] };
  assert.deepEqual(
    checks.filter(({ group, state }) => group === 'probes' && state === 'lost'),
    [],
  );
});

test('not root, and without CAP_SYS_PTRACE: TLS of others is seen from outside', async () => {
  const privileges = capable('bpf', 'perfmon', 'dac_read_search');
  const spans = await traceEncrypted(privileges, span => span.name === 'TLS connection');
  assert.equal(spans.length, 1);
  // Newer kernels show CAP_PERFMON what is mapped.
  assert.match(
    text(spans[0] as DecodedSpan, 'underspan.tls.opaque.reason'),
    /^(library_unknown|process_not_inspected)$/,
  );
});

/** CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_CHECKPOINT_RESTORE */
const NEEDED = (1n << 39n) | (1n << 38n) | (1n << 19n) | (1n << 2n) | (1n << 40n);

/** Permitted and bounding set of every thread. */
function capabilitiesOf(pid: number): readonly bigint[] {
  return readdirSync(`/proc/${pid}/task`).flatMap(thread => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    return [...status.matchAll(/^Cap(?:Prm|Bnd):\s*([0-9a-f]+)$/gm)].map(found => BigInt(`0x${found[1]}`));
  });
}

test('root: once it is ready, no thread of the agent has a capability that it needs no more', async () => {
  const agent = await startAgent({ config: 'selection: { include: [{ pid: 1 }] }' });
  try {
    // Debian's kernels may want CAP_SYS_ADMIN as well (src/privileges.ts).
    const isParanoid = Number(readFileSync('/proc/sys/kernel/perf_event_paranoid', 'utf8')) > 2;
    const needed = isParanoid ? NEEDED | (1n << 21n) : NEEDED;
    const held = capabilitiesOf(process.pid)[0] as bigint;
    const sets = capabilitiesOf(agent.pid);
    assert.ok(sets.length > 10, `only ${sets.length} sets`);
    assert.equal(new Set(sets).size, 1, `threads differ: ${sets.join(', ')}\n${agent.child.describe()}`);
    assert.equal((sets[0] as bigint) & ~needed, 0n, agent.child.describe());
    assert.equal((sets[0] as bigint) & NEEDED, held & NEEDED, agent.child.describe());
  } finally {
    await agent.stop();
  }
});

/** Runs underspan where the kernel shows no BTF of its own. */
const WITHOUT_BTF = ['--mount', 'sh', '-c', 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', 'sh'];

test('a kernel without BTF: one clear sentence; with a BTF file the services are traced', async () => {
  const refused = await runCommand('unshare', [...WITHOUT_BTF, process.execPath, MAIN, 'run']);
  assert.equal(refused.exitCode, 3, refused.describe());
  assert.match(refused.stderr, /no BTF at \/sys\/kernel\/btf\/vmlinux.*\n.*kernel\.btf/);
  const file = path.join(temporaryDirectory('btf'), 'vmlinux');
  copyFileSync('/sys/kernel/btf/vmlinux', file);
  const command = ['unshare', ...WITHOUT_BTF, process.execPath, MAIN, 'run', '--btf', file] as const;
  const spans = await traceOne(command, await startNodeServer(), span => span.kind === SERVER);
  assert.deepEqual(spans.map(pathOfSpan), ['/status/200/one']);
});

test('doctor --pid: what is traced, by what; what is not, and why', async () => {
  const examine = async (
    code: number,
    ...args: string[]
  ): Promise<Record<string, { state: string; detail: string }>> => {
    const told = await runUnderspan(['doctor', '--json', '--pid', String(process.pid), ...args]);
    assert.equal(told.exitCode, code, told.describe());
    const { checks } = JSON.parse(told.stdout) as {
      checks: { group: string; name: string; state: string; detail: string }[];
    };
    const own = checks.filter(({ group }) => group === `process ${process.pid}`);
    return Object.fromEntries(own.map(({ name, state, detail }) => [name, { state, detail }]));
  };
  const traced = await examine(0);
  assert.equal(traced.selection?.state, 'ok');
  assert.match(traced.probes?.detail ?? '', /^socket calls by \w+$/);
  assert.match(traced.tls?.detail ?? '', /^(openssl|node) in .*node/);
  const excluded = await examine(3, '--set', 'selection.include=[{exe: no-such-program}]');
  assert.equal(excluded.selection?.state, 'lost');
  assert.match(excluded.selection?.detail ?? '', /none of the 1 include selectors matches/);
  const itself = await examine(3, '--set', 'selection.exclude=[{exe: node}]');
  assert.deepEqual(itself.selection, { state: 'lost', detail: 'an exclude selector matches it' });
  const partly = await examine(0, '--set', 'selection.exclude=[{exe: node, listen_port: 1}]');
  assert.equal(partly.selection?.state, 'note');
});

test('a forced front end is the one that is taken; a BTF file that is not there: one clear sentence, exit code 3', async () => {
  const told = await runUnderspan(['doctor', '--json', '--set', 'kernel.front_end=syscall']);
  assert.equal(told.exitCode, 0, told.describe());
  const { checks } = JSON.parse(told.stdout) as { checks: { name: string; detail: string }[] };
  assert.equal(checks.find(({ name }) => name === 'socket calls')?.detail, 'by syscall');
  const nobody = await runUnderspan(['doctor', '--pid', '4194304']);
  assert.equal(nobody.exitCode, 3, nobody.describe());
  assert.match(nobody.stdout, /^No spans of process 4194304: process\.$/m);
  const missing = await runUnderspan(['run', '--btf', '/nowhere/btf'], { UNDERSPAN_ADMIN_PORT: '0' });
  assert.equal(missing.exitCode, 3, missing.describe());
  assert.match(missing.stderr, /no BTF at \/nowhere\/btf/);
});
