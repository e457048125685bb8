// How many columns each part of a line gets on a terminal of a given width. The parts keep their place from line to
// line, so that the eye can run down a column; on narrow terminals the bar goes first, then the time of day.

export interface Layout {
  /** Columns; 0: the part is left out. */
  readonly time: number;
  readonly who: number;
  readonly what: number;
  readonly bar: number;
  readonly notes: number;
}

/** Mark, status, duration and the spaces around them. */
const FIXED = 2 + 4 + 8;
const WIDTH_MIN = 40;
const WIDTH_MAX = 400;

function barFor(columns: number): number {
  if (columns >= 180) return 40;
  if (columns >= 140) return 28;
  if (columns >= 120) return 20;
  if (columns >= 100) return 16;
  return columns >= 80 ? 10 : 0;
}

export function layoutFor(width: number): Layout {
  const columns = Math.max(WIDTH_MIN, Math.min(WIDTH_MAX, Math.floor(width)));
  const time = columns >= 100 ? 12 : columns >= 70 ? 8 : 0;
  const who = columns >= 140 ? 20 : columns >= 100 ? 16 : columns >= 70 ? 13 : 10;
  const bar = barFor(columns);
  const rest = columns - FIXED - (time > 0 ? time + 1 : 0) - (who + 1) - (bar > 0 ? bar + 2 : 0);
  const notes = columns >= 56 ? Math.min(48, Math.max(10, Math.floor(rest * 0.36))) : 0;
  return { time, who, bar, notes, what: rest - (notes > 0 ? notes + 2 : 0) };
}
