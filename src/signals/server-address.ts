// Whom a request was meant for: the authority of its target (absolute-form wins over Host, RFC 9112 section 3.2.2), else
// the Host header, else the socket's own address. A port that neither names is the socket's, which is a fact, and not
// the scheme's default, which would be a guess. A FastCGI request names the web server that sends it: to that, whom it is for
// is the socket's other end, and the name is part of the URL only. Results are interned: a known Host costs one Map lookup.
import { type Exchange, KIND_CLIENT } from '../exchanges/exchange.js';

/** Hosts come from the wire: beyond this many all are forgotten and parsed again. */
const MAX_HOSTS = 4096;
const MAX_HOST_LENGTH = 512;
const HTTP_PORT = 80;
const HTTPS_PORT = 443;
/** Added to the port in a key: http and https to the same host and port are two addresses. */
const SECURE = 65536;
const HTTPS_FORM = /^https:\/\//i;
const SLASH = 0x2f;

export interface ServerAddress {
  /** `server.address`; '' if nothing is known. An IPv6 address stands without brackets. */
  readonly address: string;
  /** `server.port`; 0 if unknown or without meaning (unix sockets). */
  readonly port: number;
  /** `url.scheme`. */
  readonly scheme: string;
  /** Scheme and authority for `url.full`, no credentials; '' if no host is known. */
  readonly origin: string;
}

export class ServerAddresses {
  /** Authority as sent, then the port that the socket gives. */
  readonly #byHost = new Map<string, Map<number, ServerAddress>>();
  #count = 0;

  /** The server side of an exchange, as the request names it. */
  resolve(exchange: Exchange): ServerAddress {
    const target = exchange.target;
    const isAbsolute = target.charCodeAt(0) !== SLASH && target.includes('://');
    const isClient = exchange.kind === KIND_CLIENT;
    const peer = exchange.peer;
    let host = isAbsolute ? targetAuthority(target) : exchange.method === 'CONNECT' ? target : '';
    let port: number;
    if (host !== '') {
      // The port of a URL that names none is its scheme's, not that of the proxy that the URL was sent to.
      port = HTTPS_FORM.test(target) ? HTTPS_PORT : HTTP_PORT;
    } else {
      const isNamed = exchange.host !== '' && !(isClient && exchange.isFastcgi);
      host = isNamed ? exchange.host : bracketed(isClient ? peer.remoteAddress : peer.localAddress);
      port = isClient ? peer.remotePort : peer.localPort;
    }
    return this.#find(host, port, targetScheme(exchange) === 'https');
  }

  /** Scheme and authority for `url.full`. */
  origin(exchange: Exchange, server: ServerAddress): string {
    if (!exchange.isFastcgi || exchange.host === '') return server.origin;
    const isSecure = targetScheme(exchange) === 'https';
    return this.#find(exchange.host, isSecure ? HTTPS_PORT : HTTP_PORT, isSecure).origin;
  }

  #find(host: string, port: number, isSecure: boolean): ServerAddress {
    const key = isSecure ? port + SECURE : port;
    return this.#byHost.get(host)?.get(key) ?? this.#intern(host, port, key);
  }

  #intern(host: string, defaultPort: number, key: number): ServerAddress {
    const address = parseServerAddress(host, defaultPort, key >= SECURE ? 'https' : 'http');
    if (host.length > MAX_HOST_LENGTH) return address;
    if (++this.#count > MAX_HOSTS) {
      this.#byHost.clear();
      this.#count = 1;
    }
    let byPort = this.#byHost.get(host);
    if (byPort === undefined) {
      byPort = new Map();
      this.#byHost.set(host, byPort);
    }
    byPort.set(key, address);
    return address;
  }
}

/** `url.scheme` of a request: what an absolute-form target says, else whether it went through TLS. */
export function targetScheme({ target, isSecure }: Pick<Exchange, 'target' | 'isSecure'>): string {
  if (target.charCodeAt(0) === SLASH || !target.includes('://')) return isSecure ? 'https' : 'http';
  return HTTPS_FORM.test(target) ? 'https' : 'http';
}

/** The authority of an absolute-form target, without credentials. */
function targetAuthority(target: string): string {
  const from = target.indexOf('://') + 3;
  let to = from;
  while (to < target.length && !isAuthorityEnd(target.charCodeAt(to))) to++;
  const authority = target.slice(from, to);
  return authority.slice(authority.lastIndexOf('@') + 1);
}

/** `/`, `?` or `#`. */
function isAuthorityEnd(code: number): boolean {
  return code === SLASH || code === 0x3f || code === 0x23;
}

/** `user:password` of an absolute-form target as it may be shown: nothing, `REDACTED@` or `REDACTED:REDACTED@`. */
export function redactedCredentials(target: string): string {
  const scheme = target.indexOf('://');
  if (scheme < 0) return '';
  let at = -1;
  let colon = false;
  for (let i = scheme + 3; i < target.length && !isAuthorityEnd(target.charCodeAt(i)); i++) {
    const code = target.charCodeAt(i);
    if (code === 0x40) at = i;
    else if (code === 0x3a && at < 0) colon = true;
  }
  if (at < 0) return '';
  return colon ? 'REDACTED:REDACTED@' : 'REDACTED@';
}

function parseServerAddress(host: string, defaultPort: number, scheme: string): ServerAddress {
  const close = host.startsWith('[') ? host.indexOf(']') : -1;
  const colon = close > 0 ? host.indexOf(':', close) : host.lastIndexOf(':');
  const digits = colon < 0 ? '' : host.slice(colon + 1);
  const namedPort = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  const port = namedPort > 0 && namedPort <= 65535 ? namedPort : defaultPort;
  const name = colon < 0 ? host : host.slice(0, colon);
  const address = close > 0 ? host.slice(1, close) : name;
  return { address, port, scheme, origin: originOf(scheme, name, port) };
}

function originOf(scheme: string, name: string, port: number): string {
  if (name === '') return '';
  // A socket path cannot stand in a URL; its percent-encoded form is a valid host (RFC 3986 section 3.2.2).
  const host = name.startsWith('/') ? encodeURIComponent(name) : name;
  const isDefault = port === 0 || port === (scheme === 'https' ? HTTPS_PORT : HTTP_PORT);
  return isDefault ? `${scheme}://${host}` : `${scheme}://${host}:${port}`;
}

/** An IPv6 address as it stands in an authority. */
function bracketed(address: string): string {
  return address.includes(':') && !address.startsWith('/') ? `[${address}]` : address;
}
