// What the terminal can show: colour or not, Unicode or ASCII, and the few marks and colours that the view is made of.
// Decided once at the start from flags and environment (no-color.org, TERM, the locale); everything stays readable
// without colour, because colour only repeats what a glyph or a word says.

export interface StyleOptions {
  /** --color / --no-color; absent: by the environment. */
  readonly color?: boolean;
  readonly unicode?: boolean;
  readonly isTerminal: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Select Graphic Rendition parameters (ECMA-48 8.3.117); the 16 basic colours, so that the user's theme decides. */
const SGR = {
  bold: '1',
  dim: '2',
  red: '31',
  green: '32',
  yellow: '33',
  blue: '34',
  magenta: '35',
  cyan: '36',
  alarm: '1;31',
  title: '1;36',
} as const;
export type Tone = keyof typeof SGR | 'plain';

export type Phase = 'connect' | 'queue' | 'request' | 'work' | 'wait' | 'response' | 'other' | 'none';

interface Glyphs {
  readonly phases: Readonly<Record<Phase, string>>;
  readonly branch: string;
  readonly lastBranch: string;
  readonly trunk: string;
  readonly blank: string;
  readonly sent: string;
  readonly received: string;
  readonly failed: string;
  readonly slow: string;
  readonly more: string;
  readonly ellipsis: string;
  readonly to: string;
  readonly times: string;
  readonly absent: string;
  readonly rule: string;
  readonly atMost: string;
}

const UNICODE_GLYPHS: Glyphs = {
  phases: {
    connect: '╌',
    queue: '░',
    request: '▒',
    work: '█',
    wait: '─',
    response: '▓',
    other: '·',
    none: ' ',
  },
  branch: '├─',
  lastBranch: '└─',
  trunk: '│ ',
  blank: '  ',
  sent: '→',
  received: '←',
  failed: '✗',
  slow: '▲',
  more: '⋯',
  ellipsis: '…',
  to: '→',
  times: '×',
  absent: '–',
  rule: '─',
  atMost: '≤',
};

const ASCII_GLYPHS: Glyphs = {
  phases: { connect: '~', queue: ':', request: '>', work: '#', wait: '-', response: '<', other: '.', none: ' ' },
  branch: '|-',
  lastBranch: '`-',
  trunk: '| ',
  blank: '  ',
  sent: '>',
  received: '<',
  failed: '!',
  slow: '*',
  more: '...',
  ellipsis: '..',
  to: '>',
  times: 'x',
  absent: '-',
  rule: '-',
  atMost: '<=',
};

export const PHASE_TONES: Readonly<Record<Phase, Tone>> = {
  connect: 'cyan',
  queue: 'yellow',
  request: 'cyan',
  work: 'green',
  wait: 'dim',
  response: 'blue',
  other: 'dim',
  none: 'plain',
};

export class Style {
  readonly isColor: boolean;
  readonly isUnicode: boolean;
  readonly glyphs: Glyphs;

  constructor(options: StyleOptions) {
    this.isColor = options.color ?? wantsColor(options);
    this.isUnicode = options.unicode ?? speaksUnicode(options.env);
    this.glyphs = this.isUnicode ? UNICODE_GLYPHS : ASCII_GLYPHS;
  }

  /** The text in a tone; must be printable already, and padded, because escape sequences have no width. */
  paint(text: string, tone: Tone): string {
    if (!this.isColor || tone === 'plain' || text === '') return text;
    return `\x1b[${SGR[tone]}m${text}\x1b[0m`;
  }
}

function wantsColor({ isTerminal, env }: StyleOptions): boolean {
  if ((env.NO_COLOR ?? '') !== '') return false;
  if ((env.FORCE_COLOR ?? '') !== '' && env.FORCE_COLOR !== '0') return true;
  return isTerminal && env.TERM !== 'dumb';
}

/** UTF-8 unless the locale is set to something else: an unset one says nothing (containers, units), `C` is a choice. */
function speaksUnicode(env: StyleOptions['env']): boolean {
  const locale = [env.LC_ALL, env.LC_CTYPE, env.LANG].find(value => (value ?? '') !== '') ?? '';
  return locale === '' || /utf-?8/i.test(locale);
}
