// Jaeger's `uber-trace-id` (Jaeger client libraries, "Propagation format"):
//   trace-id(1..32 hex) ":" span-id(1..16 hex) ":" parent-span-id, deprecated ":" flags(1..2 hex; 1 sampled, 2 debug)
// Leading zeros may be left out; the colons may come percent-encoded.
import { hexNumber, hexWordFromEnd } from './hex.js';
import type { RemoteParent } from './propagation.js';

const VALUE = /^([0-9a-f]{1,32}):([0-9a-f]{1,16}):[0-9a-f]{0,16}:([0-9a-f]{1,2})$/;
const SAMPLED = 1;
const DEBUG = 2;

/** Parses a `uber-trace-id` value; null if it is not valid. */
export function parseJaeger(value: string): RemoteParent | null {
  const match = VALUE.exec(value.trim().toLowerCase().replaceAll('%3a', ':'));
  if (match === null) return null;
  const [, trace = '', span = '', flagText = ''] = match;
  const word = (text: string, index: number): number => hexWordFromEnd(text, 0, text.length, index);
  const ids = { id0: word(trace, 3), id1: word(trace, 2), id2: word(trace, 1), id3: word(trace, 0) };
  const spans = { span0: word(span, 1), span1: word(span, 0) };
  if ((ids.id0 | ids.id1 | ids.id2 | ids.id3) === 0 || (spans.span0 | spans.span1) === 0) return null;
  const flags = (hexNumber(flagText, 0, flagText.length) & (SAMPLED | DEBUG)) !== 0 ? 1 : 0;
  return { ...ids, ...spans, flags, isDeferred: false };
}
