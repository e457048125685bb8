// The agent as its users run it: `node dist/src/main.js run` as a process of its own, configured by the environment or a
// file, exporting to a receiver of the test. Ready means that /readyz says 200.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child, freePort, PATIENCE, runCommand, temporaryDirectory, until } from './processes.js';
import type { DecodedSpan } from './spans.js';

/** The built command line, beside the built tests. */
export const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export interface AgentOptions {
  /** OTLP endpoint, e.g. the receiver's grpcUrl; none: no OTLP export. */
  readonly endpoint?: string;
  readonly protocol?: 'grpc' | 'http/protobuf' | 'http/json';
  /** YAML text of a configuration file. */
  readonly config?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** In place of `run`. */
  readonly command?: readonly string[];
  readonly readyTimeoutMs?: number;
  /** In place of a free one. */
  readonly adminPort?: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** A GET over a connection of its own; status 0 when nothing answers. */
export function get(url: string): Promise<HttpAnswer> {
  return new Promise(resolve => {
    const request = http.get(url, { agent: false, timeout: 2000 * PATIENCE }, response => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', error => resolve({ status: 0, body: error.message }));
  });
}

export class Agent {
  readonly child: Child;
  readonly adminUrl: string;

  constructor(child: Child, adminPort: number) {
    this.child = child;
    this.adminUrl = `http://127.0.0.1:${adminPort}`;
  }

  get pid(): number {
    return this.child.pid;
  }

  async ready(timeoutMs: number): Promise<this> {
    await until(
      'the agent to be ready',
      timeoutMs,
      async () => {
        if (!this.child.isRunning) throw new Error(`the agent ended: ${this.child.describe()}`);
        return (await get(`${this.adminUrl}/readyz`)).status === 200 ? true : null;
      },
      100,
    ).catch(async error => {
      const state = this.child.describe();
      await this.child.stop(1000, 'SIGKILL');
      throw new Error(`${(error as Error).message}\n${state}`);
    });
    return this;
  }

  /** The agent's own account of losses, for messages. */
  async losses(): Promise<string> {
    const { body } = await get(`${this.adminUrl}/metrics`);
    return body
      .split('\n')
      .filter(
        line =>
          /^underspan.*(dropped|lost|loss|fail|broken|refused|unmatched|gap|missed)/.test(line) && !/ 0$/.test(line),
      )
      .join('\n');
  }

  /** SIGTERM; the agent must flush and end with exit code 0 within 5 s, and have nothing bad to say. */
  async stop(): Promise<void> {
    const obeyed = await this.child.stop(6000);
    if (!obeyed) throw new Error(`the agent did not end within 6 s of SIGTERM: ${this.child.describe()}`);
    if (this.child.exitCode !== 0) throw new Error(`the agent ended badly: ${this.child.describe()}`);
  }
}

/** Configuration for an agent that has to do with these ports only, however busy the machine is otherwise. */
export function onlyPorts(ports: readonly number[]): string {
  const list = `[${ports.join(', ')}]`;
  return `selection: { include: [{ listen_port: ${list} }, { peer_port: ${list} }] }\n`;
}

/** Starts `underspan run` and waits until its probes are attached. */
export async function startAgent(options: AgentOptions = {}): Promise<Agent> {
  const adminPort = options.adminPort ?? (await freePort());
  const child = await spawnAgent({ ...options, env: { UNDERSPAN_ADMIN_PORT: String(adminPort), ...options.env } });
  return new Agent(child, adminPort).ready(options.readyTimeoutMs ?? 20_000);
}

/** Starts the command line without waiting for anything. */
export async function spawnAgent(options: AgentOptions): Promise<Child> {
  const args = [MAIN, ...(options.command ?? ['run'])];
  if (options.config !== undefined) {
    const file = path.join(temporaryDirectory('agent'), 'underspan.yaml');
    writeFileSync(file, options.config);
    args.push('--config', file);
  }
  const env: Record<string, string> = {
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_BSP_SCHEDULE_DELAY: '200',
    // What a busy machine makes the agent cost must not decide what is exported: budget.test.ts has limits of its own.
    UNDERSPAN_LIMITS_CPU: '0',
    // What one test's agent could not deliver is nothing for the next one's receiver.
    UNDERSPAN_QUEUE_ENABLED: 'false',
  };
  if (options.endpoint !== undefined) {
    env.OTEL_TRACES_EXPORTER = 'otlp';
    env.OTEL_EXPORTER_OTLP_ENDPOINT = options.endpoint;
    env.OTEL_EXPORTER_OTLP_PROTOCOL = options.protocol ?? 'grpc';
  } else {
    env.OTEL_TRACES_EXPORTER = 'none';
  }
  return new Child(process.execPath, args, { env: { ...env, ...options.env } });
}

/** Runs `underspan ARGS` to its end. */
export function runUnderspan(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Child> {
  return runCommand(process.execPath, [MAIN, ...args], { env });
}

/**
 * Waits until `count` spans are there and a doubled one would have come too, or for `timeoutMs`. Returns all that are
 * `wanted`; whether they are the right ones is the caller's to judge.
 */
export async function collectSpans(
  source: { spans(): readonly DecodedSpan[] },
  wanted: (span: DecodedSpan) => boolean,
  count: number,
  timeoutMs = 6000,
): Promise<DecodedSpan[]> {
  const deadline = Date.now() + timeoutMs * PATIENCE;
  let found: DecodedSpan[] = source.spans().filter(wanted);
  let grewAt = found.length >= count ? 0 : Date.now();
  for (;;) {
    const quietMs = Date.now() - grewAt;
    if ((found.length >= count && quietMs > 600) || Date.now() > deadline) return found;
    await sleep(50);
    const now = source.spans().filter(wanted);
    if (now.length > found.length) grewAt = Date.now();
    found = now;
  }
}

/** Ids of all BPF objects that a process holds, from its file descriptors: `prog 12`, `map 7`, `link 3`. */
export function bpfObjectsOf(pid: number): string[] {
  const ids: string[] = [];
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    const file = `/proc/${pid}/fdinfo/${fd}`;
    if (!existsSync(file)) continue;
    let info: string;
    try {
      info = readFileSync(file, 'latin1');
    } catch {
      continue; // closed meanwhile
    }
    for (const kind of ['prog', 'map', 'link']) {
      const id = new RegExp(`^${kind}_id:\\s*(\\d+)`, 'm').exec(info)?.[1];
      if (id !== undefined) ids.push(`${kind} ${id}`);
    }
  }
  return ids;
}
