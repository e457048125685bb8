// Chains of real services for the correctness of traces: each request's path names it and all that it causes
// (/c/7 calls /c/7.1, /c/7.2 ...), so every span's right parent is known from its path alone, which Underspan never looks at
// for that. In: which links, and how they call. Out: running services, load, and a judgement of the spans.
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Child, freePort, isListening, processTree, runCommand, temporaryDirectory, until } from './processes.js';
import { PROXIES, type ProxyKind, proxyCommand } from './proxies.js';
import { CLIENT, type DecodedSpan, pathOfSpan, pidOf, SERVER, serviceOf } from './spans.js';
import { fillTemplate } from './templates.js';

const SERVICES = path.resolve('test/services/chain');
const CGI_SCRIPT = 'call.cgi';

export type LinkKind =
  | 'nginx'
  | 'lua'
  | 'dns'
  | 'node'
  | 'queues'
  | 'fetch'
  | 'gunicorn'
  | 'gthread'
  | 'gevent'
  | 'puma'
  | 'go'
  | 'hands'
  | 'golib'
  | 'java'
  | 'jvm'
  | 'spring'
  | 'dotnet'
  | 'cgi'
  | 'php'
  | 'apache'
  | 'asyncio'
  | 'asgi'
  | 'waitress'
  | 'leaders'
  | 'program'
  | 'native'
  | 'rust'
  | 'actix'
  | ProxyKind;

export interface LinkOptions {
  readonly kind: LinkKind;
  /** Names of the links that each request calls, in this order; repeated for several calls of one. */
  readonly calls?: readonly string[];
  /** `@port(NAME)@` is the port of that link. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Link {
  readonly name: string;
  readonly kind: LinkKind;
  readonly port: number;
  /** Where those that call it find it: a URL, or `unix:` and the path of its socket. */
  readonly url: string;
  /** What it was started with, where it writes its logs. */
  readonly directory: string;
  readonly child: Child;
}

const FORKING: ReadonlySet<LinkKind> = new Set([
  ...['gunicorn', 'gthread', 'gevent', 'nginx', 'lua', 'cgi', 'php', 'apache', 'apache-proxy', 'varnish'],
] as const);
const SETTLED_MS = 500;
/** .NET Core 3.1 or later, with ASP.NET Core. */
const DOTNET = process.env.CHAIN_DOTNET ?? 'dotnet';
const JVMS = '/usr/lib/jvm';
const VIRTUAL_SINCE = 21;

/** By source and flags of the build. */
const nativeBinaries = new Map<string, Promise<string>>();
const goBinaries = new Map<string, Promise<string>>();
let goModule: Promise<string> | null = null;
let rustBinaries: Promise<string> | null = null;
let javaClasses: Promise<string> | null = null;
let dotnetProgram: Promise<string> | null = null;
/** Of Java with libraries, by folder. */
const jvmClasses = new Map<string, Promise<string>>();

function goBinary(source: string, flags: string): Promise<string> {
  const key = `${source} ${flags}`;
  const known = goBinaries.get(key) ?? compileGo(source, flags);
  goBinaries.set(key, known);
  return known;
}

async function compileGo(source: string, flags: string): Promise<string> {
  const binary = path.join(temporaryDirectory('chain-go'), 'chain');
  const env = { GOFLAGS: '', GO111MODULE: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' };
  const args = ['build', ...(flags === '' ? [] : [flags]), '-o', binary, path.join(SERVICES, source)];
  const build = await runCommand('go', args, {
    env,
    timeoutMs: 180_000,
  });
  if (build.exitCode !== 0) throw new Error(`go build failed: ${build.describe()}`);
  return binary;
}

/** With modules that go fetches. */
async function compileGoModule(folder: string): Promise<string> {
  const binary = path.join(temporaryDirectory('chain-go'), folder);
  const env = { GOFLAGS: '', CGO_ENABLED: '0' };
  const args = ['build', '-C', path.join(SERVICES, folder), '-o', binary, '.'];
  const build = await runCommand('go', args, { env, timeoutMs: 600_000 });
  if (build.exitCode !== 0) throw new Error(`go build failed: ${build.describe()}`);
  return binary;
}

/** SOURCE, in C++ or C, and LIBRARIES to link. */
function nativeBinary(source: string, libraries: string): Promise<string> {
  const key = `${source} ${libraries}`;
  const known = nativeBinaries.get(key) ?? compileNative(source, libraries);
  nativeBinaries.set(key, known);
  return known;
}

async function compileNative(source: string, libraries: string): Promise<string> {
  const binary = path.join(temporaryDirectory('chain-native'), source.replace(/\.\w+$/, ''));
  const compiler = source.endsWith('.c') ? 'cc' : 'c++';
  const args = ['-O1', '-o', binary, path.join(SERVICES, source), '-pthread', ...libraries.split(' ').filter(Boolean)];
  const build = await runCommand(compiler, args, { timeoutMs: 240_000 });
  if (build.exitCode !== 0) throw new Error(`${compiler} failed: ${build.describe()}`);
  return binary;
}

/** With crates that cargo fetches; the folder of its binaries, and of the same without symbols below `stripped`. */
async function compileRust(): Promise<string> {
  const target = path.resolve('build/services/chain-rust');
  const manifest = path.join(SERVICES, 'rust', 'Cargo.toml');
  const build = await runCommand('cargo', ['build', '--release', '--locked', '--manifest-path', manifest], {
    env: { CARGO_TARGET_DIR: target },
    timeoutMs: 900_000,
  });
  if (build.exitCode !== 0) throw new Error(`cargo build failed: ${build.describe()}`);
  const binaries = path.join(target, 'release');
  const stripped = path.join(binaries, 'stripped');
  mkdirSync(stripped, { recursive: true });
  for (const name of ['tokio-link', 'actix-link']) {
    // As packages of Debian are: without the compiler's name, too.
    const args = [
      '--strip-all',
      '--remove-section=.comment',
      '-o',
      path.join(stripped, name),
      path.join(binaries, name),
    ];
    const strip = await runCommand('strip', args, { timeoutMs: 60_000 });
    if (strip.exitCode !== 0) throw new Error(`strip failed: ${strip.describe()}`);
  }
  return binaries;
}

async function compileJava(): Promise<string> {
  const directory = temporaryDirectory('chain-java');
  const build = await runCommand('javac', ['-d', directory, path.join(SERVICES, 'Chain.java')], { timeoutMs: 120_000 });
  if (build.exitCode !== 0) throw new Error(`javac failed: ${build.describe()}`);
  return directory;
}

/** With libraries that Maven fetches; the class path. */
function jvmProgram(folder: string): Promise<string> {
  const known = jvmClasses.get(folder) ?? compileJvm(path.join(SERVICES, folder));
  jvmClasses.set(folder, known);
  return known;
}

async function compileJvm(source: string): Promise<string> {
  const directory = temporaryDirectory('chain-jvm');
  const libraries = path.join(directory, 'lib');
  const fetch = ['-q', '-B', '-f', path.join(source, 'pom.xml'), 'dependency:copy-dependencies'];
  const fetched = await runCommand('mvn', [...fetch, `-DoutputDirectory=${libraries}`], { timeoutMs: 300_000 });
  if (fetched.exitCode !== 0) throw new Error(`mvn failed: ${fetched.describe()}`);
  const classPath = `${directory}:${libraries}/*`;
  const sources = readdirSync(source).filter(name => name.endsWith('.java'));
  const build = await runCommand(
    'javac',
    ['-d', directory, '-cp', classPath, ...sources.map(name => path.join(source, name))],
    { timeoutMs: 120_000 },
  );
  if (build.exitCode !== 0) throw new Error(`javac failed: ${build.describe()}`);
  return classPath;
}

async function compileDotnet(): Promise<string> {
  const directory = temporaryDirectory('chain-dotnet');
  const source = path.join(SERVICES, 'dotnet');
  for (const name of readdirSync(source)) copyFileSync(path.join(source, name), path.join(directory, name));
  const build = await runCommand(DOTNET, ['build', '-c', 'Release', '-o', path.join(directory, 'out'), directory], {
    env: { DOTNET_CLI_TELEMETRY_OPTOUT: '1', DOTNET_SYSTEM_GLOBALIZATION_INVARIANT: '1' },
    timeoutMs: 120_000,
  });
  if (build.exitCode !== 0) throw new Error(`dotnet build failed: ${build.describe()}`);
  return path.join(directory, 'out', 'link.dll');
}

/** The default one, or one with virtual threads. */
function javaOf({ VIRTUAL }: Readonly<Record<string, string>>): string {
  if (VIRTUAL === undefined) return 'java';
  const folders = existsSync(JVMS) ? readdirSync(JVMS).map(name => path.join(JVMS, name)) : [];
  const found = folders.find(folder => {
    const release = path.join(folder, 'release');
    const version = existsSync(release) ? /^JAVA_VERSION="(\d+)/m.exec(readFileSync(release, 'latin1')) : null;
    return version !== null && Number(version[1]) >= VIRTUAL_SINCE && existsSync(path.join(folder, 'bin/java'));
  });
  if (found === undefined) throw new Error(`no Java ${VIRTUAL_SINCE} or later in ${JVMS}`);
  return path.join(found, 'bin/java');
}

/** Its name has PHP's version in it. */
function phpFpm(): string {
  const found = readdirSync('/usr/sbin').find(name => /^php-fpm\d/.test(name));
  if (found === undefined) throw new Error('PHP-FPM is not installed');
  return path.join('/usr/sbin', found);
}

async function commandOf(
  kind: LinkKind,
  directory: string,
  port: number,
  next: readonly string[],
  options: Readonly<Record<string, string>>,
): Promise<readonly [string, readonly string[]]> {
  switch (kind) {
    case 'node':
      return [options.NODE ?? process.execPath, [path.join(SERVICES, options.SCRIPT ?? 'node.mjs')]];
    case 'queues':
      return [options.NODE ?? process.execPath, [path.join(SERVICES, 'node_queues.mjs')]];
    case 'fetch':
      return [options.NODE ?? process.env.CHAIN_NODE ?? process.execPath, [path.join(SERVICES, 'node_fetch.mjs')]];
    case 'dns':
      return [process.execPath, [path.join(SERVICES, 'dns.mjs')]];
    case 'gunicorn':
    case 'gthread':
    case 'gevent': {
      const workers = ['--bind', `127.0.0.1:${port}`, '--workers', options.WORKERS ?? '2'];
      const threads = kind === 'gthread' ? ['--threads', options.THREADS ?? '8'] : [];
      const workerClass = kind === 'gunicorn' ? [] : ['--worker-class', kind];
      const places = ['--chdir', SERVICES, '--worker-tmp-dir', directory, '--keep-alive', '30'];
      return ['gunicorn', [...workers, ...workerClass, ...threads, ...places, 'wsgi:app']];
    }
    case 'asyncio':
      return [options.PYTHON ?? '/usr/bin/python3', [path.join(SERVICES, 'asyncio_link.py')]];
    case 'asgi':
      return [options.PYTHON ?? process.env.CHAIN_PYTHON ?? '/usr/bin/python3', [path.join(SERVICES, 'asgi_link.py')]];
    case 'waitress':
      return [options.PYTHON ?? '/usr/bin/python3', [path.join(SERVICES, 'waitress_link.py')]];
    case 'native':
      return [await nativeBinary(options.SOURCE ?? '', options.LIBRARIES ?? ''), []];
    case 'program': {
      const values: Record<string, string> = { DIR: directory, PORT: String(port), NEXT: next[0] ?? '', SERVICES };
      const words = (options.RUN ?? '').replaceAll(/@(\w+)@/g, (_, word: string) => values[word] ?? '').split(' ');
      return [words[0] as string, words.slice(1)];
    }
    case 'leaders':
      return ['python3', [path.join(SERVICES, 'leaders.py')]];
    case 'puma':
      return ['puma', ['-C', path.join(SERVICES, 'puma.rb')]];
    case 'go':
      return [await goBinary('go.go', options.BUILD ?? ''), []];
    case 'hands':
      return [await goBinary('go_hands.go', ''), []];
    case 'golib':
      goModule ??= compileGoModule('go-libraries');
      return [await goModule, []];
    case 'rust':
    case 'actix':
      rustBinaries ??= compileRust();
      return [path.join(await rustBinaries, options.STRIPPED ?? '', kind === 'rust' ? 'tokio-link' : 'actix-link'), []];
    case 'java':
      javaClasses ??= compileJava();
      return ['java', ['-Xmx128m', '-cp', await javaClasses, 'Chain']];
    case 'jvm':
      return [javaOf(options), ['-Xmx128m', '-cp', await jvmProgram('java'), 'Link']];
    case 'spring':
      return [javaOf(options), ['-Xmx160m', '-cp', await jvmProgram('spring'), 'SpringLink']];
    case 'dotnet':
      dotnetProgram ??= compileDotnet();
      return [DOTNET, [await dotnetProgram]];
    case 'nginx': {
      const file = path.join(directory, 'nginx.conf');
      const to = (next[0] ?? '').replace('http://', '');
      const tls = options.CALL_TLS === undefined ? 'http' : 'https';
      const values = {
        DIR: directory,
        PORT: String(port),
        NEXT: to,
        SCHEME: tls,
        WORKERS: '1',
        KEEP: '64',
        MORE: '',
        TO: 'next',
      };
      const template = options.FASTCGI === undefined ? 'nginx.conf' : 'nginx-fastcgi.conf';
      const script = options.FASTCGI === undefined ? {} : { SCRIPT: path.join(SERVICES, 'link.php') };
      writeFileSync(file, fillTemplate(path.join(SERVICES, template), { ...values, ...script, ...options }));
      return ['nginx', ['-p', directory, '-c', file]];
    }
    case 'lua': {
      const file = path.join(directory, 'nginx.conf');
      const to = (next[0] ?? '').replace('http://', '');
      const values = { DIR: directory, PORT: String(port), NEXT: to, SERVICES, WORKERS: '1', KEEP: '64' };
      writeFileSync(file, fillTemplate(path.join(SERVICES, 'nginx-lua.conf'), { ...values, ...options }));
      return ['nginx', ['-p', directory, '-c', file]];
    }
    case 'apache': {
      const file = path.join(directory, 'apache.conf');
      const to = (next[0] ?? '').replace('http://', '');
      const values = { DIR: directory, PORT: String(port), NEXT: to, SCRIPT: path.join(SERVICES, 'link.php') };
      writeFileSync(file, fillTemplate(path.join(SERVICES, 'apache-fastcgi.conf'), values));
      return ['apache2', ['-f', file, '-DFOREGROUND']];
    }
    case 'php': {
      const file = path.join(directory, 'php-fpm.conf');
      const listen = options.SOCKET ?? `127.0.0.1:${port}`;
      const { NAME = 'www', WORKERS = '8' } = options;
      const values = { DIR: directory, LISTEN: listen, NAME, WORKERS };
      writeFileSync(file, fillTemplate(path.join(SERVICES, 'php-fpm.conf'), values));
      return [phpFpm(), ['-R', '-y', file]];
    }
    case 'haproxy':
    case 'apache-proxy':
    case 'lighttpd':
    case 'varnish':
      return proxyCommand(kind, directory, port, (next[0] ?? '').replace('http://', ''), options);
    case 'cgi': {
      const file = path.join(directory, 'apache.conf');
      // A copy of its own, by which it is selected: another chain's may run beside it.
      const script = path.join(directory, CGI_SCRIPT);
      copyFileSync(path.join(SERVICES, CGI_SCRIPT), script);
      const values = { DIR: directory, PORT: String(port), CGI: script };
      writeFileSync(file, fillTemplate(path.join(SERVICES, 'apache.conf'), values));
      return ['apache2', ['-f', file, '-DFOREGROUND']];
    }
  }
}

/** Links by name; those that are called have to stand before those that call them. */
export type RequestHeaders = (index: number) => Readonly<Record<string, string>>;

/** An x-request-id, `perId` requests after each other with the same one. */
export function requestIds(perId: number): RequestHeaders {
  const idOf = inTurn(perId, randomUUID);
  return index => ({ 'x-request-id': idOf(index) });
}

/** A traceparent with a span of its own, `perTrace` requests after each other in the same trace, which is sampled. */
export function traceHeaders(perTrace: number): RequestHeaders {
  const traceOf = inTurn(perTrace, () => randomBytes(16).toString('hex'));
  return index => ({ traceparent: `00-${traceOf(index)}-${randomBytes(8).toString('hex')}-01` });
}

/** A Request-Id, as .NET writes it before 5: levels of one id for all. */
export function hierarchicalIds(): RequestHeaders {
  const root = randomBytes(4).toString('hex');
  return index => ({ 'request-id': `|${root}.${index}.${randomBytes(4).toString('hex')}_1.` });
}

/** A value for `each` indices after each other. */
function inTurn(each: number, make: () => string): (index: number) => string {
  const made = new Map<number, string>();
  return index => {
    const turn = Math.floor(index / each);
    const value = made.get(turn) ?? make();
    made.set(turn, value);
    return value;
  };
}

export class Chain {
  readonly links = new Map<string, Link>();
  readonly #pids = new Map<number, string>();

  async add(name: string, { kind, calls = [], env: written = {} }: LinkOptions): Promise<Link> {
    const portOf = (_: string, other: string): string => String(this.link(other).port);
    const env = mapValues(written, text => text.replaceAll(/@port\((\w+)\)@/g, portOf));
    const port = await freePort();
    const directory = temporaryDirectory(`chain-${kind}`);
    const next = calls.map(called => this.link(called).url);
    const socket = env.SOCKET === undefined ? '' : path.join(directory, env.SOCKET);
    // nginx's workers are nobody's.
    if (socket !== '') chmodSync(directory, 0o755);
    const given = socket === '' ? env : { ...env, SOCKET: socket };
    const [command, args] = await commandOf(kind, directory, port, next, { ...given, NAME: name });
    const child = new Child(command, args, {
      env: { PYTHONDONTWRITEBYTECODE: '1', ...env, PORT: String(port), NEXT: next.join(','), OTEL_SERVICE_NAME: name },
    });
    const link = {
      name,
      kind,
      port,
      directory,
      url: socket === '' ? `http://127.0.0.1:${port}` : `unix:${socket}`,
      child,
    };
    this.links.set(name, link);
    await until(`${name} to listen`, 60_000, () => {
      if (!child.isRunning) throw new Error(`${name} did not start: ${child.describe()}`);
      return socket === '' ? isListening({ port }) : existsSync(socket);
    });
    await settled(link);
    return link;
  }

  link(name: string): Link {
    const link = this.links.get(name);
    if (link === undefined) throw new Error(`no link ${name}`);
    return link;
  }

  pids(): number[] {
    for (const { name, child } of this.links.values()) {
      for (const pid of processTree(child.pid)) this.#pids.set(pid, name);
    }
    return [...this.#pids.keys()];
  }

  /** The link whose span it is: by its process, or by the name that its programs were given. */
  linkOf(span: DecodedSpan): Link | undefined {
    const name = this.#pids.get(pidOf(span)) ?? serviceOf(span);
    // Only CGI programs come and go: each is a process of its own, gone before its environment can be read.
    return this.links.get(name) ?? this.links.get('cgi');
  }

  /** The agent's configuration: these processes and what they fork, nothing else of the machine. */
  selection(): string {
    const isPool = (pid: number): boolean => this.links.get(this.#pids.get(pid) ?? '')?.kind === 'php';
    const selectors = this.pids()
      .filter(pid => !isPool(pid))
      .map(pid => `pid: ${pid}`);
    // More processes than there may be selectors, and they come and go.
    if (this.pids().some(isPool)) selectors.push(`exe: 'php-fpm*'`);
    // A program that is executed is judged anew, whoever forked it.
    for (const { kind, directory } of this.links.values())
      if (kind === 'cgi') selectors.push(`script: '${path.join(directory, CGI_SCRIPT)}'`);
    return `selection:\n  include:\n${selectors.map(selector => `    - ${selector}\n`).join('')}`;
  }

  /**
   * Sends /c/FROM .. /c/(FROM+COUNT-1) to a link, `concurrency` at a time over kept connections; below another folder they are not
   * judged. `headersOf`: what comes with the request of that index.
   */
  async load(
    name: string,
    from: number,
    count: number,
    concurrency: number,
    folder = 'c',
    headersOf: RequestHeaders = () => ({}),
  ): Promise<void> {
    const { port } = this.link(name);
    const agent = new http.Agent({ keepAlive: true, maxSockets: concurrency });
    let next = from;
    const player = async (): Promise<void> => {
      while (next < from + count) {
        const request = next++;
        await ask(port, `/${folder}/${request}`, agent, headersOf(request - from));
      }
    };
    await Promise.all(Array.from({ length: concurrency }, player));
    agent.destroy();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.links.values()].map(({ child }) => child.stop()));
  }
}

function mapValues(values: Readonly<Record<string, string>>, change: (text: string) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, text]) => [key, change(text)]));
}

/** Servers listen before they have forked their workers: who is not there yet would not be observed. */
async function settled({ name, kind, child }: Link): Promise<void> {
  const least = FORKING.has(kind) ? 2 : 1;
  let count = 0;
  let since = Date.now();
  await until(`${name} to have all its processes`, 20_000, () => {
    const now = processTree(child.pid).length;
    if (now !== count) since = Date.now();
    count = now;
    return count >= least && Date.now() - since >= SETTLED_MS ? true : null;
  });
}

function ask(
  port: number,
  target: string,
  agent: http.Agent,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, path: target, agent, headers }, response => {
        response.resume().on('end', () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`${target}: ${response.statusCode}`));
        });
      })
      .on('error', reject);
  });
}

/** How many spans have the parent that they should have. */
export interface Verdict {
  right: number;
  none: number;
  wrong: number;
  /** Its request's span is not there, nor is its parent: whether that is the right one cannot be told. */
  unjudged: number;
  /** A few of the wrong ones, for messages. */
  readonly examples: string[];
}

export interface Judgement {
  /** By link: its calls, whose parent is a request of the same link. */
  readonly calls: Map<string, Verdict>;
  /** Requests that came from another link, whose parent is that link's call. */
  readonly requests: Verdict;
  /** Calls that no request caused. */
  readonly background: Verdict;
}

function newVerdict(): Verdict {
  return { right: 0, none: 0, wrong: 0, unjudged: 0, examples: [] };
}

/** The path of the request that caused a call: its own for a proxy, else without the last part. */
function causeOf(kind: LinkKind, target: string): string {
  return kind === 'nginx' || kind === 'apache' || PROXIES.has(kind) ? target : target.replace(/\.\d+$/, '');
}

function judge(
  verdict: Verdict,
  span: DecodedSpan,
  expected: DecodedSpan | undefined,
  all: Map<string, DecodedSpan>,
): void {
  const parent = all.get(span.parentSpanId);
  if (span.parentSpanId === '') {
    if (expected === undefined) verdict.right++;
    else verdict.none++;
  } else if (span.parentSpanId === expected?.spanId && span.traceId === expected.traceId) verdict.right++;
  else if (parent === undefined && expected === undefined && !isBackground(span)) verdict.unjudged++;
  // What its program has written into its header, and tells nobody.
  else if (parent === undefined && span.attributes.get('underspan.parent.evidence') === 'header') verdict.none++;
  else {
    verdict.wrong++;
    const evidence = String(span.attributes.get('underspan.parent.evidence'));
    const name = parent === undefined ? 'a span that is not there' : `${serviceOf(parent)} ${pathOfSpan(parent)}`;
    const line = `${serviceOf(span)} ${pathOfSpan(span)} under ${name} (${evidence})`;
    if (verdict.examples.length < 8) verdict.examples.push(line);
  }
}

function isBackground(span: DecodedSpan): boolean {
  return pathOfSpan(span) === '/c/tick';
}

/** Of the service that is called: its port, or the path of its socket. */
function addressOf({ attributes }: DecodedSpan): string {
  return String(
    attributes.get('network.peer.port') ??
      attributes.get('network.peer.address') ??
      attributes.get('server.port') ??
      attributes.get('server.address'),
  );
}

/** Spans by what they are for. There are several where a link has asked again, because a server had hung up. */
class Candidates {
  readonly #spans = new Map<string, DecodedSpan[]>();

  add(key: string, span: DecodedSpan): void {
    const known = this.#spans.get(key);
    if (known === undefined) this.#spans.set(key, [span]);
    else known.push(span);
  }

  /** The one that `span` names as its parent, else one that it should. */
  parentOf(span: DecodedSpan, key: string): DecodedSpan | undefined {
    const candidates = this.#spans.get(key) ?? [];
    return candidates.find(({ spanId }) => spanId === span.parentSpanId) ?? candidates[0];
  }
}

export function judgeSpans(chain: Chain, spans: readonly DecodedSpan[], entry: string): Judgement {
  const judgement = { calls: new Map<string, Verdict>(), requests: newVerdict(), background: newVerdict() };
  const all = new Map(spans.map(span => [span.spanId, span]));
  const requests = new Candidates();
  const calls = new Candidates();
  for (const span of spans) {
    if (span.kind === SERVER) requests.add(`${chain.linkOf(span)?.name} ${pathOfSpan(span)}`, span);
    else if (span.kind === CLIENT) calls.add(`${pathOfSpan(span)} ${addressOf(span)}`, span);
  }
  for (const span of spans) {
    const link = chain.linkOf(span);
    const target = pathOfSpan(span);
    if (link === undefined || !target.startsWith('/c/')) continue;
    if (span.kind === CLIENT && isBackground(span)) judge(judgement.background, span, undefined, all);
    else if (span.kind === CLIENT) {
      const verdict = judgement.calls.get(link.name) ?? newVerdict();
      judgement.calls.set(link.name, verdict);
      judge(verdict, span, requests.parentOf(span, `${link.name} ${causeOf(link.kind, target)}`), all);
    } else if (span.kind === SERVER && link.name !== entry && !isBackground(span)) {
      const address = link.url.startsWith('unix:') ? link.url.slice('unix:'.length) : String(link.port);
      judge(judgement.requests, span, calls.parentOf(span, `${target} ${address}`), all);
    }
  }
  return judgement;
}
