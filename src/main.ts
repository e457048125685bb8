#!/usr/bin/env node
// The command line: argv in, exit code out. Every error that is meant for people is one AgentError (errors.ts): its
// message, its remedy and its exit code; anything else is a bug and shows its stack.
import { readFileSync } from 'node:fs';
import { type Command, commandHelp, parseArguments } from './cli/command.js';
import { COMMANDS, generalHelp } from './cli/commands.js';
import { guardOutput, print } from './cli/output.js';
import { nearest } from './config/nearest.js';
import { AgentError, EXIT } from './errors.js';

async function main(words: readonly string[]): Promise<number> {
  const [first, second] = words;
  if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
    const command = first === 'help' ? findCommand(words.slice(1)) : null;
    print(command === null ? generalHelp() : commandHelp(command));
    return first === undefined ? EXIT.usage : EXIT.ok;
  }
  if (first === '--version' || first === '-V') {
    print(version());
    return EXIT.ok;
  }
  const command = findCommand(words);
  if (command === null) throw unknownCommand(first, second);
  const args = parseArguments(command, words.slice(command.name.split(' ').length));
  if (args !== null) return command.run(args);
  print(commandHelp(command));
  return EXIT.ok;
}

/** The command that the words begin with; its name may be two words. */
function findCommand(words: readonly string[]): Command | null {
  return COMMANDS.find(command => command.name === words.slice(0, command.name.split(' ').length).join(' ')) ?? null;
}

function unknownCommand(first: string, second: string | undefined): AgentError {
  const subcommands = COMMANDS.filter(command => command.name.startsWith(`${first} `)).map(command => command.name);
  if (subcommands.length > 0) {
    const given = second === undefined ? '' : `, not '${second}'`;
    return new AgentError('USAGE', { problem: `expected ${subcommands.join(', ')}${given}`, help: 'underspan --help' });
  }
  const meant = nearest(
    first,
    COMMANDS.map(command => command.name),
  );
  const hint = meant === '' ? '' : ` (did you mean ${meant}?)`;
  return new AgentError('USAGE', { problem: `unknown command '${first}'${hint}`, help: 'underspan --help' });
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function report(error: unknown): number {
  if (error instanceof AgentError) {
    const remedy = error.remedy === '' ? '' : `\n  ${error.remedy}`;
    process.stderr.write(`underspan: ${error.message}${remedy}\n`);
    return error.exitCode;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`underspan: unexpected failure, please report it\n${detail}\n`);
  return EXIT.failed;
}

guardOutput();
// Handles that a backend's client keeps open must not keep the command: the code is final when `main` is done.
main(process.argv.slice(2)).then(
  code => process.exit(code),
  (error: unknown) => process.exit(report(error)),
);
