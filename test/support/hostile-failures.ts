// Stories of ends: messages that end otherwise than by their own length, heads longer than what is captured, and everything
// that can go wrong on a connection. What went wrong must be on the span, with its cause.
import {
  AFTER as after,
  DOWNLOAD as download,
  field,
  filler,
  request,
  response,
  type Step,
  type Story,
  story,
  talk,
} from './hostile-story.js';

const untilClose = (text: string | Buffer, options = {}) => talk(request('GET', '/until-close'), text, options);
const long = (fieldBytes: number, method = 'DELETE') =>
  talk(
    `${method} /long HTTP/1.1\r\nHost: shop.test:8080\r\n${field(fieldBytes)}\r\n`,
    `HTTP/1.1 200 OK\r\nContent-Length: 4\r\n${field(fieldBytes)}\r\nbody`,
    method === 'GET'
      ? { responseBody: 4 }
      : { requestBody: -1, responseBody: 4, isRequestTruncated: true, isResponseTruncated: true },
  );
const scattered = talk(request('GET', '/scattered', field(250)), response(200), {
  requestBody: -1,
  isRequestTruncated: true,
  isRequestUnread: true,
});
const tunnel = talk(
  `CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n\r\n${filler(20_000)}`,
  `HTTP/1.1 200 Go\r\n\r\n${filler(50)}`,
  {
    path: '',
    urlFull: '//far.test:443',
    host: 'far.test:443',
    responseBody: -1,
    tunnelBytes: 20_000,
    endsWithClose: true,
  },
);
const tunnelHead = tunnel.request.length - 20_000;
const tunnelOpened = tunnel.response.length - 50;

/** Messages that end otherwise than by their own length, and heads longer than what is captured. */
export const ENDINGS: readonly Story[] = [
  story(
    'an answer that lasts until the close',
    [untilClose('HTTP/1.1 200 OK\r\n\r\nall of it', { responseBody: 9, endsWithClose: true })],
    {
      client: [['send'], ['receive', 28], ['receive_eof']],
      server: [
        ['receive', untilClose('').request.length],
        ['send', 22],
        ['sleep', 5],
        ['send'],
        ['sleep', 5],
        ['close'],
      ],
    },
  ),
  story(
    'an HTTP/1.0 answer until the close, the request half closed',
    [
      talk('GET /old HTTP/1.0\r\nHost: shop.test:8080\r\n\r\n', 'HTTP/1.0 200 OK\r\n\r\nold', {
        version: '1.0',
        responseBody: 3,
        endsWithClose: true,
      }),
    ],
    {
      client: [['send'], ['shutdown'], ['receive', 22], ['receive_eof']],
      server: [['receive', 45], ['receive_eof'], ['send'], ['close']],
    },
  ),
  story('half closed by the client, then answered', [after], {
    client: [['send'], ['shutdown'], ['receive', after.response.length], ['receive_eof']],
    server: [['receive', after.request.length], ['receive_eof'], ['sleep', 5], ['send'], ['close']],
  }),
  story('heads of 6 kB', [long(6000), after]),
  story('heads of 20 kB', [long(20_000), after]),
  story('a head of 6 kB where more requests may follow it: it is seen to its end', [long(6000, 'GET'), after]),
  story('a head in more messages of one call than are looked at', [scattered, after], {
    client: [
      ['sendmmsg', scattered.request.length, 13],
      ['receive', scattered.response.length],
      ['send'],
      ['receive', after.response.length],
    ],
    server: [
      ['sleep', 4],
      ['recvmmsg', scattered.request.length, 13],
      ['send', scattered.response.length],
      ['receive', after.request.length],
      ['send'],
    ],
    areCallsJudged: false,
    isJoined: true,
  }),
  story('a tunnel', [tunnel], {
    client: [['send', tunnelHead], ['receive', tunnelOpened], ['send'], ['receive', 50], ['receive_eof'], ['close']],
    server: [
      ['receive', tunnelHead],
      ['send', tunnelOpened],
      ['receive', 20_000],
      ['send', 50],
      ['sleep', 3],
      ['close'],
    ],
    areCallsJudged: false,
  }),
  story('a refused upgrade and a refused tunnel', [
    talk(request('GET', '/socket', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'), response(426, 'no'), {
      responseBody: 2,
    }),
    talk('CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n\r\n', response(403, 'no'), {
      path: '',
      urlFull: '//far.test:443',
      host: 'far.test:443',
      responseBody: 2,
    }),
    after,
  ]),
];

const CLOSED = { clientError: 'connection_closed', serverError: 'connection_closed' } as const;
const plain = request('GET', '/fails');
const one = (steps: readonly Step[]): Step[] => [['receive', plain.length], ...steps];
const cutBody = `HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${filler(100)}`;

/** What went wrong is on the span, with its cause. */
export const FAILURES: readonly Story[] = [
  story('closed without an answer', [talk(plain, '', CLOSED)], {
    client: [['send'], ['receive_eof'], ['sleep', 5], ['close']],
    server: one([['sleep', 10], ['close']]),
  }),
  story('reset instead of an answer', [talk(plain, '', { clientError: 'ECONNRESET', serverError: 'ECONNABORTED' })], {
    client: [['send'], ['receive_eof'], ['sleep', 5]],
    server: one([['sleep', 10], ['reset']]),
  }),
  story(
    'the client leaves before the answer',
    [talk(plain, response(200, 'late'), { responseBody: 4, clientError: 'connection_closed' })],
    {
      client: [['send'], ['sleep', 5], ['close'], ['tell']],
      server: one([['wait'], ['send']]),
    },
  ),
  story(
    'the client resets while it waits',
    [talk(plain, '', { clientError: 'ECONNABORTED', serverError: 'ECONNRESET' })],
    {
      client: [['send'], ['sleep', 5], ['reset']],
      server: one([['receive_eof']]),
    },
  ),
  story('closed in the middle of the body', [talk(plain, cutBody, { ...CLOSED, responseBody: -1 })], {
    client: [['send'], ['receive', cutBody.length], ['receive_eof'], ['close']],
    server: one([['send'], ['sleep', 5], ['close']]),
  }),
  story(
    'closed in the middle of a chunk',
    [
      talk(plain, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe', {
        ...CLOSED,
        responseBody: -1,
      }),
    ],
    {
      client: [['send'], ['receive', 61], ['receive_eof'], ['close']],
      server: one([['send'], ['sleep', 5], ['close']]),
    },
  ),
  story(
    'reset in the middle of the body',
    [talk(plain, cutBody, { clientError: 'ECONNRESET', serverError: 'ECONNABORTED', responseBody: -1 })],
    {
      client: [['send'], ['receive', cutBody.length], ['tell'], ['receive_eof']],
      server: one([['send'], ['wait'], ['sleep', 5], ['reset']]),
    },
  ),
  story(
    'closed in the middle of the head',
    [talk(plain, 'HTTP/1.1 200 OK\r\nContent-Le', { ...CLOSED, status: 0, responseBody: -1 })],
    {
      client: [['send'], ['receive', 27], ['receive_eof'], ['close']],
      server: one([['send'], ['sleep', 5], ['close']]),
    },
  ),
  story(
    'the request never ends',
    [
      talk('POST /half HTTP/1.1\r\nHost: shop.test:8080\r\nContent-Length: 100\r\n\r\nonly this', '', {
        ...CLOSED,
        requestBody: -1,
      }),
    ],
    {
      client: [['send'], ['sleep', 5], ['close']],
      server: [['receive', 75], ['receive_eof'], ['close']],
    },
  ),
  story(
    "the request's head never ends",
    [
      talk('GET /half HTTP/1.1\r\nHost: shop.test:8080\r\nX-Fil', '', {
        ...CLOSED,
        requestBody: -1,
        isRequestTruncated: true,
      }),
    ],
    {
      client: [['send'], ['sleep', 5], ['close']],
      server: [['receive', 48], ['receive_eof'], ['close']],
    },
  ),
  story(
    'the client leaves in the middle of a download',
    [
      talk(download.request, download.response, {
        clientError: 'ECONNABORTED',
        serverError: 'ECONNRESET',
        responseBody: -1,
      }),
    ],
    {
      client: [['send'], ['receive', 1000, 1000], ['close'], ['tell']],
      server: [
        ['buffers', 8192, 0],
        ['receive', download.request.length],
        ['send', 20_000],
        ['wait'],
        ['sleep', 5],
        ['send'],
      ],
    },
  ),
  story('the request is never read', [talk(plain, '', { clientError: 'ECONNRESET', sides: ['client'] })], {
    client: [['send'], ['receive_eof'], ['sleep', 5]],
    server: [['sleep', 20], ['close']],
  }),
];
