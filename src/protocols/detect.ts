// Which protocol does a connection speak? In: the first bytes of a direction. Out: the first protocol of the registry
// whose message could begin so, or null. Few bytes are weak evidence (one letter may begin a request): a parser that
// then says BROKEN was not meant, and the caller may ask again at the next edge.
import type { Protocol } from './protocol.js';
import { PROTOCOLS } from './registry.js';

/** The protocol whose request could begin with bytes[from, to); null if none or if there are no bytes. */
export function detectRequest(bytes: Uint8Array, from: number, to: number): Protocol | null {
  for (let i = 0; i < PROTOCOLS.length; i++) {
    const protocol = PROTOCOLS[i] as Protocol;
    if (protocol.looksLikeRequest(bytes, from, to)) return protocol;
  }
  return null;
}

/** The protocol whose response could begin with bytes[from, to); null if none or if there are no bytes. */
export function detectResponse(bytes: Uint8Array, from: number, to: number): Protocol | null {
  for (let i = 0; i < PROTOCOLS.length; i++) {
    const protocol = PROTOCOLS[i] as Protocol;
    if (protocol.looksLikeResponse(bytes, from, to)) return protocol;
  }
  return null;
}
