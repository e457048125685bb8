// Reads command lines by the tables of runtimes.ts and launchers.ts: which argument is the program that a runtime runs, and
// which names the application that a launcher serves. Arguments go in as the kernel has them; an option that no table
// knows is taken to stand alone (runtimes) or to have a value (launchers), so a wrong guess costs a name, nothing else.
import { COMMAND_WORDS, type Launcher } from './launchers.js';
import type { Runtime } from './runtimes.js';

/** Programs read from a descriptor or from standard input. */
const NAMELESS = /^(?:-$|\/dev\/|\/proc\/)/;

export interface Program {
  /** Script, module, jar or class; '' if the program is text on the command line or standard input. */
  readonly program: string;
  /** It came behind an option (`-m`, `-jar`). */
  readonly option: string;
  /** A name stated outright. */
  readonly stated: string;
  /** What follows the program. */
  readonly rest: readonly string[];
}

/** Finds what a runtime was told to run. `args` is the whole command line, the runtime's own name first. */
export function findProgram(runtime: Runtime, args: readonly string[]): Program {
  let stated = '';
  for (let i = 1; i < args.length; i++) {
    const argument = args[i] as string;
    if (argument === '--') return { program: args[i + 1] ?? '', option: '', stated, rest: args.slice(i + 2) };
    if (runtime.name === 'shell' && argument.startsWith('+')) continue;
    if (runtime.codeOptions.has(argument)) break;
    if (!argument.startsWith('-') || argument === '-') {
      if (runtime.subcommands.has(argument) || (runtime.name === 'java' && argument.startsWith('@'))) continue;
      const program = NAMELESS.test(argument) ? '' : argument;
      return { program, option: '', stated, rest: args.slice(i + 1) };
    }
    stated ||= runtime.statedName?.exec(argument)?.[1] ?? '';
    const step = readOption(runtime, argument, args[i + 1] ?? '');
    if (step.isCode) break;
    if (step.program !== '') {
      return { program: step.program, option: step.option, stated, rest: args.slice(i + 1 + step.taken) };
    }
    i += step.taken;
  }
  return { program: '', option: '', stated, rest: [] };
}

interface OptionStep {
  readonly option: string;
  readonly program: string;
  readonly isCode: boolean;
  /** Arguments after the option that belong to it. */
  readonly taken: number;
}

function readOption(runtime: Runtime, argument: string, next: string): OptionStep {
  const isWhole = !runtime.isClustered || argument.startsWith('--');
  if (isWhole) {
    if (runtime.programOptions.has(argument)) return { option: argument, program: next, isCode: false, taken: 1 };
    return { option: argument, program: '', isCode: false, taken: runtime.valueOptions.has(argument) ? 1 : 0 };
  }
  for (let at = 1; at < argument.length && /[A-Za-z]/.test(argument[at] as string); at++) {
    const option = `-${argument[at]}`;
    const attached = argument.slice(at + 1);
    if (runtime.codeOptions.has(option)) return { option, program: '', isCode: true, taken: 0 };
    if (runtime.programOptions.has(option)) {
      return { option, program: attached || next, isCode: false, taken: attached === '' ? 1 : 0 };
    }
    if (runtime.valueOptions.has(option)) return { option, program: '', isCode: false, taken: attached === '' ? 1 : 0 };
  }
  return { option: argument, program: '', isCode: false, taken: 0 };
}

export interface LauncherArguments {
  /** Module, script or next command; '' if there is none. */
  app: string;
  /** Index of a positional `app` in the arguments, else their number. */
  appIndex: number;
  /** A name stated outright. */
  stated: string;
  /** Directory of the application, '' if it is the working directory. */
  directory: string;
}

/** Reads the arguments behind a launcher's name. */
export function readLauncher(launcher: Launcher, rest: readonly string[]): LauncherArguments {
  const found: LauncherArguments = { app: '', appIndex: rest.length, stated: '', directory: '' };
  for (let i = 0; i < rest.length; i++) {
    const argument = rest[i] as string;
    if (!argument.startsWith('-')) {
      if (found.app !== '' || (launcher.kind === 'command' && COMMAND_WORDS.has(argument))) continue;
      if (launcher.kind === 'module' && launcher.appOptions.size > 0 && !isModuleReference(argument)) continue;
      found.app = argument;
      found.appIndex = i;
      continue;
    }
    const equals = argument.indexOf('=');
    const option = equals > 0 ? argument.slice(0, equals) : argument;
    if (launcher.flags.has(option)) continue;
    const isAttached = equals < 0 && /^-[A-Za-z].+$/.test(argument);
    const value = equals > 0 ? argument.slice(equals + 1) : (rest[i + 1] ?? '');
    if (launcher.nameOptions.has(option)) found.stated = value;
    else if (launcher.directoryOptions.has(option)) found.directory = value;
    else if (launcher.appOptions.has(option)) found.app = value;
    if (equals < 0 && !isAttached && launcher.kind !== 'command') i++;
  }
  return found;
}

function isModuleReference(text: string): boolean {
  return /^[A-Za-z_][\w.]*:[A-Za-z_]\w*|\.(?:ini|ya?ml|xml|json)$/.test(text);
}
