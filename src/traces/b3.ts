// B3 (openzipkin/b3-propagation), in one header and in several:
//   b3: trace-id "-" span-id [ "-" state [ "-" parent-span-id ] ], or the state alone
//   X-B3-TraceId, X-B3-SpanId, X-B3-Sampled (1, 0; true, false of old tracers), X-B3-Flags (1: debug)
// Trace ids have 32 or 16 hex digits, the latter padded with zeros on the left. State: 1 accept, 0 deny, d debug; absent:
// the receiver decides.
import type { TraceHeaders } from '../protocols/protocol.js';
import { hexWordFromEnd } from './hex.js';
import type { RemoteParent } from './propagation.js';

const DEFERRED = -1;
const INVALID = -2;

/** Parses a `b3` value; null if it is not valid. */
export function parseB3(value: string): RemoteParent | null {
  const [trace = '', span, state, parent, ...more] = value.trim().split('-', 5);
  if (span === undefined) return contextOf('', '', singleSampling(trace));
  if (trace === '' || more.length > 0 || (parent !== undefined && !isId(parent, 16))) return null;
  return contextOf(trace, span, state === undefined ? DEFERRED : singleSampling(state));
}

/** Reads the X-B3 headers; null if they name nothing, or what is not valid. */
export function parseB3Multi({ b3TraceId, b3SpanId, b3Sampled, b3Flags }: TraceHeaders): RemoteParent | null {
  const isDebug = b3Flags.trim() === '1';
  const state = isDebug ? 1 : b3Sampled === '' ? DEFERRED : sampling(b3Sampled.trim());
  return contextOf(b3TraceId.trim(), b3SpanId.trim(), state);
}

/** One header has no words of old tracers. */
function singleSampling(state: string): number {
  return state.length === 1 ? sampling(state) : INVALID;
}

function sampling(state: string): number {
  if (state === '1' || state === 'd' || state === 'true') return 1;
  return state === '0' || state === 'false' ? 0 : INVALID;
}

function contextOf(trace: string, span: string, state: number): RemoteParent | null {
  if (state === INVALID) return null;
  const flags = state === 0 ? 0 : 1;
  if (trace === '' && span === '') {
    if (state === DEFERRED) return null;
    return { id0: 0, id1: 0, id2: 0, id3: 0, span0: 0, span1: 0, flags, isDeferred: false };
  }
  if (!(isId(trace, 32) || isId(trace, 16)) || !isId(span, 16)) return null;
  const traceId = trace.toLowerCase();
  const spanId = span.toLowerCase();
  const word = (index: number): number => hexWordFromEnd(traceId, 0, traceId.length, index);
  return {
    ...{ id0: word(3), id1: word(2), id2: word(1), id3: word(0) },
    ...{ span0: hexWordFromEnd(spanId, 0, 16, 1), span1: hexWordFromEnd(spanId, 0, 16, 0) },
    flags,
    isDeferred: state === DEFERRED,
  };
}

const HEX = /^[0-9a-f]+$/i;

/** That many hex digits, not all of them zero. */
function isId(text: string, length: number): boolean {
  return text.length === length && HEX.test(text) && !/^0+$/.test(text);
}
