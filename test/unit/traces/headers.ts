// What tests of the header formats share: a head with given fields, and a context in one line.
import { MessageHead, TraceHeaders } from '../../../src/protocols/protocol.js';
import { wordToHex } from '../../../src/traces/context.js';
import type { RemoteParent } from '../../../src/traces/propagation.js';

export const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
export const SPAN = '00f067aa0ba902b7';

export function head(fields: { traceparent?: string; tracestate?: string } & Partial<TraceHeaders>): MessageHead {
  const { traceparent = '', tracestate = '', ...others } = fields;
  const made = new MessageHead();
  made.isRequest = true;
  made.traceparent = traceparent;
  made.tracestate = tracestate;
  if (Object.keys(others).length > 0) made.traceHeaders = Object.assign(new TraceHeaders(), others);
  return made;
}

/** `trace span sampled`, the last one with a `?` if the receiver decides; `null` for no context. */
export function line(parent: RemoteParent | null): string {
  if (parent === null) return 'null';
  const trace = [parent.id0, parent.id1, parent.id2, parent.id3].map(wordToHex).join('');
  const span = [parent.span0, parent.span1].map(wordToHex).join('');
  return `${trace} ${span} ${parent.flags}${parent.isDeferred ? '?' : ''}`;
}
