// Every error that ends the agent or one of its commands: code, message, what to do about it, exit code. Thrown while
// starting up or reading what a person wrote; never on the data path, where parsers return constants and losses are
// counted. Exit codes: 2 the command line or configuration is wrong, 3 this machine does not allow it, 1 anything else.

export const EXIT = { ok: 0, failed: 1, usage: 2, environment: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

interface ErrorEntry {
  /** `{name}` is replaced by the parameter of that name. */
  readonly message: string;
  /** What the reader can do; '' where the message says it. */
  readonly remedy: string;
  readonly exitCode: ExitCode;
}

export const ERRORS = {
  USAGE: { message: '{problem}', remedy: 'See `{help}`.', exitCode: EXIT.usage },
  CONFIG_UNREADABLE: {
    message: 'cannot read the configuration file {file}: {reason}',
    remedy: 'Name another one with --config or UNDERSPAN_CONFIG, or leave both out to run with the defaults.',
    exitCode: EXIT.usage,
  },
  CONFIG_INVALID: {
    message: '{problems}',
    remedy: '`underspan config schema` prints all that is allowed; config/underspan.yaml explains it.',
    exitCode: EXIT.usage,
  },
  EXPORTER_UNUSABLE: {
    message: 'cannot use the exporter {export} of {module}: {reason}',
    remedy: 'Install the package beside Underspan, and check `exporters` in the configuration.',
    exitCode: EXIT.usage,
  },
  OTLP_SETTINGS: {
    message: 'cannot export over OTLP: {reason}',
    remedy: 'Check `otlp` in the configuration and the OTEL_EXPORTER_OTLP_* variables.',
    exitCode: EXIT.usage,
  },
  JOIN_SETTINGS: {
    message: 'cannot use traces.join.redis: {reason}',
    remedy: 'Check its files and URL in the configuration.',
    exitCode: EXIT.usage,
  },
  RECORDING_UNREADABLE: { message: 'cannot read the recording {file}: {reason}', remedy: '', exitCode: EXIT.usage },
  RECORDING_INVALID: {
    message: '{file} is not a recording that can be read: {reason}',
    remedy: 'Recordings come from `underspan record FILE`; one that is damaged cannot be replayed.',
    exitCode: EXIT.failed,
  },
  RECORDING_UNWRITABLE: { message: 'cannot write the recording {file}: {reason}', remedy: '', exitCode: EXIT.failed },
  NOT_LINUX: {
    message: 'eBPF needs Linux; this is {platform}',
    remedy: '`underspan replay` works everywhere.',
    exitCode: EXIT.environment,
  },
  NOT_PRIVILEGED: {
    message: 'not root, and without the capabilities {missing}: the kernel would refuse the probes',
    remedy: 'Run it with sudo, or grant these capabilities. `underspan doctor` shows the details.',
    exitCode: EXIT.environment,
  },
  CAPABILITY_MISSING: {
    message: 'root here lacks the capabilities {missing}: the kernel would refuse the probes',
    remedy: 'Add them to the container or unit (docker run --cap-add, AmbientCapabilities=).',
    exitCode: EXIT.environment,
  },
  BTF_MISSING: {
    message: 'no BTF at {file}: the probes cannot be fitted to this kernel',
    remedy: 'Use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or name a BTF file for it in kernel.btf.',
    exitCode: EXIT.environment,
  },
  NOT_BUILT: {
    message: '{file} is missing',
    remedy: 'Build it: `npm run setup` in the checkout.',
    exitCode: EXIT.environment,
  },
  KERNEL_REFUSED: {
    message: 'the kernel refused {what}: {reason}',
    remedy: '`underspan doctor` shows what this kernel allows.',
    exitCode: EXIT.environment,
  },
  WORKER_FAILED: { message: 'the pipeline stopped: {reason}', remedy: 'Please report it.', exitCode: EXIT.failed },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

type Placeholders<T extends string> = T extends `${string}{${infer P}}${infer Rest}` ? P | Placeholders<Rest> : never;
/** The parameters that the code's message and remedy name. */
export type ErrorParameters<C extends ErrorCode> = {
  readonly [P in Placeholders<(typeof ERRORS)[C]['message'] | (typeof ERRORS)[C]['remedy']>]: string;
};

export class AgentError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'AgentError';
  readonly code: C;
  readonly remedy: string;
  readonly exitCode: ExitCode;

  constructor(code: C, parameters: ErrorParameters<C>, options?: { readonly cause?: unknown }) {
    const entry: ErrorEntry = ERRORS[code];
    super(fill(entry.message, parameters), options);
    this.code = code;
    this.remedy = fill(entry.remedy, parameters);
    this.exitCode = entry.exitCode;
  }
}

function fill(template: string, parameters: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (placeholder, name: string) => parameters[name] ?? placeholder);
}

/** The text of anything that was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
