// Which span a request's head names as its parent. In: a parsed head. Out: the first valid context of the configured
// formats, in their order (names as in OTEL_PROPAGATORS), or null. A value that is not valid counts as absent; nothing
// throws, whatever the bytes were.
import type { MessageHead } from '../protocols/protocol.js';
import { parseB3, parseB3Multi } from './b3.js';
import { parseJaeger } from './jaeger.js';
import { parseTraceparent } from './traceparent.js';
import { parseXray } from './xray.js';

/** What a header says of the span that sent it. */
export interface RemoteParent {
  /** The trace id, most significant word first; all 0: only the decision to sample is told. */
  readonly id0: number;
  readonly id1: number;
  readonly id2: number;
  readonly id3: number;
  readonly span0: number;
  readonly span1: number;
  /** W3C trace flags; bit 0 is "sampled". */
  readonly flags: number;
  /** The sender left the decision to sample to whoever receives. */
  readonly isDeferred: boolean;
}

export const PROPAGATORS = ['tracecontext', 'b3', 'b3multi', 'jaeger', 'xray'] as const;
export type Propagator = (typeof PROPAGATORS)[number];

type Extract = (head: MessageHead) => RemoteParent | null;

const EXTRACT: Readonly<Record<Propagator, Extract>> = {
  tracecontext: head => (head.traceparent === '' ? null : parseTraceparent(head.traceparent)),
  b3: ({ traceHeaders }) => (traceHeaders === null || traceHeaders.b3 === '' ? null : parseB3(traceHeaders.b3)),
  b3multi: ({ traceHeaders }) => (traceHeaders === null ? null : parseB3Multi(traceHeaders)),
  jaeger: ({ traceHeaders }) =>
    traceHeaders === null || traceHeaders.jaeger === '' ? null : parseJaeger(traceHeaders.jaeger),
  xray: ({ traceHeaders }) => (traceHeaders === null || traceHeaders.xray === '' ? null : parseXray(traceHeaders.xray)),
};

export class Propagation {
  readonly #extracts: readonly Extract[];

  constructor(propagators: readonly Propagator[] = PROPAGATORS) {
    this.#extracts = propagators.map(name => EXTRACT[name]);
  }

  /** The context that the head carries, null if none. */
  read(head: MessageHead): RemoteParent | null {
    if (head.traceparent === '' && head.traceHeaders === null) return null;
    for (const extract of this.#extracts) {
      const parent = extract(head);
      if (parent !== null) return parent;
    }
    return null;
  }
}
