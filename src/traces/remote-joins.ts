// Joins a server's span with a client's on another host: agents meet at a store that all of them reach (joins/), under the
// request's sequence pair, which NAT leaves as it is (DESIGN.md section 6). The client's agent offers trace and span id
// under the key; the server's agent asks for it until it is there or the wait is over, and fills the ids in, which every span
// that shares the TraceContext follows. Spans of a trace that waits are held by the pipeline (`trace.waiting`).
// A client whose own trace still waits is offered as provisional and once more when that is settled; who finds a
// provisional key goes on asking, PROVISIONAL_WAITS times as long, and takes it then. An agent that
// is behind with its offers is waited for, too (traces/join-peers.ts).
// Bounded: MAX_QUESTIONS at a time, MAX_WORDS in a batch; what is beyond stays on its host, and is counted. While the store
// is away nobody waits and nothing is kept.
import { type Exchange, KIND_CLIENT } from '../exchanges/exchange.js';
import { TraceContext } from './context.js';
import {
  ANSWER_WORDS,
  FLAG_PROVISIONAL,
  FLAG_SAMPLED,
  type JoinBatch,
  OFFER_WORDS,
  QUESTION_WORDS,
  WordList,
} from './join-batch.js';
import { type JoinPeer, JoinPeers } from './join-peers.js';

const MAX_QUESTIONS = 65536;
/** Of each kind in one batch: about 26,000 offers or 87,000 questions. */
const MAX_WORDS = 1 << 18;
/** When a question is asked, as shares of the wait: often while the client's agent is likely to be on its way. */
const ASK_AT = [0.02, 0.06, 0.12, 0.25, 0.5, 0.9] as const;
/** An answer that did not come by then was lost on the way, nanoseconds: the store itself is given up sooner. */
const ANSWER_NS = 2e9;
/** A client that was found and waits itself is asked for so many waits. */
const PROVISIONAL_WAITS = 10;
/** An agent that may be behind is waited for as many waits, but not longer than this, nanoseconds. */
const PATIENCE_NS = 5e9;
/** Answers to questions that began so many waits later say that there will be none: the order of offers is not exact. */
const DISORDER = 0.2;
/** When it is asked for again, in waits: one that was found; one that was not, as a share of the time since the question. */
const ASK_AGAIN = 0.5;
const ASK_MISSING_AGAIN = 0.3;

/** How questions and offers ended; one list for code and metrics. */
export const JOIN_OUTCOMES = {
  /** Keys of clients. */
  offers: ['sent', 'again', 'local', 'full'],
  /** Servers without a client on their host. `expired`: nobody offered; `away`: the store went away meanwhile. */
  questions: ['found', 'provisional', 'local', 'expired', 'away', 'full', 'mismatch', 'conflict', 'limited'],
} as const;
type OfferOutcome = (typeof JOIN_OUTCOMES.offers)[number];
type QuestionOutcome = (typeof JOIN_OUTCOMES.questions)[number];

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map(key => [key, 0])) as Record<K, number>;
}

class Question {
  readonly number: number;
  readonly exchange: Exchange;
  readonly peer: JoinPeer;
  /** Time of the first tick behind it; -1 before. */
  beganNs = -1;
  /** When it is asked next, in waits; when it was asked last. */
  nextAge: number = ASK_AT[0];
  askedNs = 0;
  /** The batch in which it was asked last. */
  batch = 0;
  /** Asked for the last time. */
  isLast = false;
  /** Answer words of a provisional offer. */
  provisional: Uint32Array | null = null;

  constructor(number: number, exchange: Exchange, peer: JoinPeer) {
    this.number = number;
    this.exchange = exchange;
    this.peer = peer;
  }
}

export interface RemoteJoinsOptions {
  readonly waitNs: number;
  /** The decision that goes out with a client's trace. */
  readonly isSampled: (exchange: Exchange) => boolean;
  /** A client whose span another tracer tells, and whose header the server reads itself. */
  readonly isLeftOut: (exchange: Exchange) => boolean;
  /** May the trace of these ids take one more request? traces/trace-limits.ts */
  readonly admits: (ids: Pick<TraceContext, 'id0' | 'id1' | 'id2' | 'id3'>, nowNs: number) => boolean;
  /** Called with the seconds from the question to the answer. */
  readonly onFound: (seconds: number) => void;
}

export class RemoteJoins {
  readonly offers: Record<OfferOutcome, number> = zeros(JOIN_OUTCOMES.offers);
  readonly questions: Record<QuestionOutcome, number> = zeros(JOIN_OUTCOMES.questions);
  readonly #options: RemoteJoinsOptions;
  /** In waits. */
  readonly #patience: number;
  #isUp = false;
  /** Clients of the batch at hand: by its end many have found the other side on this host. */
  #clients: Exchange[] = [];
  readonly #waiting = new Map<number, Question>();
  readonly #peers = new JoinPeers();
  #nextNumber = 0;
  /** Clients that were offered while their trace waited: offered again when it does not any more. */
  #provisional: Exchange[] = [];
  readonly #offerWords = new WordList(MAX_WORDS);
  readonly #questionWords = new WordList(MAX_WORDS);
  /** The number of the next batch, and of the last one that was answered. */
  #batch = 0;
  #answeredBatch = -1;
  /** The time of the last tick. */
  #nowNs = 0;

  constructor(options: RemoteJoinsOptions) {
    this.#options = options;
    this.#patience = Math.max(1, Math.min(PROVISIONAL_WAITS, PATIENCE_NS / options.waitNs));
  }

  /** Questions without an answer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** The store can be reached, or not any more: then nobody waits for it. */
  setUp(isUp: boolean): void {
    this.#isUp = isUp;
    if (isUp) return;
    for (const question of [...this.#waiting.values()]) this.#settle(question, 'away');
    this.#clients = [];
    this.#provisional = [];
    this.#offerWords.take();
    this.#questionWords.take();
  }

  /** The head of a request was seen, its pair is known: its other side may be on another host. */
  onHead(exchange: Exchange): void {
    if ((exchange.pairRequestSeq | exchange.pairResponseSeq) === 0) return;
    if (!this.#isUp || exchange.parentEvidence === 'sequence' || exchange.isJoined || !isElsewhere(exchange)) return;
    if (exchange.kind === KIND_CLIENT) this.#clients.push(exchange);
    else if (this.#waiting.size >= MAX_QUESTIONS) this.questions.full++;
    else {
      exchange.trace.waiting++;
      const number = this.#nextNumber;
      this.#nextNumber = (number + 1) >>> 0;
      this.#waiting.set(number, new Question(number, exchange, this.#peers.of(exchange.peer.remoteAddress)));
    }
  }

  /** After a batch: what is to be offered and asked now goes into the next take(), what has waited long enough is let go. */
  tick(nowNs: number): void {
    this.#nowNs = nowNs;
    const { waitNs } = this.#options;
    for (const question of this.#waiting.values()) {
      if (question.beganNs < 0) question.beganNs = nowNs;
      const age = (nowNs - question.beganNs) / waitNs;
      if (question.exchange.parentEvidence === 'sequence') this.#settle(question, 'local');
      else if (age >= question.nextAge) this.#ask(question, age, nowNs);
      else if (age >= 1) this.#endOrAsk(question, age, nowNs);
    }
    this.#offerAgain();
    // Behind the questions: the calls of a server that does not wait any more are final.
    if (this.#clients.length === 0) return;
    for (const client of this.#clients) this.#offer(client);
    this.#clients = [];
  }

  /** What is to be sent; null if nothing is. */
  take(): JoinBatch | null {
    if (this.#offerWords.length + this.#questionWords.length === 0) return null;
    return { number: this.#batch++, offers: this.#offerWords.take(), questions: this.#questionWords.take() };
  }

  /** Keys that were found, of one batch. A question without an answer is asked again. */
  onAnswers(words: Uint32Array, batchNumber: number): void {
    this.#answeredBatch = batchNumber;
    for (let at = 0; at + ANSWER_WORDS <= words.length; at += ANSWER_WORDS) {
      const question = this.#waiting.get(words[at] as number);
      if (question === undefined) continue;
      const answer = words.subarray(at, at + ANSWER_WORDS);
      const check = answer[1] as number;
      const wanted = checkOf(question.exchange);
      if (check !== 0 && wanted !== 0 && check !== wanted) {
        this.#settle(question, 'mismatch');
        continue;
      }
      question.peer.onAnswer(question.beganNs, this.#nowNs);
      if (((answer[8] as number) & FLAG_PROVISIONAL) !== 0) this.#findProvisional(question, answer);
      else this.#adopt(question, answer, 'found');
    }
  }

  #findProvisional(question: Question, answer: Uint32Array): void {
    question.provisional = answer.slice();
  }

  /** The end of the input: nobody waits any more. */
  finish(): void {
    this.tick(this.#nowNs);
    for (const question of [...this.#waiting.values()]) this.#expire(question, 0);
  }

  /** The wait is over: it goes on, or the question is asked once more, or given up. */
  #endOrAsk(question: Question, age: number, nowNs: number): void {
    const { peer, askedNs, provisional } = question;
    if (provisional !== null ? age < PROVISIONAL_WAITS : this.#mayBeOffered(question, age)) return;
    // What came with its peer's last answer may be there by now.
    if (provisional === null && !question.isLast && peer.answeredNs > askedNs) {
      question.isLast = true;
      this.#ask(question, age, nowNs);
    } else if (question.batch <= this.#answeredBatch || nowNs - askedNs >= ANSWER_NS) this.#expire(question, age);
  }

  #mayBeOffered({ peer, beganNs }: Question, age: number): boolean {
    return age < this.#patience && peer.isHopeful && peer.latestBeganNs <= beganNs + DISORDER * this.#options.waitNs;
  }

  #ask(question: Question, age: number, nowNs: number): void {
    const further = age + (question.provisional === null ? age * ASK_MISSING_AGAIN : ASK_AGAIN);
    question.nextAge = ASK_AT.find(step => step > age) ?? further;
    question.askedNs = nowNs;
    question.batch = this.#batch;
    const words = this.#questionWords;
    if (!words.reserve(QUESTION_WORDS)) return;
    words.push(question.number);
    words.push(question.exchange.pairRequestSeq);
    words.push(question.exchange.pairResponseSeq);
  }

  #offer(exchange: Exchange): void {
    if (exchange.isJoined) {
      this.offers.local++;
      return;
    }
    const { trace } = exchange;
    if (this.#options.isLeftOut(exchange)) return;
    if (!this.#putOffer(exchange, trace.waiting > 0)) return;
    this.offers.sent++;
    if (trace.waiting > 0) this.#provisional.push(exchange);
  }

  /** Traces that have settled since. */
  #offerAgain(): void {
    if (this.#provisional.length === 0) return;
    this.#provisional = this.#provisional.filter(client => {
      if (client.trace.waiting > 0) return true;
      if (this.#putOffer(client, false)) this.offers.again++;
      return false;
    });
  }

  #putOffer(exchange: Exchange, isProvisional: boolean): boolean {
    const words = this.#offerWords;
    if (!words.reserve(OFFER_WORDS)) {
      this.offers.full++;
      return false;
    }
    const { trace } = exchange;
    if (!isProvisional) trace.isOut = true;
    words.push(exchange.pairRequestSeq);
    words.push(exchange.pairResponseSeq);
    words.push(checkOf(exchange));
    words.push(trace.id0);
    words.push(trace.id1);
    words.push(trace.id2);
    words.push(trace.id3);
    words.push(exchange.span0);
    words.push(exchange.span1);
    words.push((this.#options.isSampled(exchange) ? FLAG_SAMPLED : 0) | (isProvisional ? FLAG_PROVISIONAL : 0));
    return true;
  }

  #expire(question: Question, age: number): void {
    if (question.provisional !== null) {
      this.#adopt(question, question.provisional, 'provisional');
      return;
    }
    if (age >= this.#patience) question.peer.onVain();
    this.#settle(question, 'expired');
  }

  #adopt(question: Question, answer: Uint32Array, outcome: QuestionOutcome): void {
    const { exchange } = question;
    const { trace } = exchange;
    const [, , id0 = 0, id1 = 0, id2 = 0, id3 = 0, span0 = 0, span1 = 0, flags = 0] = new Int32Array(answer);
    const isSame = trace.id0 === id0 && trace.id1 === id1 && trace.id2 === id2 && trace.id3 === id3;
    if (exchange.parentEvidence === 'sequence') {
      this.#settle(question, 'local');
      return;
    }
    if (!isSame && (exchange.parentEvidence !== '' || trace.isDetached)) {
      // A header says another trace: it was written by whoever sent the request, and counts.
      this.#settle(question, 'conflict');
      return;
    }
    if (!isSame && !this.#options.admits({ id0, id1, id2, id3 }, exchange.requestTakenNs)) {
      const refused = Object.assign(new TraceContext(), { id0, id1, id2, id3, flags: flags & FLAG_SAMPLED });
      exchange.refusedParent = { trace: refused, span0, span1 };
      trace.isDetached = true;
      this.#settle(question, 'limited');
      return;
    }
    if (!isSame) {
      trace.id0 = id0;
      trace.id1 = id1;
      trace.id2 = id2;
      trace.id3 = id3;
      trace.isNamed = true;
    }
    // Also where a header has named the trace: what it says of sampling is known better where it was written (.NET's).
    trace.flags = flags & FLAG_SAMPLED;
    trace.isRemote = true;
    trace.isSampled = null;
    exchange.parent0 = span0;
    exchange.parent1 = span1;
    exchange.parentEvidence = 'remote_sequence';
    if (question.beganNs >= 0) this.#options.onFound((this.#nowNs - question.beganNs) / 1e9);
    this.#settle(question, outcome);
  }

  /** The question is over: whoever waited for it goes on. */
  #settle(question: Question, outcome: QuestionOutcome): void {
    this.questions[outcome]++;
    this.#waiting.delete(question.number);
    question.exchange.trace.waiting--;
  }
}

/** Could the other side be on another host? */
function isElsewhere({ peer, pairTag }: Exchange): boolean {
  const { transport, remoteAddress } = peer;
  if (transport !== 'tcp' || pairTag !== 0 || remoteAddress === '' || remoteAddress === peer.localAddress) return false;
  return !remoteAddress.startsWith('127.') && remoteAddress !== '::1' && !remoteAddress.startsWith('::ffff:7f');
}

/**
 * What both sides read in the request, as a word: two keys that are equal by chance differ in it. 0: not all of it was
 * seen, so it says nothing.
 */
function checkOf(exchange: Exchange): number {
  if (exchange.isRequestHeadTruncated) return 0;
  let hash = 0x811c9dc5;
  for (const text of [exchange.method, exchange.target, exchange.host]) {
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    hash = Math.imul(hash ^ 0x100, 0x01000193);
  }
  return hash >>> 0;
}
