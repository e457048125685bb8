// Where the agent sends to, by the configuration. In: the configuration. Out: the OTLP receivers of a signal; AgentError for
// what `run` would refuse, without calling anybody.
import { serverOf } from './agent-joins.js';
import type { Config } from './config/schema.js';
import { type OtlpSignal, type OtlpTarget, resolveOtlpTarget } from './exporters/otlp-settings.js';
import { readTls } from './exporters/otlp-tls.js';

/** The configured receiver, and those that get the same besides. @throws AgentError OTLP_SETTINGS */
export function otlpTargets(signal: OtlpSignal, { otlp }: Config): OtlpTarget[] {
  return [
    resolveOtlpTarget(signal, {}, otlp[signal]),
    ...otlp.also
      .filter(({ signals }) => signals.includes(signal))
      .map(({ signals, ...settings }) => resolveOtlpTarget(signal, settings, {})),
  ];
}

/** Endpoints, certificates and keys. @throws AgentError OTLP_SETTINGS, JOIN_SETTINGS */
export function assertDestinations(config: Config): void {
  for (const signal of ['traces', 'metrics'] as const) {
    if (config[signal].exporters.includes('otlp')) otlpTargets(signal, config).forEach(readTls);
  }
  const { redis } = config.traces.join;
  if (redis.url !== undefined) serverOf(redis, redis.url);
}
