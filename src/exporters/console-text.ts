// Text from the wire made fit for a terminal: what comes in may hold anything (escape sequences, bidirectional
// overrides, line breaks, wide and combining characters), what goes out occupies a known number of columns and cannot
// move the cursor, change colours, forge a line or reorder one. Lost: nothing but length, which `…` shows.

/** Longest text that is looked at, UTF-16 units; the rest could never be on the line anyway. */
const TEXT_MAX = 2048;
/** Combining marks kept on one character: enough for every script, not enough to climb out of the line. */
const MARKS_MAX = 2;

const PLAIN = /^[\x20-\x7e]*$/;
/** Control, format (bidi, zero width, tags), surrogate, private, unassigned; separators other than the space. */
const UNSAFE = /[\p{C}\p{Z}]/u;
const MARK = /\p{M}/u;
const WIDE = new RegExp(
  '[\\u1100-\\u115f\\u2e80-\\u303e\\u3041-\\u33ff\\u3400-\\u4dbf\\u4e00-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7a3' +
    '\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff00-\\uff60\\uffe0-\\uffe6\\u{1f200}-\\u{1f2ff}\\u{1f300}-\\u{1f64f}' +
    '\\u{1f680}-\\u{1f6ff}\\u{1f900}-\\u{1f9ff}\\u{1fa70}-\\u{1faff}\\u{20000}-\\u{3fffd}\\p{Emoji_Presentation}]',
  'u',
);

/** The text with everything that a terminal might obey or misplace written as `\xNN` or `\u{NNNN}`. */
export function toPrintable(text: string, isUnicode: boolean): string {
  const bounded = text.length > TEXT_MAX ? text.slice(0, TEXT_MAX) : text;
  if (PLAIN.test(bounded)) return bounded;
  let out = '';
  let marks = 0;
  for (const char of bounded) {
    const code = char.codePointAt(0) as number;
    if (code >= 0x20 && code < 0x7f) {
      out += char;
      marks = 0;
      continue;
    }
    marks = MARK.test(char) ? marks + 1 : 0;
    const isUnsafe = !isUnicode || UNSAFE.test(char) || marks > MARKS_MAX || (marks > 0 && out === '');
    out += isUnsafe ? escapeCode(code) : char;
  }
  return out;
}

function escapeCode(code: number): string {
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/** Columns that printable text occupies. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += widthOfChar(char);
  return width;
}

function widthOfChar(char: string): number {
  if (char < '\u0300') return 1;
  if (MARK.test(char)) return 0;
  return WIDE.test(char) ? 2 : 1;
}

/** At most `width` columns of the text's beginning. */
function head(text: string, width: number): string {
  if (PLAIN.test(text)) return text.slice(0, width);
  let out = '';
  let left = width;
  for (const char of text) {
    left -= widthOfChar(char);
    if (left < 0) break;
    out += char;
  }
  return out;
}

/** At most `width` columns of the text's end. */
function tail(text: string, width: number): string {
  if (PLAIN.test(text)) return width <= 0 ? '' : text.slice(-width);
  const chars = [...text];
  let from = chars.length;
  let left = width;
  while (from > 0) {
    left -= widthOfChar(chars[from - 1] as string);
    if (left < 0) break;
    from--;
  }
  // A mark without its character would sit on the ellipsis.
  while (from < chars.length && MARK.test(chars[from] as string)) from++;
  return chars.slice(from).join('');
}

/** Shortens printable text to `width` columns, with the ellipsis at its end. */
export function truncateEnd(text: string, width: number, ellipsis: string): string {
  if (widthOf(text) <= width) return text;
  return width <= ellipsis.length ? head(text, width) : head(text, width - ellipsis.length) + ellipsis;
}

/** Shortens printable text to `width` columns in its middle: of a path, beginning and end say most. */
export function truncateMiddle(text: string, width: number, ellipsis: string): string {
  if (widthOf(text) <= width) return text;
  const room = width - ellipsis.length;
  if (room < 4) return truncateEnd(text, width, ellipsis);
  const tailRoom = Math.floor(room * 0.4);
  return head(text, room - tailRoom) + ellipsis + tail(text, tailRoom);
}

export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - widthOf(text))) + text;
}

/** Three significant digits, without trailing zeros that would suggest more precision than there is. */
function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

/** `412µs`, `12.4ms`, `1.23s`, `2m05s`: at most seven columns for everything below a hundred hours. */
export function formatDuration(ns: number, isUnicode: boolean): string {
  if (ns < 0) return `-${formatDuration(-ns, isUnicode)}`;
  if (ns < 999_500) return `${Math.round(ns / 1e3)}${isUnicode ? 'µs' : 'us'}`;
  if (ns < 999_500_000) return `${threeDigits(ns / 1e6)}ms`;
  if (ns < 59_995_000_000) return `${threeDigits(ns / 1e9)}s`;
  const seconds = Math.round(ns / 1e9);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  return `${Math.floor(seconds / 3600)}h${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')}m`;
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** `89B`, `1.2kB`, `34MB` (powers of 1000). */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit > 0 && value < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)}${BYTE_UNITS[unit] ?? ''}`;
}

/** `1 204 000` with a thin grouping that no locale misreads. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ' ');
}

/** Local time of day, `14:03:07.123`. */
export function formatTime(unixMs: number): string {
  const date = new Date(unixMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  const millis = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`;
}
