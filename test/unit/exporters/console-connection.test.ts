import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type ConnectionSummary,
  connectionToJson,
  renderConnection,
  renderConnectionHeader,
} from '../../../src/exporters/console-connection.js';
import { Style } from '../../../src/exporters/console-style.js';
import { widthOf } from '../../../src/exporters/console-text.js';

process.env.TZ = 'UTC';

const STYLE = new Style({ color: false, unicode: true, isTerminal: true, env: {} });
const S = 1e9;
const MS = 1e6;

const SERVED: ConnectionSummary = {
  openedUnixMs: 1_767_268_800_123,
  service: 'nginx',
  pid: 812,
  role: 'server',
  local: '10.0.0.1:80',
  remote: '10.0.0.9:51234',
  transport: 'tcp',
  createdNs: 0,
  connectNs: 0,
  establishedNs: 5 * S,
  acceptedNs: 5 * S + 100 * MS,
  firstReadNs: 5 * S + 200 * MS,
  lastReadNs: 5 * S + 400 * MS,
  firstWriteNs: 5 * S + 250 * MS,
  lastWriteNs: 5 * S + 500 * MS,
  finSentNs: 5 * S + 990 * MS,
  finReceivedNs: 5 * S + 980 * MS,
  closedNs: 6 * S,
  bytesIn: 8123,
  bytesOut: 1_532_100,
  readCalls: 17,
  writeCalls: 34,
  errorName: '',
  resetBy: '',
  resetNs: 0,
  retransmits: 0,
  rwndLimitedMs: 0,
  sndbufLimitedMs: 0,
  unsentBytes: 0,
  unackedBytes: 0,
  unseenIn: 0,
  unseenOut: 0,
  lostRecords: 0,
  protocol: 'http1',
  srttMicros: 43,
};
const REFUSED: ConnectionSummary = {
  ...SERVED,
  role: 'client',
  connectNs: 5 * S,
  establishedNs: 0,
  acceptedNs: 0,
  firstReadNs: 0,
  lastReadNs: 0,
  firstWriteNs: 0,
  lastWriteNs: 0,
  finSentNs: 0,
  finReceivedNs: 0,
  closedNs: 5 * S + 1 * MS,
  bytesIn: 0,
  bytesOut: 0,
  readCalls: 0,
  writeCalls: 0,
  errorName: 'ECONNREFUSED',
};

test('the life of a connection on a line', () => {
  const line = renderConnection(SERVED, STYLE, 170);
  assert.match(
    line,
    /^ {2}12:00:00\.123 nginx\[812\] +10\.0\.0\.1:80 ← 10\.0\.0\.9:51234 +17\/8\.1kB +34\/1\.5MB +1\.00s /,
  );
  const bar = /[░·█─]{20,}/.exec(line)?.[0] ?? '';
  const shareOf = (glyph: string): number => [...bar].filter(cell => cell === glyph).length / bar.length;
  assert.ok(Math.abs(shareOf('░') - 0.1) < 0.05 && Math.abs(shareOf('█') - 0.3) < 0.05, bar);
  assert.ok(Math.abs(shareOf('·') - 0.1) < 0.05 && Math.abs(shareOf('─') - 0.5) < 0.05, bar);
  assert.match(line, /closed by peer first/);
});

test('how it ended: who closed, who reset, what failed', () => {
  const ending = (changes: Partial<ConnectionSummary>): string =>
    renderConnection({ ...SERVED, ...changes }, STYLE, 200);
  assert.match(ending({ finReceivedNs: 5.995 * S }), /closed by us first/);
  assert.match(ending({ finSentNs: 0 }), /closed by peer,/);
  assert.match(ending({ finReceivedNs: 0 }), /closed by us,/);
  assert.match(ending({ resetBy: 'peer', errorName: 'ECONNRESET' }), /^✗ .*reset by peer/);
  assert.match(ending({ resetBy: 'us' }), /^✗ .*reset by us/);
  assert.match(renderConnection(REFUSED, STYLE, 200), /^✗ .*→ .* 1\.00ms .*╌+ {2}ECONNREFUSED/);
});

test('lines keep their width, and what the wire or a process says stays text', () => {
  const hostile = { ...SERVED, service: '\x1b[31mx\u202e'.repeat(9), remote: '/run/\x1b]0;a\x07.sock'.repeat(9) };
  for (let width = 70; width <= 220; width += 5) {
    for (const connection of [SERVED, REFUSED, hostile]) {
      const line = renderConnection(connection, STYLE, width);
      assert.ok(widthOf(line) <= width, `${widthOf(line)} on ${width}: ${line}`);
      assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
    }
    assert.ok(widthOf(renderConnectionHeader(STYLE, width)) <= width);
  }
});

test('times of which nothing is known leave no bar and no duration', () => {
  const unknown = { ...REFUSED, connectNs: 0, closedNs: 0, errorName: '' };
  assert.match(renderConnection(unknown, STYLE, 150), / – .*closed, no byte/);
});

test('JSON: seconds after the opening, null where a time is not known', () => {
  const parsed = JSON.parse(connectionToJson(SERVED));
  assert.equal(parsed.accepted_s, 0.1);
  assert.equal(parsed.closed_s, 1);
  assert.equal(parsed.opened, '2026-01-01T12:00:00.123Z');
  assert.equal(JSON.parse(connectionToJson(REFUSED)).first_read_s, null);
  assert.equal(JSON.parse(connectionToJson(REFUSED)).error, 'ECONNREFUSED');
});
