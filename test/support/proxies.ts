// Proxies as links of a chain (chain.ts), other than nginx. In: where it listens, what it calls. Out: its command.
// KEEP=0: a connection for each call. THREADS: how many, in place of as many as there are processors. CHECK: milliseconds
// between calls of its own, /c/tick.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fillTemplate } from './templates.js';

const SERVICES = path.resolve('test/services/chain');

export type ProxyKind = 'haproxy' | 'apache-proxy' | 'lighttpd' | 'varnish';

export const PROXIES: ReadonlySet<string> = new Set<ProxyKind>(['haproxy', 'apache-proxy', 'lighttpd', 'varnish']);

export function proxyCommand(
  kind: ProxyKind,
  directory: string,
  port: number,
  next: string,
  options: Readonly<Record<string, string>>,
): readonly [string, readonly string[]] {
  const { CHECK: check, THREADS: threads, MPM = 'event' } = options;
  const values = { DIR: directory, PORT: String(port) };
  const fill = (template: string, more: Readonly<Record<string, string>>): string => {
    const file = path.join(directory, template);
    writeFileSync(file, fillTemplate(path.join(SERVICES, template), { ...values, ...more }));
    return file;
  };
  switch (kind) {
    case 'haproxy': {
      const file = fill('haproxy.cfg', {
        NEXT: next,
        THREADS: threads === undefined ? '' : `nbthread ${threads}`,
        KEEP: options.KEEP === '0' ? 'option http-server-close' : '',
        CHECK: check === undefined ? '' : 'option httpchk GET /c/tick',
        SERVER: check === undefined ? '' : `check inter ${check}ms fall 1000`,
      });
      return ['haproxy', ['-f', file, '-db']];
    }
    case 'apache-proxy':
      return ['apache2', ['-f', fill('apache-proxy.conf', { NEXT: next, MPM }), '-DFOREGROUND']];
    case 'lighttpd':
      return ['lighttpd', ['-D', '-f', fill('lighttpd.conf', { NEXT: next.replace(/^.*:/, '') })]];
    case 'varnish': {
      const probe =
        check === undefined
          ? ''
          : `.probe = { .url = "/c/tick"; .interval = ${check}ms; .timeout = 60s; .initial = 8; .threshold = 1; }`;
      const file = fill('varnish.vcl', { NEXT: next.replace(/^.*:/, ''), CHECK: probe });
      const place = ['-n', path.join(directory, 'work'), '-a', `127.0.0.1:${port}`];
      // No jail: it could not enter a directory of root's.
      return ['varnishd', ['-F', ...place, '-f', file, '-s', 'malloc,16m', '-T', 'none', '-j', 'none']];
    }
  }
}
