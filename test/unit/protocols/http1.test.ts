// The cases of test/fixtures/http1, each replayed whole, byte by byte, split at every point, with a gap at every point,
// and joined in the middle of the stream.
import assert from 'node:assert/strict';
import test from 'node:test';
import { http1 } from '../../../src/protocols/http1.js';
import { LOST, MessageHead, OK, TraceHeaders } from '../../../src/protocols/protocol.js';
import { abbreviate, type Http1Case, readCases } from '../../fuzz/http1-cases.js';
import { readAll } from '../../fuzz/http1-reference.js';
import { checkResync, checkSound, MessageLog, type Piece, replay, singleBytes } from '../../fuzz/http1-replay.js';

const cases = readCases('test/fixtures/http1');
const GAP_LENGTHS = [1, 2, 3, 7, 16, 61, 1000];
/** Long cases are cut at this many points instead of at every one. */
const MAX_CUTS = 400;

function cutPoints(length: number): number[] {
  const step = Math.max(1, Math.ceil(length / MAX_CUTS));
  const points: number[] = [];
  for (let at = 0; at <= length; at += step) points.push(at);
  return points;
}

function check(pieces: readonly Piece[], wanted: Http1Case, how: string): void {
  const run = replay(pieces, wanted);
  assert.deepEqual([...run.lines.map(abbreviate), run.state], wanted.expected, how);
  checkResync(run, wanted.isRequest);
}

function onlyBytes(wanted: Http1Case): Uint8Array | null {
  const [first] = wanted.pieces;
  return wanted.pieces.length === 1 && typeof first !== 'number' && first !== undefined ? first : null;
}

test('there are cases for requests, responses and gaps', () => {
  assert.ok(cases.length > 80, `${cases.length} cases`);
  assert.ok(cases.some(({ isRequest }) => isRequest) && cases.some(({ isRequest }) => !isRequest));
  assert.ok(cases.some(({ pieces }) => pieces.some(piece => typeof piece === 'number')));
});

for (const wanted of cases) {
  test(`${wanted.title}: whole, byte by byte, split anywhere`, () => {
    check(wanted.pieces, wanted, 'whole');
    const single = wanted.pieces.flatMap<Piece>(piece => (typeof piece === 'number' ? [piece] : singleBytes(piece)));
    check(single, wanted, 'byte by byte');
    for (const [index, piece] of wanted.pieces.entries()) {
      if (typeof piece === 'number') continue;
      for (const at of cutPoints(piece.length)) {
        const pieces = [...wanted.pieces];
        pieces.splice(index, 1, piece.subarray(0, at), piece.subarray(at));
        check(pieces, wanted, `split at ${at}`);
      }
    }
  });

  test(`${wanted.title}: bytes around the chunk make no difference`, () => {
    for (const poison of [0x00, 0x0d, 0x20, 0x30, 0x3a, 0x80]) {
      const run = replay(wanted.pieces, { ...wanted, poison });
      assert.deepEqual([...run.lines.map(abbreviate), run.state], wanted.expected);
    }
  });

  const bytes = onlyBytes(wanted);
  if (bytes === null) continue;
  if (!wanted.expected.some(line => line.endsWith('truncated'))) {
    test(`${wanted.title}: the reference reads the same`, () => {
      const { lines, state } = readAll(bytes, wanted);
      // finish() puts a parser between messages, the reference knows only where it stopped.
      assert.deepEqual([...lines.map(abbreviate), state], wanted.expected);
    });
  }

  test(`${wanted.title}: a gap anywhere invents nothing`, () => {
    const whole = replay([bytes], wanted);
    for (const at of cutPoints(bytes.length)) {
      for (const length of GAP_LENGTHS) {
        const missing = Math.min(length, bytes.length - at);
        if (missing === 0) continue;
        const pieces = [bytes.subarray(0, at), missing, bytes.subarray(at + missing)];
        const run = replay(pieces, { ...wanted, isFinished: true });
        checkSound(run.log, whole.log, [at]);
        checkResync(run, wanted.isRequest);
      }
    }
  });

  test(`${wanted.title}: joined in the middle`, () => {
    for (const at of cutPoints(bytes.length)) {
      const run = replay([bytes.subarray(at)], { ...wanted, start: at });
      checkResync(run, wanted.isRequest);
    }
  });
}

test('positions may be far from zero', () => {
  const start = 2 ** 45;
  const bytes = Buffer.from('POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nokGET /b HTTP/1.1\r\n\r\n', 'latin1');
  const run = replay(singleBytes(bytes), { isRequest: true, start });
  const second = run.log.messages[1];
  assert.deepEqual([second?.start, second?.end], [start + 41, start + bytes.length]);
});

test('bytes at another position than expected are lost, not glued together', () => {
  const log = new MessageLog([]);
  const parser = http1.createRequestParser(log);
  const bytes = Buffer.from('GET /a HTTP/1.1\r\n\r\n', 'latin1');
  assert.equal(parser.feed(bytes, 0, 8, 0), OK);
  assert.equal(parser.feed(bytes, 8, bytes.length, 9), LOST);
  assert.deepEqual(log.lines, ['start 0']);
});

test('expectedEnd is the end of a length-framed message', () => {
  const parser = http1.createRequestParser(new MessageLog([]));
  const bytes = Buffer.from('POST /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc', 'latin1');
  parser.feed(bytes, 0, bytes.length, 50);
  assert.equal(parser.expectedEnd, 50 + bytes.length - 3 + 1000);
  assert.equal(parser.isIdle, false);
  parser.skip(997, 50 + bytes.length);
  assert.equal(parser.isIdle, true);
  assert.equal(parser.expectedEnd, -1);
});

test('a head that is given up is announced as truncated and ended by finish', () => {
  const run = replay([Buffer.from('GET /a HTTP/1.1\r\nHost: a\r\nUser-Ag', 'latin1')], { isRequest: true });
  assert.equal(run.parser.giveUpHead(), OK);
  run.parser.finish(33);
  assert.deepEqual(run.lines, [
    'start 0',
    'head 0..33 GET "/a" HTTP/1.1 unknown host="a" truncated',
    'end 33 body=unknown',
  ]);
  assert.equal(run.parser.isIdle, true);
});

test('there is nothing to give up between messages, in a body, or before the method is known', () => {
  for (const text of ['', 'GET', 'POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nx']) {
    const run = replay([Buffer.from(text, 'latin1')], { isRequest: true });
    const before = run.lines.length;
    assert.equal(run.parser.giveUpHead(), LOST, text);
    assert.equal(run.lines.length, before);
  }
});

test('values are kept up to their caps, and cut between characters', () => {
  const text = `GET / HTTP/1.1\r\nHost: ${'h'.repeat(600)}\r\nUser-Agent: x${'é'.repeat(400)}\r\n\r\n`;
  const run = replay([Buffer.from(text, 'utf8')], { isRequest: true });
  assert.equal(run.log.messages[0]?.head?.host, 'h'.repeat(512));
  assert.equal(run.log.messages[0]?.head?.userAgent, `x${'é'.repeat(255)}`);
});

test('a line beyond what is kept is passed over, its memory is bounded and given back', () => {
  const line = Buffer.from(`GET / HTTP/1.1\r\nCookie: ${'c'.repeat(300_000)}\r\nHost: a\r\n\r\n`, 'latin1');
  const whole = replay([line], { isRequest: true });
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < line.length; at += 1000) pieces.push(line.subarray(at, at + 1000));
  const split = replay(pieces, { isRequest: true });
  assert.deepEqual(split.lines, whole.lines);
  assert.equal(whole.log.messages[0]?.head?.host, 'a');
  assert.ok(split.maxHeldBytes > 60_000 && split.maxHeldBytes <= 66_000);
});

test('a request line beyond what is kept is truncated, with an unknown version', () => {
  const line = Buffer.from(`GET /${'a'.repeat(70_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 'latin1');
  const whole = replay([line], { isRequest: true });
  const split = replay([line.subarray(0, 100), line.subarray(100, 66_000), line.subarray(66_000)], { isRequest: true });
  assert.deepEqual(split.lines, whole.lines);
  const head = whole.log.messages[0]?.head;
  assert.deepEqual([head?.target.length, head?.version, head?.isTruncated, head?.host], [8192, '', true, 'a']);
});

test('header lines without end hold no memory', () => {
  const run = replay([Buffer.from('GET / HTTP/1.1\r\n', 'latin1')], { isRequest: true });
  const line = Buffer.from(
    'X: y\r\nConnection: close, close, close, close\r\nTransfer-Encoding: a\r\n'.repeat(100),
    'latin1',
  );
  for (let round = 0; round < 200; round++) run.parser.feed(line, 0, line.length, 16 + round * line.length);
  assert.ok(run.parser.heldBytes < 1000, `${run.parser.heldBytes}`);
});

test('a head that is used again has nothing of the one before', () => {
  const head = new MessageHead();
  const values: Record<string, unknown> = { string: 'x', number: 4, boolean: true, object: new TraceHeaders() };
  for (const [key, value] of Object.entries(head)) Object.assign(head, { [key]: values[typeof value] });
  assert.notDeepEqual(head, new MessageHead());
  head.clear();
  assert.deepEqual(head, new MessageHead());
});

test('heads of two connections that come in pieces do not mix', () => {
  const heads: { readonly target: string; readonly host: string; readonly traced: boolean }[] = [];
  const parser = () =>
    http1.createRequestParser({
      onMessageStart: () => {},
      onHead: head => heads.push({ target: head.target, host: head.host, traced: head.traceHeaders !== null }),
      onMessageEnd: () => {},
      onOutcome: () => {},
      requestId: () => 0,
      requestMethod: () => '',
    });
  const pieces = [
    ['GET /a HTTP/1.1\r\nHost: a\r\nb3: 0\r\n', '\r\nGET /a2 HTTP/1.1\r\n\r\n'],
    ['GET /b HTTP/1.1\r\n', 'Host: b\r\n\r\nGET /b2 HTTP/1.1\r\n\r\n'],
  ].map(parts => parts.map(part => Buffer.from(part, 'latin1')));
  const parsers = [parser(), parser()];
  const positions = [0, 0];
  for (const at of [0, 1, 0, 1]) {
    const bytes = pieces[at]?.shift() as Buffer;
    assert.equal(parsers[at]?.feed(bytes, 0, bytes.length, positions[at] as number), OK);
    positions[at] = (positions[at] as number) + bytes.length;
  }
  assert.deepEqual(heads, [
    { target: '/a', host: 'a', traced: true },
    { target: '/a2', host: '', traced: false },
    { target: '/b', host: 'b', traced: false },
    { target: '/b2', host: '', traced: false },
  ]);
});
