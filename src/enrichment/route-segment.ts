// The segments of a path, with those that identify a thing (numbers, UUIDs, hashes, tokens, dates, e-mail addresses,
// anything that is not plain text) replaced by placeholders. Pure functions of bytes from the wire: linear in their
// length, nothing is kept, no character from outside the plain set ever leaves.

/** Placeholder of an identifier of any sort; one for all, so that mixed ids at one position stay one route. */
export const ID = '{id}';
const DATE = '{date}';
const EMAIL = '{email}';
/** Deeper segments are joined to one `*`. */
const MAX_DEPTH = 12;
const MAX_PIECES = 64;
/** Longer segments are content, not names. */
const MAX_NAME_LENGTH = 40;
const MAX_EMAIL_LENGTH = 254;

const DATE_FORM = /^\d{4}-\d\d(-\d\d([T_].*)?)?$/;
const UUID_FORM = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const VERSION_FORM = /^v\d{1,4}(\.\d{1,4})*$/i;
const HEX_FORM = /^(?:[0-9a-f]{8,}|[0-9A-F]{8,})$/;
const EXTENSION_FORM = /^[A-Za-z][A-Za-z0-9]{0,4}$/;
const PLAIN_FORM = /^[A-Za-z0-9._~!$&'()+,=:@-]+$/;

/** Segments of `path`; empty ones (`//`, a last `/`) and parameters (`;jsessionid=..`) are dropped. */
export function routeSegments(path: string): string[] {
  const segments: string[] = [];
  for (const raw of path.split('/', MAX_PIECES)) {
    if (raw === '') continue;
    if (segments.length === MAX_DEPTH) {
      segments.push('*');
      break;
    }
    const semicolon = raw.indexOf(';');
    const segment = semicolon > 0 ? raw.slice(0, semicolon) : raw;
    segments.push(placeholder(segment) || segment);
  }
  return segments;
}

/** True for a segment that stands for itself. */
export function isLiteral(segment: string): boolean {
  return segment.charCodeAt(0) !== 0x7b;
}

/** What stands for a segment in a route; '' if it is a name and stands for itself. */
export function placeholder(segment: string): string {
  if (DATE_FORM.test(segment)) return DATE;
  if (isEmail(segment)) return EMAIL;
  if (!isIdentifier(segment)) return '';
  if (segment.length > MAX_NAME_LENGTH * 2 || !PLAIN_FORM.test(segment)) return ID;
  const dot = segment.lastIndexOf('.');
  return dot > 0 && EXTENSION_FORM.test(segment.slice(dot + 1)) ? ID + segment.slice(dot) : ID;
}

function isEmail(segment: string): boolean {
  const at = segment.indexOf('@');
  if (at <= 0 || segment.length > MAX_EMAIL_LENGTH || segment.indexOf('@', at + 1) >= 0) return false;
  const dot = segment.indexOf('.', at + 2);
  return dot > 0 && dot < segment.length - 1;
}

function isIdentifier(segment: string): boolean {
  if (segment.length > MAX_NAME_LENGTH || !PLAIN_FORM.test(segment)) return true;
  if (UUID_FORM.test(segment)) return true;
  let digits = 0;
  let letters = 0;
  let run = 0;
  let longestRun = 0;
  let changes = 0;
  let previous = 0;
  for (let i = 0; i < segment.length; i++) {
    const kind = kindOf(segment.charCodeAt(i));
    run = kind === DIGIT ? run + 1 : 0;
    if (run > longestRun) longestRun = run;
    if (kind === DIGIT) digits++;
    else if (kind !== OTHER) letters++;
    if (i > 0 && kind !== previous) changes++;
    previous = kind;
  }
  if (digits === 0 || VERSION_FORM.test(segment)) return false;
  if (letters === 0 || longestRun >= 4 || HEX_FORM.test(segment)) return true;
  // Random text: kinds of character alternate, or there is a lot of it. `oauth2Callback` and `top-100` are names.
  if (segment.length >= 8 && changes * 2 >= segment.length) return true;
  if (segment.length >= 20 && digits >= 4 && !segment.includes('-')) return true;
  return segment.includes('.') && segment.split('.').some(isIdentifier);
}

const OTHER = 0;
const DIGIT = 1;
const LOWER = 2;
const UPPER = 3;

function kindOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return DIGIT;
  if (code >= 0x61 && code <= 0x7a) return LOWER;
  return code >= 0x41 && code <= 0x5a ? UPPER : OTHER;
}
