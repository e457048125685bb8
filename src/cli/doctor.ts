// `underspan doctor`: one line per feature, whether it is there, and what to do where it is not. In: the machine's files,
// the built parts, and (injected) a trial load of the probes. Out: lines or JSON; exit code 3 if the agent cannot run, or
// would not see the process that was asked for.
import { release } from 'node:os';
import { loadConfig } from '../config/load.js';
import type { Config } from '../config/schema.js';
import { AgentError, EXIT, reasonOf } from '../errors.js';
import { exists } from '../exists.js';
import type { Trial } from '../kernel/features.js';
import { buildPath, loadHost } from '../kernel/host.js';
import type { ProbeReport, WayName } from '../kernel/probes.js';
import { clean } from '../self/log.js';
import type { Arguments } from './command.js';
import { type Check, checkMachine, lost } from './machine-checks.js';
import { print } from './output.js';
import { queueCheck } from './queue-check.js';
import { settingsFrom } from './settings.js';

/** Before the pid, in the name of a group. */
const PROCESS = 'process ';

/** Loads the probes, until the trial is closed, and tells what the kernel said. */
export type Probe = (btfPath: string, way: WayName | null) => Promise<Trial>;

/** What stands between one process and its spans. */
export type Examine = (
  pid: number,
  config: Config,
  trial: Trial,
) => Promise<readonly { readonly name: string; readonly state: 'ok' | 'no' | 'note'; readonly detail: string }[]>;

export async function doctorCommand(args: Arguments, probe?: Probe, examine?: Examine): Promise<number> {
  const pid = pidFrom(args);
  const file = args.last('config');
  const { config } = loadConfig({
    environment: process.env,
    settings: settingsFrom(args, 'doctor'),
    ...(file === undefined ? {} : { file }),
  });
  const checks = checkMachine({ root: '', release: release(), architecture: process.arch, btf: config.kernel.btf });
  checks.push(...buildChecks());
  const { btf, frontEnd } = config.kernel;
  const way = frontEnd === 'auto' ? null : frontEnd;
  checks.push(...sizeChecks(config), queueCheck(config));
  let trial: Trial = { reports: [], kernel: null, close: () => undefined };
  if (probe !== undefined && checks.every(canRun)) {
    try {
      trial = await probe(btf, way);
      checks.push(...trial.reports.flatMap(toChecks));
    } catch (error) {
      checks.push(lost('probes', 'load', reasonOf(error), 'See the lines above.', true));
    }
  }
  if (pid !== null && examine !== undefined) {
    for (const { name, state, detail } of await examine(pid, config, trial)) {
      checks.push({
        group: `${PROCESS}${pid}`,
        name,
        state: state === 'no' ? 'lost' : state,
        isRequired: state === 'no',
        detail,
        remedy: '',
      });
    }
  }
  trial.close();
  print(args.has('json') ? renderJson(checks) : renderText(checks));
  return checks.every(canRun) ? EXIT.ok : EXIT.environment;
}

function canRun(check: Check): boolean {
  return check.state !== 'lost' || !check.isRequired;
}

function buildChecks(): Check[] {
  const object = buildPath('underspan.bpf.o');
  const ok = (name: string, detail: string): Check => {
    return { group: 'build', name, state: 'ok', isRequired: false, detail, remedy: '' };
  };
  return [
    exists(object)
      ? ok('probes', object)
      : lost('build', 'probes', `${object} is missing`, 'Build it: npm run setup', true),
    addonCheck(ok),
  ];
}

function addonCheck(ok: (name: string, detail: string) => Check): Check {
  const file = buildPath('host.node');
  if (!exists(file)) return lost('build', 'addon', `${file} is missing`, 'Build it: npm run setup', true);
  try {
    loadHost();
    return ok('addon', file);
  } catch (error) {
    return lost('build', 'addon', reasonOf(error), 'Install libbpf (Debian: libbpf1), then `npm run setup`.', true);
  }
}

/** A line for the way that was taken and what it lacks, and one for each that would have been better. */
function toChecks({ group, way, refused, untried, isRequired, loss }: ProbeReport): Check[] {
  const note = (detail: string): Check => {
    return { group: 'probes', name: '', state: 'note', isRequired: false, detail, remedy: '' };
  };
  const others = refused.map(({ way: name, reason }) => note(`not by ${name}: ${reason.split('\n', 1)[0]}`));
  if (way === null) return [lost('probes', group, `lost: ${loss}`, '', isRequired), ...others];
  const next = untried.length === 0 ? '' : ` (if that failed: ${untried.join(', ')})`;
  const taken: Check = {
    group: 'probes',
    name: group,
    state: 'ok',
    isRequired,
    detail: `by ${way}${next}`,
    remedy: '',
  };
  return [taken, ...others, ...(loss === '' ? [] : [note(`by ${way}, ${loss}`)])];
}

function sizeChecks({ kernel }: Config): Check[] {
  const size = (name: string, detail: string): Check => {
    return { group: 'sizes', name, state: 'ok', isRequired: false, detail, remedy: '' };
  };
  return [
    size('data ring', `${kernel.dataRingBytes / 1024} KiB`),
    size('control ring', `${kernel.controlRingBytes / 1024} KiB`),
    size('connections', `${kernel.maxConnections} at a time`),
  ];
}

function pidFrom(args: Arguments): number | null {
  const text = args.last('pid');
  if (text === undefined) return null;
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid < 1)
    throw new AgentError('USAGE', {
      problem: `--pid ${text}: a process id was expected`,
      help: 'underspan doctor --help',
    });
  return pid;
}

export function renderJson(checks: readonly Check[]): string {
  const lines = checks.map(({ group, name, state, isRequired, detail, remedy }) => {
    return { group, name, state, required: isRequired, detail, remedy };
  });
  return JSON.stringify({ ok: checks.every(canRun), checks: lines }, null, 2);
}

export function renderText(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(check => check.name.length));
  let text = '';
  let group = '';
  for (const check of checks) {
    if (check.group !== group) text += `${group === '' ? '' : '\n'}${check.group}\n`;
    group = check.group;
    text += `  ${check.state.padEnd(4)}  ${check.name.padEnd(width)}  ${clean(check.detail)}\n`;
    if (check.remedy !== '') text += `  ${' '.repeat(4 + 2 + width)}  -> ${check.remedy}\n`;
  }
  return `${text}\n${verdictOf(checks)}\n`;
}

function verdictOf(checks: readonly Check[]): string {
  const blocking = checks.filter(check => !canRun(check));
  const names = (all: readonly Check[]): string => all.map(check => check.name).join(', ');
  const ofProcess = blocking.filter(({ group }) => group.startsWith(PROCESS));
  if (blocking.length > ofProcess.length)
    return `Underspan cannot run here: ${names(blocking.filter(check => !ofProcess.includes(check)))}.`;
  if (ofProcess.length > 0) return `No spans of ${ofProcess[0]?.group}: ${names(ofProcess)}.`;
  const lostCount = checks.filter(check => check.state === 'lost').length;
  if (lostCount === 0) return 'Everything is there.';
  return `It runs; ${lostCount} of its features ${lostCount === 1 ? 'is' : 'are'} lost.`;
}
