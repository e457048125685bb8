// RESP2, the protocol of Redis and Valkey, as far as a client of GET and SET needs it. In: bytes as they arrive. Out: one
// reply after another: simple strings, errors, integers, bulk strings, nil, flat arrays left out (no command of ours has
// one). A reply that is none of these, or longer than MAX_REPLY_BYTES, is a protocol error: the connection is given up.
const MAX_REPLY_BYTES = 4096;

const CR = 13;
const PLUS = 43;
const DOLLAR = 36;
const MINUS = 45;
const COLON = 58;

export class ReplyError {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

/** A bulk or simple string, the number of an integer reply, nothing, or what the server refused. */
export type Reply = string | number | null | ReplyError;

export class ReplyReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /** More bytes. */
  append(chunk: Buffer): void {
    this.#bytes = this.#at === this.#bytes.length ? chunk : Buffer.concat([this.#bytes.subarray(this.#at), chunk]);
    this.#at = 0;
  }

  /** The next reply; undefined if it is not complete yet. Throws where the bytes are no reply. */
  next(): Reply | undefined {
    const bytes = this.#bytes;
    const from = this.#at;
    if (from === bytes.length) return undefined;
    const end = bytes.indexOf(CR, from);
    if (end < 0 || end + 1 >= bytes.length) {
      if (bytes.length - from > MAX_REPLY_BYTES) throw new Error('a reply without an end');
      return undefined;
    }
    const line = bytes.toString('latin1', from + 1, end);
    const next = end + 2;
    switch (bytes[from]) {
      case PLUS:
        this.#at = next;
        return line;
      case MINUS:
        this.#at = next;
        return new ReplyError(line.slice(0, 512));
      case COLON:
        this.#at = next;
        return Number(line);
      case DOLLAR:
        return this.#bulk(line, next);
      default:
        throw new Error(`not a reply: ${JSON.stringify(bytes.toString('latin1', from, Math.min(end, from + 40)))}`);
    }
  }

  #bulk(line: string, next: number): string | null | undefined {
    const length = Number(line);
    if (length === -1) {
      this.#at = next;
      return null;
    }
    if (!Number.isInteger(length) || length < 0 || length > MAX_REPLY_BYTES) throw new Error('a reply too long');
    const end = next + length;
    if (end + 2 > this.#bytes.length) return undefined;
    this.#at = end + 2;
    return this.#bytes.toString('latin1', next, end);
  }
}

/** A command with few, short arguments. */
export function command(...args: readonly string[]): string {
  let text = `*${args.length}\r\n`;
  for (const arg of args) text += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`;
  return text;
}
