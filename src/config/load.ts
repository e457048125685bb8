// Loads the configuration. In: flags, environment, a YAML file, in this order of precedence. Out: a complete Config and
// warnings; anything wrong ends in one AgentError that lists every fault with its place (exit code 2).
import { AgentError } from '../errors.js';
import { checkField } from './check.js';
import { checkText, type Environment, environmentLayer, setAt, VARIABLES } from './environment.js';
import { fileLayer, readConfigFile } from './file.js';
import { type Layer, mergeLayers } from './layers.js';
import { nearest } from './nearest.js';
import type { Config } from './schema.js';

/** One setting of the command line. */
export interface Setting {
  /** Keys as the file writes them, e.g. `kernel.max_connections`. */
  readonly path: string;
  /** Text as a variable would have it, or plain data as YAML would give it. */
  readonly value: unknown;
  /** The flag, for messages. */
  readonly flag: string;
}

export interface ConfigSources {
  /** Path of the file; absent: UNDERSPAN_CONFIG, and without that no file. */
  readonly file?: string;
  readonly environment: Environment;
  readonly settings?: readonly Setting[];
}

export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
  readonly file: string;
  /** Where the value of a field comes from, '' for a default. */
  readonly originOf: (path: readonly string[]) => string;
}

const MAX_PROBLEMS_SHOWN = 20;

export function loadConfig(sources: ConfigSources): LoadedConfig {
  const problems: string[] = [];
  const warnings: string[] = [];
  const fail = (problem: string): void => void problems.push(problem);
  const file = sources.file ?? sources.environment.UNDERSPAN_CONFIG ?? '';
  const layers: Layer[] = [
    settingsLayer(sources.settings ?? [], fail),
    environmentLayer(sources.environment, fail, problem => warnings.push(problem)),
  ];
  if (file !== '') layers.push(fileLayer(file, readConfigFile(file), fail));
  failIfAny(problems);
  const originOf = (path: readonly string[]): string => layers.map(layer => layer.originOf(path)).find(Boolean) ?? '';
  const config = mergeLayers(layers);
  for (const signal of ['traces', 'metrics'] as const) checkEndpoint(config, signal, originOf, fail);
  failIfAny(problems);
  return { config, warnings, file, originOf };
}

function failIfAny(problems: readonly string[]): void {
  if (problems.length > 0) {
    const shown = problems.slice(0, MAX_PROBLEMS_SHOWN);
    if (shown.length < problems.length) shown.push(`... and ${problems.length - shown.length} more`);
    throw new AgentError('CONFIG_INVALID', { problems: shown.join('\n') });
  }
}

/** Only gRPC does without a scheme; which protocol it is may be said elsewhere than the endpoint. */
function checkEndpoint(
  config: Config,
  signal: 'traces' | 'metrics',
  originOf: LoadedConfig['originOf'],
  fail: (problem: string) => void,
): void {
  const { endpoint = '', protocol } = config.otlp[signal];
  if (protocol === 'grpc' || /^https?:/i.test(endpoint)) return;
  const isOwn = endpoint !== `${config.otlp.endpoint}/v1/${signal}`;
  const path = isOwn ? ['otlp', signal, 'endpoint'] : ['otlp', 'endpoint'];
  const said = isOwn ? endpoint : config.otlp.endpoint;
  const problem = `${said} has no http:// or https://, which ${protocol} needs (${signal})`;
  fail(`${originOf(path)}: ${path.join('.')}: ${problem}`);
}

function settingsLayer(settings: readonly Setting[], fail: (problem: string) => void): Layer {
  const tree = {};
  const origins = new Map<string, string>();
  const paths = VARIABLES.map(variable => variable.path.join('.'));
  for (const { path, value, flag } of settings) {
    const target = VARIABLES.find(variable => variable.path.join('.') === path);
    if (target === undefined) {
      const meant = nearest(path, paths) || paths.find(known => known.endsWith(`.${path}`)) || '';
      fail(`${flag}: ${path} is not a field${meant === '' ? '' : ` (did you mean ${meant}?)`}`);
      continue;
    }
    const report = (_: unknown, message: string): void => fail(`${flag}: ${message}`);
    const checked =
      typeof value === 'string'
        ? checkText({ ...target, name: flag }, value, report)
        : checkField(target.field, value, [], report);
    if (checked !== undefined) setAt(tree, target.path, checked);
    origins.set(path, flag);
  }
  return { tree, originOf: path => origins.get(path.join('.')) ?? '' };
}
