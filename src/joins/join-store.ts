// The keys of all hosts, in a Redis or Valkey server that their agents share. In: batches of offers and questions from the
// pipeline. Out: answers, and whether the server can be reached. An offer is `SET {prefix}:key value PX ttl`, a question
// `GET`; the braces keep all keys in one slot of a cluster. A value is the client's `traceparent`, the check word, and `f` or
// `p` (final, provisional). What the server does not take is counted and lost: its trace stays on its host.
import {
  ANSWER_WORDS,
  FLAG_PROVISIONAL,
  FLAG_SAMPLED,
  type JoinBatch,
  OFFER_WORDS,
  QUESTION_WORDS,
  WordList,
} from '../traces/join-batch.js';
import { RedisConnection, type RedisSettings } from './redis-connection.js';
import { command, type Reply, ReplyError } from './resp.js';

const VALUE = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})-([0-9a-f]{8})-([pf])$/;
const MAX_ANSWER_WORDS = 1 << 20;

export interface JoinStoreOptions extends RedisSettings {
  readonly keyPrefix: string;
  readonly ttlMs: number;
  readonly onUp: (place: string) => void;
  readonly onDown: (place: string, reason: string) => void;
  /** What was found for the questions of a batch; they have all been answered. */
  readonly onAnswers: (words: Uint32Array<ArrayBuffer>, batchNumber: number) => void;
  /** The server refused a command (no memory, read only, no permission). */
  readonly onRefused: (reason: string) => void;
}

export class JoinStore {
  /** Commands the server took, refused, that had no way to it, and that were under way when the connection went. */
  readonly commands = { answered: 0, refused: 0, dropped: 0, lost: 0 };
  readonly #options: JoinStoreOptions;
  readonly #connection: RedisConnection;
  /** What stands before and behind the key in commands. */
  readonly #setHead: string;
  readonly #getHead: string;
  readonly #setTail: string;

  constructor(options: JoinStoreOptions) {
    this.#options = options;
    const key = `{${options.keyPrefix}}:`;
    const greeting = command('SET', `${key}greeting`, '-', 'PX', String(options.ttlMs));
    this.#connection = new RedisConnection(options, greeting, {
      onUp: () => options.onUp(this.#connection.place),
      onDown: reason => options.onDown(this.#connection.place, reason),
      onLost: commands => {
        this.commands.lost += commands;
      },
    });
    const keyHead = `$${Buffer.byteLength(key) + 16}\r\n${key}`;
    this.#setHead = `*5\r\n$3\r\nSET\r\n${keyHead}`;
    this.#getHead = `*2\r\n$3\r\nGET\r\n${keyHead}`;
    this.#setTail = `\r\n${command('PX', String(options.ttlMs)).replace(/^\*2\r\n/, '')}`;
  }

  get isUp(): boolean {
    return this.#connection.isUp;
  }

  open(): void {
    this.#connection.open();
  }

  close(): void {
    this.#connection.close();
  }

  onBatch({ number, offers, questions }: JoinBatch): void {
    if (offers.length > 0) this.#offer(offers);
    if (questions.length > 0) this.#ask(questions, number);
  }

  #offer(words: Uint32Array): void {
    const count = words.length / OFFER_WORDS;
    let commands = '';
    for (let at = 0; at < words.length; at += OFFER_WORDS) commands += this.#set(words, at);
    const isSent = this.#connection.send(commands, count, reply => {
      if (reply instanceof ReplyError) this.#refused(reply);
      else this.commands.answered++;
    });
    if (!isSent) this.commands.dropped += count;
  }

  #set(words: Uint32Array, at: number): string {
    const hex = (index: number): string => ((words[at + index] as number) >>> 0).toString(16).padStart(8, '0');
    const flags = words[at + 9] as number;
    const sampled = (flags & FLAG_SAMPLED) !== 0 ? '01' : '00';
    const state = (flags & FLAG_PROVISIONAL) !== 0 ? 'p' : 'f';
    const ids = `00-${hex(3)}${hex(4)}${hex(5)}${hex(6)}-${hex(7)}${hex(8)}-${sampled}`;
    return `${this.#setHead}${hex(0)}${hex(1)}\r\n$66\r\n${ids}-${hex(2)}-${state}${this.#setTail}`;
  }

  #ask(words: Uint32Array<ArrayBuffer>, batchNumber: number): void {
    const count = words.length / QUESTION_WORDS;
    let commands = '';
    for (let at = 0; at < words.length; at += QUESTION_WORDS) {
      const hex = (index: number): string => ((words[at + index] as number) >>> 0).toString(16).padStart(8, '0');
      commands += `${this.#getHead}${hex(1)}${hex(2)}\r\n`;
    }
    const answers = new WordList(MAX_ANSWER_WORDS);
    const isSent = this.#connection.send(commands, count, (reply, index) => {
      this.#onReply(reply, words[index * QUESTION_WORDS] as number, answers);
      if (index === count - 1) this.#options.onAnswers(answers.take(), batchNumber);
    });
    if (!isSent) this.commands.dropped += count;
  }

  #onReply(reply: Reply, question: number, answers: WordList): void {
    if (reply instanceof ReplyError) {
      this.#refused(reply);
      return;
    }
    this.commands.answered++;
    if (typeof reply !== 'string') return;
    const match = VALUE.exec(reply);
    if (match === null || !answers.reserve(ANSWER_WORDS)) return;
    const [, trace = '', span = '', sampled = '', check = '', state = ''] = match;
    answers.push(question);
    answers.push(Number.parseInt(check, 16));
    for (let at = 0; at < 32; at += 8) answers.push(Number.parseInt(trace.slice(at, at + 8), 16));
    for (let at = 0; at < 16; at += 8) answers.push(Number.parseInt(span.slice(at, at + 8), 16));
    answers.push((Number.parseInt(sampled, 16) & FLAG_SAMPLED) | (state === 'p' ? FLAG_PROVISIONAL : 0));
  }

  #refused({ message }: ReplyError): void {
    this.commands.refused++;
    this.#options.onRefused(message);
  }
}
