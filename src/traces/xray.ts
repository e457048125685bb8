// `X-Amzn-Trace-Id` (AWS X-Ray developer guide, "Tracing header"): fields `name=value`, separated by semicolons, in any order
//   Root   = "1-" seconds(8 hex) "-" unique(24 hex): together the 32 digits of the trace id
//   Parent = span id(16 hex); load balancers leave it out, and then nothing names a parent
//   Sampled = 1, 0, or ? (the receiver decides); absent: the receiver decides
import { hexWord } from './hex.js';
import type { RemoteParent } from './propagation.js';

const ROOT = /^1-([0-9a-f]{8})-([0-9a-f]{24})$/;
const PARENT = /^[0-9a-f]{16}$/;
/** Root, Parent, Sampled, Self and what services add: more is not one of these headers. */
const MAX_FIELDS = 16;

/** Parses an `X-Amzn-Trace-Id` value; null if it is not valid or names no parent. */
export function parseXray(value: string): RemoteParent | null {
  let root: RegExpExecArray | null = null;
  let parent = '';
  let sampled = '?';
  for (const field of value.split(';', MAX_FIELDS)) {
    const equals = field.indexOf('=');
    const content = field.slice(equals + 1).trim();
    switch (field.slice(0, Math.max(0, equals)).trim()) {
      case 'Root':
        root = ROOT.exec(content);
        break;
      case 'Parent':
        parent = content;
        break;
      case 'Sampled':
        sampled = content;
        break;
    }
  }
  if (root === null || !PARENT.test(parent) || !/^[01?]$/.test(sampled)) return null;
  const trace = `${root[1]}${root[2]}`;
  const id0 = hexWord(trace, 0);
  const id1 = hexWord(trace, 8);
  const id2 = hexWord(trace, 16);
  const id3 = hexWord(trace, 24);
  const span0 = hexWord(parent, 0);
  const span1 = hexWord(parent, 8);
  if ((id0 | id1 | id2 | id3) === 0 || (span0 | span1) === 0) return null;
  return { id0, id1, id2, id3, span0, span1, flags: sampled === '0' ? 0 : 1, isDeferred: sampled === '?' };
}
