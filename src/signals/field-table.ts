// Encoded fields that come again and again, found by up to three values without building a key. Bounded: when the table is
// full all of it is forgotten, and made again as needed.

/** Entries at most, mostly of 100 to 300 bytes. */
const MAX_ENTRIES = 8192;

export class FieldTable<A, B, C> {
  readonly #fields = new Map<A, Map<B, Map<C, Uint8Array>>>();
  #count = 0;
  /** What was asked for last, which is often asked for again. */
  #lastA: A | undefined;
  #lastB: B | undefined;
  #lastC: C | undefined;
  #last: Uint8Array | undefined;

  get(a: A, b: B, c: C): Uint8Array | undefined {
    if (a === this.#lastA && b === this.#lastB && c === this.#lastC) return this.#last;
    const fields = this.#fields.get(a)?.get(b)?.get(c);
    if (fields === undefined) return undefined;
    this.#lastA = a;
    this.#lastB = b;
    this.#lastC = c;
    this.#last = fields;
    return fields;
  }

  set(a: A, b: B, c: C, fields: Uint8Array): void {
    if (++this.#count > MAX_ENTRIES) {
      this.#fields.clear();
      this.#count = 1;
    }
    let second = this.#fields.get(a);
    if (second === undefined) {
      second = new Map();
      this.#fields.set(a, second);
    }
    let third = second.get(b);
    if (third === undefined) {
      third = new Map();
      second.set(b, third);
    }
    third.set(c, fields);
  }
}
