// The first line of an HTTP/1 message (RFC 9112 sections 3 and 4). In: the bytes of a line without its end, or the first
// bytes of a stream. Out: method, target, version, status in a MessageHead, or a verdict on whether it can be HTTP.
//
//   request    method SP target SP HTTP/1.x          method: token, any (RFC 9110 section 9.1)
//   status     HTTP/1.x SP 3DIGIT [SP reason]
//
// Of a target, TARGET_MAX_BYTES are kept (the head is then marked truncated).
import type { MessageHead } from '../protocol.js';
import { cutText, StringTable } from '../text.js';

/** Longest target that is kept, in bytes. */
export const TARGET_MAX_BYTES = 8192;
/** Longest method that is believed, in bytes. */
export const METHOD_MAX_BYTES = 64;

const LF = 10;
const CR = 13;
const SP = 32;
const DEL = 127;
const SLASH = 47;
const STAR = 42;
const BRACKET = 91;
const ZERO = 48;
const NINE = 57;
const ONE = 49;

/** `HTTP/1.`, what a version starts with; one digit follows. */
const VERSION = Buffer.from('HTTP/1.', 'latin1');
const VERSION_BYTES = VERSION.length + 1;

/** 1 for every byte of a token (RFC 9110 section 5.6.2). */
const IS_TOKEN = new Uint8Array(256);
for (const byte of Buffer.from("!#$%&'*+-.^_`|~0123456789", 'latin1')) IS_TOKEN[byte] = 1;
for (let letter = 0; letter < 26; letter++) IS_TOKEN[65 + letter] = IS_TOKEN[97 + letter] = 1;

const methods = new StringTable(64);
const targets = new StringTable(2048);

/** Length of the method at the start of bytes[from, to): -1 if it is none, `to - from` if its end was not given. */
function methodLength(bytes: Uint8Array, from: number, to: number): number {
  const limit = Math.min(to, from + METHOD_MAX_BYTES + 1);
  let at = from;
  while (at < limit && IS_TOKEN[bytes[at] as number] === 1) at++;
  if (at === to) return at - from <= METHOD_MAX_BYTES ? at - from : -1;
  return at > from && at < limit && bytes[at] === SP ? at - from : -1;
}

/** Do bytes[from, to) begin with `HTTP/1.` and a digit, as far as they go? */
function isVersionPrefix(bytes: Uint8Array, from: number, to: number): boolean {
  const known = Math.min(to - from, VERSION.length);
  for (let i = 0; i < known; i++) {
    if (bytes[from + i] !== VERSION[i]) return false;
  }
  if (to - from < VERSION_BYTES) return true;
  const minor = bytes[from + VERSION.length] as number;
  return minor >= ZERO && minor <= NINE;
}

/** A higher minor version is processed as 1.1 (RFC 9110 section 2.5). */
function versionOf(minor: number): string {
  return minor === ZERO ? '1.0' : '1.1';
}

/** Can bytes[from, to), a line that has not ended, still become a request line? Looks at the method only. */
export function isRequestLinePrefix(bytes: Uint8Array, from: number, to: number): boolean {
  return methodLength(bytes, from, to) >= 0;
}

/** Can bytes[from, to), a line that has not ended, still become a status line? Looks at the version only. */
export function isStatusLinePrefix(bytes: Uint8Array, from: number, to: number): boolean {
  return isVersionPrefix(bytes, from, to);
}

function setTarget(bytes: Uint8Array, from: number, to: number, head: MessageHead): void {
  let end = to;
  if (to - from > TARGET_MAX_BYTES) {
    end = cutText(bytes, from, from + TARGET_MAX_BYTES);
    head.isTruncated = true;
  }
  head.target = targets.get(bytes, from, end);
}

/**
 * Reads the request line bytes[from, to) into `head`; false if it is none. The target is what stands between the first
 * space and the last: blanks inside it, which no client should send, are kept as they are.
 */
export function readRequestLine(bytes: Uint8Array, from: number, to: number, head: MessageHead): boolean {
  const method = methodLength(bytes, from, to);
  if (method <= 0) return false;
  let end = to;
  while (end > from && bytes[end - 1] === SP) end--;
  const version = end - VERSION_BYTES;
  let targetEnd = version - 1;
  if (targetEnd <= from + method || bytes[targetEnd] !== SP || !isVersionPrefix(bytes, version, end)) return false;
  let targetStart = from + method + 1;
  while (targetStart < targetEnd && bytes[targetStart] === SP) targetStart++;
  while (targetEnd > targetStart && bytes[targetEnd - 1] === SP) targetEnd--;
  if (targetStart === targetEnd) return false;
  head.method = methods.get(bytes, from, from + method);
  head.version = versionOf(bytes[end - 1] as number);
  setTarget(bytes, targetStart, targetEnd, head);
  return true;
}

/**
 * Reads what is known of a request line that was cut at `to`; false if that is too little (no method) or cannot be the
 * beginning of one. The target is as much as was seen, the version ''.
 */
export function readCutRequestLine(bytes: Uint8Array, from: number, to: number, head: MessageHead): boolean {
  const method = methodLength(bytes, from, to);
  if (method <= 0 || from + method >= to) return false;
  let start = from + method + 1;
  while (start < to && bytes[start] === SP) start++;
  const isTargetSeen = start < to;
  if (isTargetSeen && !isTargetStart(bytes[start] as number)) return false;
  let end = start;
  while (end < to && bytes[end] !== SP) end++;
  if (end < to && !isVersionPrefix(bytes, end + 1, to)) return false;
  head.method = methods.get(bytes, from, from + method);
  head.isTruncated = true;
  if (isTargetSeen) setTarget(bytes, start, end === to ? cutText(bytes, start, to) : end, head);
  return true;
}

/** Reads the status line bytes[from, to), of which the end may be missing, into `head`; false if it is none. */
export function readStatusLine(
  bytes: Uint8Array,
  from: number,
  to: number,
  isCut: boolean,
  head: MessageHead,
): boolean {
  if (to - from < VERSION_BYTES + 4 || !isVersionPrefix(bytes, from, to)) return false;
  let at = from + VERSION_BYTES;
  if (bytes[at] !== SP) return false;
  while (at < to && bytes[at] === SP) at++;
  if (to - at < (isCut ? 4 : 3) || (to - at > 3 && bytes[at + 3] !== SP)) return false;
  let status = 0;
  for (let i = 0; i < 3; i++) {
    const digit = bytes[at + i] as number;
    if (digit < ZERO || digit > NINE) return false;
    status = status * 10 + digit - ZERO;
  }
  if (status < 100) return false;
  head.status = status;
  head.version = versionOf(bytes[from + VERSION.length] as number);
  return true;
}

/** Where the line that begins at `from` ends, without CR; -1 if its end was not given. */
function lineEnd(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && bytes[at] !== LF) at++;
  if (at === to) return -1;
  return at > from && bytes[at - 1] === CR ? at - 1 : at;
}

function skipEmptyLines(bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && (bytes[at] === CR || bytes[at] === LF)) at++;
  return at;
}

/** Can a target begin with this byte: `/`, `*`, a letter or digit (absolute and authority form), `[` (IPv6)? */
function isTargetStart(byte: number): boolean {
  if (byte === SLASH || byte === STAR || byte === BRACKET) return true;
  return (byte >= ZERO && byte <= NINE) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122);
}

/** Could bytes[from, to) be the beginning of an HTTP/1 request? Exact if they hold the whole line. */
export function looksLikeRequest(bytes: Uint8Array, from: number, to: number): boolean {
  const start = skipEmptyLines(bytes, from, to);
  const end = lineEnd(bytes, start, to);
  let limit = end < 0 ? to : end;
  if (end >= 0) while (limit > start && bytes[limit - 1] === SP) limit--;
  const method = methodLength(bytes, start, limit);
  if (method <= 0) return false;
  let at = start + method + 1;
  if (end >= 0) {
    const version = limit - VERSION_BYTES;
    if (version <= at || bytes[version - 1] !== SP || !isVersionPrefix(bytes, version, limit)) return false;
    while (at < version - 1 && bytes[at] === SP) at++;
    return at < version - 1 && isTargetStart(bytes[at] as number);
  }
  if (at >= to) return true;
  if (!isTargetStart(bytes[at] as number)) return false;
  while (at < to && (bytes[at] as number) > SP && bytes[at] !== DEL) at++;
  return at === to || (bytes[at] === SP && isVersionPrefix(bytes, at + 1, to));
}

/** Could bytes[from, to) be the beginning of an HTTP/1 response? */
export function looksLikeResponse(bytes: Uint8Array, from: number, to: number): boolean {
  const start = skipEmptyLines(bytes, from, to);
  if (start === to || !isVersionPrefix(bytes, start, to)) return false;
  const digit = start + VERSION_BYTES + 1;
  if (digit > to) return true;
  if (bytes[digit - 1] !== SP) return false;
  if (digit >= to) return true;
  return (bytes[digit] as number) >= ONE && (bytes[digit] as number) <= NINE;
}
