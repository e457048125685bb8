// `underspan doctor`: one line per feature, whether it is there, and what to do where it is not. In: the machine's files,
// the built parts, and (injected) a trial load of the probes. Out: lines or JSON; exit code 3 if the agent cannot run.
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { loadConfig } from '../config/load.js';
import { EXIT, reasonOf } from '../errors.js';
import { buildPath, loadHost } from '../kernel/host.js';
import type { ProbeReport, WayName } from '../kernel/probes.js';
import { clean } from '../self/log.js';
import type { Arguments } from './command.js';
import { type Check, checkMachine, lost } from './machine-checks.js';
import { print } from './output.js';
import { settingsFrom } from './settings.js';

/** Loads the probes for a moment and tells what the kernel said. */
export type Probe = (btfPath: string, way: WayName | null) => Promise<readonly ProbeReport[]>;

export async function doctorCommand(args: Arguments, probe?: Probe): Promise<number> {
  const file = args.last('config');
  const { config } = loadConfig({
    environment: process.env,
    settings: settingsFrom(args, 'run'),
    ...(file === undefined ? {} : { file }),
  });
  const checks = checkMachine({ root: '', release: release(), architecture: process.arch, btf: config.kernel.btf });
  checks.push(...buildChecks());
  const { btf, frontEnd } = config.kernel;
  const way = frontEnd === 'auto' ? null : frontEnd;
  if (probe !== undefined) checks.push(...(await probeChecks(() => probe(btf, way), checks.every(canRun))));
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
    existsSync(object)
      ? ok('probes', object)
      : lost('build', 'probes', `${object} is missing`, 'Build it: npm run setup', true),
    addonCheck(ok),
  ];
}

function addonCheck(ok: (name: string, detail: string) => Check): Check {
  const file = buildPath('host.node');
  if (!existsSync(file)) return lost('build', 'addon', `${file} is missing`, 'Build it: npm run setup', true);
  try {
    loadHost();
    return ok('addon', file);
  } catch (error) {
    return lost('build', 'addon', reasonOf(error), 'Install libbpf (Debian: libbpf1), then `npm run setup`.', true);
  }
}

async function probeChecks(probe: () => ReturnType<Probe>, canLoad: boolean): Promise<Check[]> {
  if (!canLoad) return [];
  try {
    return (await probe()).map(toCheck);
  } catch (error) {
    return [lost('probes', 'load', reasonOf(error), 'See the lines above.', true)];
  }
}

function toCheck({ group, way, refused, isRequired, loss }: ProbeReport): Check {
  const reasons = refused.map(refusal => `not by ${refusal.way}: ${refusal.reason}`).join('; ');
  if (way === null) return lost('probes', group, `${reasons}; lost: ${loss}`, '', isRequired);
  const detail = reasons === '' ? `by ${way}` : `by ${way}; ${reasons}`;
  return { group: 'probes', name: group, state: 'ok', isRequired, detail, remedy: '' };
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
  const blocking = checks.filter(check => !canRun(check));
  const lostCount = checks.filter(check => check.state === 'lost').length;
  if (blocking.length > 0)
    return `${text}\nUnderspan cannot run here: ${blocking.map(check => check.name).join(', ')}.\n`;
  return `${text}\n${lostCount === 0 ? 'Everything is there.' : `It runs; ${lostCount} of its features are lost.`}\n`;
}
