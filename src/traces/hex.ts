// Hex digits of ids to 32-bit words, without a string for each.

/** The value of a hex digit by its character code, -1 for every other character below 128. */
const DIGITS = Int8Array.from({ length: 128 }, (_, code) => '0123456789abcdef'.indexOf(String.fromCharCode(code)));

function digit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 128 ? (DIGITS[code] as number) : -1;
}

/** The eight lower-case hex digits at `at`, as a word; -1 if they are none. */
export function hexWord(text: string, at: number): number {
  return hexNumber(text, at, at + 8);
}

/** Up to eight lower-case hex digits text[from, to), as a word (0 for none); -1 if they are none. */
export function hexNumber(text: string, from: number, to: number): number {
  let word = 0;
  for (let at = from; at < to; at++) {
    const value = digit(text, at);
    if (value < 0) return -1;
    word = word * 16 + value;
  }
  return word;
}

/** Word `index`, counted from the least significant one, of the hex number text[from, to) of any length. */
export function hexWordFromEnd(text: string, from: number, to: number, index: number): number {
  const end = to - 8 * index;
  return end <= from ? 0 : hexNumber(text, Math.max(from, end - 8), end);
}
