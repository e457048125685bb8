// The shape of a command: its options, help and parsing follow from one description (commands.ts has the table). In:
// the words after the command's name. Out: typed option values, or a USAGE error that names the wrong word.
import { parseArgs } from 'node:util';
import { nearest } from '../config/nearest.js';
import { AgentError, reasonOf } from '../errors.js';

export interface OptionSpec {
  readonly help: string;
  /** Placeholder of the value in the help; absent: the option is a switch. */
  readonly value?: string;
  readonly short?: string;
  /** May be given several times. */
  readonly isMultiple?: boolean;
  /** Also `--no-<name>` (shown as such, the switch being on by default). */
  readonly isNegated?: boolean;
}

export interface Arguments {
  readonly command: string;
  readonly positionals: readonly string[];
  /** All values of an option; empty if not given. */
  all(name: string): readonly string[];
  /** The last value of an option. */
  last(name: string): string | undefined;
  has(name: string): boolean;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** Paragraphs below the usage line. */
  readonly description: string;
  /** Positional arguments as the usage line shows them, e.g. `FILE`; all are required. */
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  /** Resolves to the exit code. */
  readonly run: (args: Arguments) => Promise<number>;
}

const HELP_OPTION: OptionSpec = { help: 'Show this help.', short: 'h' };

/** The arguments, or null if help is asked for. */
export function parseArguments(command: Command, words: readonly string[]): Arguments | null {
  const specs: Readonly<Record<string, OptionSpec>> = { ...command.options, help: HELP_OPTION };
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => [
      spec.isNegated === true ? `no-${name}` : name,
      {
        type: spec.value === undefined ? ('boolean' as const) : ('string' as const),
        multiple: true,
        ...(spec.short === undefined ? {} : { short: spec.short }),
      },
    ]),
  );
  let parsed: { values: Readonly<Record<string, unknown>>; positionals: readonly string[] };
  try {
    parsed = parseArgs({ args: [...words], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw usageError(command, explain(error, Object.keys(options)));
  }
  const all = (name: string): readonly unknown[] => (parsed.values[name] as unknown[] | undefined) ?? [];
  if (all('help').length > 0) return null;
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.isMultiple !== true && all(name).length > 1) throw usageError(command, `--${name} is given twice`);
  }
  checkPositionals(command, parsed.positionals);
  return {
    command: command.name,
    positionals: parsed.positionals,
    all: name => all(name).map(String),
    last: name => all(name).map(String).at(-1),
    has: name => all(name).length > 0,
  };
}

export function usageError(command: Pick<Command, 'name'>, problem: string): AgentError {
  return new AgentError('USAGE', { problem, help: `underspan ${command.name} --help` });
}

function checkPositionals(command: Command, given: readonly string[]): void {
  const missing = command.positionals[given.length];
  if (missing !== undefined) throw usageError(command, `${missing} is missing`);
  const extra = given[command.positionals.length];
  if (extra !== undefined) throw usageError(command, `unexpected argument '${extra}'`);
}

/** node:util's message in our words: its own talk of positional arguments helps nobody. */
function explain(error: unknown, names: readonly string[]): string {
  const message = reasonOf(error).split('\n')[0] ?? '';
  const unknown = /^Unknown option '(-{1,2}[^']*)'/.exec(message)?.[1];
  if (unknown === undefined) return message.replace(/\. .*$/, '').replace(/^Option /, 'option ');
  const meant = nearest(unknown.replace(/^-+/, ''), names);
  return `unknown option ${unknown}${meant === '' ? '' : ` (did you mean --${meant}?)`}`;
}

export function commandHelp(command: Command): string {
  const options = Object.entries({ ...command.options, help: HELP_OPTION });
  const rows = options.map(([name, spec]) => {
    const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
    const long = spec.isNegated === true ? `--no-${name}` : `--${name}`;
    const more = spec.isMultiple === true ? ' (may be repeated)' : '';
    return [`${short}${long}${spec.value === undefined ? '' : ` ${spec.value}`}`, `${spec.help}${more}`] as const;
  });
  const usage = ['underspan', command.name, '[options]', ...command.positionals].join(' ');
  const examples = command.examples.length === 0 ? '' : `\nExamples:\n${columns(command.examples, 68)}`;
  return `Usage: ${usage}\n\n${command.description}\n\nOptions:\n${columns(rows)}${examples}`;
}

/** Two columns, the second one aligned; a first entry beyond `maxWidth` takes a line of its own. */
export function columns(rows: readonly (readonly [string, string])[], maxWidth = 36): string {
  const width = Math.min(maxWidth, Math.max(...rows.map(([left]) => left.length)));
  const lines = rows.map(([left, right]) =>
    left.length > width ? `  ${left}\n  ${' '.repeat(width)}  ${right}\n` : `  ${left.padEnd(width)}  ${right}\n`,
  );
  return lines.join('');
}
