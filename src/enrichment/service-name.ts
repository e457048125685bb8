// From a process's facts to its service name. Order (DESIGN.md section 5): what the process itself was told
// (OTEL_SERVICE_NAME, then service.name in OTEL_RESOURCE_ATTRIBUTES), the config's rules, the container where its name is
// known, then the program: script, module, jar, main class or executable. A runtime's own name (`python3`) is the last
// resort. Masters and workers get one name, also those that write over their command line.
import { findProgram, readLauncher } from './command-line.js';
import { parseCgroupPath } from './container.js';
import {
  CLASSES,
  GENERIC_FOLDERS,
  GENERIC_MODULES,
  LAUNCHERS,
  LOADER_CLASS,
  TITLES,
  type TitleKind,
} from './launchers.js';
import type { ProcessFacts } from './process-facts.js';
import { resourceAttribute } from './resource-attributes.js';
import { type Runtime, runtimeOf } from './runtimes.js';

/** A rule of the config (`resource.service_names`), compiled. */
export interface NameRule {
  matches(facts: ProcessFacts): boolean;
  readonly name: string;
}

/** `name` of the package.json nearest to an absolute directory of the process, '' if there is none. */
export type PackageLookup = (directory: string) => string;

const NAME_MAX = 128;
/** Of a title; its writer may be hostile, and the patterns backtrack. */
const TEXT_MAX = 512;
const DEPTH_MAX = 8;
const noPackage: PackageLookup = () => '';

/** `service.name` of a process; never empty. */
export function serviceNameOf(facts: ProcessFacts, rules: readonly NameRule[] = []): string {
  const own = facts.environment.serviceName || resourceAttribute(facts.environment.resourceAttributes, 'service.name');
  if (own !== '') return clean(own);
  for (const rule of rules) if (rule.matches(facts)) return rule.name;
  return clean(facts.pod?.containerName ?? '') || facts.program || programNameOf(facts) || 'unknown_service';
}

/**
 * The name that the command line and the executable give: `app` for `python3 app.py`, `shop` for `java -jar shop-1.2.jar`,
 * `nginx` for all of its processes. '' only if nothing at all is known.
 */
export function programNameOf(facts: ProcessFacts, packageName: PackageLookup = noPackage): string {
  const exe = executableName(facts);
  const runtime = runtimeOf(exe);
  const context: Context = { facts, runtime, packageName };
  const rest = facts.args.slice(1);
  const named =
    nameByTitle(context, exe) ||
    nameByLauncher(context, exe, rest) ||
    nameByLauncher(context, facts.args[0] ?? '', rest) ||
    nameByScript(context);
  if (named !== '') return clean(named);
  if (runtime === null && exe !== '') return clean(exe.replace(/^(php-fpm)\d(?:\.\d+)?$/, '$1'));
  // The version of a runtime is no part of a name: it would change with each upgrade.
  return clean(parseCgroupPath(facts.cgroup).unit || exe.replace(/(?<=[a-z])-?\d[\d.]*$/, '') || facts.exeName);
}

/** The script, module, jar or main class that a runtime was told to run, as it was written; '' for a native program. */
export function scriptOf(facts: ProcessFacts): string {
  const runtime = runtimeOf(executableName(facts));
  return runtime === null ? '' : findProgram(runtime, facts.args).program;
}

/** Base name of the executable: of its file, else of the command line, else the kernel's short name. */
export function executableName(facts: ProcessFacts): string {
  const first = facts.args[0] ?? '';
  const command = baseName(first.replace(/^-/, '').split(/[\s:]/, 1)[0] as string);
  const file = baseName(facts.exePath);
  // A file in memory has any name, and one busybox has many: there the command line says which program it is.
  if (file === '' || file === 'busybox' || file.startsWith('memfd:')) {
    return command || file.replace(/^memfd:/, '') || facts.exeName;
  }
  return file;
}

interface Context {
  readonly facts: ProcessFacts;
  readonly runtime: Runtime | null;
  readonly packageName: PackageLookup;
}

// ---- titles

function nameByTitle(context: Context, exe: string): string {
  const { args, exePath } = context.facts;
  const title = (args[0] ?? '').slice(0, TEXT_MAX).trim();
  if (title === '' || args.length > 1) return '';
  for (const [pattern, kind] of TITLES) {
    const match = pattern.exec(title);
    if (match !== null) return nameByTitleKind(context, kind, match[1] ?? '') || (title.split(/[\s:]/, 1)[0] as string);
  }
  // `nginx: worker process`: the executable says the same, unless it is a runtime's or unknown.
  if (context.runtime === null && exePath !== '') return '';
  const word = title.split(/[\s:]/, 1)[0] as string;
  if (baseName(word) === exe || word.startsWith('-')) return '';
  // The script that a runtime was started as (Perl writes it there), if it is not the runtime.
  if (word.startsWith('/')) return runtimeOf(baseName(word)) === null ? baseName(word) : '';
  return word;
}

function nameByTitleKind(context: Context, kind: TitleKind, text: string): string {
  switch (kind) {
    case 'name':
      return text;
    case 'module':
      return moduleName(text, context.facts.cwd);
    case 'path':
      return folderName(text);
    case 'project':
      return projectName(context, context.facts.cwd);
  }
}

// ---- launchers

function nameByLauncher(context: Context, command: string, rest: readonly string[], depth = 0): string {
  const key = baseName(command).replace(/\.(?:c|m)?js$|\.py$/, '');
  const launcher = LAUNCHERS.get(key);
  if (launcher === undefined || depth > DEPTH_MAX) return '';
  const found = readLauncher(launcher, rest);
  if (found.stated !== '') return found.stated;
  const directory = absolute(found.directory, context.facts.cwd);
  const app = found.app;
  const at = found.appIndex + 1;
  let name = '';
  if (launcher.kind === 'command' && app !== '') {
    name = nameByLauncher(context, app, rest.slice(at), depth + 1) || scriptName(context, app, directory);
  } else if (launcher.kind === 'script' && app !== '') name = scriptName(context, app, directory);
  else if (launcher.kind === 'module') name = moduleName(app, directory);
  else if (launcher.kind === 'project') name = projectName(context, directory);
  return name || key;
}

/** `shop` for `shop.wsgi:application`, `app` for `app:app`; a module without a word of its own is named by its folder. */
function moduleName(reference: string, directory: string): string {
  if (/\.(?:ini|ya?ml|json|xml|py)$/.test(reference)) {
    const base = baseName(reference).replace(/\.\w+$/, '');
    return GENERIC_MODULES.has(base) || base === 'uwsgi'
      ? folderName(dirName(absolute(reference, directory))) || base
      : base;
  }
  const module = (reference.split(':', 1)[0] as string).replace(/^.*\//, '');
  const parts = module.split('.').filter(part => part !== '');
  const telling =
    parts.find(part => !GENERIC_MODULES.has(part) && part !== 'app') ?? parts.find(part => part === 'app');
  return telling ?? (folderName(directory) || (parts[0] ?? ''));
}

// ---- scripts

function nameByScript(context: Context): string {
  const { runtime, facts } = context;
  if (runtime === null) return '';
  if (runtime.name === 'beam') return beamName(facts);
  const found = findProgram(runtime, facts.args);
  if (found.stated !== '') return found.stated;
  if (found.program === '') return '';
  const launched = nameByLauncher(context, found.program, found.rest);
  if (launched !== '') return launched;
  if (runtime.name === 'java' && found.option !== '-jar') return className(found.program, facts);
  if (found.option === '-m') return found.program.replace(/\.__main__$/, '');
  if (runtime.name === 'dotnet' && !/\.(?:dll|exe)$/.test(found.program)) return folderName(facts.cwd);
  return scriptName(context, found.program, facts.cwd);
}

function scriptName(context: Context, script: string, directory: string): string {
  const runtime = context.runtime;
  const file = baseName(script).slice(0, NAME_MAX);
  let base = runtime === null ? file.replace(/\.\w{1,5}$/, '') : file.replace(runtime.extension, '');
  if (runtime?.name === 'java') base = base.replace(/[-_.]v?\d+(?:\.\d+)*(?:[-.+][A-Za-z0-9]+)*$/, '') || base;
  if (runtime === null || !runtime.genericScripts.has(base)) return base;
  const folder = dirName(absolute(script, directory));
  return projectName(context, folder) || parseCgroupPath(context.facts.cgroup).unit || base;
}

function className(reference: string, facts: ProcessFacts): string {
  const [module, main] = reference.replace(/\.java$/, '').split('/', 2) as [string, string | undefined];
  const name = main ?? module;
  const known = CLASSES.get(name) ?? CLASSES.get(module);
  if (known !== undefined) return known;
  if (LOADER_CLASS.test(name)) return folderName(facts.cwd);
  return name.slice(name.lastIndexOf('.') + 1);
}

/** Erlang and Elixir: the node's name, else the release's folder, else the first module started. */
function beamName(facts: ProcessFacts): string {
  const after = (option: string): string => {
    const at = facts.args.indexOf(option);
    return at < 0 ? '' : (facts.args[at + 1] ?? '');
  };
  const node = (after('-sname') || after('-name')).split('@', 1)[0] as string;
  if (node !== '') return node;
  const release = /\/([^/]+)\/releases\//.exec(after('-boot'))?.[1] ?? '';
  return release || folderName(facts.cwd) || after('-s');
}

// ---- folders

function projectName(context: Context, directory: string): string {
  if (directory === '') return '';
  const name = context.runtime?.language === 'nodejs' ? context.packageName(directory) : '';
  return name || folderName(directory);
}

/** The nearest folder, upwards, whose name tells something; '' if there is none. */
function folderName(directory: string): string {
  const parts = directory.split('/').filter(part => part !== '');
  for (let i = parts.length - 1; i >= 0; i--) {
    const part = parts[i] as string;
    const isHome = i === 1 && parts[0] === 'home';
    if (!GENERIC_FOLDERS.has(part) && !isHome && !/^v?[\d.]+$/.test(part) && !part.startsWith('.')) return part;
  }
  return '';
}

function absolute(path: string, cwd: string): string {
  if (path.startsWith('/')) return normalize(path);
  return cwd === '' ? '' : normalize(`${cwd}/${path}`);
}

function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function dirName(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function clean(name: string): string {
  // Names come from other processes and go to terminals.
  return name
    .replace(/\p{Cc}/gu, '')
    .trim()
    .slice(0, NAME_MAX);
}
