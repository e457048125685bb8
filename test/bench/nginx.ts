// The load of the bench: an nginx of its own on a free loopback port, and wrk against it over keep-alive connections. The
// answer is 612 bytes from memory, so a request costs the server little and what we add shows as much as it ever will; or a
// file of another size, which nginx hands to the kernel (sendfile).
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Child, freePort, isListening, runCommand, temporaryDirectory, until } from '../support/processes.js';

const BODY_BYTES = 612;
/** Percentiles in microseconds, which wrk's own report rounds; printed by its `done` hook. */
const WRK_REPORT = `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nREPORT {"requests":%d,"micros":%d,"failed":%d,"p50":%d,"p99":%d,"p999":%d}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
`;
/** Asks for one of so many paths, each a route of its own: names, no identifiers. */
const wrkRequests = (routes: number): string => `local letters = 'bcdfghjklm'
local function name(n)
  return (string.gsub(tostring(n), '%d', function(d) return string.sub(letters, d + 1, d + 1) end))
end
request = function()
  return wrk.format('GET', '/bench/' .. name(math.random(${routes})))
end
`;
/** Files and sockets of the processes of a load, beside its connections. */
const SPARE_FILES = 512;

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly failed: number;
  /** Latencies in microseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

const FILE = '/file';

/** Loopback addresses that it listens on: 127.0.0.1 and up. */
const ADDRESSES = 8;
/** A process may seldom have more than 20,000 files. */
const CONNECTIONS_PER_WORKER = 10_000;

function configText(directory: string, port: number, connections: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `    ${name}_temp_path ${directory}/${name};`,
  );
  const workers = Math.max(2, Math.ceil(connections / CONNECTIONS_PER_WORKER));
  // Else a few workers would take nearly all connections.
  const share = workers > 2 ? ' reuseport' : '';
  const listens = Array.from(
    { length: ADDRESSES },
    (_, at) => `        listen 127.0.0.${at + 1}:${port} backlog=16384${share};`,
  );
  const files = Math.ceil((connections / workers) * 1.5) + SPARE_FILES;
  return `daemon off;
user root;
worker_processes ${workers};
worker_rlimit_nofile ${files};
pid ${directory}/nginx.pid;
error_log ${directory}/error.log warn;
events { worker_connections ${files}; }
http {
    access_log off;
    sendfile on;
    open_file_cache max=16;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
${temporary.join('\n')}
    default_type text/plain;
    server {
${listens.join('\n')}
        location ${FILE} { root ${directory}; }
        location / { return 200 "${'x'.repeat(BODY_BYTES)}"; }
    }
}
`;
}

export class Nginx {
  readonly child: Child;
  readonly port: number;
  readonly #script: string;
  readonly path: string;

  private constructor(child: Child, port: number, script: string, urlPath: string) {
    this.child = child;
    this.port = port;
    this.#script = script;
    this.path = urlPath;
  }

  /** `routes`: 0: one path for all. `fileBytes`: the answer is a file of that size. */
  static async start(
    options: { readonly connections?: number; readonly routes?: number; readonly fileBytes?: number } = {},
  ): Promise<Nginx> {
    const { connections = 2048, routes = 0, fileBytes = 0 } = options;
    const directory = temporaryDirectory('bench');
    mkdirSync(directory, { recursive: true });
    const script = path.join(directory, 'report.lua');
    const config = path.join(directory, 'nginx.conf');
    const port = await freePort();
    writeFileSync(script, routes === 0 ? WRK_REPORT : wrkRequests(routes) + WRK_REPORT);
    if (fileBytes > 0) writeFileSync(path.join(directory, FILE), 'x'.repeat(fileBytes));
    writeFileSync(config, configText(directory, port, connections));
    const child = new Child('nginx', ['-e', `${directory}/error.log`, '-p', directory, '-c', config]);
    await until(
      'nginx to listen',
      5000,
      () => {
        if (!child.isRunning) throw new Error(`nginx ended: ${child.describe()}`);
        return isListening({ port });
      },
      50,
    );
    return new Nginx(child, port, script, fileBytes > 0 ? FILE : '/bench/items/42');
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}${this.path}`;
  }

  /** An agent's selection: this server alone, whoever else runs an nginx; with its client, if that program is named. */
  selection(client = ''): string {
    const isClient = client === '' ? '' : `, { exe: ${client}, peer_port: ${this.port} }`;
    return `selection: { include: [{ exe: nginx, listen_port: ${this.port} }${isClient}] }\n`;
  }

  /** Saturates the server for a while. */
  load(seconds: number, connections = 50): Promise<LoadResult> {
    return loadUrl(this.url, { seconds, connections, threads: 2, script: this.#script });
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}

export interface LoadOptions {
  readonly seconds: number;
  readonly connections: number;
  readonly threads: number;
  readonly script?: string;
}

/** wrk against a URL. A failed request is an error: nothing of the bench may cost one. */
export async function loadUrl(url: string, options: LoadOptions): Promise<LoadResult> {
  const { seconds, connections, threads } = options;
  const script = options.script ?? reportScript();
  const args = [`-t${threads}`, `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, url];
  const command = `ulimit -n ${connections + SPARE_FILES}; exec wrk "$@"`;
  const wrk = await runCommand('sh', ['-c', command, 'sh', ...args], { timeoutMs: seconds * 1000 + 20_000 });
  const report = /^REPORT (.*)$/m.exec(wrk.stdout)?.[1];
  if (wrk.exitCode !== 0 || report === undefined) throw new Error(`wrk failed: ${wrk.describe()}`);
  const parsed = JSON.parse(report) as Omit<LoadResult, 'perSecond'> & { readonly micros: number };
  if (parsed.failed > 0) throw new Error(`${parsed.failed} requests failed: ${wrk.describe()}`);
  return { ...parsed, perSecond: parsed.requests / (parsed.micros / 1e6) };
}

function reportScript(): string {
  const script = path.join(temporaryDirectory('bench'), 'report.lua');
  writeFileSync(script, WRK_REPORT);
  return script;
}
