// The table of commands: what `underspan --help` shows and main.ts dispatches on.
import {
  CONFIG_OPTIONS,
  FILTER_OPTIONS,
  OUTPUT_OPTIONS,
  recordCommand,
  replayCommand,
  runCommand,
  SELECTION_OPTIONS,
  traceCommand,
} from './agent-commands.js';
import { type Command, columns } from './command.js';
import { configCheckCommand, configPrintCommand, configSchemaCommand } from './config-commands.js';
import { coverageCommand } from './coverage.js';
import { doctorCommand } from './doctor.js';

const RUN: Command = {
  name: 'run',
  summary: 'Observe all services of this machine and export spans and metrics.',
  description: `Attaches to the running kernel and observes every selected process, new ones included, until it is stopped.
Spans go to the terminal, or over OTLP where an endpoint is configured (OTEL_EXPORTER_OTLP_ENDPOINT, otlp.endpoint).
SIGTERM and SIGINT flush and stop; SIGHUP reads the configuration again.`,
  positionals: [],
  options: { ...CONFIG_OPTIONS, ...SELECTION_OPTIONS, ...OUTPUT_OPTIONS },
  examples: [
    ['sudo underspan run', 'everything, to the terminal'],
    ['sudo underspan run --config /etc/underspan.yaml', 'as the file says'],
    ['sudo OTEL_EXPORTER_OTLP_ENDPOINT=http://tempo:4317 underspan run', 'to a backend'],
  ],
  run: runCommand,
};

const TRACE: Command = {
  name: 'trace',
  summary: 'A quick look: show requests live in the terminal.',
  description: `Like run, but only to the terminal: no export, no admin listener, and all requests are shown: also what is not
sampled, and what the SDK of a service tells. Values of one selection flag are alternatives; different flags
must hold together.`,
  positionals: [],
  options: {
    ...SELECTION_OPTIONS,
    ...FILTER_OPTIONS,
    connections: { help: 'One line per closed connection instead of requests.' },
    ...OUTPUT_OPTIONS,
    ...CONFIG_OPTIONS,
  },
  examples: [
    ['sudo underspan trace --port 8080', 'what goes through this port'],
    ['sudo underspan trace --exe nginx --status 5xx', 'failures of nginx'],
    ['sudo underspan trace --min-duration 200ms', 'what is slow'],
    ["sudo underspan trace --path '/api/**' --json", 'for jq'],
  ],
  run: traceCommand,
};

const RECORD: Command = {
  name: 'record',
  summary: 'Keep what the kernel reports in a file, for replay and bug reports.',
  description: `Like run, and writes the raw records to FILE until it is stopped. The file holds the heads of requests and responses
without bodies, queries and credentials (capture.redact); paths and the names of everything are in it.`,
  positionals: ['FILE'],
  options: { ...CONFIG_OPTIONS, ...SELECTION_OPTIONS },
  examples: [['sudo underspan record shop.rec --exe shop', 'one service']],
  run: recordCommand,
};

const REPLAY: Command = {
  name: 'replay',
  summary: 'Run a recording through the same pipeline; needs no root.',
  description: 'Gives the spans and metrics that the recorded machine would have given, to the configured exporters.',
  positionals: ['FILE'],
  options: {
    ...FILTER_OPTIONS,
    port: { value: 'PORTS', isMultiple: true, help: 'Show only these ports: 80 or 8000-8999.' },
    connections: { help: 'One line per closed connection instead of requests.' },
    ...OUTPUT_OPTIONS,
    ...CONFIG_OPTIONS,
  },
  examples: [['underspan replay shop.rec --json', 'spans as JSON lines']],
  run: replayCommand,
};

const DOCTOR: Command = {
  name: 'doctor',
  summary: 'What this kernel and these privileges allow, and what to do about the rest.',
  description: 'Exit code 3 if the agent cannot run here.',
  positionals: [],
  options: {
    json: { help: 'As JSON.' },
    pid: { value: 'PID', short: 'p', help: 'Also: would this process be traced, by what, and if not, why?' },
    ...CONFIG_OPTIONS,
  },
  examples: [['underspan doctor --pid 4242', 'why there are no spans of a process']],
  run: args =>
    doctorCommand(
      args,
      async (btf, way) => (await import('../kernel/features.js')).tryProbes(btf, way),
      async (pid, config, trial) => (await import('../process-doctor.js')).examineProcess(pid, config, trial),
    ),
};

const COVERAGE: Command = {
  name: 'coverage',
  summary: 'What the running agent has seen, exported and dropped, by service and cause.',
  description: `Asks the agent's admin listener. Per service, the requests seen are those exported, dropped by cause and open; below
them what the kernel side and the exporters lost. Exit code 3 if no agent answers, 1 if the sums do not balance.`,
  positionals: [],
  options: {
    json: { help: 'As JSON.' },
    url: { value: 'URL', help: "The agent's admin listener; default: where the configuration has it." },
    config: CONFIG_OPTIONS.config,
  },
  examples: [['underspan coverage --url http://127.0.0.1:9464', 'an agent that listens elsewhere']],
  run: coverageCommand,
};

const CONFIG: readonly Command[] = [
  {
    name: 'config check',
    summary: 'Check the configuration; every fault with file, line and what is allowed.',
    description:
      'Certificates and keys that it names are read, too; nobody is called. Exit code 2 if something is wrong.',
    positionals: [],
    options: CONFIG_OPTIONS,
    examples: [],
    run: configCheckCommand,
  },
  {
    name: 'config print',
    summary: 'The configuration in force, and where each value comes from.',
    description: 'Printed as a configuration file. Values of headers are masked.',
    positionals: [],
    options: CONFIG_OPTIONS,
    examples: [],
    run: configPrintCommand,
  },
  {
    name: 'config schema',
    summary: 'The JSON schema of the configuration file.',
    description: 'For editors: the same as config/schema.json.',
    positionals: [],
    options: {},
    examples: [],
    run: configSchemaCommand,
  },
];

export const COMMANDS: readonly Command[] = [RUN, TRACE, RECORD, REPLAY, DOCTOR, COVERAGE, ...CONFIG];

export function generalHelp(): string {
  const rows = COMMANDS.map(command => [command.name, command.summary] as const);
  return `Underspan: OpenTelemetry traces and metrics, taken from the kernel, for services that nobody can modify.

Usage: underspan COMMAND [options]

Commands:
${columns(rows)}
Options:
${columns([
  ['-h, --help', 'Show this help; `underspan COMMAND --help` shows that of a command.'],
  ['-V, --version', 'Show the version.'],
])}
Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 this machine does not allow it.
`;
}
