// Trace identity: 128-bit trace ids and 64-bit span ids as 32-bit words (no strings, no BigInt on the path), made from
// the operating system's random source, and the W3C `traceparent` header (Trace Context level 2, section 3.2).
import { randomFillSync } from 'node:crypto';

const POOL_WORDS = 4096;

/** Random 32-bit words, drawn in bulk. */
export class IdSource {
  #pool = new Uint32Array(POOL_WORDS);
  #next = POOL_WORDS;

  /** A word from 0 to 2^32-1. */
  word(): number {
    if (this.#next === POOL_WORDS) {
      randomFillSync(this.#pool);
      this.#next = 0;
    }
    return this.#pool[this.#next++] as number;
  }

  /** A word that is not 0 (an all-zero id is invalid). */
  nonZeroWord(): number {
    let word = this.word();
    while (word === 0) word = this.word();
    return word;
  }
}

/**
 * What all spans of one trace share. Spans hold a reference, so a trace id that is learnt late (the client's record came
 * after the server's) reaches every span of the trace.
 */
export class TraceContext {
  /** The trace id, most significant word first. */
  id0 = 0;
  id1 = 0;
  id2 = 0;
  id3 = 0;
  /** W3C trace flags; bit 0 is "sampled". */
  flags = 1;
  /** `tracestate` as received, '' if none. */
  state = '';
  /** The ids came from an incoming header: someone else's decision to sample is to be honoured. */
  isRemote = false;

  setRandom(ids: IdSource): void {
    this.id0 = ids.nonZeroWord();
    this.id1 = ids.word();
    this.id2 = ids.word();
    this.id3 = ids.word();
  }
}

const HEX_WORD = /^[0-9a-f]{8}$/;

function hexWord(text: string, at: number): number {
  const part = text.slice(at, at + 8);
  return HEX_WORD.test(part) ? Number.parseInt(part, 16) : -1;
}

/** A parsed `traceparent`. */
export interface Traceparent {
  readonly id0: number;
  readonly id1: number;
  readonly id2: number;
  readonly id3: number;
  readonly span0: number;
  readonly span1: number;
  readonly flags: number;
}

/** Parses a `traceparent` value; null if the value is not valid (the header is then to be ignored as a whole). */
export function parseTraceparent(value: string): Traceparent | null {
  const text = value.trim();
  if (text.length < 55 || text[2] !== '-' || text[35] !== '-' || text[52] !== '-') return null;
  const version = text.slice(0, 2);
  if (!/^[0-9a-f]{2}$/.test(version) || version === 'ff') return null;
  if (version === '00' ? text.length !== 55 : text.length > 55 && text[55] !== '-') return null;
  const flagText = text.slice(53, 55);
  if (!/^[0-9a-f]{2}$/.test(flagText)) return null;
  const id0 = hexWord(text, 3);
  const id1 = hexWord(text, 11);
  const id2 = hexWord(text, 19);
  const id3 = hexWord(text, 27);
  const span0 = hexWord(text, 36);
  const span1 = hexWord(text, 44);
  if (id0 < 0 || id1 < 0 || id2 < 0 || id3 < 0 || span0 < 0 || span1 < 0) return null;
  if ((id0 | id1 | id2 | id3) === 0 || (span0 | span1) === 0) return null;
  return { id0, id1, id2, id3, span0, span1, flags: Number.parseInt(flagText, 16) };
}

/** Eight hex digits of a word; for logs and JSON, not for the path. */
export function wordToHex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
