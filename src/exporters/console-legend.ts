// What the marks of the view mean, in one or two lines: printed once, above the first trace.
import { PHASE_TONES, type Phase, type Style } from './console-style.js';
import { widthOf } from './console-text.js';

const PHASE_WORDS: readonly (readonly [Phase, string])[] = [
  ['connect', 'connect'],
  ['request', 'request'],
  ['queue', 'unread in the kernel'],
  ['work', 'server works'],
  ['wait', 'client waits'],
  ['response', 'response'],
];

export function renderLegend(style: Style, width: number): string[] {
  const { glyphs } = style;
  const marks = [
    entry(style, glyphs.sent, 'plain', 'sent'),
    entry(style, glyphs.received, 'plain', 'received'),
    entry(style, glyphs.failed, 'alarm', 'failed'),
    entry(style, glyphs.slow, 'yellow', 'slow'),
    entry(style, '#2', 'plain', '2nd request of its connection'),
    entry(style, `1kB${glyphs.to}9kB`, 'plain', 'bytes of request and response'),
  ];
  const phases = PHASE_WORDS.map(([phase, word]) =>
    entry(style, glyphs.phases[phase].repeat(2), PHASE_TONES[phase], word),
  );
  return [...flow(phases, width), ...flow(marks, width), ''];
}

interface Entry {
  readonly painted: string;
  readonly width: number;
}

function entry(style: Style, mark: string, tone: Parameters<Style['paint']>[1], word: string): Entry {
  return { painted: `${style.paint(mark, tone)} ${style.paint(word, 'dim')}`, width: widthOf(mark) + 1 + word.length };
}

/** Fills lines with entries. */
function flow(entries: readonly Entry[], width: number): string[] {
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (const { painted, width: needed } of entries) {
    if (used > 0 && used + 3 + needed > width) {
      lines.push(line);
      line = '';
      used = 0;
    }
    line += used > 0 ? `   ${painted}` : `  ${painted}`;
    used += used > 0 ? 3 + needed : 2 + needed;
  }
  return [...lines, line];
}
