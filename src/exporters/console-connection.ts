// `underspan trace --connections`: the life of a socket on one line. Comes in: what the kernel knew of a connection when
// it was closed. Goes out: a line with a bar of its life (connecting, waiting for accept, before the first byte, between
// first and last byte, idle until closed) and the facts beside it, or a JSON object. Nothing is kept.
import { paintPhases, spreadPhases } from './console-bar.js';
import { toSafeJson } from './console-json.js';
import type { PhaseSpan } from './console-span.js';
import type { Style } from './console-style.js';
import {
  formatBytes,
  formatDuration,
  formatTime,
  padEnd,
  padStart,
  toPrintable,
  truncateEnd,
  truncateMiddle,
  widthOf,
} from './console-text.js';

/** A connection that has ended, or a connect that failed. Times: boot-clock nanoseconds, 0 if not known. */
export interface ConnectionSummary {
  /** Wall-clock milliseconds since the Unix epoch at which the connection was opened, or first seen. */
  readonly openedUnixMs: number;
  /** `service.name`. */
  readonly service: string;
  readonly pid: number;
  readonly role: 'client' | 'server' | 'unknown';
  /** `address:port`, or the path of a unix socket; '' if unnamed. */
  readonly local: string;
  readonly remote: string;
  readonly transport: 'tcp' | 'unix';
  /** socket(2) returned; clients only. */
  readonly createdNs: number;
  readonly connectNs: number;
  readonly establishedNs: number;
  readonly acceptedNs: number;
  readonly firstReadNs: number;
  readonly lastReadNs: number;
  readonly firstWriteNs: number;
  readonly lastWriteNs: number;
  readonly finSentNs: number;
  readonly finReceivedNs: number;
  readonly closedNs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly readCalls: number;
  readonly writeCalls: number;
  /** errno name ('ECONNREFUSED'), '' if none. */
  readonly errorName: string;
  readonly resetBy: '' | 'us' | 'peer';
  /** When the first reset was sent or received. */
  readonly resetNs: number;
  readonly retransmits: number;
  readonly rwndLimitedMs: number;
  readonly sndbufLimitedMs: number;
  /** Bytes written that were never sent; sent that were never acknowledged. */
  readonly unsentBytes: number;
  readonly unackedBytes: number;
  /** Bytes that went through no call that was seen (io_uring). */
  readonly unseenIn: number;
  readonly unseenOut: number;
  /** Records of it that were lost because the kernel's ring was full. */
  readonly lostRecords: number;
  /** What it spoke: `http1`; `unknown`, `not parsed` (given up: only bytes and times); '' if no byte told. */
  readonly protocol: string;
  /** Smoothed round trip time, microseconds. */
  readonly srttMicros: number;
}

/** A waiting time is told when it is this long, nanoseconds. */
const NOTABLE_NS = 1e6;

/** Columns of the byte counts, of the duration, and of an ending that says something. */
const BYTES_WIDTH = 10;
const LIFE_WIDTH = 7;
const ENDING_MIN = 24;

interface Columns {
  readonly time: number;
  readonly who: number;
  readonly ends: number;
  readonly bar: number;
  readonly ending: number;
}

function columnsFor(width: number): Columns {
  const columns = Math.max(70, Math.min(400, Math.floor(width)));
  const time = columns >= 150 ? 12 : columns >= 90 ? 8 : 0;
  const who = columns >= 150 ? 22 : columns >= 110 ? 18 : 14;
  const ends = columns >= 150 ? 40 : columns >= 110 ? 26 : 20;
  const fixed = 2 + (time > 0 ? time + 1 : 0) + who + 1 + ends + 1 + 2 * (BYTES_WIDTH + 1) + LIFE_WIDTH + 1;
  const bar = Math.max(0, Math.min(32, columns - fixed - ENDING_MIN - 2));
  const isBar = bar >= 6;
  return { time, who, ends, bar: isBar ? bar : 0, ending: columns - fixed - (isBar ? bar + 2 : 0) - 1 };
}

/** What the columns of `renderConnection` are. */
export function renderConnectionHeader(style: Style, width: number): string {
  const columns = columnsFor(width);
  const parts = [
    ' ',
    ...(columns.time > 0 ? [padEnd('opened', columns.time)] : []),
    padEnd('process', columns.who),
    padEnd('this end, the other', columns.ends),
    padStart('reads/in', BYTES_WIDTH),
    padStart('writes/out', BYTES_WIDTH),
    padStart('life', LIFE_WIDTH),
    ...(columns.bar > 0 ? [` ${padEnd('', columns.bar)}`] : []),
    ' ending',
  ];
  return style.paint(truncateEnd(parts.join(' ').trimEnd(), width, ''), 'dim');
}

/** One line for a connection. */
export function renderConnection(connection: ConnectionSummary, style: Style, width: number): string {
  const columns = columnsFor(width);
  const { glyphs } = style;
  const isBad = connection.errorName !== '' || connection.resetBy !== '';
  const lifeNs = lengthOf(connection);
  const { readCalls, writeCalls, bytesIn, bytesOut } = connection;
  const parts = [
    isBad ? style.paint(glyphs.failed, 'alarm') : ' ',
    ...(columns.time > 0 ? [style.paint(formatTime(connection.openedUnixMs).slice(0, columns.time), 'dim')] : []),
    renderProcess(connection, style, columns.who),
    renderEnds(connection, style, columns.ends),
    padStart(`${readCalls}/${formatBytes(bytesIn)}`, BYTES_WIDTH),
    padStart(`${writeCalls}/${formatBytes(bytesOut)}`, BYTES_WIDTH),
    style.paint(padStart(lifeNs > 0 ? formatDuration(lifeNs, style.isUnicode) : glyphs.absent, LIFE_WIDTH), 'bold'),
  ];
  if (columns.bar > 0) parts.push(` ${paintPhases(spreadPhases(lifeOf(connection), columns.bar), style)}`);
  parts.push(` ${renderEnding(connection, style, columns.ending)}`);
  return parts.join(' ').trimEnd();
}

/** How it ended, and as many further facts as fit. */
function renderEnding(connection: ConnectionSummary, style: Style, room: number): string {
  const isBad = connection.errorName !== '' || connection.resetBy !== '';
  const ending = truncateEnd(toPrintable(endingOf(connection), style.isUnicode), room, style.glyphs.ellipsis);
  let facts = '';
  for (const fact of factsOf(connection, style)) {
    const longer = `${facts}, ${fact}`;
    if (widthOf(ending) + widthOf(longer) <= room) facts = longer;
  }
  return style.paint(ending, isBad ? 'alarm' : 'plain') + style.paint(facts, 'dim');
}

/** The same as a line of JSON; times are seconds after the opening, absent if not known. */
export function connectionToJson(connection: ConnectionSummary): string {
  const origin = originOf(connection);
  const after = (ns: number): number | null => (ns > 0 && origin > 0 ? (ns - origin) / 1e9 : null);
  return toSafeJson({
    opened: new Date(connection.openedUnixMs).toISOString(),
    service: connection.service,
    pid: connection.pid,
    role: connection.role,
    local: connection.local,
    remote: connection.remote,
    transport: connection.transport,
    socket_s: after(connection.createdNs),
    connect_s: after(connection.connectNs),
    established_s: after(connection.establishedNs),
    accepted_s: after(connection.acceptedNs),
    first_read_s: after(connection.firstReadNs),
    last_read_s: after(connection.lastReadNs),
    first_write_s: after(connection.firstWriteNs),
    last_write_s: after(connection.lastWriteNs),
    fin_sent_s: after(connection.finSentNs),
    fin_received_s: after(connection.finReceivedNs),
    reset_s: after(connection.resetNs),
    closed_s: after(connection.closedNs),
    bytes_in: connection.bytesIn,
    bytes_out: connection.bytesOut,
    read_calls: connection.readCalls,
    write_calls: connection.writeCalls,
    error: connection.errorName,
    reset_by: connection.resetBy,
    protocol: connection.protocol,
    lost_records: connection.lostRecords,
    unseen_in: connection.unseenIn,
    unseen_out: connection.unseenOut,
    retransmits: connection.retransmits,
    rwnd_limited_s: connection.rwndLimitedMs / 1e3,
    sndbuf_limited_s: connection.sndbufLimitedMs / 1e3,
    unsent: connection.unsentBytes,
    unacked: connection.unackedBytes,
    srtt_s: connection.srttMicros / 1e6,
  });
}

function renderProcess(connection: ConnectionSummary, style: Style, width: number): string {
  const pid = `[${connection.pid}]`;
  const service = toPrintable(connection.service, style.isUnicode) || '?';
  const name = truncateEnd(service, Math.max(3, width - pid.length), style.glyphs.ellipsis);
  return style.paint(name, 'cyan') + style.paint(padEnd(pid, width - widthOf(name)), 'dim');
}

function renderEnds(connection: ConnectionSummary, style: Style, width: number): string {
  const { glyphs } = style;
  const arrow = { client: glyphs.sent, server: glyphs.received, unknown: glyphs.absent }[connection.role];
  const room = width - arrow.length - 2;
  const local = toPrintable(connection.local, style.isUnicode) || '?';
  const remote = toPrintable(connection.remote, style.isUnicode) || '?';
  // Of our own end only the port tells much; the other end gets the room that is left.
  const own = widthOf(local) + widthOf(remote) <= room ? local : local.slice(Math.max(0, local.lastIndexOf(':')));
  const shownOwn = truncateMiddle(own, Math.floor(room / 2), glyphs.ellipsis);
  const shownRemote = truncateMiddle(remote, room - widthOf(shownOwn), glyphs.ellipsis);
  return padEnd(`${shownOwn} ${arrow} ${shownRemote}`, width);
}

/** The first instant that is known. */
function originOf(connection: ConnectionSummary): number {
  const { createdNs, connectNs, establishedNs, acceptedNs, firstReadNs, firstWriteNs, closedNs } = connection;
  const known = [createdNs, connectNs, establishedNs, acceptedNs, firstReadNs, firstWriteNs, closedNs].filter(
    ns => ns > 0,
  );
  return known.length > 0 ? Math.min(...known) : 0;
}

function lengthOf(connection: ConnectionSummary): number {
  const origin = originOf(connection);
  return origin > 0 ? Math.max(0, connection.closedNs - origin) : 0;
}

/** The life as phases: connect, waiting for accept, quiet, bytes, idle. Instants that are not known are passed over. */
function lifeOf(connection: ConnectionSummary): PhaseSpan[] {
  const { establishedNs, acceptedNs, firstReadNs, firstWriteNs, lastReadNs, lastWriteNs, closedNs } = connection;
  const firstByteNs = Math.min(firstReadNs || Number.POSITIVE_INFINITY, firstWriteNs || Number.POSITIVE_INFINITY);
  const marks: readonly (readonly [PhaseSpan['phase'], number])[] = [
    ['other', connection.createdNs > 0 ? connection.connectNs : 0],
    ['connect', connection.connectNs > 0 ? establishedNs || closedNs : 0],
    ['queue', acceptedNs],
    ['other', Number.isFinite(firstByteNs) ? firstByteNs : 0],
    ['work', Math.max(lastReadNs, lastWriteNs)],
    ['wait', closedNs],
  ];
  const phases: PhaseSpan[] = [];
  let at = originOf(connection);
  for (const [phase, endNs] of marks) {
    if (endNs <= at) continue;
    phases.push({ phase, ns: endNs - at });
    at = endNs;
  }
  return phases;
}

/** How it came to its end, in a few words. */
function endingOf(connection: ConnectionSummary): string {
  const { errorName, resetBy, finSentNs, finReceivedNs } = connection;
  if (resetBy !== '') return `reset by ${resetBy}`;
  if (errorName !== '') return errorName;
  if (finSentNs > 0 && finReceivedNs > 0) return `closed by ${finReceivedNs < finSentNs ? 'peer' : 'us'} first`;
  if (finReceivedNs > 0) return 'closed by peer';
  return finSentNs > 0 ? 'closed by us' : 'closed';
}

/** Most telling first. */
function factsOf(connection: ConnectionSummary, style: Style): string[] {
  const { connectNs, establishedNs, acceptedNs, lastReadNs, lastWriteNs, closedNs } = connection;
  const duration = (ns: number): string => formatDuration(ns, style.isUnicode);
  const facts: string[] = [];
  if (connectNs > 0 && establishedNs > connectNs) facts.push(`connect ${duration(establishedNs - connectNs)}`);
  if (acceptedNs - establishedNs >= NOTABLE_NS && establishedNs > 0) {
    facts.push(`unaccepted ${duration(acceptedNs - establishedNs)}`);
  }
  const lastByteNs = Math.max(lastReadNs, lastWriteNs);
  if (lastByteNs > 0 && closedNs - lastByteNs >= NOTABLE_NS) facts.push(`idle ${duration(closedNs - lastByteNs)}`);
  if (lastByteNs === 0 && connection.errorName === '') facts.push('no byte');
  const { unseenIn, unseenOut, unsentBytes, unackedBytes, rwndLimitedMs, sndbufLimitedMs } = connection;
  if (unseenIn + unseenOut > 0) facts.push(`${formatBytes(unseenIn)} in, ${formatBytes(unseenOut)} out unseen`);
  if (connection.lostRecords > 0) facts.push(`${connection.lostRecords} records lost`);
  if (connection.protocol === 'not parsed') facts.push('not parsed');
  if (unsentBytes + unackedBytes > 0) facts.push(`${formatBytes(unsentBytes + unackedBytes)} undelivered`);
  if (rwndLimitedMs > 0) facts.push(`peer's window shut ${duration(rwndLimitedMs * 1e6)}`);
  if (sndbufLimitedMs > 0) facts.push(`send buffer full ${duration(sndbufLimitedMs * 1e6)}`);
  if (connection.retransmits > 0) facts.push(`${connection.retransmits} resent`);
  if (connection.srttMicros > 0) facts.push(`rtt ${duration(connection.srttMicros * 1e3)}`);
  return facts;
}
