// What is worth a word at the end of a span's line: why it failed, what it waited for, which request of its connection
// it was, how many bytes went each way. Most telling first; what does not fit is left out, never cut in half.
import type { SpanView } from './console-span.js';
import type { Style, Tone } from './console-style.js';
import { formatBytes, formatDuration, toPrintable, truncateEnd, widthOf } from './console-text.js';

export interface NoteContext {
  readonly isRoot: boolean;
  readonly isContinuation: boolean;
  /** How many times the usual duration; 0: not slow. */
  readonly slowness: number;
  /** Columns. */
  readonly room: number;
}

/** A wait in the kernel is told when it is this long and this much of the span. */
const WAIT_MIN_NS = 1e6;
const WAIT_MIN_SHARE = 0.2;
const TRACE_ID_DIGITS = 8;

type Note = readonly [text: string, tone: Tone];

export function renderNotes(span: SpanView, context: NoteContext, style: Style): string {
  let room = context.room;
  const shown: string[] = [];
  for (const [index, [text, tone]] of collect(span, context, style).entries()) {
    const printable = toPrintable(text, style.isUnicode);
    // The first note is the reason why somebody looks at this line: rather cut than missing.
    const fitting = index === 0 ? truncateEnd(printable, room, style.glyphs.ellipsis) : printable;
    const width = widthOf(fitting) + (shown.length > 0 ? 1 : 0);
    if (width > room) continue;
    room -= width;
    shown.push(style.paint(fitting, tone));
  }
  return shown.join(' ');
}

function collect(span: SpanView, context: NoteContext, style: Style): Note[] {
  const duration = (ns: number): string => formatDuration(ns, style.isUnicode);
  const notes: Note[] = [];
  if (context.isContinuation) notes.push([`continues ${span.traceId.slice(0, TRACE_ID_DIGITS)}`, 'magenta']);
  if (span.errorType !== '' && span.errorType !== String(span.status)) notes.push([span.errorType, 'alarm']);
  if (context.slowness > 0) notes.push([slownessText(context.slowness, style), 'yellow']);
  if (isNotable(span.receiveWaitNs, span)) notes.push([`queued ${duration(span.receiveWaitNs)}`, 'yellow']);
  if (isNotable(span.acceptWaitNs, span)) notes.push([`unaccepted ${duration(span.acceptWaitNs)}`, 'yellow']);
  if (isNotable(span.connectNs, span)) notes.push([`connect ${duration(span.connectNs)}`, 'yellow']);
  if (span.retransmits > 0) notes.push([`${span.retransmits} resent`, 'yellow']);
  if (isNotable(span.rwndLimitedNs, span)) notes.push([`peer's window shut ${duration(span.rwndLimitedNs)}`, 'yellow']);
  if (isNotable(span.sndbufLimitedNs, span))
    notes.push([`send buffer full ${duration(span.sndbufLimitedNs)}`, 'yellow']);
  if (span.isHeadTruncated) notes.push(['head cut', 'yellow']);
  const connection = connectionText(span);
  if (connection !== '') notes.push([connection, 'dim']);
  if (span.requestBytes >= 0 && span.responseBytes >= 0 && !span.isConnect) {
    notes.push([`${formatBytes(span.requestBytes)}${style.glyphs.to}${formatBytes(span.responseBytes)}`, 'plain']);
  }
  if (context.isRoot && span.parentSpanId !== '' && !context.isContinuation) notes.push(['parent elsewhere', 'dim']);
  if (context.isRoot && !context.isContinuation) notes.push([span.traceId.slice(0, TRACE_ID_DIGITS), 'dim']);
  return notes;
}

function slownessText(times: number, style: Style): string {
  return Number.isFinite(times) ? `${times.toFixed(0)}${style.glyphs.times} usual` : 'slow';
}

function isNotable(waitNs: number, span: SpanView): boolean {
  return waitNs >= WAIT_MIN_NS && waitNs >= WAIT_MIN_SHARE * (span.durationNs + span.connectNs);
}

/** `new` for a connection's first request, `#17` for later ones, `reused` where it is older than the agent. */
function connectionText(span: SpanView): string {
  if (span.isConnect) return '';
  if (span.requestIndex > 0) return span.requestIndex === 1 ? 'new' : `#${span.requestIndex}`;
  return span.isReused ? 'reused' : '';
}
