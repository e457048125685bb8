// The TLS side of an OTLP target: reads the PEM files once, while starting up. What cannot be used, there or in a header,
// throws AgentError OTLP_SETTINGS.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { AgentError, reasonOf } from '../errors.js';
import type { OtlpTarget } from './otlp-settings.js';

export interface TlsFiles {
  readonly ca?: Buffer;
  readonly key?: Buffer;
  readonly cert?: Buffer;
}

export function readTls(target: OtlpTarget): TlsFiles {
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
export function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new AgentError('OTLP_SETTINGS', { reason: reasonOf(error) }, { cause: error });
  }
}
