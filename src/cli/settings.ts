// Flags that are settings: --set, --log-level and the selection flags become the strongest layer of the configuration
// (config/load.ts). What a quick look does not need (admin listener, metrics, other exporters) is switched off here, and what
// it shows is whatever comes (not sampled, told by an SDK), as long as --set does not ask for something else.
import type { Setting } from '../config/load.js';
import { type Arguments, usageError } from './command.js';

/** Selection flags and the selector criterion of each. */
const CRITERIA = { pid: 'pid', exe: 'exe', script: 'script', command: 'command', container: 'container' } as const;

type Mode = 'run' | 'trace' | 'record' | 'replay' | 'doctor';

const QUICK_LOOK: readonly Setting[] = [
  { path: 'traces.exporters', value: ['console'], flag: 'trace' },
  { path: 'traces.sampler', value: 'always_on', flag: 'trace' },
  { path: 'traces.instrumented_services', value: 'trace', flag: 'trace' },
  { path: 'metrics.exporters', value: ['none'], flag: 'trace' },
  { path: 'exporters', value: [], flag: 'trace' },
  { path: 'admin.enabled', value: false, flag: 'trace' },
];
const OF_MODE: Readonly<Record<Mode, readonly Setting[]>> = {
  run: [],
  doctor: [],
  trace: QUICK_LOOK,
  record: [],
  replay: [{ path: 'admin.enabled', value: false, flag: 'replay' }],
};

/** The settings that a command line makes. */
export function settingsFrom(args: Arguments, mode: Mode): Setting[] {
  const explicit = [...setFlags(args), ...logLevel(args), ...btfFile(args)];
  // A recording holds what was selected when it was made; the doctor's --pid selects nothing.
  if (mode !== 'replay' && mode !== 'doctor') explicit.push(...selection(args));
  const isExplicit = (path: string): boolean => explicit.some(setting => setting.path === path);
  return [...OF_MODE[mode].filter(setting => !isExplicit(setting.path)), ...explicit];
}

function setFlags(args: Arguments): Setting[] {
  return args.all('set').map(text => {
    const equals = text.indexOf('=');
    if (equals < 1) throw usageError({ name: args.command }, `--set ${text}: expected PATH=VALUE`);
    const path = text.slice(0, equals).trim();
    return { path, value: text.slice(equals + 1), flag: `--set ${path}` };
  });
}

function btfFile(args: Arguments): Setting[] {
  const file = args.last('btf');
  return file === undefined ? [] : [{ path: 'kernel.btf', value: file, flag: '--btf' }];
}

function logLevel(args: Arguments): Setting[] {
  const level = args.last('log-level');
  return level === undefined ? [] : [{ path: 'log.level', value: level, flag: '--log-level' }];
}

/**
 * One selector for each combination: values of one flag are alternatives, different flags must hold together. A port
 * is a server's own or the one that a client talks to, hence two selectors.
 */
function selection(args: Arguments): Setting[] {
  let selectors: Record<string, unknown>[] = [{}];
  const flags: string[] = [];
  for (const [flag, criterion] of Object.entries(CRITERIA)) {
    const values = args.all(flag).map(text => (flag === 'pid' ? toPid(args, text) : text));
    if (values.length === 0) continue;
    flags.push(`--${flag}`);
    selectors = selectors.flatMap(selector => values.map(value => ({ ...selector, [criterion]: value })));
  }
  const ports = args.all('port').flatMap(text => text.split(',').map(part => part.trim()));
  if (ports.length > 0) {
    flags.push('--port');
    selectors = selectors.flatMap(selector => [
      { ...selector, listen_port: ports },
      { ...selector, peer_port: ports },
    ]);
  }
  return flags.length === 0 ? [] : [{ path: 'selection.include', value: selectors, flag: flags.join(' ') }];
}

function toPid(args: Arguments, text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw usageError({ name: args.command }, `--pid ${text}: expected a process id`);
  return Number(text);
}
