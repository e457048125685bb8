// What the pipeline and whoever keeps the keys of all hosts say to each other, as flat 32-bit words that cross between
// threads without an object for each: offers (a client's request is known by this key), questions (who is behind this
// key?) and answers. A key is a request's sequence pair. Arrays grow up to a cap; what does not fit is the caller's to count.

/** Words of an offer: key, check, trace id, span id, flags. */
export const OFFER_WORDS = 10;
/** Words of a question: number, key. */
export const QUESTION_WORDS = 3;
/** Words of an answer: the question's number, then check, trace id, span id and flags as they were offered. */
export const ANSWER_WORDS = 9;

export const FLAG_SAMPLED = 1;
/** The trace id may still change: the client's own trace waits for an answer. */
export const FLAG_PROVISIONAL = 2;

export interface JoinBatch {
  /** Counts up; it comes back when all of its questions were answered, whether with something or with nothing. */
  readonly number: number;
  readonly offers: Uint32Array<ArrayBuffer>;
  readonly questions: Uint32Array<ArrayBuffer>;
}

/** A growing array of words. */
export class WordList {
  length = 0;
  #words: Uint32Array<ArrayBuffer>;
  readonly #maxWords: number;

  constructor(maxWords: number) {
    this.#maxWords = maxWords;
    this.#words = new Uint32Array(Math.min(1024, maxWords));
  }

  /** Room for `count` more words? */
  reserve(count: number): boolean {
    const needed = this.length + count;
    if (needed > this.#maxWords) return false;
    if (needed > this.#words.length) {
      const larger = new Uint32Array(Math.min(this.#maxWords, Math.max(needed, this.#words.length * 2)));
      larger.set(this.#words.subarray(0, this.length));
      this.#words = larger;
    }
    return true;
  }

  push(word: number): void {
    this.#words[this.length++] = word;
  }

  /** A copy of the words in a buffer of its own; the list is empty then. */
  take(): Uint32Array<ArrayBuffer> {
    const words = this.#words.slice(0, this.length);
    this.length = 0;
    return words;
  }
}
