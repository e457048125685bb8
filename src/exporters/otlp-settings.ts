// Where and how OTLP leaves, by the OTLP exporter specification: settings common to both signals and settings of one
// signal go in (from the configuration or from OTEL_EXPORTER_OTLP_* variables), one resolved target per signal comes
// out. What cannot be used throws AgentError OTLP_SETTINGS while starting up.
import { createRequire } from 'node:module';
import type { parseKeyPairsIntoRecord } from '@opentelemetry/core';
import { AgentError } from '../errors.js';

export type OtlpSignal = 'traces' | 'metrics';
export type OtlpProtocol = 'grpc' | 'http/protobuf' | 'http/json';
export type OtlpCompression = 'none' | 'gzip';

/** Every field may be missing; file names are read when the exporter is made. */
export interface OtlpSettings {
  readonly endpoint?: string | undefined;
  readonly protocol?: OtlpProtocol | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly compression?: OtlpCompression | undefined;
  readonly timeoutMs?: number | undefined;
  /** PEM files: the CAs to trust, the client's key and its certificate chain. */
  readonly certificate?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly clientCertificate?: string | undefined;
  /** gRPC to an endpoint without scheme: no TLS. */
  readonly insecure?: boolean | undefined;
}

export interface OtlpTarget {
  readonly signal: OtlpSignal;
  readonly protocol: OtlpProtocol;
  /** gRPC: host:port or unix:path. HTTP: the URL that requests are posted to. */
  readonly url: string;
  readonly isSecure: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly compression: OtlpCompression;
  /** What one attempt may take. */
  readonly timeoutMs: number;
  readonly certificate: string | null;
  readonly clientKey: string | null;
  readonly clientCertificate: string | null;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const PROTOCOLS: readonly string[] = ['grpc', 'http/protobuf', 'http/json'] satisfies OtlpProtocol[];
const COMPRESSIONS: readonly string[] = ['none', 'gzip'] satisfies OtlpCompression[];

/**
 * Puts a signal's own settings over the common ones. A common HTTP endpoint is a base to which /v1/<signal> is appended;
 * a signal's own is used as it is written. Headers of both are sent, the signal's own win.
 */
export function resolveOtlpTarget(signal: OtlpSignal, common: OtlpSettings, own: OtlpSettings): OtlpTarget {
  const protocol = own.protocol ?? common.protocol ?? 'grpc';
  const isInsecure = own.insecure ?? common.insecure ?? false;
  const address =
    protocol === 'grpc'
      ? grpcAddress(own.endpoint ?? common.endpoint ?? 'http://localhost:4317', isInsecure)
      : httpAddress(signal, common.endpoint, own.endpoint);
  const clientKey = own.clientKey ?? common.clientKey ?? null;
  const clientCertificate = own.clientCertificate ?? common.clientCertificate ?? null;
  if ((clientKey === null) !== (clientCertificate === null)) {
    throw invalid('the client key and the client certificate need each other');
  }
  return {
    signal,
    protocol,
    ...address,
    headers: { ...common.headers, ...own.headers },
    compression: own.compression ?? common.compression ?? 'none',
    timeoutMs: own.timeoutMs ?? common.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    certificate: own.certificate ?? common.certificate ?? null,
    clientKey,
    clientCertificate,
  };
}

/** Reads OTEL_EXPORTER_OTLP_*, or with a signal OTEL_EXPORTER_OTLP_<SIGNAL>_*. Empty variables count as unset. */
export function settingsFromEnv(env: NodeJS.ProcessEnv, signal?: OtlpSignal): OtlpSettings {
  const prefix = signal === undefined ? 'OTEL_EXPORTER_OTLP_' : `OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_`;
  const read = (name: string): string | undefined => env[prefix + name]?.trim() || undefined;
  const choose = <T extends string>(name: string, allowed: readonly string[]): T | undefined => {
    const value = read(name);
    if (value === undefined || allowed.includes(value)) return value as T | undefined;
    throw invalid(`${prefix}${name} is '${value}', allowed are ${allowed.join(', ')}`);
  };
  return {
    endpoint: read('ENDPOINT'),
    protocol: choose<OtlpProtocol>('PROTOCOL', PROTOCOLS),
    headers: parseHeaders(read('HEADERS')),
    compression: choose<OtlpCompression>('COMPRESSION', COMPRESSIONS),
    timeoutMs: readTimeout(`${prefix}TIMEOUT`, read('TIMEOUT')),
    certificate: read('CERTIFICATE'),
    clientKey: read('CLIENT_KEY'),
    clientCertificate: read('CLIENT_CERTIFICATE'),
    insecure: read('INSECURE') === undefined ? undefined : read('INSECURE')?.toLowerCase() === 'true',
  };
}

/** As the SDK reads them. It is only loaded where there are any: most of what an idle agent has loaded would be its. */
function parseHeaders(text: string | undefined): Record<string, string> {
  if (text === undefined || text === '') return {};
  const load = createRequire(import.meta.url);
  const core = load('@opentelemetry/core') as { readonly parseKeyPairsIntoRecord: typeof parseKeyPairsIntoRecord };
  return core.parseKeyPairsIntoRecord(text);
}

function readTimeout(variable: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeoutMs = Number(text);
  if (Number.isFinite(timeoutMs) && timeoutMs > 0) return timeoutMs;
  throw invalid(`${variable} is '${text}', allowed are milliseconds above 0`);
}

function invalid(reason: string): AgentError {
  return new AgentError('OTLP_SETTINGS', { reason });
}

/** The scheme decides about TLS; `insecure` counts only where there is none (OTLP exporter specification, "Insecure"). */
function grpcAddress(endpoint: string, isInsecure: boolean): { url: string; isSecure: boolean } {
  if (endpoint.startsWith('unix:')) return { url: endpoint, isSecure: false };
  const hasScheme = /^https?:\/\//i.test(endpoint);
  const parsed = parseUrl(hasScheme ? endpoint : `${isInsecure ? 'http' : 'https'}://${endpoint}`, endpoint);
  const isSecure = parsed.protocol === 'https:';
  // URL drops the scheme's own port, and gRPC would then assume 443 for either.
  const port = parsed.port || (isSecure ? '443' : '80');
  return { url: `${parsed.hostname}:${port}`, isSecure };
}

function httpAddress(signal: OtlpSignal, base: string | undefined, own: string | undefined) {
  const endpoint = own ?? `${(base ?? 'http://localhost:4318').replace(/\/$/, '')}/v1/${signal}`;
  const parsed = parseUrl(endpoint, own ?? base ?? endpoint);
  return { url: parsed.href, isSecure: parsed.protocol === 'https:' };
}

function parseUrl(text: string, asWritten: string): URL {
  const parsed = URL.canParse(text) ? new URL(text) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw invalid(`'${asWritten}' is not an endpoint, expected http://host:port or https://host:port`);
  }
  return parsed;
}
