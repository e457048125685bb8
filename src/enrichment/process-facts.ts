// What is known of one observed process, and where it comes from: the machine (procfs.ts) or a recording. Plain data that
// survives JSON, so that replay needs no machine. Secrets: of the environment only OpenTelemetry's own variables are kept,
// and of the command line only the command, unless the user asks for all of it.

/** The variables of a process's environment that are kept; '' if not set. */
export interface ProcessEnvironment {
  /** OTEL_SERVICE_NAME. */
  readonly serviceName: string;
  /** OTEL_RESOURCE_ATTRIBUTES, as written. */
  readonly resourceAttributes: string;
  /** Names (no values: they hold credentials) of the OTEL_EXPORTER_OTLP_* variables that are set. */
  readonly otlpVariables: readonly string[];
}

/** Kubernetes' names of a container, as the host's log directory has them. */
export interface PodFacts {
  readonly podName: string;
  readonly namespace: string;
  readonly containerName: string;
}

export interface ProcessFacts {
  /** Thread group id in the initial pid namespace. */
  readonly pid: number;
  readonly parentPid: number;
  /** Boot-clock nanoseconds, cut to the kernel's 10 ms tick; 0 unknown. */
  readonly startNs: number;
  /** Path of the executable as its mount namespace has it, '' unknown. */
  readonly exePath: string;
  /** Base name of the executable, else the kernel's short name (15 bytes). */
  readonly exeName: string;
  /** The command line; once stored or recorded only its first word, unless all of it is to be kept. */
  readonly args: readonly string[];
  /** '' unknown. */
  readonly cwd: string;
  /** Effective user id, -1 unknown. */
  readonly uid: number;
  /** Name of that user on this host, '' unknown. */
  readonly owner: string;
  /** Path of the control group, '' unknown. */
  readonly cgroup: string;
  readonly environment: ProcessEnvironment;
  /** `container.id`, '' outside of containers. */
  readonly containerId: string;
  readonly pod: PodFacts | null;
  /** Inode of the network namespace, 0 unknown. */
  readonly netns: number;
  /** `telemetry.sdk.language` of the program, '' unknown or without a value in the conventions. */
  readonly language: string;
  /** What runs its tasks, of a program in Rust; '' unknown, or of another language. */
  readonly runtimeName: string;
  /** Name that the program gives (service-name.ts), '' until it has been worked out. */
  readonly program: string;
}

export const NO_ENVIRONMENT: ProcessEnvironment = { serviceName: '', resourceAttributes: '', otlpVariables: [] };

/** Facts of a process of which nothing but its id is known. */
export function unknownFacts(pid: number): ProcessFacts {
  return {
    pid,
    parentPid: 0,
    startNs: 0,
    exePath: '',
    exeName: '',
    args: [],
    cwd: '',
    uid: -1,
    owner: '',
    cgroup: '',
    environment: NO_ENVIRONMENT,
    containerId: '',
    pod: null,
    netns: 0,
    language: '',
    runtimeName: '',
    program: '',
  };
}

/** The only way from the enrichment to the machine. Calls are synchronous, bounded, and never throw. */
export interface ProcessFactsSource {
  /** All facts with the whole command line; null if there is no such process, or its facts cannot be read. */
  read(pid: number): ProcessFacts | null;
  /** `name` of the package.json nearest to a directory of the process, '' if none can be read. */
  packageName(pid: number, directory: string): string;
  /** Ids of the processes that exist now, kernel threads left out where they can be told. */
  pids(): number[];
}

const TICK_NS = 1e7;

/** Cuts a start time to what /proc/PID/stat resolves, so that the kernel's record and /proc agree. */
export function tickOf(startNs: number): number {
  return Math.floor(startNs / TICK_NS) * TICK_NS;
}

/** Facts that a recording brought. A later entry of the same pid replaces the earlier one. */
export class RecordedSource implements ProcessFactsSource {
  readonly #facts = new Map<number, ProcessFacts>();

  add(facts: ProcessFacts): void {
    this.#facts.set(facts.pid, { ...unknownFacts(facts.pid), ...facts });
  }

  read(pid: number): ProcessFacts | null {
    return this.#facts.get(pid) ?? null;
  }

  packageName(): string {
    return '';
  }

  pids(): number[] {
    return [...this.#facts.keys()];
  }
}
