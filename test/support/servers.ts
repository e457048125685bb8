// Real servers from Debian and npm on free loopback ports, each with its own directory and its own access log. Nothing of
// the system's configuration is used or touched. A server is ready when it accepts a connection.
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  type AccessEntry,
  apacheFormat,
  goFormat,
  gunicornFormat,
  type LogFormat,
  nginxFormat,
  nodeFormat,
  parseLog,
  pumaFormat,
  pythonFormat,
} from './access-log.js';
import type { Certificate } from './certificate.js';
import { BODY_SIZES, type Profile, planRequest } from './load-plan.js';
import { Child, freePort, isListening, processTree, runCommand, temporaryDirectory, until } from './processes.js';
import { fillTemplate } from './templates.js';

const SERVICES = path.resolve('test/services');

export class Server {
  /** What the load generator may send to it. */
  readonly profile: Profile;
  readonly name: string;
  readonly port: number;
  /** Set instead of a port for a unix socket. */
  readonly socketPath: string;
  readonly isSecure: boolean;
  readonly directory: string;
  readonly child: Child;
  readonly format: LogFormat;
  readonly areUploadsEchoed: boolean;
  readonly #readLog: () => string;
  readonly #isNoise: (line: string) => boolean;

  constructor(parts: {
    name: string;
    profile: Profile;
    port?: number;
    socketPath?: string;
    isSecure?: boolean;
    directory: string;
    child: Child;
    format: LogFormat;
    areUploadsEchoed?: boolean;
    readLog: (child: Child) => string;
    isNoise?: (line: string) => boolean;
  }) {
    this.name = parts.name;
    this.profile = parts.profile;
    this.port = parts.port ?? 0;
    this.socketPath = parts.socketPath ?? '';
    this.isSecure = parts.isSecure ?? false;
    this.directory = parts.directory;
    this.child = parts.child;
    this.format = parts.format;
    this.areUploadsEchoed = parts.areUploadsEchoed ?? false;
    this.#readLog = () => parts.readLog(parts.child);
    this.#isNoise = parts.isNoise ?? (() => false);
  }

  get url(): string {
    return `${this.isSecure ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  /** Where the load generator finds it. */
  get target(): { port: number } | { socketPath: string } {
    return this.socketPath === '' ? { port: this.port } : { socketPath: this.socketPath };
  }

  /** All its processes, as of now. */
  pids(): number[] {
    return processTree(this.child.pid);
  }

  async ready(): Promise<this> {
    await until(`${this.name} to listen`, 20_000, () => {
      if (!this.child.isRunning) throw new Error(`${this.name} did not start: ${this.child.describe()}`);
      return isListening(this.socketPath === '' ? { port: this.port } : { path: this.socketPath });
    });
    return this;
  }

  /** The log's entries. Waits until it has `count` of them: a longer log returns at once, a shorter one after 5 s. */
  async accessLog(count: number): Promise<AccessEntry[]> {
    const read = () => {
      const text = this.#readLog();
      return parseLog(this.format, text.slice(0, text.lastIndexOf('\n') + 1), this.#isNoise);
    };
    const complete = () => {
      const entries = read();
      return entries.length >= count ? entries : null;
    };
    return until('the access log', 5000, complete, 100).catch(read);
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}

/** A directory that other users may enter, as servers that drop their privileges need. */
function serverDirectory(name: string): string {
  const directory = temporaryDirectory(name);
  chmodSync(directory, 0o755);
  return directory;
}

/** For servers that take their certificate from the environment. */
function environmentOf(certificate: Certificate | undefined): Record<string, string> {
  return certificate === undefined ? {} : { TLS_KEY: certificate.key, TLS_CERTIFICATE: certificate.file };
}

/** files/SIZE.bin for each body size of the plan. */
function writeFiles(directory: string): void {
  mkdirSync(path.join(directory, 'files'));
  for (const size of BODY_SIZES) writeFileSync(path.join(directory, 'files', `${size}.bin`), Buffer.alloc(size, 'f'));
}

function logFile(directory: string): { logPath: string; readLog: () => string } {
  const logPath = path.join(directory, 'access.log');
  return { logPath, readLog: () => (existsSync(logPath) ? readFileSync(logPath, 'utf8') : '') };
}

export async function startNodeServer(
  options: { socketPath?: string; env?: Record<string, string>; certificate?: Certificate } = {},
): Promise<Server> {
  const directory = serverDirectory('node');
  const port = options.socketPath === undefined ? await freePort() : 0;
  const { logPath, readLog } = logFile(directory);
  const listen = options.socketPath ?? String(port);
  const child = new Child(process.execPath, [path.join(SERVICES, 'node-server.mjs'), listen, logPath], {
    env: { ...options.env, ...environmentOf(options.certificate) },
  });
  const where = options.socketPath === undefined ? { port } : { socketPath: options.socketPath };
  return new Server({
    name: 'node',
    profile: 'app',
    ...where,
    isSecure: options.certificate !== undefined,
    directory,
    child,
    format: nodeFormat,
    areUploadsEchoed: true,
    readLog,
  }).ready();
}

/** The tracing-free reverse proxy test/services/node-proxy.mjs. It keeps no log. */
export async function startNodeProxy(upstreamPort: number): Promise<Server> {
  const port = await freePort();
  const child = new Child(process.execPath, [
    path.join(SERVICES, 'node-proxy.mjs'),
    String(port),
    String(upstreamPort),
  ]);
  return new Server({
    name: 'node-proxy',
    profile: 'app',
    port,
    directory: serverDirectory('node-proxy'),
    child,
    format: nodeFormat,
    readLog: () => '',
  }).ready();
}

export async function startNginx(
  options: { upstreamPort?: number; socketPath?: string; profile?: Profile; certificate?: Certificate } = {},
): Promise<Server> {
  const { certificate } = options;
  const directory = serverDirectory('nginx');
  const port = options.socketPath === undefined ? await freePort() : 0;
  writeFiles(directory);
  const configPath = path.join(directory, 'nginx.conf');
  writeFileSync(
    configPath,
    fillTemplate(path.join(SERVICES, 'nginx.conf'), {
      DIR: directory,
      LISTEN:
        options.socketPath === undefined
          ? `127.0.0.1:${port}${certificate === undefined ? '' : ' ssl'}`
          : `unix:${options.socketPath}`,
      TLS:
        certificate === undefined ? '' : `ssl_certificate ${certificate.file}; ssl_certificate_key ${certificate.key};`,
      UPSTREAM: `http://127.0.0.1:${options.upstreamPort ?? 9}/`,
    }),
  );
  const { readLog } = logFile(directory);
  const child = new Child('nginx', ['-p', directory, '-c', configPath]);
  const where = options.socketPath === undefined ? { port } : { socketPath: options.socketPath };
  return new Server({
    name: 'nginx',
    profile: options.profile ?? 'files',
    ...where,
    isSecure: certificate !== undefined,
    directory,
    child,
    format: nginxFormat,
    readLog,
  }).ready();
}

export async function startApache(options: { certificate?: Certificate } = {}): Promise<Server> {
  const { certificate } = options;
  const directory = serverDirectory('apache');
  const port = await freePort();
  writeFiles(directory);
  const configPath = path.join(directory, 'apache.conf');
  const tls =
    certificate === undefined
      ? ''
      : [
          'LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so',
          `SSLEngine on\nSSLCertificateFile ${certificate.file}\nSSLCertificateKeyFile ${certificate.key}`,
        ].join('\n');
  writeFileSync(
    configPath,
    fillTemplate(path.join(SERVICES, 'apache.conf'), { DIR: directory, PORT: String(port), TLS: tls }),
  );
  const { readLog } = logFile(directory);
  const child = new Child('apache2', ['-f', configPath, '-DFOREGROUND']);
  return new Server({
    name: 'apache',
    profile: 'files',
    port,
    isSecure: certificate !== undefined,
    directory,
    child,
    format: apacheFormat,
    readLog,
  }).ready();
}

export async function startGunicorn(options: { workers: number; threads: number }): Promise<Server> {
  const directory = serverDirectory('gunicorn');
  const port = await freePort();
  const { logPath, readLog } = logFile(directory);
  const child = new Child(
    'gunicorn',
    [
      ...['--bind', `127.0.0.1:${port}`, '--chdir', SERVICES, '--worker-tmp-dir', directory],
      ...['--worker-class', 'gthread', '--workers', String(options.workers), '--threads', String(options.threads)],
      ...['--keep-alive', '30', '--access-logfile', logPath, '--access-logformat', '%(m)s %(U)s %(s)s %(D)s'],
      'wsgi_app:application',
    ],
    { env: { PYTHONDONTWRITEBYTECODE: '1' } },
  );
  return new Server({
    name: 'gunicorn',
    profile: 'app',
    port,
    directory,
    child,
    format: gunicornFormat,
    areUploadsEchoed: true,
    readLog,
  }).ready();
}

/** `python3 -m http.server` over a link for each request that the plan will make. */
export async function startPythonHttpServer(seed: number, requests: number): Promise<Server> {
  const directory = serverDirectory('python');
  const port = await freePort();
  writeFiles(directory);
  for (let number = 0; number < requests; number++) {
    const [, kind, size] = planRequest('get', seed, number).path.split('/');
    if (kind !== 'bytes') continue;
    const folder = path.join(directory, 'files', 'bytes', size as string);
    mkdirSync(folder, { recursive: true });
    symlinkSync(path.join(directory, 'files', `${size}.bin`), path.join(folder, String(number)));
  }
  const child = new Child('/usr/bin/python3', [
    ...['-u', '-m', 'http.server', String(port)],
    ...['--bind', '127.0.0.1', '--directory', path.join(directory, 'files')],
  ]);
  return new Server({
    name: 'python http.server',
    profile: 'get',
    port,
    directory,
    child,
    format: pythonFormat,
    readLog: running => running.stderr,
    isNoise: line => / code \d+, message /.test(line),
  }).ready();
}

/** test/services/NAME.go, built into the directory. */
export async function buildGo(name: string, directory: string, flags: readonly string[] = []): Promise<string> {
  const binary = path.join(directory, name);
  const build = await runCommand('go', ['build', ...flags, '-o', binary, path.join(SERVICES, `${name}.go`)], {
    env: { GOFLAGS: '', GO111MODULE: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' },
    timeoutMs: 180_000,
  });
  if (build.exitCode !== 0) throw new Error(`go build failed: ${build.describe()}`);
  return binary;
}

/** Compiles test/services/go-server.go (the compiler's own cache makes the second time quick), if it is not, and starts it. */
export async function startGo(
  options: { certificate?: Certificate; flags?: readonly string[]; binary?: string } = {},
): Promise<Server> {
  const directory = serverDirectory('go');
  const binary = options.binary ?? (await buildGo('go-server', directory, options.flags));
  const port = await freePort();
  const { logPath, readLog } = logFile(directory);
  const child = new Child(binary, [String(port), logPath], { env: environmentOf(options.certificate) });
  return new Server({
    name: 'go',
    profile: 'app',
    port,
    isSecure: options.certificate !== undefined,
    directory,
    child,
    format: goFormat,
    areUploadsEchoed: true,
    readLog,
  }).ready();
}

export async function startPuma(options: { threads: number; workers?: number }): Promise<Server> {
  const directory = serverDirectory('puma');
  const port = await freePort();
  const child = new Child('puma', ['-C', path.join(SERVICES, 'puma.rb')], {
    cwd: directory,
    env: {
      PUMA_PORT: String(port),
      PUMA_THREADS: String(options.threads),
      PUMA_WORKERS: String(options.workers ?? 0),
    },
  });
  return new Server({
    name: 'puma',
    profile: 'app',
    port,
    directory,
    child,
    format: pumaFormat,
    areUploadsEchoed: true,
    readLog: running => running.stderr + running.stdout,
    isNoise: line => !/^127\.0\.0\.1 - /.test(line),
  }).ready();
}

/** test/services/tls-server.py: `threads` is http.server over an SSL socket, `asyncio` an event loop over memory buffers. */
export async function startPythonTls(kind: 'threads' | 'asyncio', certificate: Certificate): Promise<Server> {
  const directory = serverDirectory(`python-${kind}`);
  const port = await freePort();
  const { logPath, readLog } = logFile(directory);
  const child = new Child('/usr/bin/python3', [path.join(SERVICES, 'tls-server.py'), kind, String(port), logPath], {
    env: environmentOf(certificate),
  });
  return new Server({
    name: `python ${kind}`,
    profile: 'get',
    port,
    isSecure: true,
    directory,
    child,
    format: nodeFormat,
    readLog,
  }).ready();
}
