// W3C `traceparent` (Trace Context level 2, section 3.2):
//   version "-" trace-id(32 hex) "-" parent-id(16 hex) "-" flags(2 hex), lower case; later versions may go on behind a "-"
import { hexNumber, hexWord } from './hex.js';
import type { RemoteParent } from './propagation.js';

/** Parses a `traceparent` value; null if the value is not valid (the header is then to be ignored as a whole). */
export function parseTraceparent(value: string): RemoteParent | null {
  const text = value.trim();
  if (text.length < 55 || text[2] !== '-' || text[35] !== '-' || text[52] !== '-') return null;
  const version = hexNumber(text, 0, 2);
  if (version < 0 || version === 0xff) return null;
  if (version === 0 ? text.length !== 55 : text.length > 55 && text[55] !== '-') return null;
  const flags = hexNumber(text, 53, 55);
  const id0 = hexWord(text, 3);
  const id1 = hexWord(text, 11);
  const id2 = hexWord(text, 19);
  const id3 = hexWord(text, 27);
  const span0 = hexWord(text, 36);
  const span1 = hexWord(text, 44);
  if (flags < 0 || id0 < 0 || id1 < 0 || id2 < 0 || id3 < 0 || span0 < 0 || span1 < 0) return null;
  if ((id0 | id1 | id2 | id3) === 0 || (span0 | span1) === 0) return null;
  return { id0, id1, id2, id3, span0, span1, flags, isDeferred: false };
}
