// A span as a bar on the time axis of its trace: where it lies tells when, how long it is tells how much, and what it is
// filled with tells which phase of the socket timeline the time went to. Comes in: phases in nanoseconds. Goes out: a
// text of exactly `cells` columns. Lost: phases shorter than a cell beside longer ones; the longest of a cell shows.
//
//   curl     ╌▒───────────────────────────────▓     connect, request out, waiting, response in
//   shop        ░░▒█████████████████████████▓       queued, request in, working, response out
import type { PhaseSpan, SpanView } from './console-span.js';
import { PHASE_TONES, type Phase, type Style } from './console-style.js';

/** The time that a trace's bars share; nanoseconds of the Unix epoch and a length. */
export interface Axis {
  readonly startUnixNs: bigint;
  readonly lengthNs: number;
}

export function axisOf(spans: readonly SpanView[]): Axis {
  const first = spans[0];
  if (first === undefined) return { startUnixNs: 0n, lengthNs: 0 };
  // Differences to the first span's start are small enough for a double.
  let from = 0;
  let to = 0;
  for (const span of spans) {
    const at = Number(span.startUnixNs - first.startUnixNs);
    from = Math.min(from, at - span.connectNs);
    to = Math.max(to, at + span.durationNs);
  }
  return { startUnixNs: first.startUnixNs + BigInt(Math.floor(from)), lengthNs: to - from };
}

/** The bar of a span, painted. Every span shows at least one cell. */
export function renderBar(span: SpanView, axis: Axis, cells: number, style: Style): string {
  return paintPhases(fillCells(span, axis, cells), style);
}

/** One glyph a cell, runs of a phase painted together. */
export function paintPhases(cells: readonly Phase[], style: Style): string {
  let out = '';
  let from = 0;
  for (let at = 1; at <= cells.length; at++) {
    const phase = cells[from] as Phase;
    if (at < cells.length && cells[at] === phase) continue;
    out += style.paint(style.glyphs.phases[phase].repeat(at - from), PHASE_TONES[phase]);
    from = at;
  }
  return out;
}

/** The phase that each cell shows: of those in it the longest, if the span takes at least half of the cell. */
export function fillCells(span: SpanView, axis: Axis, cells: number): Phase[] {
  const scale = axis.lengthNs > 0 ? cells / axis.lengthNs : 0;
  const startCell = Math.max(0, Number(span.startUnixNs - axis.startUnixNs) * scale);
  const canvas = new Canvas(cells);
  canvas.coverAll(withRemainder(span), startCell - span.connectNs * scale, scale);
  return canvas.result(Math.min(cells - 1, Math.floor(startCell)), longestOf(span.phases, remainderOf(span)));
}

/** Phases one after the other over all the cells. */
export function spreadPhases(phases: readonly PhaseSpan[], cells: number): Phase[] {
  const lengthNs = phases.reduce((sum, { ns }) => sum + ns, 0);
  const canvas = new Canvas(cells);
  canvas.coverAll(phases, 0, lengthNs > 0 ? cells / lengthNs : 0);
  return canvas.result(0, longestOf(phases, 'none'));
}

class Canvas {
  readonly #phases: Phase[];
  /** Largest share of one phase in each cell, and the share of all together. */
  readonly #largest: Float64Array;
  readonly #total: Float64Array;

  constructor(cells: number) {
    this.#phases = new Array<Phase>(cells).fill('none');
    this.#largest = new Float64Array(cells);
    this.#total = new Float64Array(cells);
  }

  coverAll(phases: readonly PhaseSpan[], start: number, scale: number): void {
    let at = start;
    for (const { phase, ns } of phases) {
      this.cover(phase, at, at + ns * scale);
      at += ns * scale;
    }
  }

  cover(phase: Phase, from: number, to: number): void {
    const last = Math.min(this.#phases.length, to);
    for (let cell = Math.max(0, Math.floor(from)); cell < last; cell++) {
      const share = Math.min(to, cell + 1) - Math.max(from, cell);
      this.#total[cell] = (this.#total[cell] as number) + share;
      if (share <= (this.#largest[cell] as number) + 1e-9) continue;
      this.#phases[cell] = phase;
      this.#largest[cell] = share;
    }
  }

  result(emptyCell: number, emptyPhase: Phase): Phase[] {
    const phases = this.#phases.slice();
    for (let cell = 0; cell < phases.length; cell++) {
      if ((this.#total[cell] as number) < 0.5) phases[cell] = 'none';
    }
    if (phases.length > 0 && !phases.some(phase => phase !== 'none')) phases[emptyCell] = emptyPhase;
    return phases;
  }
}

/** Connect, the phases, and the time of the span that no phase accounts for. */
function withRemainder(span: SpanView): PhaseSpan[] {
  const known = span.phases.reduce((sum, { ns }) => sum + ns, 0);
  const remainder = Math.max(0, span.durationNs - known);
  return [{ phase: 'connect', ns: span.connectNs }, ...span.phases, { phase: remainderOf(span), ns: remainder }];
}

function remainderOf(span: SpanView): Phase {
  return span.isConnect ? 'connect' : 'other';
}

function longestOf(phases: readonly PhaseSpan[], absent: Phase): Phase {
  let longest = absent;
  let longestNs = 0;
  for (const { phase, ns } of phases) {
    if (ns <= longestNs) continue;
    longest = phase;
    longestNs = ns;
  }
  return longest;
}
