// Stories of plain turns: everything that RFC 9110 and 9112 allow in the text of a message, and the ways in which its bytes can be
// cut and moved. Each story says what was written; what the spans must say follows from it.
import { chunked, field, request, response, type Step, type Story, story, talk, toldBy } from './hostile-story.js';

/** One exchange after the other, whatever they look like on the wire. */
export const TEXTS: readonly Story[] = [
  story('three on one connection', [
    talk(request('GET', '/first'), response(200, 'one'), { responseBody: 3 }),
    talk(request('POST', '/second', '', 'x=1'), response(404, 'no such thing'), { requestBody: 3, responseBody: 13 }),
    talk(request('DELETE', '/third'), response(500, 'sorry'), { responseBody: 5 }),
  ]),
  story('chunked both ways, with extensions and trailers', [
    talk(
      request('PUT', '/chunked', 'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n') +
        '5;name=value;quoted="a;b"\r\nhello\r\n6\r\n world\r\n000;last\r\nX-Sum: 11\r\nX-More: yes\r\n\r\n',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x\r\n0123456789\r\n0\r\nX-Sum: 10\r\n\r\n`,
      { requestBody: 11, responseBody: 10 },
    ),
    talk(request('GET', '/after'), response(200, 'x'), { responseBody: 1 }),
  ]),
  story('no body in spite of a length: HEAD, 204, 304', [
    talk(request('HEAD', '/head'), 'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n'),
    talk(request('GET', '/none'), 'HTTP/1.1 204 No Content\r\n\r\n'),
    talk(request('GET', '/cached'), 'HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n'),
    talk(request('HEAD', '/chunked'), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'),
    talk(request('GET', '/after'), response(200, 'x'), { responseBody: 1 }),
  ]),
  story('obsolete line folding, bare LF', [
    talk(
      'GET /folded HTTP/1.1\r\nX-Folded: one\r\n two\r\n\tthree\r\nHost: shop.test:8080\r\n\r\n',
      'HTTP/1.1 200 OK\r\nX-Folded: a\r\n  b\r\nContent-Length: 2\r\n\r\nok',
      { responseBody: 2 },
    ),
    talk(
      'POST /bare HTTP/1.1\nHost: shop.test:8080\nContent-Length: 3\n\nabc',
      'HTTP/1.1 200 OK\nContent-Length: 2\n\nok',
      {
        requestBody: 3,
        responseBody: 2,
      },
    ),
  ]),
  story('length and coding at once: the coding wins', [
    talk(
      `POST /both HTTP/1.1\r\nHost: shop.test:8080\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('seven..')}`,
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 9999\r\n\r\n${chunked('zzz')}`,
      { requestBody: 7, responseBody: 3 },
    ),
    talk(request('GET', '/after'), response(200, 'x'), { responseBody: 1 }),
  ]),
  story('HTTP/1.0 that is kept alive', [
    talk(
      'GET /old HTTP/1.0\r\nHost: shop.test:8080\r\nConnection: keep-alive\r\n\r\n',
      'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold',
      { version: '1.0', responseBody: 3 },
    ),
    talk(
      'POST /old HTTP/1.0\r\nHost: shop.test:8080\r\nContent-Length: 2\r\n\r\nhi',
      'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n',
      { version: '1.0', requestBody: 2 },
    ),
  ]),
  story('methods of all kinds', [
    talk(request('PURGE', '/purge'), response(200)),
    talk(request('M-SEARCH', '/ssdp'), response(200)),
    talk(request('get', '/lower'), response(200)),
    talk(request('OPTIONS', '*'), response(204), { path: '*', urlFull: 'http://shop.test:8080' }),
    talk(request('QUERY', '/query', '', '{}'), response(200, 'r'), { requestBody: 2, responseBody: 1 }),
    talk(request("X!#$%&'*+.^_`|~9", '/token'), response(200)),
  ]),
  story('targets of all kinds', [
    talk(request('GET', '/caf%C3%A9/%2F%20?q=%00'), response(200)),
    talk(request('GET', '/café/日本語'), response(200)),
    talk(request('GET', 'http://other.test:81/absolute?x=1'), response(200), {
      path: '/absolute',
      host: 'other.test:81',
    }),
    talk(request('GET', '/a//b/../c;v=1,2?a=b?c#d'), response(200)),
    talk(request('GET', '/?only-query'), response(200), { path: '/' }),
  ]),
  story('interim responses', [
    talk(request('GET', '/hints'), response(200, 'page'), {
      responseLead: 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n',
      responseBody: 4,
    }),
    talk(request('POST', '/processing', '', 'x'), response(201), {
      responseLead: 'HTTP/1.1 102 Processing\r\n\r\n',
      requestBody: 1,
    }),
  ]),
  story('a head of 3 kB', [
    talk(request('GET', '/long', field(3000)), response(200, 'x', field(3000)), { responseBody: 1 }),
    talk(request('GET', '/after'), response(200, 'x'), { responseBody: 1 }),
  ]),
];

/** Bytes of a piece, so that there are at most `pieces` of at least `least` bytes. */
const share = (count: number, pieces: number, least: number) => Math.max(least, Math.ceil(count / pieces));

/** The ways in which bytes can be moved; each tells every text. */
export const MANNERS: readonly (readonly [string, (count: number) => Step, (count: number) => Step])[] = [
  ['byte by byte', count => ['send_pieces', count, 1], count => ['receive', count, 1]],
  ['written byte by byte, read at once', count => ['send_pieces', count, 1], count => ['receive_nonblocking', count]],
  ['read byte by byte', count => ['write', count], count => ['read', count, 1]],
  ['vectors', count => ['writev', count, share(count, 64, 7)], count => ['readv', count, 64]],
  ['messages', count => ['sendmsg', count, share(count, 64, 11)], count => ['recvmsg', count, 50]],
  [
    'many messages',
    count => ['sendmmsg', count, share(count, 8, 13)],
    count => ['recvmmsg', count, share(count, 8, 16)],
  ],
  ['another thread', count => ['thread:send', count], count => ['thread:receive', count]],
];

export const CUT_TEXTS: readonly Story[] = MANNERS.flatMap(([manner, send, receive]) =>
  TEXTS.map(told => toldBy(told, manner, send, receive)),
);
