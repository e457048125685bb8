// The commands that start the pipeline: run, trace, record, replay. In: parsed arguments. Out: the agent's exit code.
// agent.js is loaded only when all that a person wrote has been checked, so help and errors need no native part.
import { accessSync, constants } from 'node:fs';
import { changesThatNeedRestart } from '../config/changes.js';
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { AgentError, reasonOf } from '../errors.js';
import type { Arguments, OptionSpec } from './command.js';
import { filtersFrom } from './filters.js';
import type { AgentMode, AgentOptions } from './options.js';
import { say } from './output.js';
import { assertBuilt, assertPrivileges } from './preflight.js';
import { settingsFrom } from './settings.js';

export const CONFIG_OPTIONS = {
  config: { value: 'FILE', short: 'c', help: 'Configuration file (YAML); default: $UNDERSPAN_CONFIG, else none.' },
  set: { value: 'PATH=VALUE', isMultiple: true, help: 'Set any field, e.g. --set otlp.endpoint=http://host:4317' },
  btf: { value: 'FILE', help: 'BTF of the running kernel, where the kernel has none of its own.' },
  'log-level': { value: 'LEVEL', help: 'error, warn, info or debug.' },
} as const satisfies Record<string, OptionSpec>;

export const SELECTION_OPTIONS = {
  pid: { value: 'PID', short: 'p', isMultiple: true, help: 'Only this process.' },
  exe: { value: 'GLOB', isMultiple: true, help: 'Only executables of this name or path.' },
  script: { value: 'GLOB', isMultiple: true, help: 'Only interpreters that run this script or jar.' },
  command: { value: 'REGEX', isMultiple: true, help: 'Only processes with such a command line.' },
  container: { value: 'ID', isMultiple: true, help: 'Only processes in this container (id prefix or name).' },
  port: { value: 'PORTS', isMultiple: true, help: 'Only servers on, and clients to, these ports: 80 or 8000-8999.' },
} as const satisfies Record<string, OptionSpec>;

export const FILTER_OPTIONS = {
  path: { value: 'GLOB', help: 'Show only these paths; * stays in a segment, ** does not.' },
  status: { value: 'STATUS', help: 'Show only these statuses: 500, 5xx or 400-499.' },
  'min-duration': { value: 'TIME', help: 'Show only what took at least this long: 200ms, 1.5s.' },
} as const satisfies Record<string, OptionSpec>;

export const OUTPUT_OPTIONS = {
  json: { help: 'One JSON object a line.' },
  color: { isNegated: true, help: 'Never colour (also: NO_COLOR).' },
} as const satisfies Record<string, OptionSpec>;

export function runCommand(args: Arguments): Promise<number> {
  return startAgent(args, 'run');
}

export function traceCommand(args: Arguments): Promise<number> {
  return startAgent(args, 'trace');
}

export function recordCommand(args: Arguments): Promise<number> {
  return startAgent(args, 'record');
}

export function replayCommand(args: Arguments): Promise<number> {
  return startAgent(args, 'replay');
}

async function startAgent(args: Arguments, mode: AgentMode): Promise<number> {
  const settings = settingsFrom(args, mode);
  const filters = filtersFrom(args, mode === 'replay');
  const file = args.last('config');
  const load = (): Config => {
    const loaded = loadConfig({ environment: process.env, settings, ...(file === undefined ? {} : { file }) });
    for (const warning of loaded.warnings) say(`warning: ${warning}`);
    return loaded.config;
  };
  const config = load();
  let current = config;
  if (config.disabled) {
    say('disabled (OTEL_SDK_DISABLED or `disabled`): nothing to do');
    return 0;
  }
  if (mode !== 'replay') {
    assertPrivileges(config);
    assertBuilt();
  } else if (args.positionals[0] !== undefined) {
    assertReadable(args.positionals[0]);
  }
  const configPath = file ?? process.env.UNDERSPAN_CONFIG;
  const options: AgentOptions = {
    mode,
    filters,
    connections: args.has('connections'),
    json: args.has('json'),
    reload: async () => {
      const next = load();
      for (const path of changesThatNeedRestart(current, next)) say(`warning: ${path} changed: needs a restart`);
      current = next;
      return next;
    },
    ...(args.has('no-color') ? { color: false } : {}),
    ...(args.positionals[0] === undefined ? {} : { file: args.positionals[0] }),
    ...(configPath === undefined ? {} : { configPath }),
  };
  const { runAgent } = await loadAgent();
  return runAgent(config, options);
}

function assertReadable(file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw new AgentError('RECORDING_UNREADABLE', { file, reason: reasonOf(error) }, { cause: error });
  }
}

interface AgentModule {
  readonly runAgent: (config: Config, options: AgentOptions) => Promise<number>;
}

async function loadAgent(): Promise<AgentModule> {
  try {
    return await import('../agent.js');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
    throw new AgentError('NOT_BUILT', { file: reasonOf(error) }, { cause: error });
  }
}
