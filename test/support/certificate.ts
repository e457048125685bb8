// A key and a certificate for localhost, made by openssl: self-signed, for test servers only.
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { runCommand, temporaryDirectory } from './processes.js';

export interface Certificate {
  /** Files in PEM form, readable by servers that drop their privileges. */
  readonly key: string;
  readonly file: string;
}

/** `keyKind`: one on an elliptic curve is made at once, also by an emulated machine. */
export async function makeCertificate(keyKind: 'rsa' | 'ec' = 'rsa'): Promise<Certificate> {
  const directory = temporaryDirectory('certificate');
  const key = path.join(directory, 'key.pem');
  const file = path.join(directory, 'certificate.pem');
  const kind = keyKind === 'rsa' ? ['rsa:2048'] : ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const child = await runCommand('openssl', [
    ...['req', '-x509', '-newkey', ...kind, '-nodes', '-days', '30', '-keyout', key, '-out', file],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
  ]);
  if (child.exitCode !== 0) throw new Error(`no certificate: ${child.describe()}`);
  chmodSync(directory, 0o755);
  chmodSync(key, 0o644);
  return { key, file };
}
