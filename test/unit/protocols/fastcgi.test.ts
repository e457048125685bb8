// FastCGI: what nginx, Apache and PHP-FPM have said is read as they meant it, however it is cut and whatever is missing of it;
// what the specification allows besides; what nobody should send.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { fastcgi } from '../../../src/protocols/fastcgi.js';
import { BROKEN, LOST, OK } from '../../../src/protocols/protocol.js';
import { begin, end, fcgi, pairs, read, recordedConversations, request, type } from '../../support/fastcgi.js';

const CONVERSATIONS = recordedConversations();
const GET = { REQUEST_METHOD: 'GET', REQUEST_URI: '/a?b=c' };
const HEADER = 'Content-Type: text/plain\r\n\r\n';

function conversation(title: string): (typeof CONVERSATIONS)[number] {
  const found = CONVERSATIONS.find(known => known.title === title);
  assert.ok(found !== undefined, title);
  return found;
}

test('a GET of nginx', () => {
  const { requests, responses } = conversation('nginx, GET, a connection for each request');
  const { sink } = read(true, [requests]);
  const [head] = sink.heads;
  assert.ok(head !== undefined);
  assert.equal(head.method, 'GET');
  assert.equal(head.target, '/tcp/shop/7?pw=secret');
  // This nginx sends a host without port, and the port by itself.
  assert.equal(head.host, '127.0.0.1:19090');
  assert.equal(head.userAgent, 'tester/1');
  assert.equal(head.traceparent, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  assert.equal(head.traceHeaders?.requestId, 'r-7');
  assert.equal(head.isSecure, false);
  assert.equal(head.isKept, false);
  assert.equal(head.isTruncated, false);
  assert.deepEqual(sink.lines, [
    'start 0',
    `head ${requests.length - 8} GET /tcp/shop/7?pw=secret`,
    `end ${requests.length} body=0`,
  ]);
  assert.ok(!JSON.stringify(sink.heads).includes('hidden') && !JSON.stringify(sink.heads).includes('c2VjcmV0'));
  const answer = read(false, [responses], [1]);
  assert.deepEqual(answer.sink.lines, ['start 0', 'head 72 200', `end ${responses.length} body=20`]);
});

test('a POST of nginx, with a status', () => {
  const { requests, responses } = conversation('nginx, POST, a connection for each request');
  const { sink } = read(true, [requests]);
  assert.equal(sink.heads[0]?.contentType, 'application/x-www-form-urlencoded');
  assert.equal(sink.heads[0]?.contentLength, 9);
  assert.equal(sink.lines.at(-1), `end ${requests.length} body=9`);
  assert.equal(read(false, [responses], [1]).sink.heads[0]?.status, 402);
});

test('a kept connection of nginx', () => {
  const { requests, responses } = conversation('nginx, three requests on a kept connection');
  const { sink } = read(true, [requests]);
  assert.deepEqual(
    sink.heads.map(({ method, target, isKept }) => `${method} ${target} ${isKept}`),
    ['GET /kept/a?size=3 true', 'POST /kept/b?size=3 true', 'GET /kept/c?status=500&size=3 true'],
  );
  const ends = sink.lines.filter(line => line.startsWith('end'));
  assert.deepEqual(
    ends.map(line => line.replace(/end \d+ /, '')),
    ['body=0', 'body=9', 'body=0'],
  );
  assert.equal(ends.at(-1), `end ${requests.length} body=0`);
  const answers = read(false, [responses], [1, 1, 1]).sink;
  assert.deepEqual(
    answers.heads.map(({ status }) => status),
    [200, 200, 500],
  );
  assert.equal(answers.lines.at(-1), `end ${responses.length} body=3`);
});

test('a POST of Apache', () => {
  const { requests } = conversation('Apache, POST');
  const { sink } = read(true, [requests]);
  const [head] = sink.heads;
  assert.equal(`${head?.method} ${head?.target}`, 'POST /tcp/pay?size=30&pw=secret');
  assert.equal(head?.host, '127.0.0.1:19092');
  assert.equal(sink.lines.at(-1), `end ${requests.length} body=9`);
});

test('recorded conversations, byte by byte and cut in two anywhere', () => {
  for (const { title, requests, responses } of CONVERSATIONS) {
    for (const [isRequest, bytes] of [
      [true, requests],
      [false, responses],
    ] as const) {
      const due = isRequest ? [] : [1, 1, 1];
      const whole = read(isRequest, [bytes], due).sink;
      const single = read(
        isRequest,
        [...bytes].map(byte => Uint8Array.of(byte)),
        due,
      );
      assert.deepEqual(single.sink.lines, whole.lines, title);
      assert.deepEqual(single.sink.heads, whole.heads, title);
      for (let cut = 1; cut < bytes.length; cut++) {
        const halves = read(isRequest, [bytes.subarray(0, cut), bytes.subarray(cut)], due);
        assert.deepEqual(halves.sink.lines, whole.lines, `${title}, cut at ${cut}`);
        assert.deepEqual(halves.sink.heads, whole.heads, `${title}, cut at ${cut}`);
      }
    }
  }
});

test('bytes that are missing anywhere: what is told is so, and its end is told', () => {
  for (const { title, requests, responses } of CONVERSATIONS) {
    for (const [isRequest, bytes] of [
      [true, requests],
      [false, responses],
    ] as const) {
      const due = isRequest ? [] : [1, 1, 1];
      const whole = read(isRequest, [bytes], due).sink;
      for (const missing of [1, 8, 60, 400]) {
        for (let at = 0; at + missing <= bytes.length; at++) {
          const where = `${title}, ${missing} bytes missing at ${at}`;
          const { sink, parser, results } = read(
            isRequest,
            [bytes.subarray(0, at), missing, bytes.subarray(at + missing)],
            due,
          );
          parser.finish(bytes.length);
          for (const { method, target, status, host, isTruncated } of sink.heads) {
            const known = whole.heads.find(head => head.method === method && head.status === status);
            assert.ok(known !== undefined || isTruncated, where);
            if (target !== '')
              assert.ok(
                whole.heads.some(head => head.target === target || isTruncated),
                where,
              );
            if (host !== '')
              assert.ok(
                whole.heads.some(head => head.host === host || isTruncated),
                where,
              );
          }
          const starts = sink.lines.filter(line => line.startsWith('start')).length;
          const ends = sink.lines.filter(line => line.startsWith('end')).length;
          assert.ok(ends <= starts, where);
          // Only a stream that has been given up may owe an end, or one that the gap has cut short.
          if (results.every(result => result === OK) && parser.isIdle) assert.equal(ends, starts, where);
        }
      }
    }
  }
});

test('the first bytes that each side sees of a connection', () => {
  const { requests, responses } = conversation('nginx, GET, a connection for each request');
  const looks = (bytes: Uint8Array): boolean => fastcgi.looksLikeRequest(bytes, 0, bytes.length);
  assert.ok(looks(requests));
  // PHP-FPM reads the header by itself; and behind a response, the empty record that ended the request before.
  assert.ok(looks(requests.subarray(0, 8)));
  assert.ok(looks(fcgi(type.STDIN)));
  assert.ok(looks(fcgi(type.GET_VALUES, pairs({ FCGI_MAX_CONNS: '' }), 0)));
  assert.ok(!looks(requests.subarray(0, 7)));
  assert.ok(!looks(responses));
  assert.ok(!looks(begin({ role: 2 })));
  assert.ok(!looks(begin({ flags: 2 })));
  assert.ok(!looks(begin({ id: 0 })));
  assert.ok(!looks(fcgi(type.BEGIN_REQUEST, 'too long for it')));
  assert.ok(!looks(Buffer.from('GET / HTTP/1.1\r\n')));
  assert.ok(!looks(Buffer.alloc(0)));
  assert.ok(fastcgi.looksLikeResponse(responses, 0, responses.length));
  assert.ok(!fastcgi.looksLikeResponse(requests, 0, requests.length));
});

test('parameters in records of any size', () => {
  const values = {
    ...GET,
    HTTP_COOKIE: 'x'.repeat(300),
    HTTP_USER_AGENT: 'a'.repeat(200),
    HTTP_HOST: 'shop',
    SERVER_PORT: '443',
    HTTPS: 'on',
  };
  const content = pairs(values);
  for (const size of [1, 2, 7, 100, 1000]) {
    const records = [begin()];
    for (let at = 0; at < content.length; at += size)
      records.push(fcgi(type.PARAMS, content.subarray(at, at + size), 1, at % 3));
    records.push(fcgi(type.PARAMS), fcgi(type.STDIN));
    const [head] = read(true, [Buffer.concat(records)]).sink.heads;
    assert.equal(head?.target, '/a?b=c');
    assert.equal(head?.userAgent, values.HTTP_USER_AGENT);
    assert.equal(head?.host, 'shop:443');
    assert.equal(head?.isSecure, true);
  }
});

test('what names a request where REQUEST_URI and the host do not', () => {
  const head = (values: Record<string, string>) => read(true, [request(values)]).sink.heads[0];
  assert.equal(head({ REQUEST_METHOD: 'GET', SCRIPT_NAME: '/x.php', PATH_INFO: '/7' })?.target, '/x.php/7');
  assert.equal(head({ ...GET, SERVER_NAME: 'shop', SERVER_PORT: '8080' })?.host, 'shop:8080');
  assert.equal(head({ ...GET, SERVER_NAME: '_', SERVER_PORT: '80' })?.host, '');
  assert.equal(head({ ...GET, HTTP_HOST: 'a:1', SERVER_NAME: 'b', SERVER_PORT: '2' })?.host, 'a:1');
  assert.equal(head({ ...GET, HTTP_HOST: '[::1]', SERVER_PORT: '81' })?.host, '[::1]:81');
  assert.equal(head({ ...GET, HTTPS: 'off' })?.isSecure, false);
  assert.equal(head({ ...GET, REQUEST_SCHEME: 'https' })?.isSecure, true);
  assert.equal(head({ ...GET, HTTP_B3: '0' })?.traceHeaders?.b3, '0');
  assert.equal(head({ ...GET, HTTP_X_AMZN_TRACE_ID: 'Root=1' })?.traceHeaders?.xray, 'Root=1');
});

test('parameters behind what is captured', () => {
  const bytes = request(
    { REQUEST_METHOD: 'POST', REQUEST_URI: '/a', CONTENT_LENGTH: '4', HTTP_COOKIE: 'c'.repeat(5000) },
    'body',
  );
  // The value that is cut is not wanted, and the record says where it ends.
  const whole = read(true, [bytes.subarray(0, 4096), bytes.length - 4096 - 40, bytes.subarray(bytes.length - 40)]);
  assert.equal(whole.sink.heads[0]?.isTruncated, true);
  assert.equal(whole.sink.lines.at(-1), `end ${bytes.length} body=4`);
  // Nothing more is captured: it is over when somebody says so, with the length that it promised.
  const open = read(true, [bytes.subarray(0, 4096), bytes.length - 4096]);
  assert.deepEqual(open.sink.lines, ['start 0', `head ${bytes.length} POST /a truncated`]);
  assert.ok(open.parser.isEndHidden);
  open.parser.finish(bytes.length);
  assert.equal(open.sink.lines.at(-1), `end ${bytes.length} body=4`);
  assert.ok(open.parser.isIdle);
  // And the next one is found again.
  const next = request(GET);
  assert.equal(open.parser.feed(next, 0, next.length, bytes.length), OK);
  assert.equal(open.sink.heads[1]?.target, '/a?b=c');
});

test('of a target that is cut, what was seen is told', () => {
  const bytes = request({ REQUEST_METHOD: 'GET', REQUEST_URI: `/${'p'.repeat(6000)}` });
  const { sink } = read(true, [bytes.subarray(0, 4096), bytes.length - 4096]);
  assert.match(sink.heads[0]?.target ?? '', /^\/p{3000,4090}$/);
  assert.equal(sink.heads[0]?.isTruncated, true);
  const [head] = read(true, [request({ REQUEST_METHOD: 'GET', REQUEST_URI: `/${'p'.repeat(20000)}` })]).sink.heads;
  assert.equal(head?.target.length, 8192);
  assert.equal(head?.isTruncated, true);
});

test('a request is over with its last byte, not with the empty record behind it', () => {
  const bytes = request({ ...GET, CONTENT_LENGTH: '' });
  const { sink } = read(true, [bytes.subarray(0, bytes.length - 8)]);
  assert.equal(sink.lines.at(-1), `end ${bytes.length} body=0`);
  const post = Buffer.concat([
    begin(),
    fcgi(type.PARAMS, pairs({ REQUEST_METHOD: 'POST', CONTENT_LENGTH: '6' })),
    fcgi(type.PARAMS),
    fcgi(type.STDIN, 'abc', 1, 5),
    fcgi(type.STDIN, 'def', 1, 2),
  ]);
  assert.equal(read(true, [post.subarray(0, -2)]).sink.lines.at(-1), `end ${post.length + 8} body=6`);
  // The rest may be missing, and is not the next request's.
  const run = read(true, [bytes.subarray(0, bytes.length - 8), 8, request(GET)]);
  assert.deepEqual(run.results, [OK, OK, OK]);
  assert.equal(run.sink.heads.length, 2);
});

test('a body without a length ends with its empty record', () => {
  const values = { REQUEST_METHOD: 'POST', HTTP_TRANSFER_ENCODING: 'chunked' };
  assert.match(read(true, [request(values, 'four')]).sink.lines.at(-1) ?? '', /body=4$/);
});

test('a body that is missing within its records, and beyond', () => {
  const values = { REQUEST_METHOD: 'POST', CONTENT_LENGTH: '3000' };
  const head = Buffer.concat([begin(), fcgi(type.PARAMS, pairs(values)), fcgi(type.PARAMS)]);
  const stdin = fcgi(type.STDIN, 'b'.repeat(1500), 1, 4);
  const bytes = Buffer.concat([head, stdin, stdin, fcgi(type.STDIN)]);
  const within = read(true, [
    Buffer.concat([head, stdin.subarray(0, 8)]),
    1504,
    stdin.subarray(0, 8),
    1504,
    fcgi(type.STDIN),
  ]);
  assert.equal(within.sink.lines.at(-1), `end ${bytes.length} body=3000`);
  const beyond = read(true, [Buffer.concat([head, stdin.subarray(0, 8)]), 1600]);
  assert.ok(beyond.parser.isEndHidden && !beyond.parser.isIdle);
  beyond.parser.finish(bytes.length);
  assert.equal(beyond.sink.lines.at(-1), `end ${bytes.length} body=3000`);
});

test('what is not a request of ours', () => {
  assert.deepEqual(read(true, [begin({ role: 2 })]).results, [BROKEN]);
  assert.deepEqual(read(true, [fcgi(type.PARAMS, pairs(GET))]).results, [BROKEN]);
  assert.deepEqual(read(true, [Buffer.concat([begin(), fcgi(type.STDOUT, 'x')])]).results, [BROKEN]);
  assert.deepEqual(read(true, [Buffer.from('GET / HTTP/1.1\r\n\r\n')]).results, [BROKEN]);
  assert.deepEqual(read(false, [Buffer.concat([fcgi(type.STDOUT, HEADER), fcgi(type.PARAMS)])], [1]).results, [BROKEN]);
});

test('requests under way at a time are not told apart, and are given up', () => {
  assert.deepEqual(read(true, [Buffer.concat([begin({ id: 1 }), begin({ id: 2 })])]).results, [BROKEN]);
  const crossed = Buffer.concat([fcgi(type.STDOUT, HEADER, 1), fcgi(type.STDOUT, HEADER, 2)]);
  assert.deepEqual(read(false, [crossed], [1, 2]).results, [BROKEN]);
  // Answers in another order than the requests.
  assert.deepEqual(read(false, [fcgi(type.STDOUT, HEADER, 2)], [1, 2]).results, [BROKEN]);
  // One after another they may have any ids.
  const both = Buffer.concat([request(GET, '', 1), request(GET, '', 2)]);
  assert.equal(read(true, [both]).sink.heads.length, 2);
  const answers = Buffer.concat([
    fcgi(type.STDOUT, HEADER, 1),
    end({ id: 1 }),
    fcgi(type.STDOUT, HEADER, 2),
    end({ id: 2 }),
  ]);
  assert.deepEqual(read(false, [answers], [1, 2]).sink.lines.filter(line => line.startsWith('end')).length, 2);
});

test('what is asked of the application itself is no request', () => {
  const asked = fcgi(type.GET_VALUES, pairs({ FCGI_MPXS_CONNS: '' }), 0);
  const { sink, results } = read(true, [Buffer.concat([asked, request(GET)])]);
  assert.deepEqual(results, [OK]);
  assert.equal(sink.heads.length, 1);
  assert.equal(sink.lines[0], `start ${asked.length}`);
  const said = fcgi(type.GET_VALUES_RESULT, pairs({ FCGI_MPXS_CONNS: '0' }), 0);
  assert.equal(read(false, [said]).sink.lines.length, 0);
});

test('a request that is aborted', () => {
  const aborted = Buffer.concat([request(GET), fcgi(type.ABORT_REQUEST)]);
  assert.equal(read(true, [aborted]).sink.lines.at(-1), 'outcome FCGI_ABORT_REQUEST 0');
  const early = Buffer.concat([begin(), fcgi(type.PARAMS, pairs(GET)), fcgi(type.ABORT_REQUEST)]);
  const { sink, parser } = read(true, [early]);
  assert.deepEqual(sink.lines.slice(1), [
    'outcome FCGI_ABORT_REQUEST 0',
    `head ${early.length} GET /a?b=c truncated`,
    `end ${early.length} body=0`,
  ]);
  assert.ok(parser.isIdle);
});

test('statuses', () => {
  const status = (header: string) =>
    read(false, [Buffer.concat([fcgi(type.STDOUT, `${header}\r\n\r\n`), end()])], [1]).sink.heads[0]?.status;
  assert.equal(status('Content-Type: a'), 200);
  assert.equal(status('Status: 404 Not Found'), 404);
  assert.equal(status('X: y\r\nstatus:503'), 503);
  assert.equal(status('Location: http://other/'), 302);
  assert.equal(status('Location: /a\r\nStatus: 201 Created'), 201);
  assert.equal(status('Status: none'), 200);
  assert.equal(status('HTTP/1.1 418 I am a teapot\r\nX: y'), 418);
});

test('a header over several records, with line feeds only, and what is written to STDERR', () => {
  const bytes = Buffer.concat([
    fcgi(type.STDERR, 'PHP Warning: x', 1, 2),
    fcgi(type.STDOUT, 'Status: 40'),
    fcgi(type.STDERR, 'and more'),
    fcgi(type.STDOUT, '4 Not Found\nX-A: b\n', 1, 7),
    fcgi(type.STDOUT, '\nbody'),
    fcgi(type.STDOUT, ' and body'),
    end(),
  ]);
  const { sink } = read(false, [bytes], [1]);
  assert.equal(sink.heads[0]?.status, 404);
  assert.equal(sink.lines[0], 'start 0');
  assert.equal(sink.lines.at(-1), `end ${bytes.length} body=13`);
});

test('what END_REQUEST says', () => {
  const lines = (...records: Buffer[]) => read(false, [Buffer.concat(records)], [1]).sink.lines.slice(1);
  assert.deepEqual(lines(end({ status: 2 })), ['outcome FCGI_OVERLOADED 0', 'end 16 body=0']);
  assert.deepEqual(lines(end({ status: 1 })), ['outcome FCGI_CANT_MPX_CONN 0', 'end 16 body=0']);
  assert.deepEqual(lines(end({ status: 3 })), ['outcome FCGI_UNKNOWN_ROLE 0', 'end 16 body=0']);
  assert.deepEqual(lines(end()), ['outcome empty_response 0', 'end 16 body=0']);
  assert.deepEqual(lines(fcgi(type.STDERR, 'No input file'), end())[0], 'outcome empty_response 0');
  assert.deepEqual(lines(fcgi(type.STDOUT, HEADER), end({ appStatus: 255 })).slice(1), [
    'outcome  255',
    'end 52 body=0',
  ]);
  assert.deepEqual(lines(fcgi(type.STDOUT, 'Status: 500\r\n'), end())[0], 'head 37 500');
});

test('a response behind what is captured', () => {
  const head = `Content-Length: 9000\r\n\r\n`;
  const first = fcgi(type.STDOUT, head + 'b'.repeat(8000));
  const bytes = Buffer.concat([first, fcgi(type.STDOUT, 'b'.repeat(1000)), end()]);
  // Within records.
  const within = read(false, [first.subarray(0, 4096), first.length - 4096, bytes.subarray(first.length)], [1]);
  assert.equal(within.sink.lines.at(-1), `end ${bytes.length} body=9000`);
  // Beyond: until somebody says so; then the length is the one that was promised.
  const beyond = read(false, [first.subarray(0, 4096), bytes.length - 4096], [1]);
  assert.ok(beyond.parser.isEndHidden);
  beyond.parser.finish(bytes.length);
  assert.equal(beyond.sink.lines.at(-1), `end ${bytes.length} body=9000`);
  // A header that goes on there has no status that is certain.
  const long = fcgi(type.STDOUT, `X: ${'y'.repeat(5000)}\r\n\r\n`);
  const [cut] = read(false, [long.subarray(0, 4096), long.length - 4096], [1]).sink.heads;
  assert.equal(cut?.isTruncated, true);
  assert.equal(cut?.status, 0);
});

test('a response is whole behind an empty STDOUT, and not before it', () => {
  const done = Buffer.concat([fcgi(type.STDOUT, `${HEADER}abc`), fcgi(type.STDOUT)]);
  const { sink, parser } = read(false, [done], [1]);
  assert.ok(!parser.isIdle);
  parser.finish(done.length);
  assert.equal(sink.lines.at(-1), `end ${done.length} body=3`);
  // What comes of it later belongs to nobody.
  const late = end();
  assert.equal(parser.feed(late, 0, late.length, done.length), OK);
  assert.ok(parser.isIdle);
  const cut = read(false, [done.subarray(0, -8)], [1]);
  cut.parser.finish(done.length - 8);
  assert.ok(!cut.parser.isIdle);
});

test('bytes that are missing between messages may have been one', () => {
  const { parser, results } = read(true, [request(GET), 100]);
  assert.deepEqual(results, [OK, LOST]);
  parser.resync();
  const bytes = request(GET);
  assert.equal(parser.feed(bytes, 0, bytes.length, 9000), OK);
  assert.ok(parser.isIdle);
});

test('whatever comes, nothing throws and what is held is bounded', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.integer({ min: 1, max: 3000 }),
    fc.constantFrom(...CONVERSATIONS.flatMap(({ requests, responses }) => [requests, responses])),
    fc
      .tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 2 }))
      .map(([kind, content, id]) => fcgi(kind, content, id, id * 3)),
    fc.constant(begin()),
    fc.constant(end()),
  );
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(piece, { maxLength: 12 }),
      fc.array(fc.integer({ min: 0, max: 2 })),
      (isRequest, pieces, due) => {
        const { parser, sink } = read(isRequest, pieces, due);
        assert.ok(parser.heldBytes <= 2 * 65536);
        parser.giveUpHead();
        parser.finish(1 << 20);
        parser.resync();
        assert.ok(parser.isIdle);
        for (const { target, host, userAgent } of sink.heads) {
          assert.ok(target.length <= 2 * 8192 && host.length <= 520 && userAgent.length <= 512);
        }
      },
    ),
    { numRuns: 1500 },
  );
});

test('recorded conversations with some bytes changed: nothing throws', () => {
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(
      fc.constantFrom(...CONVERSATIONS),
      fc.boolean(),
      fc.array(change, { maxLength: 4 }),
      fc.nat(),
      ({ requests, responses }, isRequest, changes, cut) => {
        const bytes = Buffer.from(isRequest ? requests : responses);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const half = cut % bytes.length;
        const { parser } = read(isRequest, [bytes.subarray(0, half), bytes.subarray(half)], [1, 1, 1]);
        parser.giveUpHead();
        parser.finish(bytes.length);
        assert.ok(parser.heldBytes <= 2 * 65536);
      },
    ),
    { numRuns: 1500 },
  );
});
