// The load of the bench: an nginx of its own on a free loopback port, and wrk against it over keep-alive connections. The
// answer is 612 bytes from memory, so a request costs the server little and what we add shows as much as it ever will.
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

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  readonly failed: number;
  /** Latencies in microseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

function configText(directory: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `    ${name}_temp_path ${directory}/${name};`,
  );
  return `daemon off;
user root;
worker_processes 2;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log warn;
events { worker_connections 2048; }
http {
    access_log off;
    keepalive_requests 100000000;
${temporary.join('\n')}
    default_type text/plain;
    server {
        listen 127.0.0.1:${port} backlog=2048;
        location / { return 200 "${'x'.repeat(BODY_BYTES)}"; }
    }
}
`;
}

export class Nginx {
  readonly child: Child;
  readonly port: number;
  readonly #script: string;

  private constructor(child: Child, port: number, script: string) {
    this.child = child;
    this.port = port;
    this.#script = script;
  }

  static async start(): Promise<Nginx> {
    const directory = temporaryDirectory('bench');
    mkdirSync(directory, { recursive: true });
    const script = path.join(directory, 'report.lua');
    const config = path.join(directory, 'nginx.conf');
    const port = await freePort();
    writeFileSync(script, WRK_REPORT);
    writeFileSync(config, configText(directory, port));
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
    return new Nginx(child, port, script);
  }

  /** Saturates the server for a while. A failed request is an error: nothing of the bench may cost one. */
  async load(seconds: number, connections = 50): Promise<LoadResult> {
    const url = `http://127.0.0.1:${this.port}/bench/items/42`;
    const args = ['-t2', `-c${connections}`, `-d${seconds}s`, '-s', this.#script, url];
    const wrk = await runCommand('wrk', args, { timeoutMs: seconds * 1000 + 10_000 });
    const report = /^REPORT (.*)$/m.exec(wrk.stdout)?.[1];
    if (wrk.exitCode !== 0 || report === undefined) throw new Error(`wrk failed: ${wrk.describe()}`);
    const parsed = JSON.parse(report) as Omit<LoadResult, 'perSecond'> & { readonly micros: number };
    if (parsed.failed > 0) throw new Error(`${parsed.failed} requests failed: ${wrk.describe()}`);
    return { ...parsed, perSecond: parsed.requests / (parsed.micros / 1e6) };
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}
