// A connection through a proxy (CONNECT, RFC 9110 section 9.3.6), where the environment names one as gRPC's clients read it:
// grpc_proxy, https_proxy, http_proxy, the first that is set; no_grpc_proxy or else no_proxy lists whom not to ask it for:
// ends of names, addresses, ranges of addresses. In: where to. Out: a socket that leads there.
import http from 'node:http';
import { BlockList, isIP, isIPv4, type Socket } from 'node:net';

const VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;
const DEFAULT_PORT = 80;

/** null: there is none for `url` (host:port), or none that can be used. */
export function proxyFor(url: string, env: NodeJS.ProcessEnv): URL | null {
  const named = VARIABLES.map(name => env[name]).find(value => value !== undefined && value !== '');
  if (named === undefined || !URL.canParse(named)) return null;
  const proxy = new URL(named);
  if (proxy.protocol !== 'http:') return null;
  const host = new URL(`http://${url}`).hostname.replace(/^\[|\]$/g, '');
  const exempt = (env.no_grpc_proxy || env.no_proxy || '').split(',').map(entry => entry.trim());
  return exempt.some(entry => entry !== '' && covers(entry, host)) ? null : proxy;
}

function covers(entry: string, host: string): boolean {
  const [address = '', bits = ''] = entry.split('/');
  if (bits === '') return host.endsWith(entry);
  const type = isIPv4(address) ? 'ipv4' : 'ipv6';
  if (isIP(address) === 0 || isIP(host) !== isIP(address) || !/^\d+$/.test(bits)) return false;
  if (Number(bits) > (type === 'ipv4' ? 32 : 128)) return false;
  const range = new BlockList();
  range.addSubnet(address, Number(bits), type);
  return range.check(host, type);
}

/** Rejects if the proxy is not there, says no, or nothing within the timeout. */
export function openTunnel(proxy: URL, url: string, timeoutMs: number): Promise<Socket> {
  const { username, password } = proxy;
  const user = decodeURIComponent(password === '' ? username : `${username}:${password}`);
  return new Promise((resolve, reject) => {
    const request = http.request({
      method: 'CONNECT',
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? DEFAULT_PORT : Number(proxy.port),
      path: url,
      agent: false,
      timeout: timeoutMs,
      headers: {
        host: url,
        ...(user === '' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
    });
    request.on('connect', ({ statusCode }, socket, begun) => {
      socket.setTimeout(0);
      if (statusCode !== 200) {
        socket.destroy();
        reject(new Error(`the proxy ${proxy.host} answers ${statusCode ?? 0}`));
        return;
      }
      // A receiver speaks first.
      if (begun.length > 0) socket.unshift(begun);
      resolve(socket);
    });
    request.on('response', ({ statusCode }) => request.destroy(new Error(`the proxy answers ${statusCode ?? 0}`)));
    request.on('timeout', () => request.destroy(new Error(`the proxy ${proxy.host} says nothing`)));
    request.on('error', reject);
    request.end();
  });
}
