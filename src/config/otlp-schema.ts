// The `otlp` section of the configuration: the same fields for both signals, for traces and for metrics, each with its
// standard variable (OpenTelemetry protocol exporter specification, "Configuration Options"). layers.ts resolves them.
import type { Fields, Section } from './field.js';

const FIELDS = {
  endpoint: { type: 'text', format: 'url', help: 'URL of the receiver.' },
  protocol: { type: 'choice', choices: ['grpc', 'http/protobuf', 'http/json'], help: 'Transport and encoding.' },
  headers: { type: 'textmap', isSecret: true, help: 'Headers (gRPC: metadata) added to each export.' },
  compression: { type: 'choice', choices: ['none', 'gzip'], help: 'Compression of the payload.' },
  timeout_ms: {
    type: 'integer',
    min: 1,
    max: 600000,
    help: 'Milliseconds that one export may take, retries included.',
  },
  certificate: {
    type: 'text',
    format: 'path',
    help: "PEM file of the authorities that sign the receiver's certificate.",
  },
  client_key: { type: 'text', format: 'path', help: 'PEM file of the private key for mutual TLS.' },
  client_certificate: { type: 'text', format: 'path', help: 'PEM file of the certificate for mutual TLS.' },
  insecure: { type: 'boolean', help: 'gRPC without TLS where the endpoint names no scheme.' },
} as const satisfies Fields;

type Infix = '' | 'TRACES_' | 'METRICS_';

function withVariables<const I extends Infix>(infix: I) {
  const env = <const N extends string>(name: N) => [`OTEL_EXPORTER_OTLP_${infix}${name}`] as const;
  return {
    endpoint: { ...FIELDS.endpoint, env: env('ENDPOINT') },
    protocol: { ...FIELDS.protocol, env: env('PROTOCOL') },
    headers: { ...FIELDS.headers, env: env('HEADERS') },
    compression: { ...FIELDS.compression, env: env('COMPRESSION') },
    timeout_ms: { ...FIELDS.timeout_ms, env: env('TIMEOUT') },
    certificate: { ...FIELDS.certificate, env: env('CERTIFICATE') },
    client_key: { ...FIELDS.client_key, env: env('CLIENT_KEY') },
    client_certificate: { ...FIELDS.client_certificate, env: env('CLIENT_CERTIFICATE') },
    insecure: { ...FIELDS.insecure, env: env('INSECURE') },
  } as const;
}

const COMMON = withVariables('');

const FURTHER_RECEIVER = {
  type: 'section',
  help: 'A further receiver, with nothing of the settings above.',
  required: ['endpoint'],
  fields: {
    ...FIELDS,
    protocol: { ...FIELDS.protocol, default: 'grpc' },
    signals: {
      type: 'words',
      choices: ['traces', 'metrics'],
      default: ['traces', 'metrics'],
      help: 'What it gets.',
    },
  },
} as const satisfies Section;

export const OTLP_SECTION = {
  type: 'section',
  help: 'Where OTLP goes. What stands here is for both signals; traces and metrics may differ below.',
  fields: {
    ...COMMON,
    endpoint: {
      ...COMMON.endpoint,
      help: 'URL of the receiver, e.g. http://localhost:4317. Over HTTP, /v1/traces and /v1/metrics are appended.',
    },
    protocol: { ...COMMON.protocol, default: 'grpc' },
    headers: { ...COMMON.headers, default: {} },
    compression: { ...COMMON.compression, default: 'none' },
    timeout_ms: { ...COMMON.timeout_ms, default: 10000 },
    insecure: { ...COMMON.insecure, default: false },
    also: {
      type: 'list',
      item: FURTHER_RECEIVER,
      max: 8,
      help: 'Further receivers of the same; none of them delays another.',
    },
    traces: {
      type: 'section',
      help: 'For traces only, the fields as above. An endpoint is used as it is written. [OTEL_EXPORTER_OTLP_TRACES_*]',
      fields: withVariables('TRACES_'),
    },
    metrics: {
      type: 'section',
      help: 'For metrics only, the fields as above. An endpoint is used as it is written. [OTEL_EXPORTER_OTLP_METRICS_*]',
      fields: withVariables('METRICS_'),
    },
  },
} as const satisfies Section;
