// The only place that touches the experimental export delegates of @opentelemetry/otlp-exporter-base and
// otlp-grpc-exporter-base (versions pinned in package.json). Requests that are encoded already go in, the raw response
// or the error comes out. The delegates bring the transports: TLS, compression, timeouts, keep-alive, and over HTTP
// repeating within the timeout (429, 502, 503, 504, connection errors).
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Agent, validateHeaderName, validateHeaderValue } from 'node:http';
import { createSecureContext } from 'node:tls';
import { createOtlpHttpExportDelegate, httpAgentFactoryFromOptions } from '@opentelemetry/otlp-exporter-base/node-http';
import {
  createEmptyMetadata,
  createInsecureCredentials,
  createOtlpGrpcExportDelegate,
  createSslCredentials,
} from '@opentelemetry/otlp-grpc-exporter-base';
import { AgentError, reasonOf } from '../errors.js';
import type { OtlpTarget } from './otlp-settings.js';

/** Of the exports in flight at once the queue allows far fewer. */
const CONCURRENCY_LIMIT = 30;

const GRPC_METHODS = {
  traces: ['TraceExportService', '/opentelemetry.proto.collector.trace.v1.TraceService/Export'],
  metrics: ['MetricsExportService', '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export'],
} as const;

/** How one attempt ended: with the receiver's answer (null: none was sent) or with whatever error the transport gave. */
export type DelegateOutcome =
  | { readonly isDelivered: true; readonly response: Uint8Array | null }
  | { readonly isDelivered: false; readonly error: unknown };

export interface Delegate {
  /** Never rejects. */
  send(request: Uint8Array): Promise<DelegateOutcome>;
  /** Waits for what is in flight, then closes. Never rejects. */
  close(): Promise<void>;
}

interface OfficialDelegate {
  export(request: Uint8Array, done: (result: { readonly code: number; readonly error?: Error }) => void): void;
  shutdown(): Promise<void>;
}

/** ExportResultCode.SUCCESS of @opentelemetry/core. */
const SUCCESS = 0;

/** Hands encoded bytes through, and catches the response that the delegate would only log. */
class PassThrough {
  #response: Uint8Array | null = null;

  serializeRequest(request: Uint8Array): Uint8Array {
    return request;
  }

  deserializeResponse(response: Uint8Array): Record<string, never> {
    this.#response = response;
    return {};
  }

  /** The delegate calls `deserializeResponse` and its callback in one go, so this is the response of that export. */
  takeResponse(): Uint8Array | null {
    const response = this.#response;
    this.#response = null;
    return response;
  }
}

function wrap(official: OfficialDelegate, serializer: PassThrough, release: () => void): Delegate {
  return {
    send: request =>
      new Promise(resolve => {
        try {
          official.export(request, result => {
            const response = serializer.takeResponse();
            if (result.code === SUCCESS) resolve({ isDelivered: true, response });
            else resolve({ isDelivered: false, error: result.error });
          });
        } catch (error) {
          resolve({ isDelivered: false, error });
        }
      }),
    close: () => official.shutdown().then(release, release),
  };
}

/** For the delegate's own metrics, which need a MeterProvider and get none. */
const METRICS_HELPER = { name: 'span', countItems: () => 1 } as const;

/** A delegate that calls Export over gRPC. Connects when it first sends. */
export function createGrpcDelegate(target: OtlpTarget, userAgent: string): Delegate {
  const metadata = createEmptyMetadata();
  for (const [name, value] of Object.entries(target.headers)) {
    usable(() => metadata.set(name, value));
  }
  const tls = readTls(target);
  const credentials = usable(() =>
    target.isSecure ? createSslCredentials(tls.ca, tls.key, tls.cert) : createInsecureCredentials(),
  );
  const serializer = new PassThrough();
  const [grpcName, grpcPath] = GRPC_METHODS[target.signal];
  const official = createOtlpGrpcExportDelegate(
    {
      url: target.url,
      metadata: () => metadata,
      credentials: () => credentials,
      compression: target.compression,
      timeoutMillis: target.timeoutMs,
      concurrencyLimit: CONCURRENCY_LIMIT,
      userAgent,
    },
    serializer,
    'otlp_grpc_exporter',
    METRICS_HELPER,
    undefined,
    grpcName,
    grpcPath,
  );
  return wrap(official, serializer, () => {});
}

/** A delegate that posts to an URL; `contentType` goes with the protocol. */
export function createHttpDelegate(target: OtlpTarget, userAgent: string, contentType: string): Delegate {
  for (const [name, value] of Object.entries(target.headers)) {
    usable(() => {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    });
  }
  const createAgent = httpAgentFactoryFromOptions({ keepAlive: true, ...readTls(target) });
  let agent: Agent | null = null;
  const serializer = new PassThrough();
  const official = createOtlpHttpExportDelegate(
    {
      url: target.url,
      headers: async () => ({ ...target.headers, 'Content-Type': contentType }),
      compression: target.compression,
      timeoutMillis: target.timeoutMs,
      concurrencyLimit: CONCURRENCY_LIMIT,
      agentFactory: async protocol => {
        agent = await createAgent(protocol);
        return agent;
      },
      userAgent,
    },
    serializer,
    'otlp_http_exporter',
    METRICS_HELPER,
    undefined,
  );
  // The delegate leaves idle connections open when it is shut down.
  return wrap(official, serializer, () => agent?.destroy());
}

interface TlsFiles {
  readonly ca?: Buffer;
  readonly key?: Buffer;
  readonly cert?: Buffer;
}

function readTls(target: OtlpTarget): TlsFiles {
  const read = (file: string): Buffer => usable(() => readFileSync(file));
  const files: TlsFiles = {
    ...(target.certificate === null ? {} : { ca: read(target.certificate) }),
    ...(target.clientKey === null ? {} : { key: read(target.clientKey) }),
    ...(target.clientCertificate === null ? {} : { cert: read(target.clientCertificate) }),
  };
  // Node ignores a CA file without certificates, and would then distrust everyone.
  if (files.ca !== undefined) usable(() => new X509Certificate(files.ca as Buffer));
  usable(() => createSecureContext(files));
  return files;
}

/** Runs a part of the set-up; what it throws is a matter of settings. */
function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new AgentError('OTLP_SETTINGS', { reason: reasonOf(error) }, { cause: error });
  }
}
