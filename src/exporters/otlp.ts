// Makes the OTLP exporter of a signal by the protocol of its target.
import type { Exporter, Log } from './exporter.js';
import { OtlpGrpcExporter } from './otlp-grpc.js';
import { OtlpHttpExporter } from './otlp-http.js';
import { type OtlpTarget, resolveOtlpTarget, settingsFromEnv } from './otlp-settings.js';

export interface OtlpExporterOptions {
  /** Put before the transport's own, e.g. `underspan/0.1.0`. */
  readonly userAgent: string;
  readonly log: Log;
}

/** Throws AgentError OTLP_SETTINGS if a file cannot be read or a header is not one. Does not connect yet. */
export function createOtlpExporter(target: OtlpTarget, options: OtlpExporterOptions): Exporter {
  const { userAgent, log } = options;
  if (target.protocol === 'grpc') return new OtlpGrpcExporter(target, userAgent, log);
  return new OtlpHttpExporter(target, userAgent, log);
}

/** The exporters that the OTEL_EXPORTER_OTLP_* variables describe. */
export function createOtlpExporters(
  env: NodeJS.ProcessEnv,
  options: OtlpExporterOptions,
): { readonly traces: Exporter; readonly metrics: Exporter } {
  const common = settingsFromEnv(env);
  return {
    traces: createOtlpExporter(resolveOtlpTarget('traces', common, settingsFromEnv(env, 'traces')), options),
    metrics: createOtlpExporter(resolveOtlpTarget('metrics', common, settingsFromEnv(env, 'metrics')), options),
  };
}
