// Trace identity: 128-bit trace ids and 64-bit span ids as 32-bit words (no strings, no BigInt on the path), made from
// the operating system's random source. A word is kept as a signed integer: V8 holds that in the object itself, and needs
// 16 bytes more for each one above 2^31.
import { randomFillSync } from 'node:crypto';

const POOL_WORDS = 4096;

/** Random 32-bit words, drawn in bulk. */
export class IdSource {
  #pool = new Int32Array(POOL_WORDS);
  #next = POOL_WORDS;

  /** A word from -2^31 to 2^31-1. */
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
  /** The decision to sample came from elsewhere, with or without ids: it is to be honoured. */
  isRemote = false;
  /** The ids are those of a header, or of another host. */
  isNamed = false;
  /** The ids are those with which an SDK on the way began its trace. */
  isBorrowed = false;
  /** Something with these ids has left: they stay. */
  isOut = false;
  /** Decided by sampling.ts; null: not yet. */
  isSampled: boolean | null = null;
  /** It is exported although it was not sampled: tail.ts. */
  isKept = false;
  /** The trace was begun in place of one that had grown too long: no header changes it any more. */
  isDetached = false;
  /** Questions whose answers may still change the ids: until then no span of the trace leaves. */
  waiting = 0;
  /** Calls that have become children of a request, and when its first request was taken; 0: it has none yet. */
  calls = 0;
  sinceNs = 0;
  #into: TraceContext | null = null;

  /** The trace that this one has become part of; itself if none. */
  get root(): TraceContext {
    if (this.#into === null) return this;
    const root = this.#into.root;
    this.#into = root;
    return root;
  }

  /** Becomes part of `other`. False if both were named by others, and differently. */
  join(other: TraceContext): boolean {
    const from = this.root;
    const into = other.root;
    if (from === into) return true;
    if (from.isNamed && into.isNamed && !from.hasIdsOf(into)) return false;
    if (from.isBorrowed) into.borrow(from);
    into.waiting += from.waiting;
    from.waiting = 0;
    into.calls += from.calls;
    if (from.isKept) into.isKept = true;
    if (from.sinceNs > 0 && (into.sinceNs === 0 || from.sinceNs < into.sinceNs)) into.sinceNs = from.sinceNs;
    from.#into = into;
    return true;
  }

  /** Takes the ids of a trace that an SDK began for a request of this one; false if it has to keep its own. */
  borrow({ id0, id1, id2, id3, flags }: Pick<TraceContext, 'id0' | 'id1' | 'id2' | 'id3' | 'flags'>): boolean {
    if (this.isNamed || this.isBorrowed || this.isOut || this.isDetached) return false;
    this.id0 = id0 | 0;
    this.id1 = id1 | 0;
    this.id2 = id2 | 0;
    this.id3 = id3 | 0;
    this.flags = flags;
    this.isRemote = true;
    this.isBorrowed = true;
    this.isSampled = null;
    return true;
  }

  hasIdsOf({ id0, id1, id2, id3 }: Pick<TraceContext, 'id0' | 'id1' | 'id2' | 'id3'>): boolean {
    return this.id0 === id0 && this.id1 === id1 && this.id2 === id2 && this.id3 === id3;
  }

  setRandom(ids: IdSource): void {
    this.id0 = ids.nonZeroWord();
    this.id1 = ids.word();
    this.id2 = ids.word();
    this.id3 = ids.word();
  }
}

/** Eight hex digits of a word; for logs and JSON, not for the path. */
export function wordToHex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
