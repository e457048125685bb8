// Stories of order: requests that do not wait for the answers of those before them, and bodies: when they come, who waits for
// whom, by which calls and by whose hands they are moved.
import {
  AFTER as after,
  chunked,
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

const three = [
  talk(request('GET', '/p1'), response(200, 'first'), { responseBody: 5 }),
  talk(request('POST', '/p2', '', 'body'), response(201, 'second'), { requestBody: 4, responseBody: 6 }),
  talk(request('GET', '/p3'), `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('third')}`, {
    responseBody: 5,
  }),
] as const;
const many = Array.from({ length: 90 }, (_, index) =>
  talk(request('GET', `/many/${index}`, 'X-Fill: 0123456789\r\n'), response(200, `number ${index}`), {
    responseBody: `number ${index}`.length,
  }),
);
const longer = Array.from({ length: 180 }, (_, index) =>
  talk(request('GET', `/longer/${index}`, field(200)), response(200, filler(index)), { responseBody: index }),
);
const large = Array.from({ length: 6 }, (_, index) =>
  talk(request(index === 3 ? 'HEAD' : 'GET', `/large/${index}`), response(200, filler(index === 3 ? 0 : 2500)), {
    responseBody: index === 3 ? 0 : 2500,
  }),
);
const asked = three.map(one => one.request.length);
const answered = three.map(one => one.response.length);
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const [ask1 = 0, ask2 = 0, ask3 = 0] = asked;
const [answer1 = 0, answer2 = 0, answer3 = 0] = answered;

/** Requests that do not wait for the answers of those before them. */
export const PIPELINES: readonly Story[] = [
  story('pipelined: one write, one read, one write back', three, {
    client: [['send'], ['receive', sum(answered)]],
    server: [['receive', sum(asked)], ['send']],
  }),
  story('pipelined: a connection that begins with many, and has no more', many, {
    client: [['send'], ['receive', sum(many.map(one => one.response.length))], ['close']],
    server: [['receive', sum(many.map(one => one.request.length))], ['send'], ['receive_eof'], ['close']],
  }),
  story('pipelined: so many that they fill tens of kilobytes', longer, {
    client: [['send'], ['receive', sum(longer.map(one => one.response.length))], ['close']],
    server: [['receive', sum(longer.map(one => one.request.length)), 5000], ['send'], ['receive_eof'], ['close']],
  }),
  story('pipelined: a few, whose answers are large and come in one write', large, {
    client: [['send'], ['receive', sum(large.map(one => one.response.length))], ['close']],
    server: [['receive', sum(large.map(one => one.request.length))], ['send'], ['receive_eof'], ['close']],
  }),
  story('pipelined: one write, answers one by one', three, {
    client: [['send'], ['receive', answer1], ['receive', answer2], ['receive', answer3]],
    server: [
      ['receive', sum(asked)],
      ['sleep', 4],
      ['send', answer1],
      ['sleep', 4],
      ['send', answer2],
      ['sleep', 4],
      ['send', answer3],
    ],
  }),
  story('pipelined: read one by one from the queue', three, {
    client: [['send'], ['receive', answer1], ['receive', answer2], ['receive', answer3]],
    server: [
      ['receive', ask1, ask1],
      ['send', answer1],
      ['sleep', 5],
      ['receive', ask2, ask2],
      ['send', answer2],
      ['sleep', 5],
      ['receive', ask3, ask3],
      ['send', answer3],
    ],
  }),
  story('pipelined: requests come while answers are due', three, {
    client: [
      ['send', ask1],
      ['sleep', 6],
      ['send', ask2],
      ['sleep', 6],
      ['send', ask3],
      ['tell'],
      ['receive', sum(answered)],
    ],
    server: [
      ['wait'],
      ['receive', ask1, ask1],
      ['send', answer1],
      ['receive', ask2, ask2],
      ['receive', ask3, ask3],
      ['send', answer2 + answer3],
    ],
  }),
  story('pipelined: boundaries inside of calls', three, {
    client: [
      ['send_pieces', 0, 37],
      ['receive', sum(answered), 11],
    ],
    server: [
      ['receive', sum(asked), 23],
      ['send_pieces', 0, 17],
    ],
  }),
  story('pipelined: the next request while the answer is read', three, {
    client: [
      ['send', ask1],
      ['receive', 10, 10],
      ['send', ask2],
      ['receive', answer1 - 10],
      ['send', ask3],
      ['receive', answer2 + answer3],
    ],
    server: [
      ['receive', ask1],
      ['send', answer1],
      ['receive', ask2],
      ['send', answer2],
      ['receive', ask3],
      ['send', answer3],
    ],
  }),
];

const upload = talk(request('POST', '/upload', '', filler(50_000)), response(200, 'got it'), {
  requestBody: 50_000,
  responseBody: 6,
});
const peeked = talk(request('POST', '/peek', '', 'body'), response(200, 'x'), { requestBody: 4, responseBody: 1 });
const uploadHead = upload.request.length - 50_000;
/** A head that is moved inside the kernel has no content for us: that side's span has no status. */
const unseenBy = (side: 'client' | 'server') =>
  talk(download.request, download.response, {
    responseBody: 300_000,
    unread: side,
    isHeadUnread: true,
  });
const movedBy = (side: 'client' | 'server') =>
  talk(download.request, download.response, { responseBody: 300_000, unread: side });
const expecting = talk(request('PUT', '/expect', 'Expect: 100-continue\r\n', filler(2000)), response(200, 'ok'), {
  responseLead: 'HTTP/1.1 100 Continue\r\n\r\n',
  requestBody: 2000,
  responseBody: 2,
});
const expectingHead = expecting.request.length - 2000;
const streamed = talk(
  request('GET', '/events'),
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('event: 1', 'event: 2', 'event: 3')}`,
  { responseBody: 24 },
);

/** Bodies: when they come, who waits for whom, and by which calls. */
export const BODIES: readonly Story[] = [
  story('empty lines before requests and responses', [
    talk(request('GET', '/empty-lines'), response(200, 'ok'), { requestLead: '\r\n', responseBody: 2 }),
    talk(request('GET', '/more'), response(200, 'ok'), { requestLead: '\r\n\n\r\n', responseBody: 2 }),
  ]),
  story('Expect: 100-continue, answered', [expecting, after], {
    client: [
      ['send', expectingHead],
      ['receive', 25],
      ['send', 2000],
      ['receive', expecting.response.length],
      ['send'],
      ['receive', after.response.length],
    ],
    server: [
      ['receive', expectingHead],
      ['sleep', 3],
      ['send', 25],
      ['receive', 2000],
      ['send', expecting.response.length],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('the answer begins before the request has ended', [upload, after], {
    client: [
      ['send', uploadHead + 100],
      ['receive', upload.response.length],
      ['send', 49_900],
      ['send'],
      ['receive', after.response.length],
    ],
    server: [
      ['receive', uploadHead + 100],
      ['send', upload.response.length],
      ['receive', 49_900],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('a large upload, slowly taken', [upload, after], {
    server: [
      ['sleep', 10],
      ['receive', upload.request.length, 4000],
      ['send', upload.response.length],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('a large download by sendfile', [unseenBy('server'), after], {
    server: [
      ['receive', download.request.length],
      ['sendfile', download.response.length],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('a large download by splice', [unseenBy('server'), after], {
    server: [
      ['receive', download.request.length],
      ['splice', download.response.length],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('head by write, body by sendfile', [movedBy('server'), after], {
    server: [
      ['receive', download.request.length],
      ['send', download.response.length - 300_000],
      ['sendfile', 300_000],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('head by write, body by splice', [movedBy('server'), after], {
    server: [
      ['receive', download.request.length],
      ['send', download.response.length - 300_000],
      ['splice', 300_000],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('head by read, body spliced away', [movedBy('client'), after], {
    client: [
      ['send', download.request.length],
      ['receive', download.response.length - 300_000, download.response.length - 300_000],
      ['receive_splice', 300_000, 30_000],
      ['send'],
      ['receive', after.response.length],
    ],
  }),
  story('a large download in short writes', [download, after], {
    client: [
      ['send', download.request.length],
      ['sleep', 10],
      ['receive', download.response.length, 5000],
      ['send'],
      ['receive', after.response.length],
    ],
    server: [
      ['buffers', 8192, 0],
      ['receive', download.request.length],
      ['send_nonblocking', download.response.length],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('a download that is spliced away', [unseenBy('client'), after], {
    client: [
      ['send', download.request.length],
      ['receive_splice', download.response.length, 30_000],
      ['send'],
      ['receive', after.response.length],
    ],
  }),
  story('server-sent events', [streamed, after], {
    server: [
      ['receive', streamed.request.length],
      ['send', 60],
      ['sleep', 15],
      ['send', 15],
      ['sleep', 15],
      ['send', streamed.response.length - 75],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('peeked at first', [peeked, after], {
    client: [
      ['send', peeked.request.length],
      ['peek'],
      ['receive', peeked.response.length],
      ['send'],
      ['peek'],
      ['receive', after.response.length],
    ],
    server: [
      ['peek'],
      ['peek', 5],
      ['receive', peeked.request.length],
      ['send', peeked.response.length],
      ['peek'],
      ['receive', after.request.length],
      ['send'],
    ],
  }),
  story('read by another process than the one that answers', [after, after, after], {
    server: [after, after, after].flatMap((one): Step[] => [
      ['child:receive', one.request.length],
      ['sleep', 2],
      ['send', one.response.length],
    ]),
  }),
  story('answered by another process', [after, after], {
    server: [after, after].flatMap((one): Step[] => [
      ['receive', one.request.length],
      ['child:send', one.response.length],
    ]),
  }),
  story('waits in the accept queue', [after], { acceptDelayMs: 20 }),
  story('IPv6', [after, after], { family: 'ipv6' }),
  story('small writes with Nagle', [after, after], {
    client: [after, after].flatMap((one): Step[] => [
      ['nagle'],
      ['send_pieces', one.request.length, 30],
      ['receive', one.response.length],
    ]),
  }),
];
