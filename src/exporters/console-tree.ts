// One trace as lines: comes in as the spans of a trace, goes out as a tree in which every span hangs below the one that
// caused it, root first, siblings by start. A connect that succeeded and that a span of the trace used is drawn as that
// span's first phase instead of a line of its own. Spans whose parent is not among them stand at the top.
import { type Axis, axisOf, renderBar } from './console-bar.js';
import { type Layout, layoutFor } from './console-layout.js';
import { type NoteContext, renderNotes } from './console-notes.js';
import { SPAN_CLIENT, SPAN_SERVER, type SpanView } from './console-span.js';
import type { Style, Tone } from './console-style.js';
import {
  formatDuration,
  formatTime,
  padEnd,
  padStart,
  toPrintable,
  truncateEnd,
  truncateMiddle,
  widthOf,
} from './console-text.js';

/** Levels that are indented; deeper ones stay below each other. */
const INDENT_MAX = 6;

export interface TreeOptions {
  readonly style: Style;
  readonly width: number;
  /** Spans of this trace were printed before. */
  readonly isContinuation: boolean;
  /** How many times its usual duration a span took; 0 if it is not slow. */
  slowness(span: SpanView): number;
}

interface Row {
  readonly span: SpanView;
  readonly parent: SpanView | null;
  readonly prefix: string;
}

export function renderTrace(spans: readonly SpanView[], options: TreeOptions): string[] {
  const layout = layoutFor(options.width);
  const rows = toRows(foldConnects(spans), options.style);
  const axis = axisOf(rows.map(row => row.span));
  return rows.map(row => renderRow(row, layout, axis, options));
}

/** Leaves out connects that another span of the trace shows as its first phase. */
function foldConnects(spans: readonly SpanView[]): readonly SpanView[] {
  const used = new Set(spans.filter(span => span.connectNs > 0).flatMap(span => span.links));
  if (used.size === 0) return spans;
  return spans.filter(span => span.isFailed || !span.isConnect || !used.has(`${span.traceId}/${span.spanId}`));
}

function toRows(spans: readonly SpanView[], style: Style): Row[] {
  const ids = new Map(spans.map(span => [span.spanId, span]));
  const children = new Map<string, SpanView[]>();
  const roots: SpanView[] = [];
  for (const span of [...spans].sort(byStart)) {
    if (span.parentSpanId === span.spanId || !ids.has(span.parentSpanId)) roots.push(span);
    else {
      const siblings = children.get(span.parentSpanId);
      if (siblings === undefined) children.set(span.parentSpanId, [span]);
      else siblings.push(span);
    }
  }
  const rows: Row[] = [];
  const seen = new Set<SpanView>();
  const { branch, lastBranch, trunk, blank } = style.glyphs;
  const walk = (span: SpanView, parent: SpanView | null, prefix: string, indent: string, depth: number): void => {
    if (seen.has(span)) return;
    seen.add(span);
    rows.push({ span, parent, prefix });
    const below = children.get(span.spanId) ?? [];
    for (const [index, child] of below.entries()) {
      const isLast = index === below.length - 1;
      const isFlat = depth >= INDENT_MAX;
      walk(
        child,
        span,
        indent + (isLast ? lastBranch : branch),
        isFlat ? indent : indent + (isLast ? blank : trunk),
        depth + 1,
      );
    }
  };
  for (const root of roots) walk(root, null, '', '', 0);
  // Parents in a circle: nobody should send that, and nobody should be able to hide spans by it.
  for (const span of spans) walk(span, null, '', '', 0);
  return rows;
}

function byStart(a: SpanView, b: SpanView): number {
  if (a.startUnixNs !== b.startUnixNs) return a.startUnixNs < b.startUnixNs ? -1 : 1;
  return b.durationNs - a.durationNs;
}

function renderRow(row: Row, layout: Layout, axis: Axis, options: TreeOptions): string {
  const { style } = options;
  const { span } = row;
  const slowness = options.slowness(span);
  const parts = [
    renderMark(span, slowness, style),
    ...(layout.time > 0 ? [renderTime(row, layout, axis, style)] : []),
    renderWho(row, layout, style),
    renderWhat(span, layout, style),
    renderStatus(span, style),
    style.paint(padStart(formatDuration(span.durationNs, style.isUnicode), 7), slowness > 0 ? 'yellow' : 'bold'),
  ];
  if (layout.bar > 0) parts.push(` ${renderBar(span, axis, layout.bar, style)}`);
  if (layout.notes > 0) {
    const context: NoteContext = {
      isRoot: row.parent === null,
      isContinuation: options.isContinuation && row.parent === null,
      slowness,
      room: layout.notes,
    };
    parts.push(` ${renderNotes(span, context, style)}`);
  }
  return parts.join(' ').trimEnd();
}

function renderMark(span: SpanView, slowness: number, style: Style): string {
  if (span.isFailed) return style.paint(style.glyphs.failed, 'alarm');
  return slowness > 0 ? style.paint(style.glyphs.slow, 'yellow') : ' ';
}

/** Roots: local time of day. Others: how long after the start of the trace. */
function renderTime({ span, parent }: Row, layout: Layout, axis: Axis, style: Style): string {
  if (parent === null) {
    const time = formatTime(Number(span.startUnixNs / 1_000_000n));
    return style.paint(padEnd(time.slice(0, layout.time), layout.time), 'dim');
  }
  const offset = Number(span.startUnixNs - axis.startUnixNs);
  return style.paint(padStart(`+${formatDuration(Math.max(0, offset), style.isUnicode)}`, layout.time), 'dim');
}

/** At least this much of a service's name shows, however deep it stands in the tree. */
const SERVICE_MIN = 4;

function renderWho({ span, prefix }: Row, layout: Layout, style: Style): string {
  // Of a prefix that is too long the end is kept: it holds the branch.
  const indent = prefix.slice(Math.max(0, prefix.length - (layout.who - SERVICE_MIN)));
  const room = layout.who - indent.length;
  const service = truncateEnd(toPrintable(span.service, style.isUnicode), room, style.glyphs.ellipsis);
  return style.paint(indent, 'dim') + style.paint(padEnd(service, room), 'cyan');
}

/** Direction, method, target; behind it the route where it says more than the path. */
function renderWhat(span: SpanView, layout: Layout, style: Style): string {
  const { glyphs, isUnicode } = style;
  const arrow =
    span.kind === SPAN_CLIENT || span.isConnect ? glyphs.sent : span.kind === SPAN_SERVER ? glyphs.received : ' ';
  const word = span.isConnect ? 'connect' : span.method || span.name;
  const verb = truncateEnd(toPrintable(word, isUnicode), Math.max(4, Math.floor(layout.what / 2)), glyphs.ellipsis);
  const room = layout.what - 3 - widthOf(verb);
  const shown = room > 0 ? fitTarget(toPrintable(targetOf(span), isUnicode), room, glyphs.ellipsis) : '';
  const route = toPrintable(span.route, isUnicode);
  const left = room - widthOf(shown) - 1;
  const hasRoute = span.route !== '' && span.route !== span.path && widthOf(route) + 2 <= left;
  const plain = `${arrow} ${verb} ${shown}${hasRoute ? ` (${route})` : ''}`;
  const padding = padEnd(plain, layout.what).slice(plain.length);
  const painted = `${style.paint(arrow, 'dim')} ${style.paint(verb, 'bold')} ${shown}`;
  return painted + (hasRoute ? ` ${style.paint(`(${route})`, 'dim')}` : '') + padding;
}

/** On this machine the port says it all; then the path keeps its ends. */
function fitTarget(target: string, room: number, ellipsis: string): string {
  const short = widthOf(target) > room ? target.replace(/^(127\.0\.0\.1|\[::1\]|localhost)(?=:)/, '') : target;
  return truncateMiddle(short, room, ellipsis);
}

function targetOf(span: SpanView): string {
  if (span.isConnect) return span.authority;
  return span.kind === SPAN_CLIENT ? span.authority + span.path : span.path;
}

function renderStatus(span: SpanView, style: Style): string {
  const text = span.status > 0 ? String(span.status) : span.isConnect && !span.isFailed ? 'ok' : style.glyphs.absent;
  return style.paint(padStart(text, 3), statusTone(span));
}

function statusTone(span: SpanView): Tone {
  if (span.status >= 500 || (span.isFailed && span.status === 0)) return 'alarm';
  if (span.status >= 400) return 'yellow';
  return span.status >= 300 ? 'cyan' : 'green';
}
