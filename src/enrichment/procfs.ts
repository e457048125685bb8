// Facts of a process from /proc (proc(5)): stat, status, cmdline, environ, cgroup, exe, cwd, ns/net, and the executable's
// own file for its language. One read per process, at its first record; the process may be gone by then, or be somebody
// else's hostile program: any content is accepted, every length is bounded, nothing throws. The environment is scanned
// for OpenTelemetry's variables and wiped.
import { readdirSync } from 'node:fs';
import { parseCgroup } from './container.js';
import { type HostFacts, userName } from './host.js';
import type { PodDirectory } from './kubernetes.js';
import { LanguageDetector } from './language.js';
import { ProcReader } from './proc-reader.js';
import {
  NO_ENVIRONMENT,
  type ProcessEnvironment,
  type ProcessFacts,
  type ProcessFactsSource,
} from './process-facts.js';
import { runtimeOf } from './runtimes.js';

/** USER_HZ: what the kernel's ABI promises for times in /proc, whatever its own tick. */
const NANOS_PER_TICK = 1e7;
const PACKAGE_DEPTH_MAX = 8;
const PACKAGE_BYTES_MAX = 128 * 1024;
const ARGS_MAX = 4096;
const VALUE_BYTES_MAX = 8192;

export class ProcfsSource implements ProcessFactsSource {
  /** Counts what could not be read. */
  readonly reader = new ProcReader();
  readonly #root: string;
  readonly #host: HostFacts;
  readonly #pods: PodDirectory | null;
  readonly #languages = new LanguageDetector();

  /** @param root where procfs is mounted */
  constructor(host: HostFacts, root = '/proc', pods: PodDirectory | null = null) {
    this.#host = host;
    this.#root = root;
    this.#pods = pods;
  }

  read(pid: number): ProcessFacts | null {
    const directory = `${this.#root}/${pid}`;
    const stat = parseStat(this.reader.text(`${directory}/stat`, 4096) ?? '');
    if (stat === null) return null;
    const exePath = this.reader.link(`${directory}/exe`).replace(/ \(deleted\)$/, '');
    const exeName = exePath.slice(exePath.lastIndexOf('/') + 1).replace(/^memfd:/, '') || stat.comm;
    const cgroup = parseCgroup(this.reader.text(`${directory}/cgroup`, 16384) ?? '');
    const known = runtimeOf(exeName)?.language ?? '';
    const { language, runtimeName } =
      known !== '' || exePath === ''
        ? { language: known, runtimeName: '' }
        : this.#languages.detect(`${directory}/exe`);
    const uid = parseUid(this.reader.text(`${directory}/status`, 8192) ?? '');
    return {
      pid,
      parentPid: stat.parentPid,
      startNs: stat.startNs,
      exePath,
      exeName,
      args: parseArgs(this.reader.text(`${directory}/cmdline`) ?? ''),
      cwd: this.reader.link(`${directory}/cwd`).replace(/ \(deleted\)$/, ''),
      uid,
      owner: cgroup.containerId === '' ? userName(this.#host, uid) : '',
      cgroup: cgroup.path,
      environment: this.#environment(directory),
      containerId: cgroup.containerId,
      pod: cgroup.podUid === '' ? null : (this.#pods?.find(cgroup.containerId) ?? null),
      netns: parseNamespace(this.reader.link(`${directory}/ns/net`)),
      language,
      runtimeName,
      program: '',
    };
  }

  packageName(pid: number, directory: string): string {
    let folder = directory;
    for (let depth = 0; depth < PACKAGE_DEPTH_MAX && folder.startsWith('/'); depth++) {
      const path = `${this.#root}/${pid}/root${folder === '/' ? '' : folder}/package.json`;
      const text = this.reader.text(path, PACKAGE_BYTES_MAX, true);
      if (text !== null) {
        const name = parsePackageName(text);
        if (name !== '') return name;
      }
      if (folder === '/') break;
      folder = folder.slice(0, folder.lastIndexOf('/')) || '/';
    }
    return '';
  }

  pids(): number[] {
    try {
      return readdirSync(this.#root)
        .filter(name => /^[1-9]\d{0,9}$/.test(name))
        .map(Number);
    } catch (error) {
      this.reader.count(error);
      return [];
    }
  }

  #environment(directory: string): ProcessEnvironment {
    const bytes = this.reader.bytes(`${directory}/environ`);
    if (bytes === null) return NO_ENVIRONMENT;
    const environment = parseEnvironment(bytes);
    this.reader.wipe(bytes);
    return environment;
  }
}

export interface ProcStat {
  readonly comm: string;
  readonly parentPid: number;
  readonly startNs: number;
}

/** Reads /proc/PID/stat; null if it is not one. The name in parentheses may hold blanks and parentheses itself. */
export function parseStat(text: string): ProcStat | null {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return null;
  const fields = text.slice(close + 2).split(' ');
  const parentPid = Number(fields[1]);
  const ticks = Number(fields[19]);
  if (!Number.isSafeInteger(parentPid) || !Number.isFinite(ticks)) return null;
  return { comm: text.slice(open + 1, close), parentPid, startNs: ticks * NANOS_PER_TICK };
}

/** Arguments of a NUL-separated command line; what a rewritten title leaves behind it is dropped. */
export function parseArgs(text: string): string[] {
  const args = text.split('\0', ARGS_MAX);
  while (args.length > 0 && (args.at(-1) as string).trim() === '') args.pop();
  return args;
}

/** The OpenTelemetry variables of an environment block. */
export function parseEnvironment(bytes: Buffer): ProcessEnvironment {
  let serviceName = '';
  let resourceAttributes = '';
  const otlpVariables: string[] = [];
  for (let at = bytes.indexOf('OTEL_'); at >= 0; at = bytes.indexOf('OTEL_', at + 1)) {
    if (at > 0 && bytes[at - 1] !== 0) continue; // within another variable
    const end = bytes.indexOf(0, at);
    const stop = Math.min(end < 0 ? bytes.length : end, at + VALUE_BYTES_MAX);
    const equals = bytes.indexOf('=', at);
    if (equals < 0 || equals >= stop) continue;
    const name = bytes.toString('latin1', at, equals);
    if (name === 'OTEL_SERVICE_NAME') serviceName ||= bytes.toString('utf8', equals + 1, stop);
    else if (name === 'OTEL_RESOURCE_ATTRIBUTES') resourceAttributes ||= bytes.toString('utf8', equals + 1, stop);
    else if (/^OTEL_EXPORTER_OTLP_[A-Z_]{1,64}$/.test(name) && stop > equals + 1) otlpVariables.push(name);
  }
  return { serviceName, resourceAttributes, otlpVariables };
}

/** Effective user id of /proc/PID/status, -1 if absent. */
export function parseUid(text: string): number {
  const match = /^Uid:\s+\d+\s+(\d+)/m.exec(text);
  return match === null ? -1 : Number(match[1]);
}

/** Inode of `net:[4026531840]`, 0 if it is not one. */
export function parseNamespace(link: string): number {
  const match = /^net:\[(\d{1,15})\]$/.exec(link);
  return match === null ? 0 : Number(match[1]);
}

/** `name` of a package.json without its scope, '' if it has none or is not JSON. */
export function parsePackageName(text: string): string {
  try {
    const name = (JSON.parse(text) as { name?: unknown } | null)?.name;
    return typeof name === 'string' ? name.slice(name.lastIndexOf('/') + 1) : '';
  } catch {
    return ''; // somebody else's file: not JSON means that it names nothing
  }
}
